"""``tinybert report``: a finished run as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import ReportSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert report student
  tinybert report student --sentence "Wait until the lock is released." --output page.html
"""


def _run(settings: ReportSettings, reporter: Reporter) -> object:
    from tinybert.jobs.report import run_report

    return run_report(settings, reporter)


VERB = Verb(
    name="report",
    summary="Write a finished run as one page of HTML that needs no network.",
    settings=ReportSettings,
    run=_run,
    examples=EXAMPLES,
    positional="run",
)
