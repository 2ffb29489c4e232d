"""ONNX forms of a model that has random weights, made as ``tinybert export`` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinybert.forms import write_graph, write_int8
from tinybert.measure.latency import longest_input
from tinybert.progress import Reporter
from tinybert.runtimes import FORMS
from tinybert.teachers import head_labels, load_encoder

__all__ = ["export_random"]


def export_random(directory: Path, forms: Sequence[str], reporter: Reporter) -> None:
    """Add ONNX forms to the directory of a classifier, in the layout of an exported one.

    No answers are compared, as random weights have none worth it.

    Args:
        directory: of the model, in Hugging Face's format.
        forms: ``onnx-float32``, ``onnx-int8``, both or none.
        reporter: told what is made.

    Raises:
        TinybertError: the architecture cannot be exported, or a package is missing.
    """
    if not forms:
        return
    model = load_encoder(directory, labels=head_labels(directory))
    model.train(False)
    graph = directory / FORMS["onnx-float32"]
    graph.parent.mkdir()
    reporter.say("exporting random weights to ONNX: a minute or less")
    write_graph(model, graph, longest=longest_input(model))
    if "onnx-int8" in forms:
        write_int8(graph, directory / FORMS["onnx-int8"], "rows")
    if "onnx-float32" not in forms:
        for file in graph.parent.glob(f"{graph.name}*"):
            file.unlink()
