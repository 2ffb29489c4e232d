"""Encoders as ONNX: whatever the architecture, the answers are PyTorch's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

from support import tiny
from tinybert.errors import TinybertError
from tinybert.forms import largest_difference, make_probes, write_graph, write_int8
from tinybert.measure.latency import longest_input
from tinybert.runtimes import needs, open_runtime

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

SIZES: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "num_labels": 3,
    "initializer_range": 0.3,
}


def bert() -> PreTrainedModel:
    return BertForSequenceClassification(tiny.config(initializer_range=0.3))


def roberta() -> PreTrainedModel:
    more = {"max_position_embeddings": 40, "pad_token_id": 1, "type_vocab_size": 1}
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, **more))


def roberta_encoder() -> PreTrainedModel:
    more = {"max_position_embeddings": 40, "pad_token_id": 1, "type_vocab_size": 1}
    return RobertaModel(RobertaConfig(**SIZES, **more))


def electra() -> PreTrainedModel:
    more = {"embedding_size": 16, "max_position_embeddings": 40}
    return ElectraForSequenceClassification(ElectraConfig(**SIZES, **more))


def distilbert() -> PreTrainedModel:
    names = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "intermediate_size": "hidden_dim",
    }
    sizes = {names.get(name, name): value for name, value in SIZES.items()}
    sizes["n_heads"] = sizes.pop("num_attention_heads")
    config = DistilBertConfig(**sizes, max_position_embeddings=40)
    return DistilBertForSequenceClassification(config)


@pytest.mark.parametrize("make", [bert, roberta, roberta_encoder, electra, distilbert])
def test_answers_are_pytorchs(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make().eval()
    model.requires_grad_(False)
    before = model.config._attn_implementation
    (tmp_path / "onnx").mkdir()
    file = tmp_path / "onnx" / "model.onnx"
    assert write_graph(model, file, longest=longest_input(model))
    assert model.config._attn_implementation == before
    model.config.save_pretrained(tmp_path)
    rows = tiny.rows(40, longest=12)
    runtime = open_runtime(tmp_path, "onnx-float32", threads=1)
    probes = make_probes(model, rows, runtime.inputs, longest_input(model))
    assert largest_difference(runtime, probes) <= 1e-4 * probes.size
    done = write_int8(file, tmp_path / "onnx" / "model_quantized.onnx", "rows")
    assert done.left == 0
    assert done.products >= 12
    rounded = open_runtime(tmp_path, "onnx-int8", threads=1)
    assert 0 < largest_difference(rounded, probes) < 0.3 * probes.size


def test_nothing_of_this_machine_is_in_the_file(tmp_path: Path) -> None:
    model = bert().eval()
    write_graph(model, tmp_path / "model.onnx", longest=128, fuse=False)
    text = (tmp_path / "model.onnx").read_bytes()
    for word in (b"site-packages", b"/forms/", str(Path.cwd()).encode()):
        assert word not in text
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert {each.domain for each in graph.opset_import} == {""}
    assert [each.name for each in graph.graph.output] == ["logits"]
    # A weight tells its own shape; noted twice it misleads quantisers that turn weights over.
    weights = {each.name for each in graph.graph.initializer}
    assert not weights & {each.name for each in graph.graph.value_info}
    named = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    assert any(name.startswith("bert.encoder.layer.1.attention.self.query/") for name in named)


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no decomposition for aten::odd\nand a long trace")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        TinybertError, match="cannot be exported to ONNX .no decomposition for aten"
    ):
        write_graph(bert(), tmp_path / "model.onnx", longest=128)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_what_this_machine_lacks_is_not_the_models_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(type(error)):
        write_graph(bert(), tmp_path / "model.onnx", longest=128)


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(TinybertError, match=r"pip install 'tinybert\[export\]'"):
        needs("onnx", "onnxscript")
