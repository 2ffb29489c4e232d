"""``tinybert finetune``: a model and a labelled task to a fine-tuned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import FinetuneSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert finetune --model bert-base-uncased --data train.csv --dev dev.csv --output teacher
  tinybert finetune --config finetune.yaml --seed 2 --output teacher-2
"""


def _run(settings: FinetuneSettings, reporter: Reporter) -> object:
    from tinybert.jobs.finetune import run_finetune

    return run_finetune(settings, reporter)


VERB = Verb(
    name="finetune",
    summary=(
        "Fine-tune a model on a labelled task: the teacher of a later distillation, or a control."
    ),
    settings=FinetuneSettings,
    run=_run,
    examples=EXAMPLES,
)
