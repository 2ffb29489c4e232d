"""``tinybert profile``: what the systems cost, beside the paper's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import ProfileSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert profile --no-speed
  tinybert profile --systems TinyBERT_4 BERT_SMALL --batch 1 --threads 1
  tinybert profile --teacher bert-base-uncased --json profile.json
"""


def _run(settings: ProfileSettings, reporter: Reporter) -> object:
    from tinybert.jobs.profile import run_profile

    return run_profile(settings, reporter)


VERB = Verb(
    name="profile",
    summary="Count parameters and FLOPs of the systems, and measure their speed-up here.",
    settings=ProfileSettings,
    run=_run,
    examples=EXAMPLES,
)
