"""``tinybert page``: a web page on which an exported model answers as one types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import PageSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert page exported --output page
  tinybert page exported --output page --title "Film reviews" --assets node_modules
"""


def _run(settings: PageSettings, reporter: Reporter) -> object:
    from tinybert.jobs.page import run_page

    return run_page(settings, reporter)


VERB = Verb(
    name="page",
    summary="Make a web page that runs an exported model in the browser, as one types.",
    settings=PageSettings,
    run=_run,
    examples=EXAMPLES,
    positional="model",
)
