"""``tinybert systems show``: how one system is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import SystemsShowSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert systems show TinyBERT_4
  tinybert systems show MobileBERT_TINY --teacher bert-base-uncased
"""


def _run(settings: SystemsShowSettings, reporter: Reporter) -> object:
    from tinybert.jobs.systems import run_systems_show

    return run_systems_show(settings, reporter)


VERB = Verb(
    name="systems show",
    summary="Show how a system is made: shape, start, every step's numbers and their source.",
    settings=SystemsShowSettings,
    run=_run,
    examples=EXAMPLES,
    positional="name",
)
