"""How a student's attention follows its teacher's where they have as many heads, or have not.

TinyBERT compares attention scores head by head (section 3.1), so the student needs the teacher's
number of heads. Two other transfers need not: scores averaged over each model's heads, and
MiniLMv2's relations, for which the heads are laid side by side and split anew.

Where a layer sees a window of neighbours alone (ModernBERT), scores outside it are never used, and
nothing trained them: they are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from tinybert.baseline_terms import RelationTerm
from tinybert.errors import TinybertError
from tinybert.objectives import AttentionTerm, AttentionTransfer, Term
from tinybert.settings import Transfer
from tinybert.taps import AttentionTap

__all__ = [
    "MeanAttentionTerm",
    "attention_transfer",
    "chosen_transfer",
    "relation_heads",
    "shared_windows",
]

MOST_RELATION_HEADS = 48
"""MiniLMv2 takes 48 for teachers of 768 and 64 for those of 1,024 (section 4.1)."""

LEAST_RELATION_SIZE = 8
"""Width of a relation head at least: fewer numbers hardly tell tokens apart."""


@dataclass(frozen=True)
class MeanAttentionTerm(AttentionTerm):
    """MSE of attention scores averaged over each model's heads, of student layer m, teacher n.

    The average of a·Q_h·K_hᵀ over H heads is (a/H)·Q·Kᵀ of all heads side by side: one head as wide
    as the model, so that the loss stays linear in length.
    """

    def read(self, tap: AttentionTap) -> AttentionTap:
        """All heads side by side, (B, 1, L, H·d)."""
        query, key = (x.transpose(1, 2).flatten(2).unsqueeze(1) for x in (tap.query, tap.key))
        return tap._replace(query=query, key=key, scaling=tap.scaling / tap.query.shape[1])


def relation_heads(teacher_width: int, student_width: int, most: int = MOST_RELATION_HEADS) -> int:
    """The most relation heads, up to ``most``, that divide both widths.

    >>> relation_heads(768, 312, 48)
    24

    Raises:
        TinybertError: only one.
    """
    for count in range(most, 1, -1):
        small = student_width // count < LEAST_RELATION_SIZE
        if not (small or teacher_width % count or student_width % count):
            return count
    raise TinybertError(
        f"no number of relation heads divides widths {teacher_width} and {student_width} into "
        f"parts of {LEAST_RELATION_SIZE} or more: take another width, or attention's mean "
        "(--attention-transfer mean)."
    )


def chosen_transfer(
    wanted: Transfer,
    teacher_heads: int,
    student_heads: int,
    widths: tuple[int, int],
    windows: bool = False,
) -> tuple[Transfer, str]:
    """What ``auto`` means for these head counts, and why.

    Args:
        wanted: as asked.
        teacher_heads, student_heads: their numbers.
        widths: the teacher's and the student's, of all heads of a layer together.
        windows: whether layers see a window of neighbours alone; relations are of all pairs.

    Raises:
        TinybertError: head by head was asked for, and their numbers differ.
    """
    if wanted not in get_args(Transfer):
        known = ", ".join(get_args(Transfer))
        raise TinybertError(f"unknown attention transfer {wanted!r}: choose {known}.")
    if wanted == "heads" and teacher_heads != student_heads:
        raise TinybertError(
            f"the student has {student_heads} attention heads and its teacher {teacher_heads}, "
            "but --attention-transfer heads compares head with head: take relations, mean or "
            f"auto, or a student of {teacher_heads} heads."
        )
    if wanted != "auto":
        return wanted, "as asked"
    if teacher_heads == student_heads:
        return "heads", "teacher and student have equally many"
    counts = f"the teacher has {teacher_heads} heads, the student {student_heads}"
    if windows:
        return "mean", f"{counts}, and layers with sliding windows have no relations of all pairs"
    try:
        relation_heads(*widths)
    except TinybertError:
        return "mean", f"{counts}, and their widths have no relation heads in common"
    return "relations", counts


def shared_windows(
    student: Mapping[int, int], teacher: Mapping[int, int], mapping: Sequence[int]
) -> dict[int, int]:
    """{student layer m: window within which both it and its teacher layer g(m) look}.

    >>> shared_windows({2: 8}, {3: 64, 6: 64}, (1, 3, 6))
    {2: 8, 3: 64}
    """
    found = {}
    for m, n in enumerate(mapping, 1):
        sizes = [each[layer] for each, layer in ((student, m), (teacher, n)) if layer in each]
        if sizes:
            found[m] = min(sizes)
    return found


def attention_transfer(
    transfer: Transfer, widths: tuple[int, int], windows: Mapping[int, int] | None = None
) -> AttentionTransfer:
    """The terms of a pair of layers, for :func:`tinybert.objectives.intermediate_objective`.

    Args:
        transfer: what :func:`chosen_transfer` found.
        widths: the teacher's and the student's.
        windows: {student layer: window}, from :func:`shared_windows`; others compare all pairs.

    Raises:
        TinybertError: no number of relation heads divides both widths.
    """
    if transfer != "relations":
        kind = AttentionTerm if transfer == "heads" else MeanAttentionTerm
        near = windows or {}
        return lambda weight, m, n: [kind(weight, m, n, near.get(m))]
    heads = relation_heads(*widths)

    def relations(weight: float, m: int, n: int) -> Sequence[Term]:
        return [
            RelationTerm(weight, m, n, of=kind, relation_heads=heads)
            for kind in ("query", "key", "value")
        ]

    return relations
