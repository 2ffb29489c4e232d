"""``tinybert demo``: the whole way on a real teacher and the standard library's own text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import DemoSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert demo
  tinybert demo --dry-run
  tinybert demo --print-config > demo.yaml && tinybert demo --config demo.yaml
"""


def _run(settings: DemoSettings, reporter: Reporter) -> object:
    from tinybert.jobs.demo import run_demo

    return run_demo(settings, reporter)


VERB = Verb(
    name="demo",
    summary=(
        "Distil a real teacher end to end, offline: general, intermediate and "
        "prediction distillation of a sentence encoder, beside honest controls."
    ),
    settings=DemoSettings,
    run=_run,
    examples=EXAMPLES,
)
