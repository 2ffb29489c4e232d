"""``tinybert predict``: a model's answers to rows, or to GLUE's official test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import PredictSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert predict --model student --data rows.csv --output predictions.jsonl
  tinybert predict --model student --task mnli --data glue --output submission
"""


def _run(settings: PredictSettings, reporter: Reporter) -> object:
    from tinybert.jobs.predict import run_predict

    return run_predict(settings, reporter)


VERB = Verb(
    name="predict",
    summary="Answer rows with a model; labels are not needed.",
    settings=PredictSettings,
    run=_run,
    examples=EXAMPLES,
)
