"""``tinybert bench``: models side by side, in every form that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import BenchSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert bench teacher student student-export
  tinybert bench BERT_BASE:random student-export --forms onnx-float32 onnx-int8 --length 128
  tinybert bench teacher student --data reviews.csv --json bench.json --plot bench.svg
"""


def _run(settings: BenchSettings, reporter: Reporter) -> object:
    from tinybert.jobs.bench import run_bench

    return run_bench(settings, reporter)


VERB = Verb(
    name="bench",
    summary="Compare models: latency, throughput, memory and size, PyTorch and exported.",
    settings=BenchSettings,
    run=_run,
    examples=EXAMPLES,
    positional="models",
)
