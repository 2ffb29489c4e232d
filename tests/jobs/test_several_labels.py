"""Several labels a row, from data to report, on tiny models that know them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import tinybert
from support import several, tiny, words
from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import predict
from tinybert.jobs.augment import label_column
from tinybert.runtimes import open_runtime
from tinybert.tasks.sets import read_sets
from tinybert.teachers import has_head, head_labels, head_of, label_names, load_with_own_head

QUICK = tiny.QUICK | {"student": "2x16", "task": "multi-label", "prediction_learning_rate": 1e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in all forms, a teacher that knows them, and what was distilled from it."""
    place = tmp_path_factory.mktemp("several")
    several.lists_file(place / "train.jsonl", 120)
    several.words_file(place / "test.csv", 40, 1)
    several.truth_file(place / "truth.csv", 40, 1)
    several.knowing(place / "teacher", several.LABELS[::-1])
    tiny.saved_classifier(place / "single", layers=2)
    tinybert.distill(
        **QUICK | {"report": True},
        teacher=place / "teacher",
        data=place / "train.jsonl",
        test=place / "test.csv",
        controls=True,
        output=place / "student",
    )
    return place


def results(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "student" / "results.json").read_text())
    return found


def test_the_student_is_a_multi_label_classifier(place: Path) -> None:
    found = results(place)
    assert found["metric"] == "micro_f1"
    assert found["teacher"]["score"] > 0.97  # its outputs stand in another order than the data's
    assert set(found["student"]["scores"]["test"]) == {"micro_f1", "macro_f1", "exact_match"}
    assert found["student"]["score"] > 0.5
    assert set(found["controls"]) == {"same start, labels alone", "same start, logits alone"}
    assert 0 <= found["agreement"] <= 1
    model = AutoModelForSequenceClassification.from_pretrained(place / "student")
    assert model.config.problem_type == "multi_label_classification"
    assert label_names(model.config) == tuple(sorted(several.LABELS))
    assert (head_of(place / "student"), has_head(place / "student", "rows")) == ("sets", False)
    # transformers' own pipeline answers with a probability a label, as `predict` does.
    classify = pipeline("text-classification", str(place / "student"), top_k=None)
    shares = {each["label"]: each["score"] for each in classify(["lock thread socket"])[0]}
    assert set(shares) == set(several.LABELS)


def test_card_and_report_tell_of_labels(place: Path) -> None:
    card = (place / "student" / "README.md").read_text()
    assert "A multi-label classifier" in card
    assert "those above 0.5 are its answer" in card
    assert "the teacher's very labels to" in card
    assert "top_k=None" in card
    page = (place / "student" / "report.html").read_text()
    for told in ("Label by label", "They answer", "both right"):
        assert told in page
    told = json.loads((place / "student" / "answers.json").read_text())
    assert [row["name"] for row in told["classes"]] == sorted(several.LABELS)
    truth = [labels for _, labels in several.sets(40, 1)]
    assert [row["count"] for row in told["classes"]] == [
        sum(name in labels for labels in truth) for name in sorted(several.LABELS)
    ]
    assert sum(told["split"].values()) == 40
    # Answered anew where the run's answers are gone.
    (place / "student" / "answers.json").rename(place / "kept.json")
    tinybert.report(run=place / "student", output=place / "page.html", latency=False, quiet=True)
    assert "Label by label" in (place / "page.html").read_text()
    (place / "kept.json").rename(place / "student" / "answers.json")


@pytest.mark.parametrize("name", ["test.csv", "truth.csv"])
def test_evaluate_scores_every_form(place: Path, name: str) -> None:
    found = tinybert.evaluate(
        model=place / "student",
        data=place / name,
        teacher=place / "teacher",
        max_length=24,
        quiet=True,
    )
    wanted = results(place)
    assert found["scores"] == pytest.approx(wanted["student"]["scores"]["test"])
    assert found["agreement"] == pytest.approx(wanted["agreement"])


def test_predictions_in_every_format(place: Path) -> None:
    asked = {"model": place / "student", "data": place / "test.csv", "max_length": 24}
    for ending in ("csv", "jsonl", "parquet"):
        told = tinybert.predict(
            **asked, output=place / f"answers.{ending}", label="labels", quiet=True
        )
        assert told["scores"] == pytest.approx(results(place)["student"]["scores"]["test"])
    lines = [json.loads(line) for line in (place / "answers.jsonl").read_text().splitlines()]
    assert pq.read_table(place / "answers.parquet").to_pylist() == lines
    with (place / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = load_with_own_head(place / "student")
    tokenizer = AutoTokenizer.from_pretrained(place / "student")
    texts = [(text,) for text, _ in several.sets(40, 1)]
    shares = 1 / (1 + np.exp(-predict(model, tokenize(tokenizer, texts, 24)).astype(float)))
    for row, line, share in zip(rows, lines, shares, strict=True):
        assert list(line["probabilities"].values()) == pytest.approx(share.tolist())
        above = [name for name, p in line["probabilities"].items() if p > 0.5]
        assert line["labels"] == above
        assert row["labels"] == ";".join(above)
        assert float(row["probabilities.files"]) == line["probabilities"]["files"]


def test_exported_as_it_answers(place: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    found = tinybert.export_model(
        model=place / "student",
        output=place / "exported",
        to=["onnx"],
        data=place / "test.csv",
        max_length=24,
        quiet=True,
    )
    (form,) = found["forms"].values()
    assert form["scores"] == pytest.approx(found["score_before"])
    assert form["agreement"] == 1.0
    ids = np.array([[2, 5, 6, 10, 3]])
    with torch.no_grad():
        wanted = load_with_own_head(place / "student")(torch.tensor(ids)).logits.numpy()
    given = open_runtime(place / "exported", "onnx-float32")({"input_ids": ids})
    np.testing.assert_allclose(given, wanted, atol=1e-4)
    assert head_of(place / "exported") == "sets"


def test_teachers_together_and_rows_without_labels(place: Path) -> None:
    (place / "texts.csv").write_text("text\n" + "".join(f"{t}\n" for t, _ in several.sets(60, 5)))
    found = tinybert.distill(
        **QUICK,
        teacher=place / "teacher",
        ensemble=[str(place / "teacher")],
        data=place / "texts.csv",
        output=place / "unlabelled",
    )
    assert found["metric"] is None
    assert 0 <= found["agreement"] <= 1
    assert head_labels(place / "unlabelled") == several.LABELS[::-1]


def test_an_order_that_lies_is_refused_and_names_that_say_nothing_are_found(
    place: Path, tmp_path: Path
) -> None:
    asked = QUICK | {"data": place / "train.jsonl", "output": tmp_path / "new", "dry_run": True}
    lying = shutil.copytree(place / "teacher", tmp_path / "lying")
    config = json.loads((lying / "config.json").read_text())
    names = dict(enumerate(several.LABELS))
    config |= {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    (lying / "config.json").write_text(json.dumps(config))
    with pytest.raises(TinybertError, match=r"suspicious.*text, files, network, concurrency"):
        tinybert.distill(**asked, teacher=lying)
    nameless = several.knowing(tmp_path / "nameless", several.LABELS[::-1], names=False)
    assert tinybert.distill(**asked, teacher=nameless)["metric"] == "micro_f1"


def test_teachers_of_another_kind(place: Path, tmp_path: Path) -> None:
    asked = QUICK | {"data": place / "train.jsonl", "output": tmp_path / "new"}
    with pytest.raises(TinybertError, match="and this task asks for a multi-label classifier") as e:
        tinybert.distill(**asked, teacher=place / "single")
    assert '"problem_type": "multi_label_classification"' in str(e.value)
    tiny.task_file(tmp_path / "topics.csv")
    asked |= {"task": "auto", "data": tmp_path / "topics.csv"}
    with pytest.raises(TinybertError, match="is a multi-label classifier, and this task asks for"):
        tinybert.distill(**asked, teacher=place / "teacher")
    with pytest.raises(TinybertError, match="is a classifier of whole texts, and this task asks"):
        tinybert.evaluate(
            model=place / "student",
            data=place / "test.csv",
            teacher=place / "single",
            quiet=True,
        )
    assert not list(tmp_path.glob("new*"))


def test_verbs_that_read_rows(place: Path, tmp_path: Path) -> None:
    """`trim` scores sets; `augment` writes them beside its copies."""
    student = shutil.copytree(place / "student", tmp_path / "student")
    words.wordpiece(tiny.WORDS).save_pretrained(student)
    figures = tinybert.trim(
        model=student,
        data=place / "train.jsonl",
        test=place / "test.csv",
        task="multi-label",
        output=tmp_path / "cut",
        max_length=24,
        quiet=True,
    )
    assert figures["scores"]["after"] == pytest.approx(figures["scores"]["before"])
    data = read_sets(place / "train.jsonl")
    column = label_column(data.task, data.train)
    assert column is not None
    assert column[0] == "labels"
    of = dict(zip((row[0] for row in data.train.texts), column[1], strict=True))
    assert of == {t: ";".join(y) for t, y in several.sets(120) if t in of}
