"""Terms of sentence vectors: the student's pooled state, projected, against the teacher's vector.

A row's loss depends on no other row, so that micro-batches, padding and batch mates change
nothing. Losses on the similarities within a batch (as in arXiv 1907.09682) are not like that: which
pairs there are would follow from how a batch is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from tinybert.losses import Ratio, vector_cosine_loss, vector_loss
from tinybert.objectives import Objective, Seen, Term
from tinybert.sentence_modules import Pooling, pooled
from tinybert.taps import TapRequest

__all__ = ["SentenceLoss", "SentenceTerm", "sentence_objective"]

SentenceLoss = Literal["cosine", "mse"]


@dataclass(frozen=True)
class SentenceTerm(Term):
    """The leading numbers of a sentence's vector against the teacher's.

    The teacher's vectors are the rows' ``targets``, which lie where a teacher's logits would.

    Attributes:
        m: the student's last layer, whose states are pooled and projected.
        pooling: as the teacher pools.
        loss: 1 - cosine, or the squared distance.
        size: numbers compared, from the first; None for all (Matryoshka representation learning,
            arXiv 2205.13147, section 3).
    """

    m: int = 1
    pooling: Pooling = "mean"
    loss: SentenceLoss = "cosine"
    size: int | None = None
    projects: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "sentence" if self.size is None else f"sentence.{self.size}"

    def student_taps(self) -> TapRequest:
        return TapRequest(hidden=frozenset({self.m}))

    def teacher_taps(self) -> TapRequest:
        return TapRequest(logits=True)

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.teacher.logits is not None
        states = seen.student.hidden[self.m]
        states = states if states.dtype == torch.float64 else states.float()  # sums of many
        student = seen.project(self.m, pooled(states, seen.mask, self.pooling))
        compare = vector_cosine_loss if self.loss == "cosine" else vector_loss
        return compare(student[:, : self.size], seen.teacher.logits[:, : self.size])


def sentence_objective(
    m: int, pooling: Pooling, loss: SentenceLoss = "cosine", sizes: Sequence[int] = ()
) -> Objective:
    """The whole vector, and each of ``sizes`` of its leading numbers, all of one weight."""
    weight = 1 / (1 + len(sizes))
    whole = SentenceTerm(weight, m, pooling, loss)
    return Objective((whole, *(SentenceTerm(weight, m, pooling, loss, size) for size in sizes)))
