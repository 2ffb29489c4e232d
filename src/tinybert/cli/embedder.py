"""``tinybert embedder``: a sentence encoder and raw text to a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import EmbedderSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert embedder --teacher all-MiniLM-L6-v2 --corpus wiki.txt.xz --budget 30m --output small
  tinybert embedder --teacher all-MiniLM-L6-v2 --corpus wiki.txt --matryoshka 256,64 --output cut
  tinybert embedder --teacher all-MiniLM-L6-v2 --student general --sentences lines.txt --output own
"""


def _run(settings: EmbedderSettings, reporter: Reporter) -> object:
    from tinybert.jobs.embedder import run_embedder

    return run_embedder(settings, reporter)


VERB = Verb(
    name="embedder",
    summary="Distil a sentence encoder on raw text, without labels.",
    settings=EmbedderSettings,
    run=_run,
    examples=EXAMPLES,
)
