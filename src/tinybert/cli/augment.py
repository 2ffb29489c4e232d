"""``tinybert augment``: training rows to copies with words replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import AugmentSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert augment --data train.csv --masked-lm bert-base-uncased --vectors glove.6B.zip \\
      --output augmented
  tinybert augment --data glue --task rte --mode reference --masked-lm bert-base-uncased \\
      --output augmented
  tinybert augment --data train.csv --masked-lm bert-base-uncased --show 5
"""


def _run(settings: AugmentSettings, reporter: Reporter) -> object:
    from tinybert.jobs.augment import run_augment

    return run_augment(settings, reporter)


VERB = Verb(
    name="augment",
    summary="Write copies of the training rows with words replaced: TinyBERT's data augmentation.",
    settings=AugmentSettings,
    run=_run,
    examples=EXAMPLES,
)
