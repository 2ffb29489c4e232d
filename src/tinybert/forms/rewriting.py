"""Graphs rewritten: tables and products of weights in int8, the vocabulary's in 4 bits too.

Weights are symmetric, with a scale for each output of a product, and scales for the rows and the
columns of a table. What is left out stays in float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["int8_tables", "part_of", "products", "products_by_blocks", "products_by_rows"]

Array = NDArray[Any]
Left = Callable[[str], bool]  # names a node's part → whether it stays in float32

_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h|albert_layers)\.(\d+)(?=\.|/|$)")
_SMALL = 1 << 14  # a table of fewer numbers, such as that of token types, is not worth a scale
_SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_MIDDLE = 8  # stands for 0 among the sixteen numbers of four bits
_TINIEST = 1e-9  # keeps a row of zeros from being divided by zero


def part_of(name: str) -> str:
    """The part of the model that a node is in, by its name.

    >>> part_of("bert.encoder.layer.0.output.dense/MatMul_7"), part_of("classifier/Gemm_9")
    ('1', 'classifier')
    >>> part_of("bert.embeddings.word_embeddings/Gather_1")
    'embeddings'
    """
    layer = _LAYER.search(name)
    if layer:
        return str(int(layer[1]) + 1)
    return "embeddings" if "embedding" in name.lower() else "classifier"


class _Graph:
    """A graph whose nodes are replaced one by one; what is no longer used goes."""

    def __init__(self, model: Any) -> None:
        import onnx

        self._onnx = onnx
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[Any] = []

    def old_nodes(self) -> list[Any]:
        return list(self.model.graph.node)

    def keep(self, node: Any) -> None:
        self._nodes.append(node)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            tensor = self._onnx.numpy_helper.from_array(value, name)
            self.model.graph.initializer.append(tensor)
            self.constants[name] = tensor
        return name

    def value(self, name: str) -> Array:
        found: Array = self._onnx.numpy_helper.to_array(self.constants[name])
        return found

    def comes_from(self, name: str, given: str) -> bool:
        """Whether ``name`` is the input ``given``, but for its type and shape."""
        made = {output: node for node in self.model.graph.node for output in node.output}
        while name in made and made[name].op_type in _SAME_NUMBERS:
            name = made[name].input[0]
        return name == given

    def weight(self, node: Any) -> Array | None:
        """(in, out) float32, where ``node`` is a product with a constant matrix."""
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in self.constants:
            return None
        value = self.value(node.input[1])
        if value.ndim != 2 or value.dtype != np.float32:
            return None
        given = {each.name: each for each in node.attribute}
        if node.op_type == "Gemm":
            scaled = any(given[name].f != 1 for name in ("alpha", "beta") if name in given)
            if scaled or ("transA" in given and given["transA"].i):
                return None
            if "transB" in given and given["transB"].i:
                return value.T
        return value

    def uses_contributed(self) -> None:
        if all(each.domain != "com.microsoft" for each in self.model.opset_import):
            self.model.opset_import.append(self._onnx.helper.make_opsetid("com.microsoft", 1))

    def done(self) -> Any:
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = {name for node in graph.node for name in node.input}
        used |= {each.name for each in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]  # types of what is gone
        return self.model


def products(model: Any) -> Iterator[tuple[str, str]]:
    """Name and part of every product with a matrix of weights."""
    graph = _Graph(model)
    for node in graph.old_nodes():
        if graph.weight(node) is not None:
            yield node.name, part_of(node.name)


def int8_tables(model: Any, left: Left, *, bits: int = 8) -> Any:
    """Tables that rows are looked up in, as integers: the row is scaled after it was found.

    w[i, j] ≈ r[i] · c[j] · q[i, j], c the largest of each column, r the largest of each row after
    that. Rows alone would not do: in many models one number of the first position is a hundred
    times the others, and all rows begin with that position.

    Args:
        model: an ``onnx.ModelProto``; it is changed and returned.
        left: of a part, whether it stays.
        bits: of a number in the vocabulary's table, that which ``input_ids`` are looked up in: 8,
            or 4, two of which share a byte. The others have 8.
    """
    graph = _Graph(model)
    for node in graph.old_nodes():
        table = graph.value(node.input[0]) if _looks_up(node, graph) else None
        halves = table is not None and bits == 4 and graph.comes_from(node.input[1], "input_ids")
        small = table is not None and table.size < _SMALL and not halves
        if table is None or small or left(part_of(node.name)):
            graph.keep(node)
            continue
        name, asked, output = node.input[0], node.input[1], node.output[0]
        if halves:
            columns, rows = _looked_up_by_halves(graph, name, asked, output, table)
        else:
            columns = np.maximum(np.abs(table).max(axis=0, keepdims=True), _TINIEST)
            integers, rows = _symmetric(table / columns, axis=1, top=127)
            given = [graph.constant(f"{name}_int8", integers), asked]
            graph.add("Gather", given, f"{output}_integers")
        zero = np.uint8(_MIDDLE) if halves else np.int8(0)
        given = [
            f"{output}_integers",
            graph.constant(f"{name}_columns", columns.reshape(-1).astype(np.float32)),
            graph.constant(f"{name}_zeros", np.full(table.shape[1], zero)),
        ]
        plain = graph.add("DequantizeLinear", given, f"{output}_plain", axis=-1)
        factor = graph.add("Gather", [graph.constant(f"{name}_rows", rows), asked], f"{output}_row")
        graph.add("Mul", [plain, factor], output, name=node.name)
    return graph.done()


def _looked_up_by_halves(
    graph: _Graph, name: str, asked: str, output: str, table: Array
) -> tuple[Array, Array]:
    """A table of four bits a number: the first half of a row in the low bits, the second in the
    high ones. Standard operators take them apart; engines look nothing up in four bits.

    Returns:
        Scales of columns and of rows; those of rows leave the least squared error, which may cut
        the largest numbers.
    """
    width = table.shape[1]
    columns = np.sqrt((table**2).mean(axis=0, keepdims=True)) + _TINIEST
    integers, rows = _nearest(table / columns, top=_MIDDLE - 1)
    half = -(-width // 2)
    codes = np.full((len(table), 2 * half), _MIDDLE, dtype=np.uint8)
    codes[:, :width] = integers + _MIDDLE
    packed = codes[:, :half] | codes[:, half:] << 4
    found = graph.add("Gather", [graph.constant(f"{name}_int4", packed), asked], f"{output}_packed")
    low = graph.constant("int4_low", np.array(15, dtype=np.uint8))
    four = graph.constant("int4_four", np.array(4, dtype=np.uint8))
    parts = [
        graph.add("BitwiseAnd", [found, low], f"{output}_first"),
        graph.add("BitShift", [found, four], f"{output}_second", direction="RIGHT"),
    ]
    if width % 2 == 0:
        graph.add("Concat", parts, f"{output}_integers", axis=-1)
    else:
        whole = graph.add("Concat", parts, f"{output}_whole", axis=-1)
        ends = [
            graph.constant(f"int4_{key}_{number}", np.array([number], dtype=np.int64))
            for key, number in (("start", 0), ("end", width), ("axis", -1))
        ]
        graph.add("Slice", [whole, *ends], f"{output}_integers")
    return columns, rows


def _nearest(values: Array, top: int) -> tuple[Array, Array]:
    """Integers in -top … top, and for each row that scale of those tried that errs least."""
    largest = np.maximum(np.abs(values).max(axis=1, keepdims=True), _TINIEST)
    best = np.full(largest.shape, np.inf)
    integers, scales = np.zeros(values.shape, dtype=np.int8), np.zeros_like(largest)
    for share in np.linspace(1.0, 0.4, 13):
        tried = largest * share / top
        rounded = np.clip(np.rint(values / tried), -top, top)
        error = ((rounded * tried - values) ** 2).sum(axis=1, keepdims=True)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, tried, scales)
        integers = np.where(better, rounded.astype(np.int8), integers)
    return integers, scales.astype(np.float32)


def _looks_up(node: Any, graph: _Graph) -> bool:
    if node.op_type != "Gather" or node.input[0] not in graph.constants:
        return False
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    value = graph.value(node.input[0])
    return axis == 0 and value.ndim == 2 and value.dtype == np.float32


def products_by_rows(model: Any, left: Left, *, top: int = 64) -> Any:
    """Products in int8, each token's inputs with a scale of its own, in standard operators.

    x·W = m · (q(x / m) · q(W)), m = max|x| of the token: what is rounded lies in -1 … 1, so that
    the scale of the rounding is a constant, and engines see a quantised product as they know it.

    Args:
        model: an ``onnx.ModelProto``; it is changed and returned.
        left: of a part, whether it stays.
        top: largest weight in integers. Processors of x86 without VNNI add two products in 16
            bits, where 255 · 64 · 2 is the most that fits; beyond it answers are wrong there.
    """
    graph = _Graph(model)
    rounded: dict[str, tuple[str, str]] = {}
    for node in graph.old_nodes():
        weight = graph.weight(node)
        if weight is None or left(part_of(node.name)):
            graph.keep(node)
            continue
        if node.input[0] not in rounded:  # queries, keys and values share theirs
            rounded[node.input[0]] = _rounded_rows(graph, node.input[0])
        inputs, largest = rounded[node.input[0]]
        matrix = _rounded_matrix(graph, node.input[1], weight, top)
        output = node.output[0]
        product = graph.add("MatMul", [inputs, matrix], f"{output}_product", name=node.name)
        _with_bias(graph, node, "Mul", [product, largest])
    return graph.done()


def _rounded_rows(graph: _Graph, name: str) -> tuple[str, str]:
    """Names of the rounded inputs and of each row's largest number."""
    axis = graph.constant("int8_last_axis", np.array([-1], dtype=np.int64))
    tiniest = graph.constant("int8_tiniest", np.array(_TINIEST, dtype=np.float32))
    step = graph.constant("int8_step", np.array(1 / 127, dtype=np.float32))
    # Unsigned around 128: the kernels of x86 take unsigned inputs and signed weights.
    zero = graph.constant("int8_zero", np.array(128, dtype=np.uint8))
    sizes = graph.add("Abs", [name], f"{name}_sizes")
    largest = graph.add("ReduceMax", [sizes, axis], f"{name}_largest", keepdims=1)
    largest = graph.add("Max", [largest, tiniest], f"{name}_scale")
    shares = graph.add("Div", [name, largest], f"{name}_shares")
    integers = graph.add("QuantizeLinear", [shares, step, zero], f"{name}_int8")
    return graph.add("DequantizeLinear", [integers, step, zero], f"{name}_rounded"), largest


def _rounded_matrix(graph: _Graph, name: str, weight: Array, top: int) -> str:
    """(in, out) with a scale for each output."""
    integers, scales = _symmetric(weight, axis=0, top=top)
    zeros = np.zeros(weight.shape[1], dtype=np.int8)
    given = [
        graph.constant(f"{name}_int8", integers),
        graph.constant(f"{name}_scales", scales.reshape(-1)),
        graph.constant(f"{name}_zeros", zeros),
    ]
    if f"{name}_weights" not in graph.constants:
        graph.constants[f"{name}_weights"] = None
        graph.add("DequantizeLinear", given, f"{name}_weights", axis=1)
    return f"{name}_weights"


def products_by_blocks(model: Any, left: Left, *, block: int = 64) -> Any:
    """Products as ``com.microsoft.MatMulNBits``: scales for blocks of each row and each column.

    Its accuracy level 4 rounds the inputs of a block to int8 where the engine has kernels for it.

    Args:
        model: an ``onnx.ModelProto``; it is changed and returned.
        left: of a part, whether it stays.
        block: numbers that share a scale, a power of 2 and 16 or more.
    """
    graph = _Graph(model)
    for node in graph.old_nodes():
        weight = graph.weight(node)
        if weight is None or left(part_of(node.name)):
            graph.keep(node)
            continue
        (width, outputs), name = weight.shape, node.input[1]
        blocks = -(-width // block)
        padded = np.zeros((outputs, blocks * block), dtype=np.float32)
        padded[:, :width] = weight.T
        integers, scales = _symmetric(padded.reshape(outputs, blocks, block), axis=2, top=127)
        packed = (integers.astype(np.int16) + 128).astype(np.uint8)
        given = [
            graph.constant(f"{name}_int8", packed),
            graph.constant(f"{name}_scales", scales.reshape(-1)),
        ]
        graph.uses_contributed()
        _with_bias(
            graph,
            node,
            "MatMulNBits",
            [node.input[0], *given],
            name=node.name,
            domain="com.microsoft",
            K=width,
            N=outputs,
            bits=8,
            block_size=block,
            accuracy_level=4,
        )
    return graph.done()


def _symmetric(values: Array, axis: int, top: int) -> tuple[Array, Array]:
    """int8, and float32 scales; the largest number along ``axis`` becomes ``top``."""
    scales = np.maximum(np.abs(values).max(axis=axis, keepdims=True), _TINIEST) / top
    scales = scales.astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


def _with_bias(
    graph: _Graph, node: Any, operator: str, inputs: list[str], **attributes: Any
) -> None:
    """``operator``, and the bias where the old node had one, under the old node's output."""
    output = node.output[0]
    if len(node.input) < 3:
        graph.add(operator, inputs, output, **attributes)
        return
    plain = graph.add(operator, inputs, f"{output}_plain", **attributes)
    graph.add("Add", [plain, node.input[2]], output)
