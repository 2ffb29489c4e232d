"""What the prediction stage of several tasks minimises: each row its own task's term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinybert.losses import Ratio
from tinybert.objectives import Objective, Seen, Term, prediction_objective
from tinybert.several_tasks.heads import HeadSpec
from tinybert.taps import TapRequest

__all__ = ["TaskTerm", "tasks_objective", "value_weight"]


@dataclass(frozen=True)
class TaskTerm(Term):
    """A term over rows, of one task's rows; 0 on batches of another task.

    With its micro-batch's share of the whole effective batch, all tasks' rows counted, the terms
    of all tasks add up to the mean over all rows, of whatever task.
    """

    task: int = 0
    called: str = ""
    own: Term | None = None

    @property
    def name(self) -> str:
        return f"prediction.{self.called}"

    def student_taps(self) -> TapRequest:
        assert self.own is not None
        return self.own.student_taps()

    def teacher_taps(self) -> TapRequest:
        assert self.own is not None
        return self.own.teacher_taps()

    def __call__(self, seen: Seen) -> Ratio:
        assert self.own is not None
        assert seen.student.logits is not None
        if seen.task != self.task:
            return Ratio(seen.student.logits.new_zeros(()), 1)
        return self.own(seen)


def tasks_objective(
    heads: Sequence[HeadSpec], weights: Sequence[float], temperature: float
) -> Objective:
    """The prediction term of each task (TinyBERT, equation 10), weighted."""
    terms: list[Term] = []
    for task, (head, weight) in enumerate(zip(heads, weights, strict=True)):
        (own,) = prediction_objective(temperature, head.regression, answering=head.answering).terms
        terms.append(TaskTerm(weight, task=task, called=head.name, own=own))
    return Objective(tuple(terms))


def value_weight(values: NDArray[np.float32]) -> float:
    """λ of a regression among other tasks: 1 over the variance of the teacher's values.

    Squared differences are in the square of the labels' unit: stars from 1 to 5 would weigh a
    four-hundredth of percentages beside the same classes. So weighted, 1 is what the best constant
    answer costs, whatever the unit.

    Args:
        values: (rows, 1), the teacher's for the training rows.
    """
    variance = float(np.asarray(values, dtype=np.float64).var())
    return 1.0 / variance if variance > 0 else 1.0
