"""Distillation on one's own data: teachers without a head, labels, controls, what is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, pipeline

import tinybert
from support import tiny
from tinybert.errors import TinybertError

QUICK = tiny.QUICK | {"student": "2x16"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.task_file(tmp_path / "train.csv", 200)


def test_a_plain_encoder_is_fine_tuned_first_and_kept(data: Path, tmp_path: Path) -> None:
    encoder = tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32)
    asked = {"teacher": encoder, "data": data, "output": tmp_path / "student", **QUICK}
    results = tinybert.distill(**asked)
    kept = tmp_path / "student-teacher"
    weights = (kept / "model.safetensors").stat().st_mtime_ns
    assert json.loads((kept / "results.json").read_text())["inputs"]["epochs"] == 1.0
    teacher = AutoModelForSequenceClassification.from_pretrained(kept)
    assert set(teacher.config.label2id) == set(tiny.LABELS)
    # Reported on rows that neither the teacher nor the student was chosen on.
    assert results["rows"] == {"train": 180, "dev": 10, "test": 10}
    classify = pipeline("text-classification", str(tmp_path / "student"))
    assert classify("lock the file")[0]["label"] in tiny.LABELS
    # Again: the same teacher is taken, another one is not overwritten unasked.
    again = tinybert.distill(**(asked | {"output": tmp_path / "student", "overwrite": True}))
    assert (kept / "model.safetensors").stat().st_mtime_ns == weights
    assert again["teacher"]["score"] == results["teacher"]["score"]
    (tmp_path / "student").rename(tmp_path / "elsewhere")
    with pytest.raises(TinybertError, match="is not this encoder fine-tuned on these rows"):
        tinybert.distill(**(asked | {"teacher_epochs": 2.0}))


def test_a_bad_student_is_refused_before_the_teacher_is_made(data: Path, tmp_path: Path) -> None:
    encoder = tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32)
    with pytest.raises(TinybertError, match="at most 4 layers"):
        tinybert.distill(
            teacher=encoder,
            data=data,
            output=tmp_path / "student",
            **(QUICK | {"student": "9x16"}),
        )
    assert not (tmp_path / "student-teacher").exists()
    plan = tinybert.distill(
        teacher=encoder, data=data, output=tmp_path / "student", dry_run=True, **QUICK
    )
    assert plan["teacher"] == "to be fine-tuned first"
    assert not list(tmp_path.glob("student*"))


def test_an_encoder_needs_labels(tmp_path: Path) -> None:
    encoder = tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32)
    rows = tmp_path / "rows.csv"
    rows.write_text("text\n" + "".join(f"{t} {n}\n" for n, t in enumerate(tiny.sentences(60)[0])))
    with pytest.raises(TinybertError, match="no labels to fine-tune it on"):
        tinybert.distill(teacher=encoder, data=rows, output=tmp_path / "student", **QUICK)


def taught(tmp_path: Path, data: Path) -> Path:
    """A teacher that knows the task."""
    encoder = tiny.saved_encoder(tmp_path / "plain", layers=4, width=32, initializer_range=0.2)
    tinybert.finetune(
        model=encoder,
        data=data,
        output=tmp_path / "taught",
        epochs=12,
        learning_rate=3e-3,
        max_length=24,
        precision="float32",
        attention="direct",
        quiet=True,
    )
    return tmp_path / "taught"


def renamed(teacher: Path, names: list[str]) -> None:
    """Other label names in the teacher's config, its weights as they are."""
    file = teacher / "config.json"
    config = json.loads(file.read_text())
    config["id2label"] = dict(enumerate(names))
    config["label2id"] = {name: i for i, name in enumerate(names)}
    file.write_text(json.dumps(config))


def test_labels_are_aligned_by_name_and_tested(tmp_path: Path) -> None:
    """The trap of the original: another order of labels, 10 % accuracy, no error."""
    data = tiny.task_file(tmp_path / "train.csv", 600)
    teacher = taught(tmp_path, data)
    names = list(AutoModelForSequenceClassification.from_pretrained(teacher).config.label2id)
    asked = {"teacher": teacher, "data": data, "output": tmp_path / "student", **QUICK}
    score = tinybert.distill(**asked)["teacher"]["score"]
    assert score > 0.7
    # Names that lie stop the run.
    renamed(teacher, [*names[1:], names[0]])
    with pytest.raises(TinybertError, match=r"suspicious.*--teacher-labels"):
        tinybert.distill(**(asked | {"output": tmp_path / "trap"}))
    assert not list(tmp_path.glob("trap*"))
    # Names that say nothing are found out.
    renamed(teacher, [f"LABEL_{i}" for i in range(len(names))])
    found = tinybert.distill(**(asked | {"output": tmp_path / "found"}))
    assert found["teacher"]["score"] == score
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "found")
    assert set(student.config.label2id) == set(names)
    # The user may say it.
    said = tinybert.distill(
        **(asked | {"output": tmp_path / "said", "teacher_labels": ",".join(names)})
    )
    assert said["teacher"]["score"] == score
    with pytest.raises(TinybertError, match="names 2 labels, but"):
        tinybert.distill(**(asked | {"output": tmp_path / "few", "teacher_labels": "a,b"}))


def test_controls_and_scores_are_in_the_results(data: Path, tmp_path: Path) -> None:
    teacher = tiny.saved_classifier(tmp_path / "teacher", layers=4, width=32)
    results = tinybert.distill(
        teacher=teacher,
        data=data,
        output=tmp_path / "student",
        controls=True,
        **(QUICK | {"prediction_epochs": 2.0}),
    )
    assert set(results["controls"]) == {"same start, labels alone", "same start, logits alone"}
    assert results["student"]["scores"]["test"]["accuracy"] == results["student"]["score"]
    # The stages of the student alone, and controls of as many steps (1 + 2 epochs of 6).
    assert [stage["name"] for stage in results["stages"]] == ["intermediate", "prediction"]
    assert sum(stage["steps"] for stage in results["stages"]) == 18


def test_regression_against_a_classifier(data: Path, tmp_path: Path) -> None:
    teacher = tiny.saved_classifier(tmp_path / "teacher", layers=4, width=32)
    scores = tmp_path / "scores.csv"
    texts, _ = tiny.sentences(60)
    scores.write_text("text,score\n" + "".join(f"{t},{i / 7}\n" for i, t in enumerate(texts)))
    with pytest.raises(TinybertError, match="was read as values"):
        tinybert.distill(teacher=teacher, data=scores, output=tmp_path / "student", **QUICK)


def test_the_default_student_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tiny.saved_classifier(tmp_path / "teacher", layers=6, width=64)
    tinybert.distill(
        teacher=teacher,
        data=data,
        output=tmp_path / "student",
        dry_run=True,
        **{**QUICK, "student": "auto", "quiet": False},
    )
    assert "of the teacher's 6 layers" in capsys.readouterr().err


def test_a_given_student_keeps_what_its_head_means(tmp_path: Path) -> None:
    """Its outputs may stand in another order than the data's labels."""
    data = tiny.task_file(tmp_path / "train.csv", 600)
    teacher = taught(tmp_path, data)
    names = list(AutoModelForSequenceClassification.from_pretrained(teacher).config.label2id)
    student = tiny.saved_classifier(
        tmp_path / "given", labels=tuple(reversed(names)), layers=2, width=16, seed=3
    )
    weights = AutoModelForSequenceClassification.from_pretrained(student).classifier.weight
    stopped = tinybert.distill(
        teacher=teacher,
        data=data,
        output=tmp_path / "student",
        **(QUICK | {"student": str(student), "prediction_learning_rate": 1e-12}),
        intermediate_learning_rate=1e-12,
    )
    assert stopped["student"]["layers"] == 2
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    for number, name in after.config.id2label.items():
        row = list(reversed(names)).index(name)
        assert (after.classifier.weight[number] - weights[row]).abs().max() < 1e-6
    other = tiny.saved_classifier(tmp_path / "other", labels=("a", "b"), layers=2, width=16)
    tinybert.distill(
        teacher=teacher,
        data=data,
        output=tmp_path / "anew",
        **(QUICK | {"student": str(other)}),
    )
    anew = AutoModelForSequenceClassification.from_pretrained(tmp_path / "anew")
    assert set(anew.config.label2id) == set(names)


def test_an_unfinished_run_is_seen_before_a_teacher_is_made(data: Path, tmp_path: Path) -> None:
    encoder = tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32)
    (tmp_path / "student.run").mkdir()
    (tmp_path / "student.run" / "settings.json").write_text("{}")
    with pytest.raises(TinybertError, match="unfinished run"):
        tinybert.distill(teacher=encoder, data=data, output=tmp_path / "student", **QUICK)
    assert not (tmp_path / "student-teacher").exists()
