"""Entities out of tags, and how many of them are right: what conlleval counts.

Tags are IOB1, IOB2, BIOES or BILOU; what belongs together is read leniently, as conlleval and
seqeval's default mode do: an entity also begins where its type changes, and with an I after an O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinybert.task_heads import OUTSIDE, are_entity_tags

__all__ = ["EntityRow", "are_entity_tags", "entities", "entity_scores", "tag_f1_rows"]

_ALIKE = {"L": "E", "U": "S"}  # BILOU says last and unit where BIOES says end and single

Entity = tuple[str, int, int]
"""Type, first word, last word."""


@dataclass(frozen=True)
class EntityRow:
    """One type: entities that there are, and precision, recall and F1 of the answers, 0 … 1."""

    name: str
    count: int
    precision: float
    recall: float
    f1: float


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, as (type, first word, last word).

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 1), ('LOC', 3, 3), ('LOC', 4, 4)]
    """
    found: list[Entity] = []
    before, of, begun = OUTSIDE, "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter = _ALIKE.get(tag[:1], tag[:1])
        kind = tag[1:].split("-", maxsplit=1)[-1] or "_"
        if _ends(before, letter, of != kind):
            found.append((of, begun, place - 1))
        if _starts(before, letter, of != kind):
            begun = place
        before, of = letter, kind
    return found


def _ends(before: str, letter: str, other: bool) -> bool:
    """Whether the entity that the word before was in ends there."""
    if before == "O":
        return False
    return other or before in "ES" or letter in "BSO"


def _starts(before: str, letter: str, other: bool) -> bool:
    """Whether an entity begins with this word."""
    if letter == "O":
        return False
    return other or letter in "BS" or before in "ESO"


def _counted(
    truth: Iterable[Sequence[str]], answers: Iterable[Sequence[str]]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """By type: entities that there are, that were answered, and that are both."""
    there, said, right = Counter[str](), Counter[str](), Counter[str]()
    for wanted, given in zip(truth, answers, strict=True):
        one, other = set(entities(wanted)), set(entities(given))
        there.update(kind for kind, *_ in one)
        said.update(kind for kind, *_ in other)
        right.update(kind for kind, *_ in one & other)
    return there, said, right


def _figures(right: int, said: int, there: int) -> tuple[float, float, float]:
    precision, recall = right / said if said else 0.0, right / there if there else 0.0
    return precision, recall, 2 * right / (said + there) if right else 0.0


def entity_scores(
    truth: Iterable[Sequence[str]], answers: Iterable[Sequence[str]]
) -> dict[str, float]:
    """F1, precision and recall over all entities: one is right if type and both ends are.

    The figures are conlleval's (Tjong Kim Sang and De Meulder, CoNLL 2003) and those of seqeval's
    default mode with ``average="micro"``.

    Args:
        truth: tags of every sentence.
        answers: tags of the same sentences.

    >>> entity_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]])
    {'entity_f1': 0.6666666666666666, 'entity_precision': 1.0, 'entity_recall': 0.5}
    """
    there, said, right = _counted(truth, answers)
    precision, recall, f1 = _figures(right.total(), said.total(), there.total())
    return {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall}


def tag_f1_rows(
    truth: Iterable[Sequence[str]], answers: Iterable[Sequence[str]]
) -> list[EntityRow]:
    """Figures of every type of entity, by name."""
    there, said, right = _counted(truth, answers)
    return [
        EntityRow(kind, there[kind], *_figures(right[kind], said[kind], there[kind]))
        for kind in sorted(there | said)
    ]
