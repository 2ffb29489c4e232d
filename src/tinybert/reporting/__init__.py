"""The report of a finished run: one page of HTML that needs nothing but itself."""

from __future__ import annotations

from tinybert.reporting.answers import (
    ANSWERS_FILE,
    WORDS_FILE,
    Answers,
    kept_answers,
    load_told,
)
from tinybert.reporting.page import Contents, render
from tinybert.reporting.run import FinishedRun, read_run

__all__ = [
    "ANSWERS_FILE",
    "REPORT_FILE",
    "WORDS_FILE",
    "Answers",
    "Contents",
    "FinishedRun",
    "kept_answers",
    "load_told",
    "read_run",
    "render",
]

REPORT_FILE = "report.html"
