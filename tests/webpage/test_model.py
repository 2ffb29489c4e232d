"""What is read of an exported model, and which ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import tiny, web
from tinybert.errors import TinybertError
from tinybert.webpage import read_web_model
from tinybert.webpage.facts import facts


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return web.fake_export(tmp_path / "reviews")


def changed(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text("utf-8")) | values
    file.write_text(json.dumps(content), encoding="utf-8")


def test_what_is_read(exported: Path) -> None:
    model = read_web_model(exported)
    assert (model.name, model.kind, model.labels) == ("reviews", "classes", tiny.LABELS)
    assert model.text_names == ()
    assert model.length(None) == model.longest == 128


def test_more_than_ten_labels_keep_the_order_of_the_outputs(tmp_path: Path) -> None:
    labels = tuple(f"class {i}" for i in range(12))
    assert read_web_model(web.fake_export(tmp_path / "many", labels)).labels == labels


def test_one_output_is_a_value(tmp_path: Path) -> None:
    assert read_web_model(web.fake_export(tmp_path / "scores", ("score",))).kind == "value"


def test_any_number_of_labels(exported: Path) -> None:
    changed(exported / "config.json", problem_type="multi_label_classification")
    assert read_web_model(exported).kind == "labels"


def test_results_beside_the_model_tell_texts_and_length(exported: Path) -> None:
    results = {"text_columns": ["question", "answer"], "settings": {"max_length": 64}}
    (exported / "results.json").write_text(json.dumps(results))
    model = read_web_model(exported)
    assert model.text_names == ("question", "answer")
    assert model.length(None) == 64
    assert model.length(100) == 100


def test_no_more_tokens_than_the_model_takes(exported: Path) -> None:
    changed(exported / "config.json", model_type="roberta", pad_token_id=1)
    model = read_web_model(exported)
    assert model.length(None) == 126  # positions start behind the padding token's
    with pytest.raises(TinybertError, match="takes 126 tokens at most, --max-length 127"):
        model.length(127)


def without(name: str) -> Any:
    return lambda directory: (directory / name).unlink()


def unexported(directory: Path) -> None:
    (directory / "onnx" / "model_quantized.onnx").unlink()
    (directory / "onnx").rmdir()


def headless(directory: Path) -> None:
    changed(directory / "config.json", architectures=["BertModel"])


def unknown_tokenizer(directory: Path) -> None:
    nested = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Nmt"}]}
    changed(directory / "tokenizer.json", normalizer=nested)


def no_json(directory: Path) -> None:
    (directory / "config.json").write_text("{")


def broken_tokenizer_config(directory: Path) -> None:
    (directory / "tokenizer_config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unexported, "is not exported, .* make one with `tinybert export .* --to int8"),
        (without("onnx/model_quantized.onnx"), "has no int8 model .* export it again with --to"),
        (without("tokenizer.json"), "has no tokenizer.json, which the page reads: save a fast"),
        (without("config.json"), "has no config.json: give a directory that"),
        (headless, r"is an encoder without a classifier \(BertModel\)"),
        (unknown_tokenizer, "has a normalizer of type Nmt, which the page's JavaScript does not"),
        (no_json, "config.json is not readable JSON .*: export the model again"),
        (broken_tokenizer_config, "tokenizer_config.json is not readable JSON .*: export the"),
    ],
)
def test_a_model_that_cannot_stand_on_a_page(exported: Path, spoil: Any, message: str) -> None:
    spoil(exported)
    with pytest.raises(TinybertError, match=message):
        read_web_model(exported)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="is not there: give a directory that"):
        read_web_model(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(TinybertError, match="is a file: give a directory that"):
        read_web_model(tmp_path / "file")


def test_figures_of_the_export(exported: Path) -> None:
    form = {"file": "onnx/model_quantized.onnx", "scores": {"mcc": 0.5012, "accuracy": 0.8}}
    told = {
        "model": "cola-student",
        "metric": "mcc",
        "score_before": {"mcc": 0.5034},
        "forms": {"onnx-float32": {"file": "onnx/model.onnx"}, "onnx-int8": form},
    }
    (exported / "export.json").write_text(json.dumps(told))
    model = read_web_model(exported)
    assert model.name == "cola-student"
    assert facts(model, 14_600_000) == [
        ("Model", "14.6 MB, int8"),
        ("Shape", "2 layers, 16 wide"),
        ("MCC", "0.501 (0.503 before int8)"),
    ]
    (exported / "export.json").write_text('{"forms": null, "score_before": []}')
    assert len(facts(read_web_model(exported), 9_000)) == 2
