"""What a step costs: floating-point operations of training, by which systems are made equal.

A forward pass is counted on the real modules (:func:`tinybert.measure.flops`); a backward pass is
taken as two of them, as is the custom. The teacher's pass is counted as deep as it is read, and
its head where it guesses masked tokens. Look-ups, element-wise work and the optimiser are not
counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import AutoModel, PretrainedConfig

from tinybert.measure import flops
from tinybert.objectives import Objective
from tinybert.systems.steps import ProgressiveTransfer, Step

__all__ = ["Cost", "answers_are_kept", "forward_flops", "step_cost", "steps_within"]

MASKED_SHARE = 0.15


@dataclass(frozen=True)
class Cost:
    """Operations a token of one stage's training.

    Attributes:
        student: forward and backward.
        teacher: forward, in every pass over the rows.
        once: forward of the teacher over the rows, done once and kept.
    """

    student: float
    teacher: float = 0.0
    once: float = 0.0

    @property
    def per_token(self) -> float:
        """Of every pass over the rows."""
        return self.student + self.teacher


def forward_flops(config: PretrainedConfig, length: int) -> float:
    """Operations a token of the bare encoder, at sequences of ``length`` tokens."""
    with torch.device("meta"):
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return flops(model, length) / length


def step_cost(
    step: Step,
    objective: Objective,
    student: PretrainedConfig,
    teacher: PretrainedConfig,
    length: int,
) -> Cost:
    """What one stage of a step costs a token.

    Args:
        step: which.
        objective: of the stage.
        student, teacher: their configurations.
        length: tokens a row, on average.
    """
    forward = forward_flops(student, length)
    backward = 2.0 * forward
    if isinstance(step, ProgressiveTransfer):  # one layer learns, those below are frozen
        backward /= student.num_hidden_layers
    ours = forward + backward
    theirs = forward_flops(teacher, length)
    request = objective.teacher_taps
    if step.masked:
        ours += 3 * _head(student)
        theirs += _head(teacher) if request.masked else 0.0
    if not request:
        return Cost(ours)
    if request.logits and not (request.hidden or request.attention or request.embedding):
        return Cost(ours, once=theirs)  # its answers are kept
    if not (request.logits or request.masked):
        theirs *= request.depth / teacher.num_hidden_layers
    return Cost(ours, teacher=theirs)


def _head(config: PretrainedConfig) -> float:
    """Of the output head, a token of the text: it sees masked tokens alone."""
    width, vocabulary = int(config.hidden_size), int(config.vocab_size)
    return MASKED_SHARE * 2.0 * width * (width + vocabulary)


def steps_within(budget: float, cost: Cost, rows: int, tokens: float, batch: int) -> int:
    """Optimiser steps that ``budget`` lasts for; one at least.

    Args:
        budget: operations.
        cost: of a token.
        rows, tokens: of one pass.
        batch: rows an optimiser step.

    The teacher's answers are paid for once where the steps pass over all rows, and in the loop
    where they do not (:func:`answers_are_kept`).

    >>> steps_within(100.0, Cost(student=1.0, once=1.0), rows=10, tokens=10.0, batch=5)
    18
    >>> steps_within(16.0, Cost(student=1.0, once=1.0), rows=10, tokens=10.0, batch=5)
    2
    """
    step = min(batch, rows) * tokens / rows
    once = round((budget - cost.once * tokens) / (cost.per_token * step))
    if answers_are_kept(once, rows, batch):
        return max(1, once)
    return max(1, round(budget / ((cost.per_token + cost.once) * step)))


def answers_are_kept(steps: int, rows: int, batch: int) -> bool:
    """Whether the teacher's answers serve more than one pass over the rows."""
    return steps * batch > rows
