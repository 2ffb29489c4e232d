"""``convert`` from end to end: what it writes serves every other verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertModel

import tinybert
from support import authors, tiny
from tinybert import TinybertError
from tinybert.cli import main
from tinybert.projections import Projections
from tinybert.relu_bert import ReluBertForSequenceClassification
from tinybert.teachers import load_encoder, load_tokenizer

LABELS = ",".join(tiny.LABELS)
FAST: dict[str, Any] = {"precision": "float32", "attention": "direct", "quiet": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' general student (width 12 under teachers of 24), and a task model of 24."""
    where = tmp_path_factory.mktemp("convert")
    config = authors.sizes()
    state = authors.weights(config, fit="fit_denses", heads=True)
    authors.write(where / "theirs-general", config, state)
    config = authors.sizes(hidden_size=24, num_hidden_layers=4)
    state = authors.weights(config, labels=4, fit="fit_dense")
    authors.write(where / "theirs-task", config, state)
    tiny.task_file(where / "train.csv", 80)
    tiny.task_file(where / "dev.csv", 40, seed=1)
    return where


@pytest.fixture(scope="module")
def general(place: Path) -> Path:
    tinybert.convert(model=place / "theirs-general", output=place / "general", quiet=True)
    return place / "general"


@pytest.fixture(scope="module")
def task(place: Path) -> Path:
    tinybert.convert(model=place / "theirs-task", output=place / "task", labels=LABELS, quiet=True)
    return place / "task"


def test_a_general_student_is_a_plain_model(general: Path) -> None:
    assert sorted(file.name for file in general.iterdir()) == [
        "config.json",
        "model.safetensors",
        "projections.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((general / "config.json").read_text())["model_type"] == "bert"
    model = AutoModel.from_pretrained(general).eval()
    assert type(model) is BertModel
    texts = ["lock thread queue", "file"]
    batch = AutoTokenizer.from_pretrained(general)(texts, padding=True, return_tensors="pt")
    config = authors.sizes()
    state = authors.weights(config, fit="fit_denses")
    with torch.no_grad():
        found = model(**batch).last_hidden_state[:, 0]
    wanted = authors.states(config, state, dict(batch))[-1][:, 0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    projections = Projections.load(general)
    assert not projections.shared
    assert projections.bias
    assert projections.teacher_width == 24


def test_what_it_returns_and_tells(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(place / "theirs-general"), "--output", str(place / "told")]
    assert main(["convert", *words]) == 0
    said = capsys.readouterr().err
    assert "projections 12 to 24, one a layer" in said
    assert "left out: the pre-training heads (8 tensors, cls.*)" in said
    assert "text lower-cased (no piece has a capital)" in said
    figures = tinybert.convert(
        model=str(place / "theirs-task"), output=place / "dry", dry_run=True, quiet=True
    )
    assert figures["class"] == "ReluBertForSequenceClassification"
    assert figures["head"] == "relu"
    assert figures["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    assert (figures["layers"], figures["hidden"], figures["projected_to"]) == (4, 24, 24)
    assert figures["left_out"] == []
    config = authors.sizes(hidden_size=24, num_hidden_layers=4)
    state = authors.weights(config, labels=4, fit=None)
    assert figures["parameters"] == sum(tensor.numel() for tensor in state.values())
    assert not (place / "dry").exists()


def test_a_task_model_is_evaluated_as_the_authors_would(place: Path, task: Path) -> None:
    config = authors.sizes(hidden_size=24, num_hidden_layers=4)
    state = authors.weights(config, labels=4)
    texts, labels = tiny.sentences(40, seed=1)
    batch = dict(load_tokenizer(task)(texts, padding=True, return_tensors="pt"))
    found = authors.logits(config, state, batch).argmax(-1).tolist()
    right = sum(tiny.LABELS[i] == label for i, label in zip(found, labels, strict=True))
    standard = authors.logits(config, state, batch, relu=False).argmax(-1).tolist()
    assert standard != found, "both heads agree on every row: this test would show nothing"
    results = tinybert.evaluate(model=task, data=str(place / "dev.csv"), quiet=True)
    assert results["model"]["score"] == pytest.approx(right / 40)


def test_the_general_student_learns_from_the_task_model(
    place: Path, general: Path, task: Path
) -> None:
    """Both converted; the carried projections have biases, one a layer."""
    results = tinybert.distill(
        teacher=task,
        student=str(general),
        data=str(place / "train.csv"),
        dev=str(place / "dev.csv"),
        output=place / "student",
        intermediate_epochs=1,
        prediction_epochs=1,
        **FAST,
    )
    assert results["student"]["hidden"] == 12
    before, after = Projections.load(general), Projections.load(place / "student")
    assert (after.shared, after.bias) == (False, True)
    assert not torch.equal(before.weight_for(1), after.weight_for(1))
    config = json.loads((place / "student" / "config.json").read_text())
    assert config["model_type"] == "bert"


@pytest.mark.parametrize("given", ["shape", "directory"])
def test_a_student_with_the_authors_head_keeps_its_class(
    place: Path, task: Path, given: str
) -> None:
    output = place / f"student-{given}"
    start = {"student": "2x24", "start": "layers"} if given == "shape" else {"student": str(task)}
    tinybert.distill(
        teacher=task,
        data=str(place / "train.csv"),
        dev=str(place / "dev.csv"),
        output=output,
        intermediate_epochs=1,
        prediction_epochs=1,
        **start,
        **FAST,
    )
    assert type(load_encoder(output, labels=tiny.LABELS)) is ReluBertForSequenceClassification
    results = tinybert.evaluate(model=output, data=str(place / "dev.csv"), quiet=True)
    assert results["model"]["score"] > 0


def test_it_can_be_fine_tuned(place: Path, task: Path) -> None:
    tinybert.finetune(
        model=task,
        data=str(place / "train.csv"),
        dev=str(place / "dev.csv"),
        output=place / "tuned",
        epochs=1,
        **FAST,
    )
    assert json.loads((place / "tuned" / "config.json").read_text())["model_type"] == (
        "tinybert_relu_bert"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--output out", "the checkpoint is missing: give it with --model"),
        ("--model {}", "the output directory is missing: give it with --output"),
        ("--model {} --output exists", "exists already"),
        ("--model nowhere --output out", "there is no directory nowhere"),
        ("--model {} --output out --labels a,b", "has 4 outputs and --labels names 2 (a, b)"),
        ("--model {} --output out --vocab nowhere", "there is no vocabulary nowhere"),
        ("--model {} --output out --head gelu", "--head"),
    ],
)
def test_one_sentence_and_nothing_written(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exists").mkdir()
    words = flags.format(place / "theirs-task").split()
    assert main(["convert", *words, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["exists"]


def test_overwrite_replaces_only_when_whole(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tinybert.convert(model=place / "theirs-general", output=output, quiet=True)
    with pytest.raises(TinybertError, match="an encoder without a classifier"):
        tinybert.convert(
            model=place / "theirs-general", output=output, labels="a", overwrite=True, quiet=True
        )
    assert (output / "model.safetensors").is_file()
    tinybert.convert(model=place / "theirs-task", output=output, overwrite=True, quiet=True)
    assert type(load_encoder(output, labels=["a"] * 4)) is ReluBertForSequenceClassification
