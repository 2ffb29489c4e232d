"""An ONNX graph in int8: which way, which parts, and why."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.forms.graph import has_weights_beside, save_graph
from tinybert.forms.rewriting import (
    int8_tables,
    products,
    products_by_blocks,
    products_by_rows,
)
from tinybert.runtimes import needs

__all__ = ["CALIBRATED", "REASONS", "Quantised", "check_parts", "no_part", "write_int8"]

REASONS = {
    "rows": "each token has a scale of its own, so that a row is answered the same alone and in a "
    "batch, and no calibration is needed",
    "static": "scales of activations are fixed, measured on the calibration rows",
    "blocks": "blocks of each token's numbers have scales of their own (MatMulNBits)",
    "dynamic": "one scale for the whole batch: a row's answer depends on its batch mates",
}
"""Way → what speaks for or against it, as it is told."""

CALIBRATED = 256
"""Rows that static scales are measured on, at most."""


@dataclass(frozen=True)
class Quantised:
    """What was made.

    Attributes:
        way: one of :data:`REASONS`.
        products: of weights, in int8; ``left`` those that stayed.
        kept: parts that stay in float32.
        table_bits: of a number in the vocabulary's table.
    """

    way: str
    products: int
    left: int
    kept: tuple[str, ...]
    table_bits: int = 8

    @property
    def told(self) -> str:
        kept = f"; in float32 stay {', '.join(self.kept)}" if self.kept else ""
        if self.table_bits != 8:
            kept += f"; the vocabulary's table has {self.table_bits} bits a number"
        return f"{self.way}: {REASONS[self.way]}{kept}"


def check_parts(graph: Path, kept: Sequence[str]) -> None:
    """Refuse parts that the model does not have.

    Raises:
        TinybertError: with those that there are.
    """
    import onnx

    there = {part for _, part in products(onnx.load(str(graph)))} | {"embeddings", "classifier"}
    for part in kept:
        if part not in there:
            layers = [name for name in there if name.isdecimal()]
            raise TinybertError(no_part(part, max(map(int, layers), default=0)))


def no_part(part: str, layers: int) -> str:
    """What is said of a part that a model of so many layers does not have."""
    return (
        f"--int8-keep {part} is no part of this model: give embeddings, classifier, or the number "
        f"of a layer, 1 to {layers}."
    )


def write_int8(
    source: Path,
    target: Path,
    way: str,
    *,
    kept: Sequence[str] = (),
    table_bits: int = 8,
    calibration: TokenRows | None = None,
    advance: Callable[[int], None] | None = None,
) -> Quantised:
    """Write the graph of ``source``, float32, in int8.

    Args:
        source: ``.onnx`` file of :func:`tinybert.forms.graph.write_graph`.
        target: file to write.
        way: one of :data:`REASONS`.
        kept: parts that stay: ``embeddings``, ``classifier``, numbers of layers.
        table_bits: of a number in the vocabulary's table, 8 or 4.
        calibration: rows that static scales are measured on, each alone: padding is no text.
        advance: called with 1 for each calibration row.

    Raises:
        TinybertError: a package is missing, a part is unknown, or the graph has nothing to round.
    """
    needs("onnx", "onnxruntime")
    import onnx

    check_parts(source, kept)
    graph = onnx.load(str(source))
    found = list(products(graph))
    left = [name for name, part in found if part in kept]
    if len(left) == len(found) and "embeddings" in kept:
        raise TinybertError("--int8-keep leaves nothing to be int8: keep fewer parts.")

    def stays(part: str) -> bool:
        return part in kept

    if way == "rows":
        graph = products_by_rows(graph, stays)
    elif way == "blocks":
        graph = products_by_blocks(graph, stays)
    else:
        graph = _by_library(graph, source, way, left, calibration, advance)
    graph = int8_tables(graph, stays, bits=table_bits)
    if table_bits == 4 and all(not each.name.endswith("_int4") for each in graph.graph.initializer):
        raise TinybertError(
            "the graph looks its pieces up in no table that could have 4 bits a number: leave "
            "--table-bits out."
        )
    save_graph(graph, target)
    return Quantised(way, len(found) - len(left), len(left), tuple(kept), table_bits)


def _by_library(
    graph: Any,
    source: Path,
    way: str,
    left: list[str],
    calibration: TokenRows | None,
    advance: Callable[[int], None] | None,
) -> Any:
    """Products by ONNX Runtime's own tools."""
    import onnx
    from onnxruntime import quantization

    options: dict[str, Any] = {
        "op_types_to_quantize": ["MatMul", "Gemm"],
        "per_channel": True,
        # Without VNNI x86 adds two products in 16 bits; with 7 bits they cannot overflow.
        "reduce_range": True,
        "weight_type": quantization.QuantType.QInt8,
        # The dynamic tool makes a product of every Gemm first, under a name of its own.
        "nodes_to_exclude": [*left, *(f"{name}_MatMul" for name in left)],
        "extra_options": {"MatMulConstBOnly": True},
    }
    # The tools cannot hold more than 2 GB in one piece: such a graph they read from its files.
    beside = has_weights_beside(source)
    given = str(source) if beside else graph
    options["use_external_data_format"] = beside
    with tempfile.TemporaryDirectory() as folder, _silence():
        file = str(Path(folder) / "model.onnx")
        if way == "dynamic":
            quantization.quantize_dynamic(given, file, **options)
        else:
            assert calibration is not None
            quantization.quantize_static(
                given,
                file,
                _reader(graph, calibration, advance),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                **options,
            )
        return onnx.load(file)


@contextmanager
def _silence() -> Iterator[None]:
    """The tools advise to run others first, which do what the exporter has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _reader(graph: Any, rows: TokenRows, advance: Callable[[int], None] | None) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    names = [each.name for each in graph.graph.input]

    class _Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.next = 0

        def get_next(self) -> dict[str, Any] | None:
            if self.next >= min(len(rows), CALIBRATED):
                return None
            batch = rows.batch(np.array([self.next]))
            self.next += 1
            if advance is not None:
                advance(1)
            # A tokenizer may give no types although the model has two: all are of the first then.
            zeros = np.zeros_like(cast(Any, batch["input_ids"]).numpy())
            return {
                name: cast(Any, batch[name]).numpy() if name in batch else zeros for name in names
            }

    return _Rows()
