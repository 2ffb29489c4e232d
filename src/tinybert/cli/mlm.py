"""``tinybert mlm``: an encoder and raw text to a masked language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import MlmSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert mlm --model general --corpus books.txt wiki.txt.xz --output general-mlm
  tinybert mlm --model bert-base-uncased --corpus medical.txt --epochs 2 --output medical-bert
  tinybert mlm --config mlm.yaml --resume
"""


def _run(settings: MlmSettings, reporter: Reporter) -> object:
    from tinybert.jobs.mlm import run_mlm

    return run_mlm(settings, reporter)


VERB = Verb(
    name="mlm",
    summary="Give an encoder a head that guesses masked tokens, or train such a model on.",
    settings=MlmSettings,
    run=_run,
    examples=EXAMPLES,
)
