"""Runtimes: the same answers from every engine, what they take, what is said of what is missing."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import RobertaConfig, RobertaForSequenceClassification

from support import forms, tiny
from tinybert.errors import TinybertError
from tinybert.runtimes import FORMS, Runtime, available_forms, longest_row, open_runtime

PYTORCH = ["pytorch-float32", "pytorch-bfloat16"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with PyTorch's weights and two ONNX models."""
    directory = tmp_path_factory.mktemp("runtimes") / "both"
    return forms.add_onnx(tiny.saved_classifier(directory, initializer_range=0.5))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runtimes") / "encoder"
    return forms.add_onnx(tiny.saved_encoder(directory, initializer_range=0.5))


@pytest.fixture(scope="module")
def opened(both: Path) -> dict[str, Runtime]:
    return {form: open_runtime(both, form) for form in available_forms(both)}


def batch(rows: int, length: int, seed: int = 0) -> dict[str, Any]:
    """Rows of different lengths, padded."""
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, length), dtype=np.int64)
    for row in range(rows):
        mask[row, max(1, length - 2 * row) :] = 0
    ids = rng.integers(5, tiny.VOCABULARY, (rows, length)) * mask
    types = (np.arange(length)[None, :] > length // 2).astype(np.int64) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.integers(1, 4), length=st.integers(1, 40), seed=st.integers(0, 99))
def test_onnx_answers_as_pytorch(
    opened: dict[str, Runtime], rows: int, length: int, seed: int
) -> None:
    inputs = batch(rows, length, seed)
    model = tiny.classifier(initializer_range=0.5)
    with torch.no_grad():
        wanted = model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits.numpy()
    torch_logits = opened["pytorch-float32"](inputs)
    onnx_logits = opened["onnx-float32"](inputs)
    assert torch_logits.dtype == onnx_logits.dtype == np.float32
    np.testing.assert_allclose(torch_logits, wanted, atol=1e-5)
    np.testing.assert_allclose(onnx_logits, wanted, atol=1e-5)


def test_other_forms_are_near(opened: dict[str, Runtime]) -> None:
    inputs = batch(3, 20)
    wanted = opened["pytorch-float32"](inputs)
    for form in ("pytorch-bfloat16", "onnx-int8"):
        got = opened[form](inputs)
        assert got.dtype == np.float32
        assert got.shape == wanted.shape
        assert 0 < np.abs(got - wanted).max() < 0.2 * np.abs(wanted).max()


def test_an_encoder_gives_its_last_states(encoder: Path) -> None:
    inputs = batch(2, 9)
    states = open_runtime(encoder, "pytorch-float32")(inputs)
    assert states.shape == (2, 9, 16)
    np.testing.assert_allclose(open_runtime(encoder, "onnx-float32")(inputs), states, atol=1e-4)


def test_what_is_left_out_is_ones_and_zeros(both: Path) -> None:
    ids = batch(2, 7)["input_ids"]
    full = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    for form in ("pytorch-float32", "onnx-float32"):
        runtime = open_runtime(both, form)
        assert set(runtime.inputs) == set(full)
        short = runtime({"input_ids": ids.astype(np.int32)})
        np.testing.assert_array_equal(short, runtime(full))


def test_what_is_told_of_a_runtime(both: Path) -> None:
    plain = open_runtime(both, "pytorch-float32", threads=1)
    assert (plain.name, plain.form, plain.path, plain.longest) == (
        "both", "pytorch-float32", both, 128,
    )  # fmt: skip
    assert plain.size == (both / "model.safetensors").stat().st_size
    int8 = open_runtime(both, "onnx-int8", threads=1)
    assert int8.path == both / "onnx" / "model_quantized.onnx"
    assert int8.size == int8.path.stat().st_size
    assert int8.longest == 128


def test_weights_beside_an_onnx_file_count(both: Path, tmp_path: Path) -> None:
    import onnx

    place = shutil.copytree(both, tmp_path / "beside")
    model = onnx.load(place / "onnx" / "model.onnx")
    (place / "onnx" / "model.onnx").unlink()
    onnx.save(
        model,
        place / "onnx" / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=1000,
    )
    beside = (place / "onnx" / "model.onnx_data").stat().st_size
    assert beside > 10_000
    graph = (place / "onnx" / "model.onnx").stat().st_size
    assert open_runtime(place, "onnx-float32").size == graph + beside


def test_available_forms(both: Path, tmp_path: Path) -> None:
    assert available_forms(both) == [*PYTORCH, "onnx-float32", "onnx-int8"]
    exported = shutil.copytree(both, tmp_path / "exported")
    (exported / "model.safetensors").unlink()
    assert available_forms(exported) == ["onnx-float32", "onnx-int8"]
    (exported / "openvino").mkdir()
    (exported / "openvino" / "openvino_model.xml").write_text("<net/>")
    assert available_forms(exported)[-1] == "openvino"
    assert available_forms("owner/model") == PYTORCH
    assert [*FORMS][:2] == PYTORCH


def test_onnx_takes_no_torch(both: Path) -> None:
    code = f"""
import sys
import numpy as np
from tinybert.runtimes import open_runtime
open_runtime({str(both)!r}, "onnx-int8")({{"input_ids": np.array([[2, 7, 3]])}})
found = {{"torch", "transformers"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_roberta_has_two_positions_less_and_one_type(tmp_path: Path) -> None:
    config = RobertaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
        type_vocab_size=1,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path / "roberta")
    runtime = open_runtime(tmp_path / "roberta", "pytorch-float32")
    saved = json.loads((tmp_path / "roberta" / "config.json").read_text())
    assert runtime.longest == longest_row(saved) == 64
    assert runtime.inputs == ("input_ids", "attention_mask")
    ones = np.ones((1, 5), dtype=np.int64)
    assert runtime({"input_ids": 7 * ones, "token_type_ids": ones}).shape == (1, 2)


def test_no_bound_where_the_config_has_none() -> None:
    assert longest_row({"model_type": "x"}) is None
    assert longest_row({"max_position_embeddings": -1}) is None
    assert longest_row({"model_type": "bert", "max_position_embeddings": 512}) == 512


class FakeOpenVino(types.ModuleType):
    """Answers with the sum of the ids; notes how it was asked to compile."""

    def __init__(self) -> None:
        super().__init__("openvino")
        self.asked: tuple[Any, ...] = ()

    def Core(self) -> FakeOpenVino:  # noqa: N802 - as the engine has it
        return self

    def compile_model(self, *asked: Any) -> Any:
        self.asked = asked
        port = types.SimpleNamespace
        model = types.SimpleNamespace(
            inputs=[port(get_any_name=lambda: "input_ids")],
            outputs=[port(get_any_name=lambda: "pooled"), port(get_any_name=lambda: "logits")],
        )

        class Compiled:
            inputs, outputs = model.inputs, model.outputs

            def __call__(self, fed: dict[str, Any]) -> dict[str, Any]:
                return {"logits": fed["input_ids"].sum(axis=1, keepdims=True), "pooled": None}

        return Compiled()


def test_openvino_is_asked_for_float32(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(both, tmp_path / "vino")
    (place / "openvino").mkdir()
    (place / "openvino" / "openvino_model.xml").write_text("<net/>")
    (place / "openvino" / "openvino_model.bin").write_bytes(b"12345")
    engine = FakeOpenVino()
    monkeypatch.setitem(sys.modules, "openvino", engine)
    runtime = open_runtime(place, "openvino", threads=3)
    assert runtime.size == len("<net/>") + 5
    path, device, options = engine.asked
    assert (path, device) == (str(runtime.path), "CPU")
    assert options["INFERENCE_PRECISION_HINT"] == "f32"
    assert options["INFERENCE_NUM_THREADS"] == 3
    assert runtime({"input_ids": np.array([[4, 5]])}).tolist() == [[9.0]]


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
def test_openvino_answers_as_pytorch(both: Path, tmp_path: Path) -> None:
    import openvino

    place = shutil.copytree(both, tmp_path / "vino")
    converted = openvino.Core().read_model(str(place / "onnx" / "model.onnx"))
    (place / "openvino").mkdir()
    openvino.save_model(converted, str(place / "openvino" / "openvino_model.xml"))
    inputs = batch(3, 12)
    wanted = open_runtime(place, "pytorch-float32")(inputs)
    np.testing.assert_allclose(open_runtime(place, "openvino")(inputs), wanted, atol=1e-2)


# --- bad input ------------------------------------------------------------------------------------


def test_no_such_form(both: Path) -> None:
    with pytest.raises(TinybertError, match="there is no form onnx: the forms are pytorch-float32"):
        open_runtime(both, "onnx")


def test_a_form_that_it_does_not_have(tmp_path: Path) -> None:
    plain = tiny.saved_classifier(tmp_path / "plain")
    with pytest.raises(TinybertError, match="has no form onnx-int8, it has pytorch.*tinybert expo"):
        open_runtime(plain, "onnx-int8")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("file", "is a file: give the model's directory"),
        ("./nowhere", "there is no model directory"),
        ("empty", "is no model directory: it has no weights"),
        ("no-config", "is no model directory: it has no config.json"),
    ],
)
def test_no_model(
    name: str, error: str, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    Path("empty").mkdir()
    Path("empty/config.json").write_text("{}")
    shutil.copytree(both, "no-config")
    Path("no-config/config.json").unlink()
    with pytest.raises(TinybertError, match=error):
        available_forms(name)


def test_a_broken_file(both: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(both, tmp_path / "broken")
    (broken / "onnx" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(TinybertError, match="ONNX Runtime cannot load .*model.onnx"):
        open_runtime(broken, "onnx-float32")
    (broken / "config.json").write_text("{")
    with pytest.raises(TinybertError, match="config.json is no JSON"):
        open_runtime(broken, "onnx-int8")


@pytest.mark.parametrize(
    ("module", "form", "extra"),
    [("onnxruntime", "onnx-int8", "export"), ("openvino", "openvino", "openvino")],
)
def test_an_engine_that_is_not_installed(
    module: str, form: str, extra: str, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(both, tmp_path / "place")
    (place / "openvino").mkdir()
    (place / "openvino" / "openvino_model.xml").write_text("<net/>")
    if module == "openvino":
        stand_in = types.ModuleType("openvino")
        monkeypatch.setitem(sys.modules, module, stand_in)
        with pytest.raises(TinybertError, match=r"has no openvino_model.bin beside it"):
            open_runtime(place, form)
    (place / "openvino" / "openvino_model.bin").write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TinybertError, match=rf"{module} is not installed.*tinybert\[{extra}\]"):
        open_runtime(place, form)
