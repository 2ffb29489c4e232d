"""The text of general distillation and of masked language modelling.

A built corpus, or raw text that is tokenized first.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TokenRows, TrainingRows
from tinybert.corpus import (
    CorpusRows,
    build_corpus,
    find_sources,
    hold_out_documents,
    is_corpus,
    open_corpus,
    read_manifest,
)
from tinybert.corpus.build import build_directory
from tinybert.corpus.rows import check_tokenizer
from tinybert.corpus.sample import take_sample
from tinybert.corpus.sources import sources_print
from tinybert.errors import TinybertError
from tinybert.measure.latency import check_length
from tinybert.progress import Reporter
from tinybert.stages import Run

__all__ = [
    "DEFAULT_LENGTH",
    "Text",
    "TextSettings",
    "check_corpus",
    "open_text_of",
    "sample_text",
    "split_blocks",
]

FAILED = "failed.txt"
DEFAULT_LENGTH = 128
"""Tokens a block of raw text; TinyBERT, section 4.2."""


class TextSettings(Protocol):
    """What is asked of the text, by whichever verb."""

    corpus: list[str]
    text: str | None
    max_length: int | None
    held_out: int
    seed: int


@dataclass(frozen=True)
class Text:
    """What is trained on, and what is held out.

    Attributes:
        train, held_out: blocks; of a dry run on raw text, of a sample.
        blocks, tokens: of an epoch.
        max_length: tokens a block at most.
        estimated: whether blocks and tokens are.
        bytes_to_write: disk that tokenizing will take.
    """

    train: TrainingRows
    held_out: TrainingRows
    blocks: int
    tokens: int
    max_length: int
    estimated: bool = False
    bytes_to_write: int = 0


def check_corpus(
    settings: TextSettings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> str:
    """Look into the corpus before anything is begun; returns a fingerprint.

    Of raw text it is that of names, sizes, beginnings and ends of the files.

    Raises:
        TinybertError: nothing there, nothing that can be read, another tokenizer, blocks longer
            than the model takes.
    """
    directory = _built(settings)
    if directory is None:
        check_length(model, settings.max_length or DEFAULT_LENGTH)
        sources = find_sources(settings.corpus, settings.text)
        for note in [note for source in sources for note in source.notes]:
            reporter.say(note)
        return sources_print(sources)
    manifest = read_manifest(directory)
    check_tokenizer(directory, manifest, tokenizer)
    if settings.max_length not in (None, manifest.max_length):
        raise TinybertError(
            f"{directory} was built of blocks of {manifest.max_length} tokens, not "
            f"{settings.max_length}: leave out --max-length, or build another corpus."
        )
    check_length(model, manifest.max_length)
    return manifest.fingerprint()


def text_length(settings: TextSettings) -> int:
    """Tokens of a block at most: those of a built corpus, or those asked for."""
    directory = _built(settings)
    if directory is None:
        return settings.max_length or DEFAULT_LENGTH
    return read_manifest(directory).max_length


def open_text_of(
    run: Run,
    settings: TextSettings,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> Text:
    """The run's text; raw text is tokenized by the main process into the run's directory."""
    directory = _built(settings)
    if directory is None:
        directory = run.work / "corpus"
        if run.is_main and not is_corpus(directory):
            try:
                build_corpus(
                    find_sources(settings.corpus, settings.text),
                    tokenizer,
                    directory,
                    max_length=settings.max_length or DEFAULT_LENGTH,
                    reporter=reporter,
                    resume=build_directory(directory).exists(),
                )
            except TinybertError as error:
                if run.state.num_processes > 1:  # the others wait for the corpus
                    (run.work / FAILED).write_text(str(error), encoding="utf-8")
                run.discard_if_empty()
                raise
        while not is_corpus(directory):  # a barrier would give up after some minutes
            if (run.work / FAILED).is_file():
                raise TinybertError((run.work / FAILED).read_text("utf-8"))
            time.sleep(1.0)
        run.state.wait_for_everyone()
    try:
        rows = open_corpus(directory, tokenizer, verify=run.is_main, reporter=reporter)
        return _text(settings, rows)
    except TinybertError:  # a run that never began must not be in the way of the next
        if directory.parent == run.work and run.is_main:
            shutil.rmtree(directory)
        run.discard_if_empty()
        raise


def sample_text(
    settings: TextSettings, tokenizer: PreTrainedTokenizerBase, reporter: Reporter
) -> Text:
    """The whole of a built corpus; of raw text the beginning, and an estimate of the whole."""
    if (directory := _built(settings)) is not None:
        return _text(settings, open_corpus(directory, tokenizer, verify=False))
    length = settings.max_length or DEFAULT_LENGTH
    sample = take_sample(find_sources(settings.corpus, settings.text), tokenizer, length)
    train, held_out = split_blocks(sample.rows, settings.held_out, settings.seed)
    if sample.share is None:
        reporter.say("nobody knows how long this text is: the plan is for its beginning")
    share = sample.share or 1.0
    return Text(
        train,
        held_out,
        blocks=round(share * len(train)),
        tokens=round(share * int(train.lengths.sum())),
        max_length=length,
        estimated=not sample.whole,
        bytes_to_write=sample.bytes_to_write or 0,
    )


def _built(settings: TextSettings) -> Path | None:
    """The one built corpus that was named; None where text was."""
    built = [name for name in settings.corpus if is_corpus(Path(name).expanduser())]
    if not built:
        return None
    if len(settings.corpus) > 1:
        raise TinybertError(
            f"{built[0]} is a built corpus, which stands alone: name all its text when it is "
            "built, or only text here."
        )
    return Path(built[0]).expanduser()


def _text(settings: TextSettings, rows: CorpusRows) -> Text:
    train, held_out = hold_out_documents(rows, settings.held_out, settings.seed)
    tokens = int(train.lengths.sum(dtype=np.int64))
    return Text(train, held_out, len(train), tokens, rows.manifest.max_length)


def split_blocks(rows: TokenRows, held_out: int, seed: int) -> tuple[TokenRows, TokenRows]:
    """Rows in memory to train on, and rows kept back (at most a tenth), drawn by the seed.

    Raises:
        TinybertError: one row only.
    """
    if len(rows) < 2:
        raise TinybertError("the corpus gives one block of tokens only: give more text.")
    count = max(1, min(held_out, len(rows) // 10))
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows.take(np.sort(order[count:])), rows.take(np.sort(order[:count]))
