"""``tinybert convert``: a checkpoint of the TinyBERT authors' code to a Hugging Face directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import ConvertSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert convert --model General_TinyBERT_4L_312D --output general
  tinybert convert --model TinyBERT_4L_312D/SST-2 --labels negative,positive --output sst2
"""


def _run(settings: ConvertSettings, reporter: Reporter) -> object:
    from tinybert.jobs.convert import run_convert

    return run_convert(settings, reporter)


VERB = Verb(
    name="convert",
    summary="Turn a checkpoint of the TinyBERT authors' code into a Hugging Face directory.",
    settings=ConvertSettings,
    run=_run,
    examples=EXAMPLES,
)
