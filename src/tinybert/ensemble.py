"""Several teachers as one: the mean of their answers and the states of the first; or of several
tasks each its own.

The mean is of probabilities, not of logits: soft cross-entropy against it is the mean of the soft
cross-entropies against each teacher, so that learning from it is learning from all of them (Hinton
et al., arXiv 1503.02531, section 4, distil an ensemble so).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tinybert.taps import TapRequest, Taps
from tinybert.task_heads import Answering
from tinybert.teachers import Teacher

__all__ = ["Ensemble", "TaskTeachers", "mean_logits", "mean_set_logits"]


def mean_logits(logits: Sequence[Tensor], temperature: float = 1.0, dim: int = -1) -> Tensor:
    """Logits whose softmax at ``temperature`` is the mean of those of each teacher.

    Their level is the mean of the teachers' levels: of one teacher, however often it is counted,
    they are its own. Spans of several windows are compared by it.

    Args:
        logits: of each teacher, (rows, classes) or (rows, length, classes), of one order of
            classes; -inf where a choice is none.
        temperature: of the loss that reads them; the mean holds at this one alone.
        dim: that probabilities add up along.

    Returns:
        The same shape, float32 (float64 if an input is).

    >>> import torch
    >>> sure, unsure = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> torch.softmax(mean_logits([sure, unsure]), dim=-1)
    tensor([[0.6904, 0.3096]])
    """
    dtype = torch.float64 if any(one.dtype == torch.float64 for one in logits) else torch.float32
    stacked = torch.stack([one.to(dtype) for one in logits]) / temperature
    along = dim + (dim >= 0)
    levels = torch.logsumexp(stacked, dim=along, keepdim=True)
    mean = torch.logsumexp(stacked - levels, dim=0) - torch.tensor(len(logits)).log()
    return temperature * (mean + levels.mean(dim=0))


def mean_set_logits(logits: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """Logits whose sigmoid at ``temperature`` is the mean of those of each teacher.

    Args:
        logits: of each teacher, (rows, labels), of one order of labels.
        temperature: as of :func:`mean_logits`.

    Returns:
        The same shape, float32 (float64 if an input is).

    >>> import torch
    >>> sure, unsure = torch.tensor([[2.0, -2.0]]), torch.tensor([[0.0, 0.0]])
    >>> torch.sigmoid(mean_set_logits([sure, unsure]))
    tensor([[0.6904, 0.3096]])
    """
    dtype = torch.float64 if any(one.dtype == torch.float64 for one in logits) else torch.float32
    stacked = torch.stack([one.to(dtype) for one in logits]) / temperature
    # log p - log(1 - p), where sums of logarithms keep what is nearly 0 or 1.
    yes, no = (torch.logsumexp(F.logsigmoid(each), dim=0) for each in (stacked, -stacked))
    return temperature * (yes - no)


class Ensemble(Teacher):
    """A teacher whose answers are the mean of its own and of others'.

    Args:
        first: whose states, head and tokenizer are those of the whole.
        others: asked for answers alone.
        answering: what is answered; ``values`` have their plain mean.
        temperature: see :func:`mean_logits`.
    """

    def __init__(
        self,
        first: Teacher,
        others: Sequence[Teacher],
        *,
        answering: Answering | Literal["values"] = "rows",
        temperature: float = 1.0,
    ) -> None:
        self.first, self.others = first, list(others)
        self.model, self.tokenizer = first.model, first.tokenizer
        self.answering, self.temperature = answering, temperature
        self._order = None

    @torch.no_grad()
    def taps(self, batch: Mapping[str, Tensor], request: TapRequest) -> Taps:
        """Taps of the first; where logits are asked for, they are the mean's."""
        taps = self.first.taps(batch, request)
        if taps.logits is not None:
            asked = TapRequest(logits=True)
            logits = [taps.logits]
            for other in self.others:
                found = other.taps(batch, asked).logits
                assert found is not None
                logits.append(found)
            taps.logits = self._mean(logits, batch)
        return taps

    def _mean(self, logits: Sequence[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        if self.answering == "values":
            return torch.stack([one.float() for one in logits]).mean(dim=0)
        if self.answering == "sets":
            return mean_set_logits(logits, self.temperature)
        if self.answering != "spans":
            return mean_logits(logits, self.temperature)
        # Starts and ends are chosen among the passage's tokens; what the others say is not read.
        outside = ~batch["asked"].bool().unsqueeze(-1)
        inside = [one.masked_fill(outside, -torch.inf) for one in logits]
        return mean_logits(inside, self.temperature, dim=1).masked_fill(outside, 0.0)

    def speak_labels(self, names: Sequence[str]) -> None:
        """Each gives its logits in the order of the data's label names."""
        for teacher in (self.first, *self.others):
            teacher.speak_labels(names)

    @property
    def label_order(self) -> list[int] | None:
        """The first's, whose head a student's may start from."""
        return self.first.label_order

    def only_as_deep_as(self, depth: int) -> None:
        """Drop the first's layers above ``depth``: then answers are not to be had any more."""
        self.first.only_as_deep_as(depth)

    def fingerprint(self) -> str:
        """Of all, and of how they are taken together."""
        parts = [teacher.fingerprint() for teacher in (self.first, *self.others)]
        how = f"{self.answering} {self.temperature}"
        return hashlib.sha256(" ".join([*parts, how]).encode()).hexdigest()[:16]


class TaskTeachers(Teacher):
    """The teachers of several tasks: a batch's ``task`` says whose states and answers it gets.

    Args:
        teachers: in the order of the tasks' numbers; of one shape.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = list(teachers)
        self.model, self.tokenizer = self.teachers[0].model, self.teachers[0].tokenizer
        self._order = None

    def taps(self, batch: Mapping[str, Tensor], request: TapRequest) -> Taps:
        """Taps of the teacher whose task the rows are of."""
        return self.teachers[int(batch["task"])].taps(batch, request)

    def speak_labels(self, names: Sequence[str]) -> None:
        """Tasks have labels of their own: each teacher is told its own ones."""
        raise NotImplementedError("tell each task's teacher its labels")

    def only_as_deep_as(self, depth: int) -> None:
        """Drop all teachers' layers above ``depth``."""
        for teacher in self.teachers:
            teacher.only_as_deep_as(depth)

    def fingerprint(self) -> str:
        """Of all, in their order."""
        told = " ".join(teacher.fingerprint() for teacher in self.teachers)
        return hashlib.sha256(told.encode()).hexdigest()[:16]
