"""Rows of tasks that are answered in words: tagged words, and questions on passages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.evaluation import answered_alike
from tinybert.jobs.common import required
from tinybert.progress import Reporter
from tinybert.settings import (
    DistillSettings,
    EvaluateSettings,
    ExportSettings,
    FinetuneSettings,
    PredictSettings,
    QuestionSettings,
)
from tinybert.settings.kinds import word_task
from tinybert.task_heads import HEADS, Answering
from tinybert.tasks.questions import (
    QuestionReading,
    QuestionRows,
    Search,
    read_questions,
    read_questions_scored,
    tokenize_questions,
)
from tinybert.tasks.tagging import read_tagged, read_tagged_scored, tokenize_words
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = [
    "agreement_between",
    "read_answered",
    "read_words",
    "refuse_glue",
    "refuse_words",
    "word_tokens",
]

USUAL_STRIDE = 128
"""Tokens that windows of 384 share, a third; of BERT's code for SQuAD."""

_Scored = EvaluateSettings | ExportSettings | PredictSettings


def refuse_words(task: str | None, verb: str, instead: str) -> None:
    """Say that a verb has nothing for these tasks, and what has.

    Raises:
        TinybertError: ``task`` names one of them.
    """
    if (asked := word_task(task)) is not None:
        raise TinybertError(f"`tinybert {verb}` is not for --task {asked}: {instead}.")


def refuse_glue(task: str | None, answering: Answering) -> None:
    """Say that ``--task`` is not for models that answer in words.

    Raises:
        TinybertError: ``task`` names anything.
    """
    if task is not None:
        raise TinybertError(
            f"--task is for GLUE's tasks, and the model is {HEADS[answering].called}: leave it out "
            "and give rows with --data."
        )


def read_words(settings: FinetuneSettings | DistillSettings, reporter: Reporter) -> TaskData:
    """Read the rows that the settings name."""
    asked: dict[str, Any] = {
        "train": required(settings.data, "--data", "the training data"),
        "dev": settings.dev,
        "test": settings.test,
        "metric": settings.metric,
        "seed": settings.seed,
        "dev_share": settings.dev_share,
        "reporter": reporter,
    }
    if word_task(settings.task) == "question-answering":
        if settings.labels is not None:
            raise TinybertError("--labels names classes, and questions have none: leave it out.")
        return read_questions(text=settings.text, label=settings.label, **asked)
    names = None
    if settings.labels is not None:
        names = [name.strip() for name in settings.labels.split(",") if name.strip()]
    return read_tagged(text=settings.text, label=settings.label, label_names=names, **asked)


def read_answered(
    settings: _Scored,
    names: tuple[str, ...],
    answering: Answering,
    reporter: Reporter,
    *,
    guess_label: bool = True,
) -> tuple[Task, Rows]:
    """Rows to score or answer with a model of these outputs."""
    refuse_glue(settings.task, answering)
    task: Task
    rows: Rows
    common: dict[str, Any] = {
        "text": settings.text,
        "label": settings.label,
        "metric": settings.metric,
        "reporter": reporter,
    }
    if answering == "spans":
        task, rows, notes = read_questions_scored(str(settings.data), **common)
    else:
        task, rows, notes = read_tagged_scored(
            str(settings.data), names, guess_label=guess_label, **common
        )
    for note in notes:
        reporter.say(note)
    return task, rows


def word_tokens(
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    task: Task,
    max_length: int,
    settings: QuestionSettings | None,
    advance: Callable[[int], None] | None,
    reporter: Reporter,
    what: str,
) -> TokenRows:
    """Token rows of one part, with a notice on what had to be cut."""
    if task.answering == "spans":
        assert isinstance(rows, QuestionRows)
        return _windows(tokenizer, rows, max_length, settings, advance, reporter, what)
    tokens = tokenize_words(tokenizer, rows, task.label_names, max_length, advance=advance)
    if tokens.cut:
        missed = sum(map(len, rows.texts)) - int(tokens.asked.sum())  # type: ignore[union-attr]
        reporter.say(
            f"{tokens.cut:,} of {len(rows):,} {what} sentences are longer than {max_length} "
            f"tokens: {missed:,} words are cut, and count as missed in every score"
        )
    return tokens


def agreement_between(
    tokens: TokenRows,
    outputs: NDArray[np.float32],
    others: TokenRows,
    of_other: NDArray[np.float32],
) -> float:
    """How far two models answer the same rows alike, each by its own tokenizer's pieces."""
    assert tokens.reading is not None
    assert others.reading is not None
    return answered_alike(
        tokens.reading, tokens.reading.settled(outputs), others.reading.settled(of_other)
    )


def _windows(
    tokenizer: PreTrainedTokenizerBase,
    rows: QuestionRows,
    max_length: int,
    settings: QuestionSettings | None,
    advance: Callable[[int], None] | None,
    reporter: Reporter,
    what: str,
) -> TokenRows:
    settings = settings or QuestionSettings()
    stride = settings.stride
    if stride is None:
        stride = min(USUAL_STRIDE, max_length // 3)
    search = Search(
        settings.max_answer_length, settings.n_best, settings.null_threshold, settings.no_answer
    )
    tokens = tokenize_questions(tokenizer, rows, max_length, stride, search, advance=advance)
    if tokens.cut:
        reporter.say(
            f"{what}: {len(rows):,} questions in {len(tokens):,} windows of {max_length} tokens, "
            f"which share {stride}"
        )
    assert isinstance(tokens.reading, QuestionReading)
    if lost := tokens.reading.lost:
        reporter.say(
            f"{what}: no window holds {lost:,} of the answers whole; a greater --stride or "
            "--max-length would"
        )
    return tokens
