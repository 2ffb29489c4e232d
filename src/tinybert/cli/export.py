"""``tinybert export``: a model for other engines, checked against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.cli.verbs import Verb
from tinybert.settings import ExportSettings

if TYPE_CHECKING:
    from tinybert.progress import Reporter

EXAMPLES = """\
  tinybert export student --output exported
  tinybert export student --to onnx int8 openvino --data test.csv --output exported
"""


def _run(settings: ExportSettings, reporter: Reporter) -> object:
    from tinybert.jobs.export import run_export

    return run_export(settings, reporter)


VERB = Verb(
    name="export",
    summary="Write a model as ONNX, int8 and OpenVINO, each checked against PyTorch.",
    settings=ExportSettings,
    run=_run,
    examples=EXAMPLES,
    positional="model",
)
