"""Of ``tinybert report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.settings.base import Checked, setting

__all__ = ["ReportSettings"]


@dataclass
class ReportSettings(Checked):
    """One page of HTML on a finished run: scores, curves, answers, attention, settings."""

    run: Path | None = setting(
        None,
        "directory of the finished student; may stand without its flag: `tinybert report student`",
    )
    output: Path | None = setting(
        None, "file to write; default: report.html in RUN, where it replaces the one before"
    )
    overwrite: bool = setting(False, "replace the file at OUTPUT", "run")
    teacher: str | None = setting(
        None, "where the teacher is now: directory or Hub name; default: where the run had it"
    )
    data: str | None = setting(
        None, "where the run's training rows are now; default: where it read them", "data"
    )
    dev: str | None = setting(None, "likewise, where the run had --dev", "data")
    test: str | None = setting(None, "likewise, where the run had --test", "data")
    sentence: list[str] = setting(
        [],
        "text whose attention is shown (in quotes), or the two texts of a pair; default: a short "
        "row of those reported on",
    )
    differing: int = setting(
        50, "rows shown where teacher and student differ, at most", least=0, most=1000
    )
    latency: bool = setting(
        True, "measure the latency of teacher and student where the run has not", "speed"
    )
