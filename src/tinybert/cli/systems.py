"""``tinybert systems``: the systems of the paper's table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import SystemsSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert systems
  tinybert systems --json systems.json
"""


def _run(settings: SystemsSettings, reporter: Reporter) -> object:
    from tinybert.jobs.systems import run_systems

    return run_systems(settings, reporter)


VERB = Verb(
    name="systems",
    summary="List the systems of the paper's table; `tinybert systems show NAME` explains one.",
    settings=SystemsSettings,
    run=_run,
    examples=EXAMPLES,
)
