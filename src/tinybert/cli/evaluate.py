"""``tinybert evaluate``: the score and size of a model on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import EvaluateSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert evaluate --model student --data test.csv
  tinybert evaluate --model student --teacher teacher --data test.csv --json figures.json
"""


def _run(settings: EvaluateSettings, reporter: Reporter) -> object:
    from tinybert.jobs.evaluate import run_evaluate

    return run_evaluate(settings, reporter)


VERB = Verb(
    name="evaluate",
    summary="Score a model on rows and show its parameters and FLOPs.",
    settings=EvaluateSettings,
    run=_run,
    examples=EXAMPLES,
)
