"""The size of a job's student: as asked, by need, or by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from transformers import PreTrainedModel

from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, StudentSettings
from tinybert.sizing import default_shape
from tinybert.sizing.default import FEW_ROWS

__all__ = ["chosen_student", "default_student", "reached"]

Settings = TypeVar("Settings", bound=StudentSettings)


def default_student(
    settings: Settings, teacher: PreTrainedModel, rows: int | None, reporter: Reporter
) -> Settings:
    """The settings with a shape where they left it open."""
    if settings.student != "auto":
        return settings
    shape, why = default_shape(teacher, FEW_ROWS if rows is None else rows)
    reporter.say(f"student {shape}: {why}")
    return replace(settings, student=shape)


def chosen_student(
    settings: DistillSettings, teacher: PreTrainedModel, rows: int, reporter: Reporter
) -> tuple[DistillSettings, Any]:
    """The settings with the student's shape settled; and what was measured to find it, if asked."""
    return default_student(settings, teacher, rows, reporter), None


def reached(
    settings: DistillSettings,
    fitted: Any,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    reporter: Reporter,
) -> dict[str, Any]:
    """What the finished student reaches of each bound asked for."""
    return {}
