"""Reports of real runs: written at their end, made again later, and when half of it is gone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import PartialState
from sklearn.metrics import classification_report

import tinybert
from support import pages, tiny
from tinybert.cli import main
from tinybert.errors import TinybertError
from tinybert.jobs import report as job
from tinybert.reporting import ANSWERS_FILE, REPORT_FILE, Answers
from tinybert.tasks.metrics import agreement, compute

QUICK = tiny.QUICK | {"report": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder, rows, and a student of the encoder fine-tuned on them."""
    place = tmp_path_factory.mktemp("report")
    tiny.saved_encoder(place / "encoder", layers=4, width=32, initializer_range=0.2)
    tiny.task_file(place / "train.csv", 80)
    tiny.task_file(place / "dev.csv", 30, seed=1)
    tiny.task_file(place / "test.csv", 50, seed=2)
    tinybert.distill(
        teacher=place / "encoder",
        data=place / "train.csv",
        dev=place / "dev.csv",
        test=place / "test.csv",
        student="2x16",
        output=place / "student",
        controls=True,
        log_every=1,
        **QUICK,
    )
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy, so that things can be taken away."""
    return Path(shutil.copytree(made, tmp_path / "place"))


def results_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "results.json").read_text())
    return found


def seen_in(file: Path) -> pages.Seen:
    seen = pages.read(file.read_text("utf-8"))
    pages.check_alone(seen)
    return seen


def test_a_distillation_writes_its_report(made: Path) -> None:
    results, seen = results_of(made / "student"), seen_in(made / "student" / REPORT_FILE)
    scores = {row[0]: row[1:] for row in seen.table("Scores of")}
    assert scores["teacher"][0] == f"{results['teacher']['score']:.4f}"
    assert scores["student"] == [
        f"{results['student']['score']:.4f}",
        f"{100 * results['retention']:.1f} %",
    ]
    for name, score in results["controls"].items():
        assert scores[name][0] == f"{score:.4f}"
    assert results["layer_mapping"] == [2, 4]
    assert results["start"] == "pca"
    assert "pca" in seen.text
    assert [row[0] for row in seen.table("Size and speed")][-2:] == [
        "latency, one text of 32 tokens",
        "latency, one text of 128 tokens",
    ]
    assert "not to be had" not in seen.text


def test_kept_answers_give_the_results(made: Path) -> None:
    answers, results = Answers.load(made / "student"), results_of(made / "student")
    assert answers is not None
    assert answers.teacher is not None
    for name, outputs in (("student", answers.student), ("teacher", answers.teacher)):
        scores = compute(results["metric"], outputs, answers.labels)
        assert scores == results[name]["scores"]["test"]
    assert agreement(answers.student, answers.teacher) == results["agreement"]


def test_figures_of_classes_and_rows(made: Path) -> None:
    answers, seen = Answers.load(made / "student"), seen_in(made / "student" / REPORT_FILE)
    assert answers is not None
    assert answers.labels is not None
    assert answers.teacher is not None
    names = sorted(tiny.LABELS)
    wanted = classification_report(
        answers.labels,
        answers.student.argmax(axis=1),
        labels=range(4),
        target_names=names,
        output_dict=True,
        zero_division=0.0,
    )
    for name, *cells in seen.table("Figures of every class")[1:]:
        figures = wanted[name]
        shown = [figures["support"], figures["precision"], figures["recall"], figures["f1-score"]]
        assert [float(cell) for cell in cells[:4]] == pytest.approx(shown, abs=6e-4)
    lines = (made / "test.csv").read_text().splitlines()[1:]
    rows = [r for told, found in seen.tables if told.startswith("Rows where") for r in found[1:]]
    differ = answers.student.argmax(axis=1) != answers.teacher.argmax(axis=1)
    assert sorted(row[0] for row in rows) == sorted(
        lines[i].split(",")[0] for i in np.flatnonzero(differ)
    )


def test_curves_are_the_log(made: Path) -> None:
    seen = seen_in(made / "student" / REPORT_FILE)
    log = [json.loads(line) for line in (made / "student" / "log.jsonl").read_text().splitlines()]
    head, *rows = seen.table("intermediate: Training rows")
    keys = ["loss" if name == "all terms" else f"terms/{name}" for name in head[1:]]
    entries = [e for e in log if e["stage"] == "intermediate" and "loss" in e]
    assert rows == [[str(e["step"]), *(f"{e[key]:.6g}" for key in keys)] for e in entries]
    assert {"terms/attention", "terms/hidden", "terms/embedding", "loss"} == set(keys)


def test_it_is_made_again_with_a_sentence_of_ones_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results_of(place / "student")
    (place / "student" / REPORT_FILE).unlink()
    assert main(["report", str(place / "student"), "--sentence", "lock <queue> wait"]) == 0
    assert "report:" in capsys.readouterr().err
    seen = seen_in(place / "student" / REPORT_FILE)
    tokens = [word for word in seen.words if word in ("lock", "queue", "wait")]
    assert len(tokens) >= 9  # rows and columns of both models
    again = tinybert.report(run=place / "student", quiet=True)  # in its place
    assert again == {"report": str(place / "student" / REPORT_FILE), "missing": []}
    assert results_of(place / "student") == before


def test_without_kept_answers_they_are_computed(place: Path) -> None:
    (place / "student" / ANSWERS_FILE).unlink()
    before = seen_in(place / "student" / REPORT_FILE)
    found = tinybert.report(run=place / "student", quiet=True)
    assert found["missing"] == []
    after = seen_in(place / "student" / REPORT_FILE)
    for caption in ("Figures of every class", "The student’s answers.", "The teacher’s answers."):
        assert after.table(caption) == before.table(caption)
    assert after.table("Rows where") == before.table("Rows where")  # with the teacher's answers
    assert not (place / "student" / ANSWERS_FILE).exists()


def test_a_place_without_a_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.`` and ``..`` are the student's directory; what lies beside it is found."""
    (place / "student" / "inner").mkdir()
    for here, name in ((place / "student", "."), (place / "student" / "inner", "..")):
        monkeypatch.chdir(here)
        (place / "student" / REPORT_FILE).unlink()
        found = tinybert.report(run=name, latency=False, quiet=True)
        assert found["missing"] == ["Latency was not measured, as --no-latency asks."]
        assert "Latency was not measured" in seen_in(place / "student" / REPORT_FILE).text


def test_without_teacher_and_rows_the_rest_is_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    # The run had them where the fixture made them: the student alone is taken away from there.
    shutil.copytree(place / "student", place / "alone" / "student")
    config = place / "alone" / "student" / "results.json"
    results = json.loads(config.read_text())
    gone = {name: str(place / "gone" / name) for name in ("data", "dev", "test", "teacher")}
    results["settings"] |= gone
    config.write_text(json.dumps(results))
    found = tinybert.report(run=place / "alone" / "student")
    assert len(found["missing"]) == 2
    said = capsys.readouterr().err
    assert "gone" in said  # the paths are told here, and not to whom the page is sent
    page = (place / "alone" / "student" / REPORT_FILE).read_text("utf-8")
    assert str(place) not in page
    assert "/gone" not in page
    seen = seen_in(place / "alone" / "student" / REPORT_FILE)
    assert "The teacher is not to be had any more" in seen.text
    assert "The rows are not to be had any more" in seen.text
    whole = seen_in(place / "student" / REPORT_FILE)
    for caption in ("Figures of every class", "The teacher’s answers.", "Scores of"):
        assert seen.table(caption) == whole.table(caption)
    assert seen.table("Rows where")[1][0].startswith("row ")
    # Named, they are back.
    named = {n: str(place / f"{n}.csv") for n in ("dev", "test")}
    found = tinybert.report(
        run=place / "alone" / "student",
        teacher=place / "student-teacher",
        data=place / "train.csv",
        **named,
        latency=False,
        quiet=True,
    )
    assert found["missing"] == ["Latency was not measured, as --no-latency asks."]
    seen = seen_in(place / "alone" / "student" / REPORT_FILE)
    assert seen.table("Rows where") == whole.table("Rows where")
    assert "latency, one text" not in seen.text


def test_rows_that_changed_are_not_shown(place: Path) -> None:
    results = results_of(place / "student")
    tiny.task_file(place / "other.csv", 50, seed=9)
    found = tinybert.report(
        run=place / "student", test=str(place / "other.csv"), latency=False, quiet=True
    )
    assert "The rows have changed since the run" in found["missing"][0]
    assert results["rows"]["test"] == 50


def test_a_general_student(place: Path) -> None:
    tiny.corpus_file(place / "corpus.txt", 20)
    tinybert.general(
        teacher=place / "encoder",
        corpus=place / "corpus.txt",
        student="2x16",
        max_length=32,
        epochs=1,
        output=place / "general",
        precision="float32",
        attention="direct",
        quiet=True,
    )
    found = tinybert.report(run=place / "general", quiet=True)
    assert found["missing"] == []
    seen = seen_in(place / "general" / REPORT_FILE)
    assert "Class by class" not in seen.text
    assert any(name == "img" for name, _ in seen.tags)
    assert "expect" in seen.text or "[UNK]" in seen.text  # its own sentence


def test_values_and_rows_without_labels(place: Path) -> None:
    rows = [(text, f"{len(set(text.split())) * 0.9 + i / 50:.2f}")
            for i, text in enumerate(tiny.sentences(60)[0])]  # fmt: skip
    lines = ["text,score", *(f"{text},{value}" for text, value in rows)]
    (place / "scores.csv").write_text("\n".join(lines) + "\n")
    options = {**QUICK, "student": "2x16"}
    tinybert.distill(
        teacher=place / "encoder", data=place / "scores.csv", output=place / "values", **options
    )
    seen = seen_in(place / "values" / REPORT_FILE)
    figures = {row[0]: row[1:] for row in seen.table("Values against labels")}
    scores = results_of(place / "values")["student"]["scores"]["test"]
    assert figures["Pearson"][1] == f"{scores['pearson']:.4f}"
    lines = ["text", *(text for text, _ in rows)]
    (place / "texts.csv").write_text("\n".join(lines) + "\n")
    tinybert.distill(
        teacher=place / "student-teacher",
        data=place / "texts.csv",
        output=place / "unlabelled",
        **options,
    )
    seen = seen_in(place / "unlabelled" / REPORT_FILE)
    assert "the teacher's answers" in seen.text


def test_no_report(place: Path) -> None:
    tinybert.distill(
        teacher=place / "student-teacher",
        data=place / "train.csv",
        output=place / "plain",
        **(QUICK | {"report": False, "intermediate_epochs": 0}),
    )
    assert not (place / "plain" / REPORT_FILE).exists()
    assert (place / "plain" / ANSWERS_FILE).exists()


def test_a_report_that_fails_fails_no_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    wait = PartialState.wait_for_everyone

    def broken(*_: Any) -> str:
        done.append("report")
        raise RuntimeError("out of ink")

    def meet(state: PartialState) -> None:
        done.append("meet")
        wait(state)

    monkeypatch.setattr(job, "render", broken)
    monkeypatch.setattr(PartialState, "wait_for_everyone", meet)
    results = tinybert.distill(
        teacher=place / "student-teacher",
        data=place / "train.csv",
        output=place / "plain",
        **(QUICK | {"quiet": False}),
    )
    assert "WARNING: no report was written (out of ink)" in capsys.readouterr().err
    assert done[-2:] == ["meet", "report"]  # no other process waits for the main one's report
    assert results_of(place / "plain")["student"] == results["student"]
    assert not [path for path in (place / "plain").iterdir() if "report" in path.name]


def test_bad_input(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = place / "student"
    with pytest.raises(
        TinybertError, match="the student's directory is missing: give it with --run"
    ):
        tinybert.report(quiet=True)
    with pytest.raises(TinybertError, match="is no student directory|has no results.json"):
        tinybert.report(run=place / "encoder", quiet=True)
    with pytest.raises(TinybertError, match="give one in quotes, or two of a pair"):
        tinybert.report(run=student, sentence=["a", "b", "c"], quiet=True)
    with pytest.raises(TinybertError, match="exists already.*--overwrite"):
        tinybert.report(run=student, output=student / "results.json", quiet=True)
    with pytest.raises(TinybertError, match="there is no directory"):
        tinybert.report(run=student, output=place / "no" / "page.html", quiet=True)
    with pytest.raises(TinybertError, match="is a directory: give a file's name"):
        tinybert.report(run=student, output=place, quiet=True)
    with pytest.raises(TinybertError, match="nowhere"):
        tinybert.report(run=student, teacher=str(place / "nowhere"), quiet=True)
    with pytest.raises(TinybertError, match=r"nowhere\.csv"):
        tinybert.report(run=student, data=str(place / "nowhere.csv"), quiet=True)
    (student / ANSWERS_FILE).write_bytes(b"broken")
    with pytest.raises(TinybertError, match="answers.npz is broken"):
        tinybert.report(run=student, quiet=True)
    (student / "results.json").write_text("{")
    assert main(["report", str(student)]) == 2
    assert "results.json is no JSON" in capsys.readouterr().err


@pytest.mark.skipif("TINYBERT_DATA" not in os.environ, reason="TINYBERT_DATA names no data")
def test_pairs_of_glue(place: Path) -> None:
    """A GLUE task of two texts a row; test_values_and_rows_without_labels is its small twin."""
    data = Path(os.environ["TINYBERT_DATA"]) / "glue"
    tinybert.distill(
        teacher=place / "encoder",
        task="mrpc",
        data=str(data),
        rows=60,
        student="2x16",
        output=place / "mrpc",
        **QUICK,
    )
    seen = seen_in(place / "mrpc" / REPORT_FILE)
    assert len(seen.table("Figures of every class")) == 3
