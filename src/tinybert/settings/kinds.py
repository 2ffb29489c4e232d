"""What ``--task`` may say of rows of one's own."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "OWN_TASKS",
    "QUESTION_LENGTH",
    "ROW_LENGTH",
    "RowTask",
    "WordTask",
    "own_task",
    "row_task",
    "word_task",
]

WordTask = Literal["token-classification", "question-answering"]
RowTask = Literal["classification", "regression", "multi-label", "ranking"]
OWN_TASKS = (
    *("classification", "regression", "multi-label", "ranking"),
    *("token-classification", "question-answering"),
)
"""What rows of one's own may be, besides ``auto``."""

ROW_LENGTH, QUESTION_LENGTH = 128, 384
"""Tokens a row where nobody says how many; a question comes with a passage."""

_ALIASES: dict[str, WordTask] = {
    "token-classification": "token-classification",
    "ner": "token-classification",
    "tokens": "token-classification",
    "question-answering": "question-answering",
    "squad": "question-answering",
    "qa": "question-answering",
}

_ROW_ALIASES: dict[str, RowTask] = {
    "classification": "classification",
    "regression": "regression",
    "multi-label": "multi-label",
    "multilabel": "multi-label",
    "multi-label-classification": "multi-label",
    "ranking": "ranking",
    "reranking": "ranking",
}


def word_task(task: str | None) -> WordTask | None:
    """The task that a name stands for; None for those that have a label a row.

    >>> word_task("NER"), word_task("squad"), word_task("mnli")
    ('token-classification', 'question-answering', None)
    """
    return _ALIASES.get(_plain(task))


def row_task(task: str | None) -> RowTask | None:
    """The task of whole texts that a name stands for; None for others, ``auto`` among them.

    >>> row_task("Multi_Label"), row_task("reranking"), row_task("auto")
    ('multi-label', 'ranking', None)
    """
    return _ROW_ALIASES.get(_plain(task))


def own_task(task: str | None) -> bool:
    """Whether rows of one's own are meant, and none of GLUE's tasks."""
    known = _plain(task) in ("", "auto") or row_task(task) is not None
    return known or word_task(task) is not None


def _plain(task: str | None) -> str:
    return (task or "").strip().casefold().replace("_", "-")
