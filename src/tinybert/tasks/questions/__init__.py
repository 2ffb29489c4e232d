"""Extractive question answering: a question, a passage, and the span of it that answers."""

from __future__ import annotations

from tinybert.tasks.questions.metric import answer_scores, exact_match, normalised, word_f1
from tinybert.tasks.questions.reader import (
    QuestionRows,
    read_questions,
    read_questions_scored,
)
from tinybert.tasks.questions.reading import QuestionReading, Search
from tinybert.tasks.questions.spans import Span, best_spans
from tinybert.tasks.questions.windows import tokenize_questions

__all__ = [
    "QuestionReading",
    "QuestionRows",
    "Search",
    "Span",
    "answer_scores",
    "best_spans",
    "exact_match",
    "normalised",
    "read_questions",
    "read_questions_scored",
    "tokenize_questions",
    "word_f1",
]
