"""``tinybert distill``: a fine-tuned teacher and its task to a small student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import DistillSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert distill --teacher bert-base-uncased --data reviews.csv --output student
  tinybert distill --teacher teacher --student 4x312 --data train.csv --output student
  tinybert distill --teacher teacher --student general --data train.csv --output student
  tinybert distill --config distill.yaml --resume
"""


def _run(settings: DistillSettings, reporter: Reporter) -> object:
    from tinybert.jobs.distill import run_distill

    return run_distill(settings, reporter)


VERB = Verb(
    name="distill",
    summary=(
        "Distil a teacher (fine-tuned first where it is a plain encoder) into a small student on "
        "a task, from states and then from logits."
    ),
    settings=DistillSettings,
    run=_run,
    examples=EXAMPLES,
)
