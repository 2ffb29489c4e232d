"""How long and how fast a stage learns, and when it is evaluated and saved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

__all__ = ["Due", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns. Defaults are the paper's (section 4.2, task stages)."""

    epochs: float = 3.0
    steps: int | None = None  # overrides epochs
    batch_size: int = 32  # rows an optimiser step, over all processes
    learning_rate: float = 5e-5
    warmup: float = 0.1  # share of the steps
    decay: str = "linear"
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    token_budget: int = 4096  # padded tokens a micro-batch
    evaluations: int = 1  # an epoch; 0: only at the end
    evaluations_in_all: int | None = (
        None  # over the whole stage at most; one before its first step too
    )
    checkpoints: int = 1  # an epoch
    checkpoint_seconds: float | None = None  # and at the latest so long after the last one
    keep_checkpoints: int = 2
    log_every: int = 50
    gradient_norms_every: int = 0  # steps; 0: never

    def total_steps(self, rows: int) -> int:
        """Optimiser steps for that many rows."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil(self.epochs * math.ceil(rows / self.batch_size)))

    def evaluation_steps(self, per_epoch: int, total: int) -> int | None:
        """Steps between evaluations; None: only at the end."""
        if self.evaluations_in_all is not None:
            return max(1, math.ceil(total / self.evaluations_in_all))
        return _every(per_epoch, self.evaluations, total)

    def checkpoint_steps(self, per_epoch: int, total: int) -> int | None:
        """Steps between checkpoints; None: by the clock alone."""
        return _every(per_epoch, self.checkpoints, total)


def _every(per_epoch: int, times: int, total: int) -> int | None:
    """Steps between ``times`` events an epoch; None for no events."""
    return None if times <= 0 else max(1, min(total, round(per_epoch / times)))


class Due(TrainerCallback):
    """Says when to evaluate and to save: every so many steps, or by the clock.

    Args:
        schedule: of the stage.
        per_epoch, total: steps.
        evaluates: whether the stage has an evaluation.
        agreed: takes the wish of this process, returns that of the main one.
    """

    def __init__(
        self,
        schedule: Schedule,
        per_epoch: int,
        total: int,
        evaluates: bool,
        agreed: Callable[[bool], bool],
    ) -> None:
        self.total, self.evaluates, self.agreed = total, evaluates, agreed
        self.evaluation_steps = schedule.evaluation_steps(per_epoch, total)
        self.save_steps = schedule.checkpoint_steps(per_epoch, total)
        self.save_seconds = schedule.checkpoint_seconds
        self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        step, last = state.global_step, state.global_step >= self.total
        control.should_log |= last
        if self.evaluates:
            every = self.evaluation_steps
            control.should_evaluate = last or (every is not None and step % every == 0)
        every = self.save_steps
        due = every is not None and step % every == 0
        if self.save_seconds is not None and not last:
            due |= self.agreed(time.monotonic() - self.saved >= self.save_seconds)
        # The finished stage is written whole anyway: no checkpoint after its last step.
        control.should_save = not last and due
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
