"""Graphs in int8, whichever way: what stays, and weights that lie in a file of their own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from support import tiny
from tinybert.batching import TokenRows
from tinybert.forms import REASONS, graph, write_graph, write_int8
from tinybert.forms.rewriting import part_of, products

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")

IDS = np.array([[2, 7, 9, 11, 3]])
# From a tokenizer that gives no types, for a model that has two.
ROWS = TokenRows(np.array([2, 7, 3, 2, 9, 11, 3]), np.array([0, 3, 7]))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of two layers."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny.config(initializer_range=0.3)).eval()
    model.requires_grad_(False)
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    write_graph(model, path, longest=128)
    return path


def answers(path: Path) -> Any:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"input_ids": IDS, "attention_mask": IDS * 0 + 1, "token_type_ids": IDS * 0}
    return session.run(None, given)[0]


def exact(path: Path) -> Counter[str]:
    """Part → how many of its products have a matrix in float32."""
    found = onnx.load(str(path)).graph
    floats = {
        tensor.name
        for tensor in found.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    nodes = [node for node in found.node if node.op_type in ("MatMul", "Gemm")]
    return Counter(part_of(node.name) for node in nodes if node.input[1] in floats)


@pytest.mark.parametrize("way", REASONS)
@pytest.mark.parametrize("kept", [[], ["classifier"], ["1", "classifier"]])
def test_parts_that_stay(source: Path, tmp_path: Path, way: str, kept: list[str]) -> None:
    target = tmp_path / "int8.onnx"
    done = write_int8(source, target, way, kept=kept, calibration=ROWS)
    there = Counter(part for _, part in products(onnx.load(str(source))))
    assert exact(target) == {part: there[part] for part in kept}
    assert done.left == sum(there[part] for part in kept)


@pytest.mark.parametrize("way", REASONS)
def test_weights_in_a_file_of_their_own(
    source: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_int8(source, tmp_path / "wanted.onnx", way, calibration=ROWS)
    monkeypatch.setattr(graph, "_ONE_FILE", 1000)
    large, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    sizes = set()
    for _ in range(2):  # again: nothing is added to what lies there
        graph.save_graph(onnx.load(str(source)), large)
        sizes.add((tmp_path / "model.onnx_data").stat().st_size)
    assert len(sizes) == 1
    np.testing.assert_array_equal(answers(large), answers(source))
    write_int8(large, target, way, calibration=ROWS)
    assert (tmp_path / "int8.onnx_data").exists()
    np.testing.assert_array_equal(answers(target), answers(tmp_path / "wanted.onnx"))
    monkeypatch.undo()
    graph.save_graph(onnx.load(str(source)), large)
    assert not (tmp_path / "model.onnx_data").exists()
