"""Sets of labels out of files: lists, separated words, columns of 0 and 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import several
from tinybert.errors import TinybertError
from tinybert.tasks.sets import read_sets, read_sets_scored
from tinybert.tasks.task import TaskData

ROWS = several.sets(60, 3)
TRUTH = np.array([[name in labels for name in several.LABELS] for _, labels in ROWS])


def whole(data: TaskData) -> np.ndarray:
    """All labels by text, in the order of the names, as the rows were written."""
    both = {
        row[0]: labels
        for part in (data.train, data.dev)
        for row, labels in zip(part.texts, np.asarray(part.labels), strict=True)
    }
    order = [data.task.label_names.index(name) for name in several.LABELS]
    return np.array([both[text][order] for text, _ in ROWS])


@pytest.mark.parametrize("separator", [";", "|", ","])
def test_every_form_reads_the_same(tmp_path: Path, separator: str) -> None:
    forms = [
        (several.lists_file(tmp_path / "a.jsonl", 60, 3), None),
        (several.words_file(tmp_path / "b.csv", 60, 3, separator), None),
        (several.truth_file(tmp_path / "c.csv", 60, 3), ",".join(several.LABELS)),
        (
            several.truth_file(tmp_path / "d.csv", 60, 3, lambda has: str(has).upper()),
            ", ".join(several.LABELS[::-1]),
        ),
    ]
    for path, label in forms:
        data = read_sets(path, label=label)
        assert np.array_equal(whole(data), TRUTH), path
        assert data.train.labels is not None
        assert data.train.labels.dtype == np.bool_
        assert (data.task.kind, data.task.answering) == ("multi-label", "sets")
        assert data.task.metric == "micro_f1"
        # Every label keeps rows to learn from.
        assert data.train.labels.any(axis=0).all()
    assert any(f"separated by '{separator}'" in note for note in read_sets(forms[1][0]).notes)


def parquet(path: Path, labels: list[Any], names: list[str] | None = None) -> Path:
    table = pa.table(
        {"text": [f"{text} {i}" for i, (text, _) in enumerate(ROWS)], "labels": labels}
    )
    if names:
        kind = {"feature": {"_type": "ClassLabel", "names": names}, "_type": "Sequence"}
        info = {"info": {"features": {"labels": kind}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
    pq.write_table(table, path)
    return path


def test_lists_in_parquet_by_number_and_by_name(tmp_path: Path) -> None:
    order = list(several.LABELS)
    named = read_sets(parquet(tmp_path / "a.parquet", [labels for _, labels in ROWS]))
    numbers = [[order.index(name) for name in labels] for _, labels in ROWS]
    numbered = read_sets(parquet(tmp_path / "b.parquet", numbers, order))
    assert np.array_equal(np.asarray(named.train.labels), np.asarray(numbered.train.labels))
    assert numbered.task.label_names == tuple(sorted(order))


def test_names_spellings_and_commas_in_labels(tmp_path: Path) -> None:
    cells = ["Food, drink;sport", "food, drink", "", "Sport; ", "Sport;Food, drink", "sport"] * 5
    lines = [f'text number {i},"{cell}"' for i, cell in enumerate(cells)]
    (tmp_path / "a.csv").write_text("text,labels\n" + "\n".join(lines) + "\n")
    data = read_sets(tmp_path / "a.csv")
    assert data.task.label_names == ("Food, drink", "Sport")
    assert any("is also spelled" in note for note in data.notes)
    given = read_sets(tmp_path / "a.csv", label_names=["sport", "other", "food, drink"])
    assert given.task.label_names == ("sport", "other", "food, drink")


def test_other_parts_and_rows_without_labels(tmp_path: Path) -> None:
    train = several.lists_file(tmp_path / "train.jsonl", 60)
    dev = several.words_file(tmp_path / "dev.csv", 20, 1)
    data = read_sets(train, dev, several.words_file(tmp_path / "test.csv", 9, 2, "|"))
    assert data.test is not None
    assert np.asarray(data.test.labels).sum() == sum(len(y) for _, y in several.sets(9, 2))
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"text {i}\n" for i in range(30)))
    bare = read_sets(tmp_path / "texts.csv")
    assert (bare.task.label_names, bare.train.labels, bare.task.label_column) == ((), None, None)


def test_scored_by_a_models_labels(tmp_path: Path) -> None:
    names = tuple(reversed(several.LABELS))
    order = [several.LABELS.index(name) for name in names]
    for path in (
        several.lists_file(tmp_path / "a.jsonl", 60, 3),
        several.words_file(tmp_path / "b.csv", 60, 3, "|"),
        several.truth_file(tmp_path / "c.csv", 60, 3),
    ):
        task, rows, _ = read_sets_scored(path, names)
        assert task.label_names == names
        assert np.array_equal(np.asarray(rows.labels), TRUTH[:, order])
    # One label a row leaves no separator to be seen, and needs none.
    (tmp_path / "d.csv").write_text("text,labels\na b,files\nc d,\n")
    _, rows, _ = read_sets_scored(tmp_path / "d.csv", names)
    assert np.asarray(rows.labels).sum() == 1


def lines(path: Path, values: list[Any], name: str = "labels") -> Path:
    rows = [json.dumps({"text": f"row {i} of it", name: value}) for i, value in enumerate(values)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    train = several.words_file(tmp_path / "train.csv", 60)
    truth = several.truth_file(tmp_path / "truth.csv", 60)
    both = ",".join(several.LABELS)
    bad: list[tuple[str, Path, dict[str, Any]]] = [
        ("no row has two labels", several.words_file(tmp_path / "a.csv", 30, 0, " / "), {}),
        ("no row has two labels",
         lines(tmp_path / "l.jsonl", [f"some words, not {i}"[:10] for i in range(30)]), {}),
        ("different labels in 30 rows are no labels but a text",
         lines(tmp_path / "b.jsonl", [f"word{i}, and {i + 1}" for i in range(30)]), {}),
        ("every label is 'a'", lines(tmp_path / "c.jsonl", [["a"], [], ["a"]] * 9), {}),
        ("no row has a label", lines(tmp_path / "d.jsonl", [[], [], None] * 9), {}),
        ("some rows have a list of labels and some a text",
         lines(tmp_path / "e.jsonl", [["a", "b"], "a", []] * 9), {}),
        ("a list of 0 and 1 does not say which label",
         lines(tmp_path / "f.jsonl", [[0, 1, 0], [1, 1, 0]] * 9), {}),
        ("a label is a word or a number, not nothing",
         lines(tmp_path / "g.jsonl", [["a", None], ["b"]] * 9), {}),
        ("a label is a word or a number, not {'a': 1}",
         lines(tmp_path / "h.jsonl", [{"a": 1}] * 9), {}),
        ("'2' where 0 or 1 is wanted",
         several.truth_file(tmp_path / "i.csv", 20, says=lambda has: str(1 + has)),
         {"label": both}),
        ("nothing where 0 or 1 is wanted",
         several.truth_file(tmp_path / "j.csv", 20, says=lambda has: "1" if has else ""),
         {"label": both}),
        ("no row has a label: the columns",
         several.truth_file(tmp_path / "k.csv", 20, says=lambda _: "0"), {"label": both}),
        ("has no label column 'size'", truth, {"label": "files,size"}),
        ("name one column, or several different ones", truth, {"label": "files,files"}),
        ("cannot be both text and label", truth, {"label": "files,sentence", "text": "sentence"}),
        ("name the same ones, each once", truth, {"label": both, "label_names": ["a", "b"]}),
        ("metric 'accuracy' does not score sets", train, {"metric": "accuracy"}),
        ("is not between 0 and 1", train, {"dev_share": 2.0}),
    ]  # fmt: skip
    for message, path, asked in bad:
        with pytest.raises(TinybertError) as error:
            read_sets(path, **asked)
        assert message in str(error.value), (message, str(error.value))
        assert "\n" not in str(error.value)
    strange = lines(tmp_path / "dev.jsonl", [["files", "unheard"]])
    with pytest.raises(TinybertError, match="label 'unheard' is none of the task's labels"):
        read_sets(train, strange)
    with pytest.raises(TinybertError, match="has no labels in labels to report on"):
        read_sets(train, test=lines(tmp_path / "test.jsonl", [[], []]))
    with pytest.raises(TinybertError, match="the model's labels are"):
        read_sets_scored(truth, several.LABELS, label="files,network")
