"""Of the verbs that use a model as it is: ``evaluate``, ``predict``, ``convert``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import Checked, setting
from tinybert.settings.shared import QuestionSettings, RowSettings

__all__ = ["ConvertSettings", "EvaluateSettings", "PredictSettings"]


@dataclass
class EvaluateSettings(QuestionSettings, RowSettings):
    """Score a model on labelled rows: a classifier, regressor, tagger or answerer of questions."""

    model: str | None = setting(None, "model directory")
    data: str | None = setting(
        None,
        "rows to score: a file, directory or Hub dataset; with --task the directory of GLUE's "
        "files, or a Hub dataset (default: nyu-mll/glue)",
        "main",
    )
    task: str | None = setting(
        None,
        "GLUE task whose official dev set is scored, MNLI's two parts apart; or ranking, where "
        "values are scored as the order of each query's passages",
        "main",
    )
    similarity: str | None = setting(
        None,
        "instead of rows to score: pairs of sentences, with people's scores (STS-B's layout) or "
        "without, or a text of one sentence a line; tells how far the model's similarities (cosine "
        "of sentence vectors) go with the scores, and with those of --teacher; any encoder",
        "main",
    )
    pooling: Literal["auto", "mean", "cls"] = setting(
        "auto",
        "of states, with --similarity: mean over tokens, or the first token's; auto: what the "
        "model's own modules say (sentence-transformers' layout: pooling, dense layers), or mean "
        "where it has none",
        "main",
    )
    teacher: str | None = setting(None, "also report agreement with this model", "main")
    json: Path | None = setting(None, "write the figures to this file", "main")


@dataclass
class PredictSettings(QuestionSettings, RowSettings):
    """Answer rows, which need no labels, or GLUE's official test sets."""

    model: str | None = setting(None, "model with a task head: directory or Hub name", "main")
    data: str | None = setting(
        None,
        "rows to answer: a file, directory or Hub dataset; with --task the directory of GLUE's "
        "files, or a Hub dataset (default: nyu-mll/glue)",
        "main",
    )
    output: Path | None = setting(
        None,
        "file of predictions (.jsonl, .csv, .parquet; tags and answers .jsonl); with --task a "
        "directory, which may hold the files of other tasks",
        "main",
    )
    task: str | None = setting(
        None,
        "GLUE task whose test sets are answered, in the leaderboard's format: cola, sst-2, mrpc, "
        "sts-b, qqp, mnli, qnli, rte, wnli; or ranking, where --label scores an order",
        "main",
    )
    label: str | None = setting(
        None, "label column, to score the predictions as well; default: none", "data"
    )
    overwrite: bool = setting(False, "replace what is at OUTPUT", "run")


@dataclass
class ConvertSettings(Checked):
    """Turn a checkpoint of the TinyBERT authors' code into a Hugging Face directory."""

    model: Path | None = setting(
        None, "directory with pytorch_model.bin, config.json or bert_config.json, and vocab.txt"
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    labels: str | None = setting(
        None,
        "names of the classifier's outputs, in their order: negative,positive; default: the "
        "configuration's own, else LABEL_0, LABEL_1, …",
    )
    head: Literal["auto", "relu", "tanh"] = setting(
        "auto",
        "what the classifier reads: relu of the pooler's output (the authors' task models), or the "
        "output itself (tanh, the standard head); auto: relu, unless the configuration names the "
        "standard class",
    )
    vocab: Path | None = setting(None, "vocabulary, one piece a line; default: MODEL/vocab.txt")
    lower_case: bool | None = setting(
        None, "lower-case all text; default: if no piece of the vocabulary has a capital"
    )
    overwrite: bool = setting(False, "replace the output directory", "run")
    dry_run: bool = setting(False, "read and check everything, write nothing", "run")
