"""``tinybert reproduce``: systems, GLUE tasks and seeds in one table beside the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import ReproduceSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert reproduce --teacher encoder --corpus wiki --data glue --tasks mrpc sts-b --output table
  tinybert reproduce --teacher encoder --corpus wiki --data glue --ablation losses --output losses
  tinybert reproduce --teacher bert-base-uncased --scale paper --corpus wiki --output paper
"""


def _run(settings: ReproduceSettings, reporter: Reporter) -> object:
    from tinybert.jobs.reproduce import run_reproduce

    return run_reproduce(settings, reporter)


VERB = Verb(
    name="reproduce",
    summary="Systems x GLUE tasks x seeds: results and ablations beside the paper's.",
    settings=ReproduceSettings,
    run=_run,
    examples=EXAMPLES,
)
