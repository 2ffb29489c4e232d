"""``tinybert corpus build``: text to tokens, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import CorpusBuildSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert corpus build --teacher bert-base-uncased --corpus 'texts/*.txt.gz' --output corpus
  tinybert corpus build --teacher bert-base-uncased --corpus wikimedia/wikipedia:20231101.en \\
      --output wikipedia
  tinybert corpus build --config corpus.yaml --resume
"""


def _run(settings: CorpusBuildSettings, reporter: Reporter) -> object:
    from tinybert.jobs.corpus import run_corpus_build

    return run_corpus_build(settings, reporter)


VERB = Verb(
    name="corpus build",
    summary="Tokenize text into shards, once, for any number of general distillations.",
    settings=CorpusBuildSettings,
    run=_run,
    examples=EXAMPLES,
)
