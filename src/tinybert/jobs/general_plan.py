"""How long general distillation runs: epochs, tokens, steps, or a wall-clock budget."""

from __future__ import annotations

import math
from typing import Any

from transformers import PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.jobs.general_corpus import Text
from tinybert.jobs.pace import Pace
from tinybert.jobs.students import Begun
from tinybert.mapping import shown
from tinybert.measure import parameters
from tinybert.progress import Reporter, duration
from tinybert.quantities import parse_count, parse_duration
from tinybert.settings import GeneralSettings, MlmSettings
from tinybert.stages import STAGE_COPIES
from tinybert.students import shape_of

__all__ = [
    "DEFAULT_EPOCHS",
    "asked_steps",
    "check_lengths",
    "epochs_of",
    "plan_of",
    "show_plan",
    "steps_of",
]

DEFAULT_EPOCHS = 3.0
"""TinyBERT, section 4.2: three epochs of English Wikipedia."""

MOST_STEPS = 2**31
_LENGTHS = ("epochs", "tokens", "budget", "steps")


def check_lengths(settings: GeneralSettings | MlmSettings) -> None:
    """At most one of the four ways to say how long, and one that can be read.

    Raises:
        TinybertError: two of them, or one that makes no sense.
    """
    asked = {name: getattr(settings, name, None) for name in _LENGTHS}
    given = [f"--{name}" for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise TinybertError(f"{' and '.join(given)} both say how long to train: give one of them.")
    if settings.tokens is not None:
        parse_count(settings.tokens, "--tokens")
    if asked["budget"] is not None:
        parse_duration(asked["budget"], "--budget")


def asked_steps(settings: GeneralSettings | MlmSettings, blocks: int, tokens: float) -> int | None:
    """Optimiser steps by ``steps``, ``tokens`` or ``epochs``; None where none of them is given.

    Args:
        settings: of the run.
        blocks, tokens: of an epoch.
    """
    per_epoch = math.ceil(blocks / settings.batch_size)
    wanted: float
    if settings.steps is not None:
        flag, wanted = "--steps", settings.steps
    elif settings.tokens is not None:
        flag = "--tokens"
        wanted = parse_count(settings.tokens, flag) / tokens * per_epoch
    elif settings.epochs is not None:
        flag, wanted = "--epochs", settings.epochs * per_epoch
    else:
        return None
    if not wanted < MOST_STEPS:
        raise TinybertError(
            f"{flag} {getattr(settings, flag[2:])} makes more than {MOST_STEPS:,} steps: ask for "
            "fewer."
        )
    return max(1, math.ceil(wanted))


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
    if (asked := asked_steps(settings, blocks, tokens)) is not None:
        return asked
    if settings.budget is None:
        per_epoch = math.ceil(blocks / settings.batch_size)
        return max(1, math.ceil(DEFAULT_EPOCHS * per_epoch))
    assert pace is not None
    evaluations = (settings.evaluations + 1) * pace.evaluation_seconds
    steps = math.floor(
        (parse_duration(settings.budget, "--budget") - evaluations) / pace.step_seconds
    )
    if steps < 1:
        raise TinybertError(
            f"--budget {settings.budget} does not last for one step here: a step takes "
            f"{pace.step_seconds:.2g} s and {settings.evaluations + 1} evaluations "
            f"{evaluations:.2g} s; give more time, fewer --evaluations or a smaller --batch-size."
        )
    return steps


def plan_of(
    settings: GeneralSettings, student: Begun, model: PreTrainedModel, text: Text, pace: Pace
) -> dict[str, Any]:
    """What the run would be: numbers as they are, for JSON and for :func:`show_plan`.

    Args:
        settings: of the run.
        student, model: how the student begins.
        text: the corpus, or a sample of it with the whole's estimated size.
        pace: measured on a few steps.
    """
    steps = steps_of(settings, text.blocks, text.tokens, pace)
    per_epoch = math.ceil(text.blocks / settings.batch_size)
    seconds = steps * pace.step_seconds + (settings.evaluations + 1) * pace.evaluation_seconds
    return {
        "teacher": settings.teacher,
        "student": str(shape_of(student.config)),
        "student_parameters": parameters(model),
        "layer_mapping": shown(student.mapping),
        "blocks": text.blocks,
        "tokens_an_epoch": text.tokens,
        "corpus_is_estimated": text.estimated,
        "steps": steps,
        "epochs": steps / per_epoch,
        "tokens": round(steps / per_epoch * text.tokens),
        "tokens_per_second": pace.tokens_per_second,
        "step_seconds": pace.step_seconds,
        "evaluation_seconds": pace.evaluation_seconds,
        "training_seconds": seconds,
        "disk_bytes": 4 * STAGE_COPIES * parameters(model) + text.bytes_to_write,
        "peak_memory_bytes": pace.peak_bytes,
    }


def show_plan(plan: dict[str, Any], reporter: Reporter) -> None:
    """The plan as a table."""
    about = "about " if plan["corpus_is_estimated"] else ""
    lines = [
        ("teacher", plan["teacher"]),
        ("student", f"{plan['student']}, {plan['student_parameters'] / 1e6:.1f} M parameters"),
        ("layer mapping", plan["layer_mapping"]),
        ("an epoch", f"{about}{plan['tokens_an_epoch']:,} tokens in {plan['blocks']:,} blocks"),
        ("steps", f"{plan['steps']:,} ({plan['epochs']:.3g} epochs, {plan['tokens']:,} tokens)"),
        (
            "speed",
            f"{plan['tokens_per_second']:,.0f} tokens/s, {plan['step_seconds']:.3g} s a step",
        ),
        ("an evaluation", f"{plan['evaluation_seconds']:.3g} s"),
        ("training", f"{about}{duration(plan['training_seconds'])}"),
        ("disk", f"up to {plan['disk_bytes'] / 1e9:.2g} GB while it runs"),
        ("memory", f"{plan['peak_memory_bytes'] / 1e9:.2g} GB a process so far"),
    ]
    reporter.table("plan", ["what", "value"], [list(line) for line in lines])
