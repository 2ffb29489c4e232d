"""``tinybert general``: raw text to a general student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import GeneralSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert general --teacher bert-base-uncased --corpus books.txt wiki.txt.xz --output general
  tinybert general --config general.yaml --dry-run
  tinybert general --config general.yaml --resume
"""


def _run(settings: GeneralSettings, reporter: Reporter) -> object:
    from tinybert.jobs.general import run_general

    return run_general(settings, reporter)


VERB = Verb(
    name="general",
    summary=("Distil a teacher on raw text into a general student, to be taught a task later."),
    settings=GeneralSettings,
    run=_run,
    examples=EXAMPLES,
)
