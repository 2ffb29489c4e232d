"""The size of a job's student: as asked, by need, or by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.processes import this_process
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, StudentSettings
from tinybert.sizing import (
    Fitted,
    default_shape,
    fit_shape,
    parse_latency,
    parse_size,
    parse_speedup,
    read_fit,
    table,
)
from tinybert.sizing.default import FEW_ROWS
from tinybert.stages import work_directory

__all__ = ["FIT_FILE", "check_bounds", "chosen_student", "default_student"]

FIT_FILE = "size.json"
"""In the work directory: what was measured to choose the student."""

Settings = TypeVar("Settings", bound=StudentSettings)


def default_student(
    settings: Settings, teacher: PreTrainedModel, rows: int | None, reporter: Reporter
) -> Settings:
    """The settings with a shape where they left it open; ``rows`` None: there are plenty."""
    if settings.student != "auto":
        return settings
    shape, why = default_shape(teacher, FEW_ROWS if rows is None else rows)
    reporter.say(f"student {shape}: {why}")
    return replace(settings, student=shape)


def check_bounds(settings: DistillSettings) -> dict[str, float | None]:
    """The bounds asked for as numbers: milliseconds, megabytes, a ratio.

    Raises:
        TinybertError: one that cannot be read, or bounds beside a named student.
    """
    asked = {
        "max_latency_ms": (settings.max_latency, parse_latency),
        "max_size_mb": (settings.max_size, parse_size),
        "speedup": (settings.speedup, parse_speedup),
    }
    found = {name: None if text is None else parse(text) for name, (text, parse) in asked.items()}
    if any(value is not None for value in found.values()) and settings.student != "auto":
        raise TinybertError(
            f"--student {settings.student} names a student, and --max-latency, --max-size and "
            "--speedup ask for one to be found: give one or the other."
        )
    return found


def chosen_student(
    settings: DistillSettings, teacher: PreTrainedModel, rows: int, reporter: Reporter
) -> tuple[DistillSettings, Fitted | None]:
    """The settings with the student's shape settled; and what was measured, if bounds were given.

    A run that is resumed takes the student that was found when it was begun.
    """
    bounds: dict[str, Any] = check_bounds(settings)
    if all(value is None for value in bounds.values()):
        return default_student(settings, teacher, rows, reporter), None
    assert settings.output is not None
    kept = work_directory(settings.output) / FIT_FILE
    if settings.resume and kept.is_file():
        fitted = read_fit(kept)
        reporter.say(f"student {fitted.shape}, found when this run was begun")
    else:
        found: list[Any] = [None]
        if this_process().is_main_process:
            try:
                found[0] = fit_shape(
                    teacher,
                    **bounds,
                    length=settings.latency_length,
                    batch=settings.latency_batch,
                    reporter=reporter,
                )
            except TinybertError as error:  # the others wait for an answer
                found[0] = error
        fitted = broadcast_object_list(found)[0]  # measured by one process, believed by all
        if isinstance(fitted, TinybertError):
            raise fitted
        table(reporter, fitted)
        reporter.say(f"student {fitted.shape}: {fitted.reason}")
    return replace(settings, student=fitted.shape), fitted
