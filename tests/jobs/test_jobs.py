"""The jobs from end to end on tiny models, and what their outputs are good for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

import tinybert
from support import tiny
from tinybert.projections import Projections

FAST: dict[str, Any] = {"precision": "float32", "attention": "direct", "quiet": True}
FIELDS = {
    *("task", "metric", "teacher", "student", "retention", "controls"),
    *("seconds", "stages", "settings", "versions"),
}
TASK_FIELDS = {"rows", "data", "text_columns", "inputs"}
MODEL_FIELDS = {"score", "parameters", "flops_128", "layers", "hidden"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder, a corpus, and a task with a teacher that was fine-tuned on it."""
    where = tmp_path_factory.mktemp("jobs")
    tiny.saved_encoder(where / "encoder", layers=4, width=32, initializer_range=0.2)
    tiny.corpus_file(where / "corpus.txt", 60)
    tiny.task_file(where / "train.csv", 160)
    tiny.task_file(where / "dev.csv", 60, seed=1)
    tinybert.finetune(
        model=str(where / "encoder"),
        data=where / "train.csv",
        dev=where / "dev.csv",
        output=where / "teacher",
        epochs=6,
        learning_rate=3e-3,
        **FAST,
    )
    return where


@pytest.fixture(scope="module")
def general(place: Path) -> dict[str, Any]:
    return tinybert.general(
        teacher=str(place / "encoder"),
        corpus=[str(place / "corpus.txt")],
        student="2x16",
        max_length=32,
        epochs=3,
        batch_size=32,
        learning_rate=2e-3,
        output=place / "general",
        **FAST,
    )


@pytest.fixture(scope="module")
def distilled(place: Path, general: dict[str, Any]) -> dict[str, Any]:
    return tinybert.distill(
        teacher=str(place / "teacher"),
        data=place / "train.csv",
        dev=place / "dev.csv",
        student=str(place / "general"),
        intermediate_epochs=5,
        prediction_epochs=20,
        intermediate_learning_rate=2e-3,
        prediction_learning_rate=7e-3,
        batch_size=16,
        gradient_norms_every=5,
        tensorboard=True,
        output=place / "student",
        **FAST,
    )


def written(directory: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((directory / "results.json").read_text())
    return results


def test_the_teacher_learns_the_task(place: Path) -> None:
    results = written(place / "teacher")
    assert results.keys() == FIELDS | TASK_FIELDS
    assert results["teacher"] is None
    assert results["retention"] is None
    assert results["student"].keys() == MODEL_FIELDS | {"scores"}
    assert results["student"]["score"] > 0.8
    assert results["settings"]["epochs"] == 6


def test_a_general_student(place: Path, general: dict[str, Any]) -> None:
    results = written(place / "general")
    assert results.keys() == FIELDS | {"held_out", "max_length", "tokens"}
    assert results["task"] == "general"
    assert results["metric"] is None
    assert results["student"]["score"] is None
    assert results["student"]["layers"] == 2
    assert results["student"]["hidden"] == 16
    assert results["student"]["flops_128"] < results["teacher"]["flops_128"]
    assert results["held_out"]["eval_loss"] == general["held_out"]["eval_loss"]
    assert [stage["name"] for stage in results["stages"]] == ["general"]
    assert AutoModel.from_pretrained(place / "general").config.hidden_size == 16
    assert Projections.load(place / "general").teacher_width == 32
    assert not (place / "general.run").exists()


def test_a_task_student(place: Path, distilled: dict[str, Any]) -> None:
    results = written(place / "student")
    more = {
        "agreement",
        "augmented_rows",
        "control_scores",
        "layer_mapping",
        "size",
        "start",
        "teacher_fine_tuned",
        "teacher_name",
        "vocabulary",
    }
    assert results.keys() == FIELDS | TASK_FIELDS | more
    for name in ("teacher", "student"):
        assert results[name].keys() == MODEL_FIELDS | {"scores"}
    assert (results["task"], results["metric"]) == ("train", "accuracy")
    assert results["teacher"]["score"] > 0.8
    assert results["student"]["score"] > 0.7
    assert results["retention"] == pytest.approx(
        results["student"]["score"] / results["teacher"]["score"]
    )
    assert results["student"]["parameters"] < results["teacher"]["parameters"] / 3
    assert 0.7 < results["agreement"] <= 1
    assert [stage["name"] for stage in results["stages"]] == ["intermediate", "prediction"]
    assert results["stages"][1]["best"]["metric"] == "accuracy"
    assert results["controls"] == {}
    assert results["seconds"] > 0
    assert {"tinybert", "python", "torch", "transformers"} == results["versions"].keys()
    assert results["settings"]["student"] == str(place / "general")
    assert sorted(p.name for p in (place / "student" / "tensorboard").iterdir()) == [
        *("intermediate", "prediction"),
    ]
    assert distilled["agreement"] == results["agreement"]


def test_the_student_is_used_with_transformers(place: Path, distilled: dict[str, Any]) -> None:
    directory = str(place / "student")
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    assert set(model.config.label2id) == set(tiny.LABELS)
    assert model.config.num_hidden_layers == 2
    texts, labels = tiny.sentences(40, seed=2)
    answers = pipeline("text-classification", model=directory)(texts)
    right = np.mean([a["label"] == label for a, label in zip(answers, labels, strict=True)])
    assert right > 0.6
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.get_vocab() == tiny.tokenizer().get_vocab()
    files = {path.name for path in (place / "student").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]


def test_evaluate_agrees_with_the_run(place: Path, distilled: dict[str, Any]) -> None:
    figures = tinybert.evaluate(
        model=str(place / "student"),
        data=place / "dev.csv",
        teacher=str(place / "teacher"),
        json=place / "figures.json",
        quiet=True,
    )
    assert json.loads((place / "figures.json").read_text()) == figures
    assert figures["rows"] == 60
    assert figures["metric"] == "accuracy"
    assert figures["model"]["score"] == figures["scores"]["accuracy"] > 0.6
    assert figures["model"]["parameters"] == distilled["student"]["parameters"]
    assert figures["agreement"] > 0.6


def test_evaluate_one_class_and_no_labels(
    place: Path, distilled: dict[str, Any], tmp_path: Path
) -> None:
    student = str(place / "student")
    one = tmp_path / "one.csv"
    one.write_text("text,label\nlock thread,concurrency\nqueue wait lock,CONCURRENCY\n")
    figures = tinybert.evaluate(model=student, data=one, quiet=True)
    assert figures["rows"] == 2
    numbered = tmp_path / "numbers.jsonl"  # class numbers in place of names
    model = AutoModelForSequenceClassification.from_pretrained(student)
    number = model.config.label2id["concurrency"]
    numbered.write_text(
        "".join(
            json.dumps({"text": t, "label": number}) + "\n"
            for t in ("lock thread", "queue wait lock")
        )
    )
    again = tinybert.evaluate(model=student, data=numbered, quiet=True)
    assert again["scores"] == figures["scores"]
    bare = tmp_path / "bare.csv"
    bare.write_text("text\nlock thread\nfile path\n")
    figures = tinybert.evaluate(
        model=student, data=bare, teacher=str(place / "teacher"), quiet=True
    )
    assert "scores" not in figures
    assert figures["model"]["score"] is None
    assert 0 <= figures["agreement"] <= 1


def test_agreement_is_by_the_labels_names(place: Path, tmp_path: Path) -> None:
    """A model and its copy with outputs in another order agree on everything."""
    model = AutoModelForSequenceClassification.from_pretrained(place / "teacher")
    order = [2, 0, 3, 1]
    names = [model.config.id2label[i] for i in order]
    for tensor in (model.classifier.weight.data, model.classifier.bias.data):
        tensor.copy_(tensor[order].clone())
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(tmp_path / "turned")
    tiny.tokenizer().save_pretrained(tmp_path / "turned")
    figures = tinybert.evaluate(
        model=str(place / "teacher"),
        teacher=str(tmp_path / "turned"),
        data=place / "dev.csv",
        quiet=True,
    )
    assert figures["agreement"] == 1.0


def test_without_labels_the_measure_is_agreement(place: Path, tmp_path: Path) -> None:
    texts, _ = tiny.sentences(80, seed=4)
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"sentence": text}) + "\n" for text in texts))
    results = tinybert.distill(
        teacher=str(place / "teacher"),
        data=data,
        student="2x16",
        start="random",
        attention_weight="1,0",
        intermediate_epochs=1,
        prediction_epochs=1,
        output=tmp_path / "student",
        **FAST,
    )
    assert results["metric"] is None
    assert results["retention"] is None
    assert results["teacher"]["score"] is None
    assert results["student"]["score"] is None
    assert 0 <= results["agreement"] <= 1
    assert results["stages"][1]["best"]["metric"] == "prediction"
    names = {term["term"] for term in results["stages"][0]["objective"]}
    assert names == {"embedding", "attention.1", "hidden.1", "hidden.2"}
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert set(model.config.label2id) == set(tiny.LABELS)


def test_regression(place: Path, tmp_path: Path) -> None:
    texts, labels = tiny.sentences(80, seed=5)
    rng = np.random.default_rng(0)
    data = tmp_path / "scores.csv"
    lines = [
        f"{text},{tiny.LABELS.index(label) + rng.normal(0, 0.1):.3f}"
        for text, label in zip(texts, labels, strict=True)
    ]
    data.write_text("\n".join(["text,score", *lines]) + "\n")
    taught = tinybert.finetune(
        model=str(place / "encoder"),
        data=data,
        epochs=8,
        learning_rate=3e-3,
        output=tmp_path / "teacher",
        **FAST,
    )
    assert taught["metric"] == "pearson_spearman"
    results = tinybert.distill(
        teacher=str(tmp_path / "teacher"),
        data=data,
        student="2x16",
        intermediate_epochs=2,
        prediction_epochs=4,
        prediction_learning_rate=1e-2,
        output=tmp_path / "student",
        **FAST,
    )
    assert results["metric"] == "pearson_spearman"
    assert -1 <= results["student"]["score"] <= 1
    assert results["stages"][1]["objective"][0]["regression"] is True
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert model.config.num_labels == 1
    assert model.config.problem_type == "regression"
    figures = tinybert.evaluate(
        model=str(tmp_path / "student"), data=data, teacher=str(tmp_path / "teacher"), quiet=True
    )
    assert figures["scores"].keys() == {"pearson_spearman", "pearson", "spearman"}


def test_a_student_without_projections_gets_some(place: Path, tmp_path: Path) -> None:
    tiny.saved_encoder(tmp_path / "given")
    results = tinybert.distill(
        teacher=str(place / "teacher"),
        data=place / "train.csv",
        student=str(tmp_path / "given"),
        shared_projection=False,
        intermediate_epochs=1,
        prediction_epochs=0,
        dropout=0.1,
        output=tmp_path / "student",
        **FAST,
    )
    assert [stage["name"] for stage in results["stages"]] == ["intermediate"]
    assert not Projections.load(tmp_path / "student").shared


def test_dry_runs_write_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"output": tmp_path / "out", "dry_run": True, **FAST}
    task = {"data": place / "train.csv", "dev": place / "dev.csv"}
    plan = tinybert.distill(
        teacher=str(place / "teacher"), student="2x16", batch_size=16, **task, **common
    )
    assert plan["training rows"] == 160
    assert plan["intermediate steps"] == 200
    assert plan["prediction steps"] == 30
    assert plan["student"] == "2x16x32x4"
    plan = tinybert.finetune(model=str(place / "encoder"), **task, **common)
    assert plan["steps"] == 15
    plan = tinybert.general(
        teacher=str(place / "encoder"),
        corpus=[str(place / "corpus.txt")],
        student="2x16",
        max_length=32,
        **common,
    )
    assert plan["layer_mapping"] == "1→2 2→4"
    assert 4 < plan["tokens_an_epoch"] / plan["blocks"] <= 32
    assert not list(tmp_path.iterdir())
    assert "plan" in capsys.readouterr().out


def test_a_started_head_speaks_the_datas_labels(place: Path) -> None:
    """A teacher whose labels are in another order than the data's gives a student that agrees."""
    labels = tuple(sorted(tiny.LABELS, reverse=True))
    teacher = tiny.classifier(labels=labels, layers=2, width=16)
    teacher.save_pretrained(place / "reversed")
    tiny.tokenizer().save_pretrained(place / "reversed")
    results = tinybert.distill(
        teacher=str(place / "reversed"),
        data=place / "train.csv",
        student="2x16",
        start="layers",
        intermediate_epochs=1,
        intermediate_learning_rate=1e-9,
        prediction_epochs=0,
        output=place / "agreeing",
        **FAST,
    )
    assert results["agreement"] == 1.0


def test_other_rows_under_the_same_name_are_another_run(place: Path, tmp_path: Path) -> None:
    data = tiny.task_file(tmp_path / "rows.csv", 60)
    options: dict[str, Any] = {
        "teacher": str(place / "teacher"),
        "data": data,
        "student": "2x16",
        "output": tmp_path / "out",
        **FAST,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinybert.stages.Run.run_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tinybert.distill(**options)
    tiny.task_file(data, 60, seed=9)
    with pytest.raises(tinybert.TinybertError, match="begun differently \\(rows\\)"):
        tinybert.distill(**options, resume=True)
