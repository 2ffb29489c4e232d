"""Of ``tinybert augment``, and of distillation on augmented rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import Checked, setting
from tinybert.settings.shared import DataSettings

__all__ = ["AugmentChoices", "AugmentSettings"]


@dataclass
class AugmentChoices(Checked):
    """How rows are augmented."""

    masked_lm: str | None = setting(
        None,
        "masked language model that guesses words of one piece: directory or Hub name; "
        "`tinybert mlm` makes one of any encoder",
        "augmentation",
    )
    vectors: str | None = setting(
        None,
        "word vectors (GloVe, word2vec or fastText text; .gz, .zip) for words of several pieces; "
        "default: those words stay",
        "augmentation",
    )
    copies: int | None = setting(
        None,
        "copies of a row, N_a; default: 20, or with reference what the authors took for the task",
        "augmentation",
        least=1,
    )
    replace_probability: float = setting(
        0.4, "probability of a word to be replaced, p_t", "augmentation", above=0, most=1
    )
    candidates: int = setting(15, "candidates for a word, K", "augmentation", least=1, most=1000)
    replace: Literal["auto", "words", "all", "a-z"] = setting(
        "auto",
        "which words are replaced: words (with a letter or digit; paper), all (punctuation too), "
        "a-z (letters of English alone; reference)",
        "augmentation",
    )
    stop_words: Literal["auto", "replace", "keep", "avoid"] = setting(
        "auto",
        "words such as the, of: replace them like others (paper), keep them (reference), or avoid "
        "them as candidates too",
        "augmentation",
    )
    stop_list: Path | None = setting(
        None, "file of stop words, one a line; default: scikit-learn's English ones", "augmentation"
    )
    vector_lines: int | None = setting(
        None,
        "lines of the vector file to read; default: 400,000, with reference 100,000",
        "augmentation",
        least=2,
    )
    guess_precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "of the masked language model; auto: bfloat16 where this machine is fast at it",
        "augmentation",
    )


@dataclass
class AugmentSettings(AugmentChoices, DataSettings):
    """Copies of the training rows with words replaced: the paper's data augmentation."""

    mode: Literal["paper", "reference"] = setting(
        "paper",
        "paper: Algorithm 1 as published; reference: as the authors' code does it",
        "augmentation",
    )
    output: Path | None = setting(
        None, "directory of Parquet shards to write; appears only when it is whole"
    )
    show: int | None = setting(
        None, "only show so many rows with some of their copies; nothing is written", least=1
    )
    shard_rows: int = setting(
        2000, "rows a shard, their copies with them; changes no copy", "run", least=1
    )
    seed: int = setting(42, "of the copies, and of the rows that are split off", "run", least=0)
    threads: int | None = setting(
        None,
        "batches of the masked language model at a time on a CPU; default: one a core; changes no "
        "copy",
        "run",
        least=1,
    )
    overwrite: bool = setting(
        False, "replace the output directory and any unfinished augmentation", "run"
    )
    resume: bool = setting(False, "go on with the unfinished augmentation of this output", "run")
    dry_run: bool = setting(False, "measure a little, print the plan, write nothing", "run")
