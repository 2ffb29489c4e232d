"""``tinybert corpus show``: what is in a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import CorpusShowSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert corpus show --corpus corpus
  tinybert corpus show --corpus corpus --samples 20 --json corpus.json
"""


def _run(settings: CorpusShowSettings, reporter: Reporter) -> object:
    from tinybert.jobs.corpus import run_corpus_show

    return run_corpus_show(settings, reporter)


VERB = Verb(
    name="corpus show",
    summary="Show a built corpus: counts, a histogram of lengths, samples; check its shards.",
    settings=CorpusShowSettings,
    run=_run,
    examples=EXAMPLES,
)
