"""Predictions of a model: files of the user's rows, and GLUE's leaderboard files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import tinybert
from support import tiny
from tinybert.cli import main
from tinybert.errors import TinybertError
from tinybert.tasks.glue.facts import GLUE

MNLI = ("contradiction", "entailment", "neutral")
"""Another order than GLUE's."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("predict")
    tiny.saved_classifier(where / "model", initializer_range=0.5)
    tiny.saved_classifier(where / "mnli", labels=MNLI, initializer_range=0.8)
    tiny.saved_classifier(where / "value", labels=("score",), initializer_range=0.8)
    texts, _ = tiny.sentences(30, seed=3)
    lines = [json.dumps({"text": text, "topic": ["unheard of", n]}) for n, text in enumerate(texts)]
    (where / "rows.jsonl").write_text("\n".join(lines) + "\n")
    tiny.task_file(where / "labelled.csv", 30, seed=3)
    return where


def logits_of(model: Path, rows: list[tuple[str, ...]]) -> np.ndarray:
    """One row after the other through transformers, not through the package."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    with torch.no_grad():
        for texts in rows:
            tokens = tokenizer(*texts, return_tensors="pt")
            found.append(network(**tokens).logits[0].double().numpy())
    return np.stack(found)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                {name: value if name == "label" else float(value) for name, value in row.items()}
                for row in csv.DictReader(stream)
            ]
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_classes_and_their_probabilities(place: Path, tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"predictions.{ending}"
    results = tinybert.predict(
        model=str(place / "model"), data=str(place / "rows.jsonl"), output=output, quiet=True
    )
    assert results == {"model": str(place / "model"), "files": {str(output): 30}}
    texts, _ = tiny.sentences(30, seed=3)
    shares = softmax(logits_of(place / "model", [(text,) for text in texts]), axis=1)
    rows = read(output)
    assert [row["row"] for row in rows] == list(range(30))
    assert [row["label"] for row in rows] == [tiny.LABELS[n] for n in shares.argmax(axis=1)]
    assert len({row["label"] for row in rows}) > 1
    np.testing.assert_allclose([row["probability"] for row in rows], shares.max(axis=1), atol=1e-5)


def test_values(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "values.jsonl"
    tinybert.predict(
        model=str(place / "value"), data=str(place / "rows.jsonl"), output=output, quiet=True
    )
    texts, _ = tiny.sentences(30, seed=3)
    expected = logits_of(place / "value", [(text,) for text in texts])[:, 0]
    rows = read(output)
    assert rows[0].keys() == {"row", "value"}
    np.testing.assert_allclose([row["value"] for row in rows], expected, atol=1e-5)


def test_labels_are_read_where_they_are_named_and_nowhere_else(place: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": str(place / "model"), "quiet": True}
    settings["data"] = str(place / "labelled.csv")
    without = tinybert.predict(output=tmp_path / "a.jsonl", **settings)
    assert "scores" not in without
    scored = tinybert.predict(output=tmp_path / "b.jsonl", label="label", **settings)
    _, labels = tiny.sentences(30, seed=3)
    right = [
        row["label"] == label for row, label in zip(read(tmp_path / "b.jsonl"), labels, strict=True)
    ]
    assert scored["scores"] == {"accuracy": pytest.approx(np.mean(right))}
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_directory_with_parts_and_pairs(place: Path, tmp_path: Path) -> None:
    """The test rows are answered, labelled or not."""
    (tmp_path / "data").mkdir()
    for part, count in (("train", 12), ("test", 7)):
        lines = ["premise\thypothesis\tlabel"]
        lines += [f"{one}\t{two}\t" for one, two in pairs(count, 5)]
        (tmp_path / "data" / f"{part}.tsv").write_text("\n".join(lines) + "\n")
    output = tmp_path / "out.jsonl"
    tinybert.predict(
        model=str(place / "mnli"), data=str(tmp_path / "data"), output=output, quiet=True
    )
    best = logits_of(place / "mnli", pairs(7, 5)).argmax(axis=1)
    assert [row["label"] for row in read(output)] == [MNLI[i] for i in best]


def test_the_command(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = f"predict --model {place / 'model'} --data {place / 'rows.jsonl'} --output out.csv"
    assert main(words.split()) == 0
    assert "out.csv" in capsys.readouterr().out
    before = (tmp_path / "out.csv").read_bytes()
    assert main(words.split()) == 2
    assert "out.csv exists already" in capsys.readouterr().err
    assert main([*words.split(), "--overwrite", "--quiet"]) == 0
    assert (tmp_path / "out.csv").read_bytes() == before


BAD: list[tuple[dict[str, Any], str]] = [
    ({"output": "out.txt"}, r"give a file that ends in \.jsonl, \.csv, \.parquet"),
    ({"output": "out"}, r"give a file that ends in"),
    ({"output": "nowhere/out.csv"}, "there is no directory nowhere"),
    ({"output": None}, "give it with --output"),
    ({"model": None}, "give it with --model"),
    ({"data": None}, "give it with --data"),
    ({"metric": "f1"}, "name their column with --label"),
    ({"model": "encoder"}, "has no task head"),
    ({"model": "nothing/at/all"}, "there is no model directory"),
    ({"max_length": 1000}, "128 tokens at most"),
    ({"task": "mnlii"}, "did you mean mnli"),
    ({"task": "rte", "text": "sentence"}, "--text is for data of one's own"),
    (
        {"task": "rte", "output": "submission"},
        r"RTE asks for 2 classes and the model gives 4 classes",
    ),
    (
        {"task": "sts-b", "output": "submission"},
        "STS-B asks for one value and the model gives 4 classes",
    ),
]


@pytest.mark.parametrize(("values", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input(
    place: Path, tmp_path: Path, monkeypatch: Any, values: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.saved_encoder(tmp_path / "encoder")
    settings: dict[str, Any] = {"model": str(place / "model"), "data": str(place / "rows.jsonl")}
    settings["output"] = "out.jsonl"
    with pytest.raises(TinybertError, match=message):
        tinybert.predict(**(settings | values), quiet=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["encoder"]


def test_outputs_that_are_not_finite(place: Path, tmp_path: Path) -> None:
    broken = tiny.classifier()
    with torch.no_grad():
        broken.classifier.bias[0] = float("nan")
    broken.save_pretrained(tmp_path / "broken")
    tiny.tokenizer().save_pretrained(tmp_path / "broken")
    with pytest.raises(TinybertError, match="outputs for row 0 of rows contain NaN"):
        tinybert.predict(
            model=str(tmp_path / "broken"),
            data=str(place / "rows.jsonl"),
            output=tmp_path / "out.jsonl",
            quiet=True,
        )
    assert not (tmp_path / "out.jsonl").exists()


# GLUE's leaderboard.


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    texts, _ = tiny.sentences(2 * count, seed)
    return list(zip(texts[::2], texts[1::2], strict=True))


def glue_test_files(folder: Path, name: str) -> dict[str, list[tuple[str, ...]]]:
    """The official test files of a task, in a cut-down layout; part → rows."""
    task = GLUE[name]
    (folder / task.title).mkdir(parents=True)
    found: dict[str, list[tuple[str, ...]]] = {}
    files = {part.name: f"{task.title}/{part.file}" for part in task.tests}
    if name == "mnli":
        (folder / "AX").mkdir()
        files["diagnostic"] = "AX/AX.tsv"
    for seed, (part, file) in enumerate(files.items()):
        width = len(task.text_columns)
        rows = [row[:width] for row in pairs(20 + seed, seed)]
        lines = ["\t".join((task.index_column, *task.text_columns))]
        lines += ["\t".join((str(n), *row)) for n, row in enumerate(rows)]
        (folder / file).write_text("\n".join(lines) + "\n")
        found[part] = rows
    return found


def test_mnli_with_labels_in_another_order(place: Path, tmp_path: Path) -> None:
    parts = glue_test_files(tmp_path / "glue", "mnli")
    results = tinybert.predict(
        model=str(place / "mnli"),
        task="MNLI",
        data=str(tmp_path / "glue"),
        output=tmp_path / "submission",
        quiet=True,
    )
    written = {Path(file).name: count for file, count in results["files"].items()}
    assert written == {"MNLI-m.tsv": 20, "MNLI-mm.tsv": 21, "AX.tsv": 22}
    answers = set()
    for file, rows in zip(written, parts.values(), strict=True):
        best = logits_of(place / "mnli", rows).argmax(axis=1)
        lines = ["index\tprediction", *(f"{n}\t{MNLI[i]}" for n, i in enumerate(best))]
        text = (tmp_path / "submission" / file).read_text()
        assert text == "\n".join(lines) + "\n"
        answers |= set(best.tolist())
    assert len(answers) > 1


@pytest.mark.parametrize(
    "labels",
    [("negative", "positive"), ("Positive", "NEGATIVE"), ("0", "1"), ("1", "0")],
    ids="-".join,
)
def test_names_and_numbers_of_labels(tmp_path: Path, labels: tuple[str, ...], place: Path) -> None:
    tiny.saved_classifier(tmp_path / "model", labels=labels, initializer_range=1.0, seed=2)
    rows = glue_test_files(tmp_path / "glue", "sst-2")["test"]
    words = f"predict --model {tmp_path / 'model'} --task SST-2 --data {tmp_path / 'glue'}"
    assert main([*words.split(), "--output", str(tmp_path / "out"), "--quiet"]) == 0
    best = logits_of(tmp_path / "model", rows).argmax(axis=1)
    positive = [labels[i].casefold() in ("positive", "1") for i in best]
    assert len(set(positive)) == 2
    lines = ["index\tprediction", *(f"{n}\t{int(answer)}" for n, answer in enumerate(positive))]
    assert (tmp_path / "out" / "SST-2.tsv").read_text() == "\n".join(lines) + "\n"


def test_values_of_the_leaderboard(place: Path, tmp_path: Path) -> None:
    rows = glue_test_files(tmp_path / "glue", "sts-b")["test"]
    tinybert.predict(
        model=str(place / "value"),
        task="sts-b",
        data=str(tmp_path / "glue" / "STS-B"),
        output=tmp_path / "out",
        quiet=True,
    )
    header, *lines = (tmp_path / "out" / "STS-B.tsv").read_text().splitlines()
    assert header == "index\tprediction"
    values = [float(line.split("\t")[1]) for line in lines]
    expected = np.clip(logits_of(place / "value", rows)[:, 0], 0, 5)
    np.testing.assert_allclose(values, expected, atol=6e-4)


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("yes", "no"), ("0", "1")])
def test_labels_that_do_not_say_what_they_are(tmp_path: Path, labels: tuple[str, ...]) -> None:
    tiny.saved_classifier(tmp_path / "model", labels=labels)
    glue_test_files(tmp_path / "glue", "rte")
    with pytest.raises(TinybertError, match="are not those of RTE.*id2label"):
        tinybert.predict(
            model=str(tmp_path / "model"),
            task="rte",
            data=str(tmp_path / "glue"),
            output=tmp_path / "out",
            quiet=True,
        )
    assert not (tmp_path / "out").exists()


def test_a_submission_that_is_there_already(place: Path, tmp_path: Path) -> None:
    (tmp_path / "AX.tsv").write_text("mine")
    (tmp_path / "CoLA.tsv").write_text("another task's")
    glue_test_files(tmp_path / "glue", "mnli")
    settings: dict[str, Any] = {
        "model": str(place / "mnli"),
        "task": "mnli",
        "data": str(tmp_path / "glue"),
        "output": tmp_path,
        "quiet": True,
    }
    with pytest.raises(TinybertError, match=r"holds AX\.tsv already"):
        tinybert.predict(**settings)
    tinybert.predict(**settings, overwrite=True)
    assert (tmp_path / "AX.tsv").read_text().startswith("index\tprediction\n0\t")
    assert (tmp_path / "CoLA.tsv").read_text() == "another task's"
