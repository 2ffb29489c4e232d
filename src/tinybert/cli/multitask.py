"""``tinybert multitask``: one student for several tasks, each with its teacher and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import MultitaskSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert multitask --tasks mrpc sts-b rte --teacher teachers/{task} --data glue --output student
  tinybert multitask --tasks topic stars --teacher {task}-teacher --data {task}.csv --output student
  tinybert multitask --tasks mrpc mail --teacher teachers/{task} mail=spam-teacher \\
      --data glue mail=mail.csv --label mail=spam --student general --output student
"""


def _run(settings: MultitaskSettings, reporter: Reporter) -> object:
    from tinybert.jobs.multitask import run_multitask

    return run_multitask(settings, reporter)


VERB = Verb(
    name="multitask",
    summary=(
        "Distil the fine-tuned teachers of several tasks into one student: one body, and a head "
        "for each task."
    ),
    settings=MultitaskSettings,
    run=_run,
    examples=EXAMPLES,
)
