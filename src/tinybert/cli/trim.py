"""``tinybert trim``: a model with the vocabulary that given text needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import TrimSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert trim student --corpus 'texts/*.txt' --output small
  tinybert trim student --data reviews.csv --pieces 8000 --output small
  tinybert trim sst2-student --task sst-2 --data glue --output sst2-small
"""


def _run(settings: TrimSettings, reporter: Reporter) -> object:
    from tinybert.jobs.trim import run_trim

    return run_trim(settings, reporter)


VERB = Verb(
    name="trim",
    summary="Cut a model's vocabulary to the pieces that your text needs.",
    settings=TrimSettings,
    run=_run,
    examples=EXAMPLES,
    positional="model",
)
