"""The page: whole, alone, escaped, and with the very figures of the run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import pages, tiny
from support.cards import distilled
from tinybert.reporting import Answers, Contents, read_run, render
from tinybert.reporting.attention import AttentionMaps, LayerMaps

EVIL = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(2)',
    "</style><img src=x onerror=alert(3)>",
    "😀 {{ 7 * 7 }} {% raw %}",
    "שלום \u202eעולם",
)
LATENCY = {
    "batch 1 x 32 tokens": {
        "teacher": {"median": 8.0, "device": "cpu", "precision": "float32", "threads": 2},
        "student": {"median": 2.0, "device": "cpu", "precision": "float32", "threads": 2},
    }
}
LOG = [
    {"stage": "intermediate", "step": 5, "loss": 4.25, "terms/hidden": 3.25, "terms/attention": 1},
    {"stage": "intermediate", "step": 10, "loss": 0.5, "terms/hidden": 0.3, "terms/attention": 0.2},
    {"stage": "prediction", "step": 5, "loss": 0.75, "terms/prediction": 0.75},
    {"stage": "prediction", "step": 5, "eval_accuracy": 0.625},
]


def student(place: Path, labels: tuple[str, ...] = tiny.LABELS, **more: Any) -> Path:
    directory = tiny.saved_classifier(place / "student", labels=labels)
    if len(labels) == 1:
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    results = distilled(**{"layer_mapping": [2, 4]} | more)
    (directory / "results.json").write_text(json.dumps(results, default=str))
    (directory / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in LOG))
    return directory


def maps(tokens: tuple[str, ...] = ("[CLS]", "lock", "[SEP]")) -> AttentionMaps:
    rng = np.random.default_rng(0)
    values = rng.random((4, 2, len(tokens), len(tokens))).astype(np.float32)
    values /= values.sum(axis=-1, keepdims=True)
    layers = (LayerMaps(1, 2, values[0], values[1]), LayerMaps(2, 4, values[2], values[3]))
    return AttentionMaps(tokens, layers, cut=False)


def answered(rows: int = 40, classes: int = 4) -> Answers:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, rows)
    student, teacher = rng.normal(size=(2, rows, classes)).astype(np.float32)
    student[np.arange(rows), labels] += 1
    return Answers(student, teacher, labels, "print")


def full(directory: Path, **more: Any) -> Contents:
    answers = answered()
    texts = [(EVIL[row % len(EVIL)],) for row in range(len(answers))]
    contents = Contents(read_run(directory), answers, texts, maps(), LATENCY)
    return dataclasses.replace(contents, **more)


def test_the_page_is_whole_and_stands_alone(tmp_path: Path) -> None:
    page = render(full(student(tmp_path)))
    pages.check_alone(pages.read(page))
    assert page.startswith("<!doctype html>")
    assert "None" not in page
    assert "nan" not in pages.read(page).text


def test_everything_of_users_is_escaped(tmp_path: Path) -> None:
    results = {"teacher_name": EVIL[0], "data": EVIL[1], "controls": {EVIL[2]: 0.5}}
    directory = student(tmp_path, labels=EVIL[:4], **results, metric=EVIL[3])
    page = render(full(directory, maps=maps(EVIL), missing={"latency": EVIL[0]}))
    seen = pages.read(page)
    pages.check_alone(seen)
    assert "<script" not in page
    assert "49" not in seen.table("Scores")[0]  # no template of theirs is run
    for text in EVIL:
        assert " ".join(text.split()) in seen.text, text
    texts = [has for name, has in seen.tags if name == "p" and has.get("dir") == "auto"]
    assert len(texts) > 5  # right-to-left texts find their own direction


def test_figures_are_those_of_the_results(tmp_path: Path) -> None:
    directory = student(tmp_path, start="pca")
    results = json.loads((directory / "results.json").read_text())
    seen = pages.read(render(full(directory)))
    assert seen.table("Scores of") == [
        ["model", "accuracy", "kept"],
        ["teacher", f"{results['teacher']['score']:.4f}", "100.0 %"],
        ["student", f"{results['student']['score']:.4f}", f"{100 * results['retention']:.1f} %"],
        ["same start, labels alone", "0.7000", f"{100 * 0.7 / 0.84:.1f} %"],
    ]
    sizes = seen.table("Size and speed")
    assert ["parameters", "6 M", "1.5 M", "4.0×"] in sizes
    assert ["weights, float32", "24.0 MB", "6.0 MB", "4.0×"] in sizes
    assert ["latency, one text of 32 tokens", "8.00 ms", "2.00 ms", "4.0×"] in sizes
    assert seen.table("All scores")[0] == ["figure", "teacher", "student"]
    assert ["mismatched: accuracy", "–", "0.8100"] in seen.table("All scores")
    for word in ("pca", "95.2 %", "4.0× fewer than 6 M", "2.0 points", "seed", "tinybert 0.1.0"):
        assert word in seen.text, word
    assert "secret" not in seen.text  # local paths are cut
    stages = [row[0] for row in seen.table("Stages")]
    assert stages == ["stage", "intermediate", "prediction"]


def test_curves_are_the_logs(tmp_path: Path) -> None:
    seen = pages.read(render(full(student(tmp_path))))
    assert seen.table("intermediate: Training rows") == [
        ["step", "all terms", "hidden", "attention"],
        ["5", "4.25", "3.25", "1"],
        ["10", "0.5", "0.3", "0.2"],
    ]
    assert seen.table("prediction: Training rows: prediction") == [
        ["step", "prediction"],
        ["5", "0.75"],
    ]
    assert seen.table("prediction: Held-out rows: accuracy")[1] == ["5", "0.625"]


def test_classes_and_differing_rows(tmp_path: Path) -> None:
    contents = full(student(tmp_path))
    answers = contents.answers
    assert answers is not None
    assert answers.teacher is not None
    seen = pages.read(render(contents))
    assert [row[0] for row in seen.table("Figures of every class")] == ["class", *tiny.LABELS]
    matrix = seen.table("The student’s answers.")
    counts = np.array([[int(cell) for cell in row[1:]] for row in matrix[1:]])
    assert counts.sum() == len(answers)
    right = (answers.student.argmax(axis=1) == answers.labels).sum()
    assert np.trace(counts) == right
    differ = (answers.student.argmax(axis=1) != answers.teacher.argmax(axis=1)).sum()
    shown = [r for told, rows in seen.tables if told.startswith("Rows where") for r in rows[1:]]
    assert len(shown) == differ
    assert f"They answer {differ} of 40 rows" in seen.text
    few = pages.read(render(dataclasses.replace(contents, rows=3)))
    shown = [r for told, rows in few.tables if told.startswith("Rows where") for r in rows[1:]]
    assert len(shown) == 3


def test_many_classes_have_mistakes_instead_of_a_matrix(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(30))
    contents = full(student(tmp_path, labels=names), answers=answered(90, 30), texts=None)
    seen = pages.read(render(contents))
    assert not seen.having("table", "matrix")
    assert len(seen.table("The most frequent mistakes")) == 9
    assert "row 0" in seen.text or "row 1" in seen.text  # texts are not to be had


def test_without_labels_the_teacher_is_what_counts(tmp_path: Path) -> None:
    answers = dataclasses.replace(answered(), labels=None)
    directory = student(tmp_path, metric=None, retention=None)
    seen = pages.read(render(full(directory, answers=answers)))
    assert "the teacher's answers" in seen.text
    assert "label" not in seen.table("Rows where")[0]


def test_values_have_a_scatter(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    labels = rng.normal(size=30).astype(np.float32)
    outputs = [(labels + rng.normal(size=30) / 9).astype(np.float32)[:, None] for _ in range(2)]
    directory = student(tmp_path, labels=("score",), metric="pearson_spearman")
    answers = Answers(outputs[0], outputs[1], labels, "print")
    seen = pages.read(render(full(directory, answers=answers, texts=None)))
    pages.check_alone(seen)
    clouds = [has["d"] for name, has in seen.tags if "cloud" in has.get("class", "")]
    assert [path.count("h0") for path in clouds] == [30, 30]
    figures = {row[0]: row[1:] for row in seen.table("Values against labels")}
    assert figures["Pearson"][1] == f"{np.corrcoef(outputs[0][:, 0], labels)[0, 1]:.4f}"
    assert not seen.having("table", "matrix")
    far = np.abs(outputs[0] - outputs[1])[:, 0].argmax()
    assert f"row {far}" in seen.table("Rows where")[1][0]


def test_every_head_has_its_pictures(tmp_path: Path) -> None:
    seen = pages.read(render(full(student(tmp_path))))
    images = [has for name, has in seen.tags if name == "img"]
    assert len(images) == 2 * 2 * 3  # layers, models, the mean and two heads
    assert len({has["src"] for has in images}) == len(images)
    heads = [has["id"] for name, has in seen.tags if name == "input"]
    assert heads == ["head-all", "head-0", "head-1"]
    for head in ("head-0", "head-1"):
        assert f"#{head}:checked~.maps .of-{head[5:]}" in seen.style


def test_what_is_missing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    directory = student(tmp_path)
    (directory / "log.jsonl").unlink()
    notes = {name: f"Because of {name}." for name in ("answers", "attention", "differ", "latency")}
    seen = pages.read(render(Contents(read_run(directory), missing=notes)))
    pages.check_alone(seen)
    for sentence in (*notes.values(), "no curves can be drawn"):
        assert sentence in seen.text
    (directory / "results.json").write_text('{"student": {"layers": 2}}')
    pages.check_alone(pages.read(render(Contents(read_run(directory)))))


def test_turns_are_those_of_two_models(tmp_path: Path) -> None:
    contents = full(student(tmp_path))
    assert "both in turns" in pages.read(render(contents)).text
    alone = {read: {"student": taken["student"]} for read, taken in LATENCY.items()}
    seen = pages.read(render(dataclasses.replace(contents, latency=alone))).text
    assert "Latency: the median of one pass in PyTorch (cpu, float32, 2 threads)." in seen
    assert "in turns" not in seen


def test_an_encoder_has_no_classes(tmp_path: Path) -> None:
    directory = tiny.saved_encoder(tmp_path / "general")
    results = distilled(task="general", metric=None, retention=None, layer_mapping=[2, 4])
    (directory / "results.json").write_text(json.dumps(results, default=str))
    seen = pages.read(render(Contents(read_run(directory), maps=maps())))
    pages.check_alone(seen)
    assert "Class by class" not in seen.text
    assert "Where they look" in seen.text


@pytest.mark.parametrize("broken", [{"controls": None}, {"teacher": None}, {"stages": [{}]}])
def test_odd_results_make_a_page(tmp_path: Path, broken: dict[str, Any]) -> None:
    pages.check_alone(pages.read(render(full(student(tmp_path, **broken)))))
