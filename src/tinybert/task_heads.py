"""The heads of task models: one answer a row or several, one a token, or a span of a passage.

What a head is called in transformers stands here once, for loading, checking, cards and exports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "HEADS",
    "MULTI_LABEL",
    "OUTSIDE",
    "SPAN_LABELS",
    "Answering",
    "TaskHead",
    "answering_of",
    "are_entity_tags",
]

Answering = Literal["rows", "sets", "tokens", "spans"]
"""What is answered: a row as a whole, with one answer or with a set of labels; each of its words;
or with a span of its second text."""

MULTI_LABEL = "multi_label_classification"
"""A config's ``problem_type`` of heads that answer with a set of labels."""

OUTSIDE = "O"
"""The tag of words that belong to nothing."""

_TAG = re.compile(r"[BIESLU](-.+)?", re.S)

SPAN_LABELS = ("start", "end")
"""The two outputs a token of a head that finds spans."""


@dataclass(frozen=True)
class TaskHead:
    """One kind of head.

    Attributes:
        word: what transformers' class names and a config's ``architectures`` have in common.
        auto: the class that loads such models of any architecture.
        pipeline: the Hub's name of the task.
        called: for people, "a …".
        kind: what ``--task`` is to say; "" where that is told from the labels.
    """

    word: str
    auto: str
    pipeline: str
    called: str
    kind: str


HEADS: Mapping[Answering, TaskHead] = {
    "rows": TaskHead(
        "SequenceClassification",
        "AutoModelForSequenceClassification",
        "text-classification",
        "a classifier of whole texts",
        "",
    ),
    "sets": TaskHead(
        "SequenceClassification",
        "AutoModelForSequenceClassification",
        "text-classification",
        "a multi-label classifier",
        "multi-label",
    ),
    "tokens": TaskHead(
        "TokenClassification",
        "AutoModelForTokenClassification",
        "token-classification",
        "a token classifier",
        "token-classification",
    ),
    "spans": TaskHead(
        "QuestionAnswering",
        "AutoModelForQuestionAnswering",
        "question-answering",
        "a question-answering model",
        "question-answering",
    ),
}


def are_entity_tags(names: Iterable[str]) -> bool:
    """Whether these are tags of entities: ``O``, ``B-PER``, ``I-PER``, and not of single words.

    >>> are_entity_tags(["O", "B-PER", "I-PER"]), are_entity_tags(["NN", "VB"])
    (True, False)
    """
    others = [name for name in names if name != OUTSIDE]
    return bool(others) and all(_TAG.fullmatch(name) for name in others)


def answering_of(architectures: Sequence[Any] | None, problem_type: Any = None) -> Answering | None:
    """What a model with these ``architectures`` answers; None of an encoder.

    Sets of labels and single ones come from the same classes: ``problem_type`` of the config tells
    them apart.

    >>> answering_of(["BertForTokenClassification"]), answering_of(["BertModel"])
    ('tokens', None)
    >>> answering_of(["BertForSequenceClassification"], "multi_label_classification")
    'sets'
    """
    for answering, head in HEADS.items():
        if any(head.word in str(name) for name in architectures or []):
            several = answering == "rows" and problem_type == MULTI_LABEL
            return "sets" if several else answering
    return None
