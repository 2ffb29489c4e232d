"""``tinybert glue``: GLUE tasks and seeds, teacher, student and controls, one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import GlueSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert glue --teacher bert-base-uncased --data glue --student 4x312 --output results
  tinybert glue --teacher bert-base-uncased --student general --tasks mrpc rte --output results
  tinybert glue --teacher textattack/bert-base-uncased-{task} --tasks cola --output results
"""


def _run(settings: GlueSettings, reporter: Reporter) -> object:
    from tinybert.jobs.glue import run_glue

    return run_glue(settings, reporter)


VERB = Verb(
    name="glue",
    summary="Run GLUE tasks with several seeds: teacher, student and controls in one table.",
    settings=GlueSettings,
    run=_run,
    examples=EXAMPLES,
)
