"""What ``--task`` may say of rows that are answered otherwise than with a label each."""

from __future__ import annotations

from typing import Literal

__all__ = ["QUESTION_LENGTH", "ROW_LENGTH", "WordTask", "word_task"]

WordTask = Literal["token-classification", "question-answering"]
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


def word_task(task: str | None) -> WordTask | None:
    """The task that a name stands for; None for those that have a label a row.

    >>> word_task("NER"), word_task("squad"), word_task("mnli")
    ('token-classification', 'question-answering', None)
    """
    return _ALIASES.get((task or "").strip().casefold().replace("_", "-"))
