"""How long general distillation runs: epochs, tokens, steps, or a wall-clock budget."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.jobs.pace import Pace
from tinybert.quantities import parse_count, parse_duration
from tinybert.settings import GeneralSettings

__all__ = ["DEFAULT_EPOCHS", "check_lengths", "epochs_of", "steps_of"]

DEFAULT_EPOCHS = 3.0
"""TinyBERT, section 4.2: three epochs of English Wikipedia."""

_LENGTHS = ("epochs", "tokens", "budget", "steps")


def check_lengths(settings: GeneralSettings) -> None:
    """At most one of the four ways to say how long, and one that can be read.

    Raises:
        TinybertError: two of them, or one that makes no sense.
    """
    given = [f"--{name}" for name in _LENGTHS if getattr(settings, name) is not None]
    if len(given) > 1:
        raise TinybertError(f"{' and '.join(given)} both say how long to train: give one of them.")
    if settings.tokens is not None:
        parse_count(settings.tokens, "--tokens")
    if settings.budget is not None:
        parse_duration(settings.budget, "--budget")


def epochs_of(settings: GeneralSettings) -> float:
    return DEFAULT_EPOCHS if settings.epochs is None else settings.epochs


def steps_of(settings: GeneralSettings, blocks: int, tokens: float, pace: Pace | None) -> int:
    """The number of optimiser steps.

    Args:
        settings: of the run.
        blocks, tokens: of an epoch.
        pace: measured here; needed with ``budget`` only.

    Raises:
        TinybertError: the budget does not last for one step.
    """
    per_epoch = math.ceil(blocks / settings.batch_size)
    if settings.steps is not None:
        return settings.steps
    if settings.tokens is not None:
        wanted = parse_count(settings.tokens, "--tokens")
        return max(1, math.ceil(wanted / tokens * per_epoch))
    if settings.budget is None:
        return max(1, math.ceil(epochs_of(settings) * per_epoch))
    assert pace is not None
    evaluations = (settings.evaluations + 1) * pace.evaluation_seconds
    steps = math.floor((parse_duration(settings.budget, "--budget") - evaluations) / pace.step_seconds)
    if steps < 1:
        raise TinybertError(
            f"--budget {settings.budget} does not last for one step here: a step takes "
            f"{pace.step_seconds:.2g} s and {settings.evaluations + 1} evaluations "
            f"{evaluations:.2g} s; give more time, fewer --evaluations or a smaller --batch-size."
        )
    return steps
