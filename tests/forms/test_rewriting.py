"""Int8 graphs: how far they are from float32, what they leave alone, what batch mates do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinybert.forms.rewriting import (
    int8_tables,
    part_of,
    products,
    products_by_blocks,
    products_by_rows,
)

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

WIDTH, OUTPUTS, ROWS = 40, 6, 1024
NAMES = ("encoder.layer.0.dense/MatMul_1", "classifier/Gemm_2")


def graph(weight: NDArray[Any], table: NDArray[Any] | None = None) -> Any:
    """ids → rows of a table → x·W → (·Vᵀ + b); V is the identity."""
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    table = np.eye(ROWS, WIDTH, dtype=np.float32) if table is None else table
    constants = {"table": table, "W": weight, "V": np.eye(OUTPUTS, dtype=np.float32)}
    constants["b"] = np.arange(OUTPUTS, dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], name="embeddings.word/Gather_0"),
        helper.make_node("MatMul", ["x", "W"], ["product"], name=NAMES[0]),
        helper.make_node("Gemm", ["product", "V", "b"], ["y"], name=NAMES[1], transB=1),
    ]
    info = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "graph",
        [info("input_ids", onnx.TensorProto.INT64, ["rows"])],
        [info("y", onnx.TensorProto.FLOAT, ["rows", OUTPUTS])],
        [tensor(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: Any, ids: NDArray[Any]) -> NDArray[Any]:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[Any] = session.run(["y"], {"input_ids": ids})[0]
    return found


def nothing(part: str) -> bool:
    return False


def random_graph(seed: int, spread: float = 1.0) -> tuple[Any, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(WIDTH, OUTPUTS)).astype(np.float32)
    sizes = np.exp(spread * rng.normal(size=(ROWS, 1)))
    table = (sizes * rng.normal(size=(ROWS, WIDTH))).astype(np.float32)
    return graph(weight, table), table @ weight + np.arange(OUTPUTS, dtype=np.float32)


def value(model: Any, name: str) -> NDArray[Any]:
    (found,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    array: NDArray[Any] = onnx.numpy_helper.to_array(found)
    return array


def bound(inputs: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """What rounding may add up to: half a step of every input, then of every weight.

    The second product's weights are 0 and 1, which need no rounding.
    """
    half = np.abs(inputs).max(axis=1, keepdims=True) / 254
    first = half * np.abs(weight).sum(axis=0)
    steps = np.abs(weight).max(axis=0) / 128
    first = first + steps * (np.abs(inputs) + half).sum(axis=1, keepdims=True)
    product = np.abs(inputs @ weight) + first
    found: NDArray[Any] = first + product.max(axis=1, keepdims=True) / 254
    return found


@given(st.integers(0, 2**16), st.floats(0.1, 3.0))
@settings(max_examples=15, deadline=None)
def test_products_by_rows_are_near_and_know_no_batch_mates(seed: int, spread: float) -> None:
    """However much rows differ in size, each is rounded by its own largest number."""
    model, wanted = random_graph(seed, spread)
    wanted = wanted[:64]
    model = products_by_rows(model, nothing)
    together = run(model, np.arange(64))
    inputs, weight = (value(random_graph(seed, spread)[0], name) for name in ("table", "W"))
    assert (np.abs(together - wanted) <= 1.01 * bound(inputs[:64], weight) + 1e-4).all()
    alone = np.concatenate([run(model, np.array([row])) for row in (0, 5, 63)])
    np.testing.assert_allclose(alone, together[[0, 5, 63]], rtol=1e-4, atol=1e-4)


def test_the_largest_numbers_do_not_overflow() -> None:
    """Products of two largest integers, added in pairs, are beyond 16 bits."""
    weight = np.ones((WIDTH, OUTPUTS), dtype=np.float32)
    model = graph(weight, np.ones((ROWS, WIDTH), dtype=np.float32))
    for rewritten in (products_by_rows(model, nothing), products_by_blocks(model, nothing)):
        for count in (1, 5):
            found = run(rewritten, np.arange(count))
            np.testing.assert_allclose(found, WIDTH + np.arange(OUTPUTS) + 0 * found, rtol=0.02)


def test_a_row_of_zeros_is_no_division() -> None:
    model = graph(np.ones((WIDTH, OUTPUTS), np.float32), np.zeros((ROWS, WIDTH), np.float32))
    found = run(products_by_rows(model, nothing), np.arange(2))
    np.testing.assert_allclose(found, [np.arange(OUTPUTS)] * 2, atol=1e-6)


def test_blocks_are_near() -> None:
    model, wanted = random_graph(3)
    found = run(products_by_blocks(model, nothing, block=32), np.arange(ROWS))
    assert np.abs(found - wanted).max() < 0.04 * np.abs(wanted).max()
    alone = run(products_by_blocks(random_graph(3)[0], nothing, block=32), np.array([7]))
    np.testing.assert_allclose(alone[0], found[7], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_tables_are_a_quarter_and_near(axis: int) -> None:
    """Columns of unlike sizes have scales of their own, and rows have."""
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(-2, 1, (1, WIDTH) if axis == 0 else (ROWS, 1))
    table = (rng.normal(size=(ROWS, WIDTH)) * sizes).astype(np.float32)
    weight = np.eye(WIDTH, OUTPUTS, dtype=np.float32)
    before = graph(weight, table)
    size, wanted = before.ByteSize(), run(before, np.arange(ROWS))
    after = int8_tables(before, nothing)
    columns = np.abs(table).max(axis=0, keepdims=True)
    step = (columns * np.abs(table / columns).max(axis=1, keepdims=True) / 127)[:, :OUTPUTS]
    assert (np.abs(run(after, np.arange(ROWS)) - wanted) <= 0.51 * step + 1e-5).all()
    assert (step <= columns[:, :OUTPUTS] / 127 * 1.001).all()  # never worse than columns alone
    assert after.ByteSize() < 0.35 * size


def test_parts_that_stay_are_the_same_to_the_bit() -> None:
    model, _ = random_graph(1)
    wanted = run(model, np.arange(ROWS))
    asked = dict(products(model))
    assert asked == dict(zip(NAMES, ("1", "classifier"), strict=True))
    kept = products_by_rows(model, lambda part: True)
    kept = int8_tables(products_by_blocks(kept, lambda part: True), lambda part: True)
    assert [node.op_type for node in kept.graph.node] == ["Gather", "MatMul", "Gemm"]
    np.testing.assert_array_equal(run(kept, np.arange(ROWS)), wanted)
    half = products_by_rows(random_graph(1)[0], lambda part: part == "1")
    assert {"W", "V_int8"} <= {tensor.name for tensor in half.graph.initializer}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("bert.encoder.layer.11.attention.self.query/MatMul_3", "12"),
        ("distilbert.transformer.layer.0.ffn.lin1/MatMul_9", "1"),
        ("model.layers.2.mlp.Wi/MatMul_4", "3"),
        ("electra.embeddings_project/MatMul_0", "embeddings"),
        ("bert.pooler.dense/Gemm_88", "classifier"),
        ("MatMul_5", "classifier"),
    ],
)
def test_parts_by_name(name: str, part: str) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize("width", [WIDTH, WIDTH - 1])
def test_four_bits_are_an_eighth_and_each_number_the_nearest(width: int) -> None:
    """Halves of rows come back in their order, odd widths too; small rows beside large ones."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, width)).astype(np.float32)
    table *= 10 ** rng.uniform(-2, 1, (ROWS, 1)).astype(np.float32)
    table[3] = 0
    weight = np.eye(width, OUTPUTS, dtype=np.float32)
    before = graph(weight, table)
    wanted = run(before, np.arange(ROWS)) - np.arange(OUTPUTS)
    after = int8_tables(before, nothing, bits=4)
    assert value(after, "table_int4").nbytes == ROWS * -(-width // 2)
    found = run(after, np.arange(ROWS)) - np.arange(OUTPUTS)
    columns, rows = value(after, "table_columns"), value(after, "table_rows")
    step = rows * columns[:OUTPUTS]
    inside = np.abs(wanted) <= 7 * step
    assert (np.abs(found - wanted) <= 0.51 * step + 1e-5)[inside].all()
    assert inside.mean() > 0.9
    # Of uniform steps up to each row's largest number no better were to be had.
    plain = np.maximum(np.abs(table / columns).max(axis=1, keepdims=True), 1e-9) / 7
    error = np.rint(table / columns / plain) * plain - table / columns
    its = np.square((found - wanted) / columns[:OUTPUTS]).sum()
    assert its < np.square(error[:, :OUTPUTS]).sum()


def test_four_bits_are_for_the_vocabulary_alone() -> None:
    """The table of ``input_ids``, however many places there are; what is left stays float32."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    made = graph(np.eye(WIDTH, OUTPUTS, dtype=np.float32), table)
    places = rng.normal(size=(2 * ROWS, WIDTH)).astype(np.float32)
    tensors = {"places": places, "numbers": np.arange(3)}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(t, n) for n, t in tensors.items())
    node = onnx.helper.make_node("Gather", ["places", "numbers"], ["z"], name="embeddings.place")
    made.graph.node.append(node)
    names = {each.name for each in int8_tables(made, nothing, bits=4).graph.initializer}
    assert {"table_int4", "places_int8"} <= names
    kept = int8_tables(graph(np.eye(WIDTH, OUTPUTS, dtype=np.float32), table), bool, bits=4)
    assert "table" in {each.name for each in kept.graph.initializer}
