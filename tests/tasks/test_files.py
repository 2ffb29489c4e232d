from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.progress import Reporter, Tracker
from tinybert.tasks.files import read_scored, read_task


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def twice(path: Path) -> tuple[Path, Path]:
    """A file and a copy of it, for dev rows."""
    copy = path.with_name("dev-" + path.name)
    shutil.copy(path, copy)
    return path, copy


def words(count: int, labels: str = "ab") -> list[list[object]]:
    return [[f"text number {n}", labels[n % len(labels)]] for n in range(count)]


def test_csv_with_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    text = 'He said "no, thanks",\nand left'
    path = write_csv(tmp_path / "t.csv", [["text", "label"], [text, "b"], *words(9), ["NA", "a"]])
    data = read_task(*twice(path))
    assert data.train.texts[0] == (text,)
    assert data.train.texts[-1] == ("NA",)  # a text, not a missing value
    assert data.task.label_names == ("a", "b")
    assert data.train.labels is not None
    assert data.train.labels[:3].tolist() == [1, 0, 1]
    assert data.train.labels.dtype == np.int64
    assert any("'text'" in note for note in data.notes)
    assert any("'label'" in note for note in data.notes)


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("text,label\r\na b,x\r\nc d,y\r\n".encode("utf-8-sig"))
    assert read_task(*twice(path)).train.texts == [("a b",), ("c d",)]


def test_jsonl_and_json_list_say_the_same(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"sentence": f"s\u2028 {n}", "label": n % 3, "id": n} for n in range(12)
    ]
    lines = tmp_path / "t.jsonl"
    lines.write_text(
        "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )
    whole = tmp_path / "t.json"
    whole.write_text(json.dumps(rows, indent=1))
    one, other = read_task(*twice(lines)), read_task(*twice(whole))
    assert one.train.texts == other.train.texts
    assert one.task == other.task
    assert one.task.label_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["Sentence1", "Sentence2", "label"], ("Sentence1", "Sentence2")),
        (["premise", "hypothesis", "label"], ("premise", "hypothesis")),
        (["question", "sentence", "label"], ("question", "sentence")),
        (["id", "sentence", "target"], ("sentence",)),
        (["idx", "headline", "class"], ("headline",)),
    ],
)
def test_columns_are_guessed(tmp_path: Path, header: list[str], expected: tuple[str, ...]) -> None:
    rows = [
        [f"{n}{n}" if name in ("id", "idx") else f"some {n}" for name in header[:-1]]
        + ["yes" if n % 2 else "no"]
        for n in range(6)
    ]
    data = read_task(write_csv(tmp_path / "t.csv", [header, *rows]))
    assert data.task.text_columns == expected
    assert data.task.label_column == header[-1]
    assert len(data.train.texts[0]) == len(expected)


def test_named_columns_win(tmp_path: Path) -> None:
    header = ["text", "label", "left", "right", "gold"]
    rows = [[f"t {n}", 0, f"l {n}", f"r {n}", n % 2] for n in range(8)]
    path = write_csv(tmp_path / "t.csv", [header, *rows])
    data = read_task(path, text="left, right", label="gold")
    assert data.task.text_columns == ("left", "right")
    assert data.task.label_names == ("0", "1")
    assert not any(note.startswith(("text:", "label:")) for note in data.notes)


def test_regression_is_guessed(tmp_path: Path) -> None:
    rows = [[f"a {n}", f"b {n}", n / 7] for n in range(30)]
    path = write_csv(tmp_path / "t.csv", [["sentence1", "sentence2", "score"], *rows])
    data = read_task(*twice(path))
    assert data.task.kind == "regression"
    assert data.task.metric == "pearson_spearman"
    assert data.task.label_names == ()
    assert data.train.labels is not None
    assert data.train.labels.dtype == np.float32
    np.testing.assert_allclose(data.train.labels, np.arange(30) / 7, rtol=1e-6)


def test_few_fractions_are_classes_and_kind_overrides(tmp_path: Path) -> None:
    rows = [[f"a {n}", (0, 0.5, 1)[n % 3]] for n in range(30)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    assert read_task(path).task.label_names == ("0", "0.5", "1")
    assert read_task(path, kind="regression").task.kind == "regression"
    assert read_task(path, metric="spearman").task.kind == "regression"


def test_whole_floats_are_the_integers(tmp_path: Path) -> None:
    rows = [{"text": f"a {n}", "label": float(n % 2)} for n in range(8)]
    assert read_task(write_jsonl(tmp_path / "t.jsonl", rows)).task.label_names == ("0", "1")  # type: ignore[arg-type]


def test_integer_names_sort_as_numbers(tmp_path: Path) -> None:
    rows = [[f"a {n}", (10, 9, 100)[n % 3]] for n in range(9)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    assert read_task(path).task.label_names == ("9", "10", "100")


@pytest.mark.parametrize("spelling", [("no", "yes"), ("NO", "Yes"), (0, 1)])
def test_given_names_take_words_or_numbers(tmp_path: Path, spelling: tuple[object, ...]) -> None:
    rows = [[f"a {n}", spelling[n % 2]] for n in range(8)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    data = read_task(*twice(path), label_names=["no", "yes"])
    assert data.task.label_names == ("no", "yes")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1] * 4


def test_without_labels(tmp_path: Path) -> None:
    rows = [[f"a {n}"] for n in range(20)]
    data = read_task(write_csv(tmp_path / "t.csv", [["text"], *rows]))
    assert data.train.labels is None
    assert data.dev.labels is None
    assert data.task.label_column is None
    assert data.task.label_names == ()
    assert (len(data.train), len(data.dev)) == (18, 2)
    assert any("without labels" in note for note in data.notes)


def test_dev_text_seen_in_train_is_told(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "t.csv", [["text", "label"], *words(10)])
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["Text  number 3", "a"], ["x y", "b"]])
    assert any(note.startswith("1 of 2 dev texts") for note in read_task(train, dev).notes)


def group_sizes(rows: list[list[object]]) -> list[int]:
    """How many rows have each text."""
    return list(Counter(" ".join(str(row[0]).lower().split()) for row in rows).values())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.sampled_from("abcdefghijk"), min_size=12, max_size=60),
    seed=st.integers(0, 1000),
    share=st.floats(0.05, 0.5),
)
def test_split_property(tmp_path: Path, texts: list[str], seed: int, share: float) -> None:
    """No text crosses, no row is lost, no class leaves the training rows, same seed same split."""
    rows: list[list[object]] = [[f"{t}  W", "xy"[n % 2]] for n, t in enumerate(texts)]
    rows += [["one more", "x"], ["and more", "y"], ["One  MORE", "x"]]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    if all(count > round(share * len(rows)) for count in group_sizes(rows)):
        with pytest.raises(TinybertError, match="too few"):
            read_task(path, seed=seed, dev_share=share)
        return
    data = read_task(path, seed=seed, dev_share=share)
    keys = [
        {" ".join(text.lower().split()) for (text,) in part.texts}
        for part in (data.train, data.dev)
    ]
    assert not keys[0] & keys[1]
    both = [text for part in (data.train, data.dev) for (text,) in part.texts]
    assert sorted(both) == sorted(str(row[0]).strip() for row in rows)
    assert 1 <= len(data.dev) <= max(1, round(share * len(rows)))
    assert data.train.labels is not None
    assert set(data.train.labels.tolist()) == {0, 1}
    assert read_task(path, seed=seed, dev_share=share).dev.texts == data.dev.texts


BAD: list[tuple[str, bytes, dict[str, object], str]] = [
    ("t.csv", b"", {}, "is empty"),
    ("t.csv", b" \n\n", {}, "is empty"),
    ("t.jsonl", b"", {}, "is empty"),
    ("t.csv", b"text,label\n", {}, "header and no rows"),
    ("t.json", b"[]", {}, "no rows"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"text": "body"}, "no text column 'body'.*text, label"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label": "gold"}, "no label column 'gold'.*text, label"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"text": "text,text"}, "two different"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label": "text"}, "cannot be both|name it"),
    ("t.csv", b"p,q,label\na b,c d,x\nb e,c f,y\n", {}, "which column is the text"),
    ("t.csv", b"text,label\na,x\nb,x\n", {}, "every label is 'x'"),
    ("t.csv", b"text,label\na,1\nb,1\n", {"kind": "regression"}, "every label is 1"),
    ("t.csv", b"text,label\na,x\n ,y\n,x\n", {}, "2 of 3 rows have no text.*line 3"),
    ("t.csv", b'text,label\n"a\nb",x\n,y\nq,x\n', {}, "1 of 3 rows have no text.*line 4"),
    ("t.csv", b"text,label\nok,x\ncaf\xe9,y\n", {}, r"0xe9 in line 3 \(byte 19.*save it as UTF-8"),
    ("t.csv", "text,label\na,x\n".encode("utf-16"), {}, "UTF-16: save it as UTF-8"),
    ("t.csv", b"text,label\na,x\nb, c,y\n", {}, "line 3: 3 fields where the header has 2"),
    ("t.csv", b'text,label\n"a\nb",x\nc\n', {}, "line 4: 1 field where"),
    ("t.csv", b'text,label\na,x\n"b,y\nc,x\n', {}, "begins in line 3 has a broken quotation"),
    ("t.csv", b"text,text,label\na,b,x\n", {}, "'text' is there twice"),
    ("t.csv", b"text,label\na,x\nb,\nc,NaN\n", {}, "2 of 3 rows have no label.*line 3"),
    (
        "t.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n',
        {},
        "no label.*line 2",
    ),
    ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', {}, "no label.*line 2"),
    ("t.jsonl", b'{"text": "a", "label": 1}\n\n{"text": "b", \n', {}, "line 3: not JSON"),
    ("t.jsonl", b'{"text": "a", "label": 1}\n"b"\n', {}, "line 2: not an object"),
    ("t.jsonl", b'{"text": ["a"], "label": 1}\n{"text": "b", "label": 0}\n', {}, "line 1: .*list"),
    ("t.jsonl", b'{"text": "a", "label": [1]}\n{"text": "b", "label": 0}\n', {}, "line 1: a label"),
    ("t.json", b'[{"text": "a"},', {}, "broken JSON list"),
    ("t.txt", b"text\na\n", {}, r"'\.txt'.*\.csv, \.tsv, \.jsonl"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"metric": "bleu"}, "'bleu' is unknown.*accuracy"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"metric": "mcc", "kind": "regression"}, "'mcc' is for"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"kind": "ranking"}, "'ranking' is unknown"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"kind": "regression"}, "'x' is no finite number"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"dev_share": 1.5}, "not between 0 and 1"),
    ("t.csv", b"text,label\na,x\nb,y\n", {}, "too few different rows"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label_names": ["x", "x"]}, "repeat|not distinct"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label_names": ["x", "z"]}, "line 3: label 'y' is none"),
    ("t.csv", b",text,label\n0,a,x\n1,b,y\n", {}, "column 1 has no name.*index=False"),
    ("t.csv", b"text;label\na;x\nb;y\n", {}, "separate columns with commas, not with ';'"),
    ("t.tsv", b"text,label\na,x\nb,y\n", {}, "separate columns with tabs, not with ','"),
    ("t.tsv", b"text\tlabel\na\tx\nb\n", {}, "line 3: 1 field where the header has 2"),
    ("t.csv", b"text,label\na,x\nb\0,y\n", {}, "line 3: a NUL byte"),
    ("t.csv", "text,label\na,x\n".encode("utf-16-le"), {}, "line 1: a NUL byte.*UTF-16"),
    (
        "t.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "\\ud800", "label": 0}\n',
        {},
        "line 2: 'text'",
    ),
    ("t.jsonl", b'{"text": "a", "label": ' + b"1" * 5000 + b"}\n", {}, "line 1: not JSON"),
    ("t.jsonl", b"[" * 100_000, {}, "broken JSON list"),
    ("t.jsonl", b'{"a": ' * 100_000, {}, "line 1: not JSON"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"dev": "t.csv"}, "dev and train rows are the same file"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"test": "t.csv"}, "test and train rows are the same"),
    ("t.parquet", b"no parquet at all", {}, "t.parquet is no whole Parquet file"),
    ("t.parquet.gz", b"", {}, "unpack it, Parquet packs its columns itself"),
    # a guess that was wrong names the way out
    ("t.csv", b"text,label\na,x\nb,x\n", {}, "'label' is the label was guessed.*--label"),
    ("t.csv", b"text,label\na,x\n ,y\n", {}, "'text' is the text was guessed.*--text"),
    ("t.csv", b"text,label\na,x\nb,\n", {}, "'label' is the label was guessed.*--label"),
    ("t.csv", b"p,q,label\na b,c d,x\nb e,c f,y\n", {}, "name it with --text; there are p, q"),
]


@pytest.mark.parametrize(("name", "data", "asked", "message"), BAD)
def test_bad_input_is_one_clear_sentence(
    tmp_path: Path, name: str, data: bytes, asked: dict[str, object], message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    asked = {k: path if k in ("dev", "test") else v for k, v in asked.items()}
    with pytest.raises(TinybertError, match=message) as caught:
        read_task(path, **asked)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_named_label_column_is_no_guess(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["text", "label"], ["a", "x"], ["b", "x"]])
    with pytest.raises(TinybertError, match="every label is 'x'") as caught:
        read_task(path, label="label")
    assert "guessed" not in str(caught.value)


NEWLINES = {
    "unix": b"text,label\na b,x\nc d,y\n",
    "windows": b"text,label\r\na b,x\r\nc d,y\r\n",
    "old mac": b"text,label\ra b,x\rc d,y\r",
    "mixed": b"text,label\r\na b,x\rc d,y",
    "blank lines": b"\n\ntext,label\n\na b,x\n\nc d,y\n\n",
}


@pytest.mark.parametrize("content", NEWLINES.values(), ids=list(NEWLINES))
@pytest.mark.parametrize("separator", [b",", b"\t"], ids=["csv", "tsv"])
def test_any_newline_ends_a_line(tmp_path: Path, content: bytes, separator: bytes) -> None:
    path = tmp_path / ("t.csv" if separator == b"," else "t.tsv")
    path.write_bytes(content.replace(b",", separator))
    data = read_task(*twice(path))
    assert data.train.texts == [("a b",), ("c d",)]
    assert data.task.label_names == ("x", "y")


def test_the_line_of_a_fault_counts_every_kind_of_line_end(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'text,label\r\n"a\r\nb",x\rc,y\nd,e,f\n')
    with pytest.raises(TinybertError, match="line 5: 3 fields"):
        read_task(path)


def test_tsv_quotes_are_quotes_where_the_whole_file_reads_so(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('text\tlabel\n"a\ttab ""here"""\tx\nplain\ty\n')
    assert read_task(*twice(path)).train.texts == [('a\ttab "here"',), ("plain",)]
    path.write_text('text\tlabel\n"Quite," he said\tx\n"open\ty\nsaid "so"\tx\n')
    assert read_task(*twice(path)).train.texts == [
        ('"Quite," he said',),
        ('"open',),
        ('said "so"',),
    ]


def test_spellings_of_one_label_are_one(tmp_path: Path) -> None:
    spellings = ["Yes", " yes", "YES", "no", "No ", "Yes"] * 2
    rows = [[f"text {n}", spelling] for n, spelling in enumerate(spellings)]
    train = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["other", "yEs"], ["more", "NO"]])
    data = read_task(train, dev)
    assert data.task.label_names == ("No", "Yes")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [1, 1, 1, 0, 0, 1] * 2
    assert data.dev.labels is not None
    assert data.dev.labels.tolist() == [1, 0]
    said = [note for note in data.notes if "also spelled" in note]
    assert len(said) == 2
    assert "'Yes' is also spelled 'YES' and 'yes'" in said[0]


def test_numbers_are_one_label_however_they_are_written(tmp_path: Path) -> None:
    labels: list[object] = [1, 1.0, "1", "1.0", 0, "0", 0.0, 2]
    rows: list[dict[str, object]] = [{"text": f"a {n}", "label": v} for n, v in enumerate(labels)]
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["b", "2.0"], ["c", "1"]])
    data = read_task(path, dev)
    assert data.task.label_names == ("0", "1", "2")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [1, 1, 1, 1, 0, 0, 0, 2]
    assert data.dev.labels is not None
    assert data.dev.labels.tolist() == [2, 1]


def test_truth_values_are_labels(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"a {n}", "label": n % 2 == 0} for n in range(6)]
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["b", "true"], ["c", "FALSE"]])
    data = read_task(path, dev)
    assert data.task.label_names == ("False", "True")
    assert data.dev.labels is not None
    assert data.dev.labels.tolist() == [1, 0]
    numbered = read_task(path, dev, label_names=["0", "1"])
    assert numbered.dev.labels is not None
    assert numbered.dev.labels.tolist() == [1, 0]


def test_test_rows_are_reported_on(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "t.csv", [["text", "label"], *words(20)])
    test = write_csv(tmp_path / "test.csv", [["text", "label"], ["Text number 3", "a"], ["x", "b"]])
    data = read_task(train, test=test)
    assert data.test is not None
    assert data.test.texts == [("Text number 3",), ("x",)]
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [0, 1]
    unlabelled = write_csv(tmp_path / "u.csv", [["text"], ["x"]])
    with pytest.raises(TinybertError, match="u.csv has no labels in a column 'label'"):
        read_task(train, test=unlabelled)
    nothing = read_task(
        write_csv(tmp_path / "n.csv", [["text"], *([f"a {n}"] for n in range(9))]), test=unlabelled
    )
    assert nothing.test is not None
    assert nothing.test.labels is None


def test_a_label_that_comes_late_is_not_overlooked(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"a {n}"} for n in range(300)]
    path = write_jsonl(tmp_path / "t.jsonl", [*rows, {"text": "b", "label": 1}])
    with pytest.raises(TinybertError, match="'label' begins in line 301"):
        read_task(path)


def test_a_text_of_a_hundred_thousand_words(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = write_csv(tmp_path / "t.csv", [["text", "label"], [text, "x"], ["short one", "y"]])
    assert read_task(*twice(path)).train.texts[0] == (text.strip(),)


def test_no_room_for_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *words(20)])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(TinybertError, match="set TMPDIR to a directory with room"):
        read_task(path)


def test_progress_is_told_by_bytes(tmp_path: Path) -> None:
    class Noted(Reporter):
        @contextmanager
        def track(self, total: int | None, description: str, **more: Any) -> Iterator[Tracker]:
            with super().track(total, description, **more) as tracker:
                trackers.append(tracker)
                yield tracker

    trackers: list[Tracker] = []
    text = "many words " * 100
    path = write_csv(
        tmp_path / "t.csv", [["text", "label"], *([f"{text}{n}", n % 2] for n in range(6000))]
    )
    data = read_task(path, reporter=Noted(quiet=True))
    assert len(data.train) + len(data.dev) == 6000
    assert [track.description for track in trackers] == ["reading train"]
    assert trackers[0].unit == "MB"
    assert trackers[0].done == trackers[0].total == path.stat().st_size // 1_000_000


SCORED = [["text", "label"], ["one", "b"], ["two", "b"]]


def test_rows_to_score(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", SCORED)  # type: ignore[arg-type]
    task, rows, notes = read_scored(path, kind="classification", label_names=["a", "b"])
    assert task.label_names == ("a", "b")
    assert rows.labels is not None
    assert rows.labels.tolist() == [1, 1]
    assert any("'label'" in note for note in notes)
    with pytest.raises(TinybertError, match="line 2: label 'b' is none of"):
        read_scored(path, kind="classification", label_names=["a", "c"])


def test_of_a_directory_the_labelled_test_rows_are_scored(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write_csv(tmp_path / f"{name}.csv", SCORED)  # type: ignore[arg-type]
    write_csv(tmp_path / "test.csv", [["text", "label"], ["three", -1]])
    _, rows, notes = read_scored(tmp_path, kind="classification", label_names=["a", "b"])
    assert rows.texts == [("one",), ("two",)]
    assert notes[0].endswith("dev.csv")
    write_csv(tmp_path / "test.csv", [["text", "label"], ["three", "a"]])
    _, rows, _ = read_scored(tmp_path, kind="classification", label_names=["a", "b"])
    assert rows.texts == [("three",)]


def test_codes_that_are_no_integers_keep_their_spelling(tmp_path: Path) -> None:
    codes = ["0010", "10", "1E2"]
    rows: list[list[object]] = [[f"text {n}", codes[n % 3]] for n in range(12)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    data = read_task(*twice(path))
    assert data.task.label_names == ("0010", "10", "1E2")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1, 2] * 4


def test_the_training_rows_say_what_numbers_stand_for(tmp_path: Path) -> None:
    rows: list[list[object]] = [[f"text {n}", 1 + n % 2] for n in range(8)]
    train = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["one", 1], ["two", 1]])
    test = write_csv(tmp_path / "e.csv", [["text", "label"], ["three", 2]])
    data = read_task(train, dev, test, label_names=["bad", "good"])
    assert data.test is not None
    parts = (data.train, data.dev, data.test)
    found = [part.labels.tolist() for part in parts if part.labels is not None]
    assert found == [[0, 1] * 4, [0, 0], [1]]


def test_numbers_counted_from_1_are_scored_as_such_or_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["text", "label"], ["a b", 1], ["c d", 2], ["e f", 1]])
    _, rows, _ = read_scored(path, kind="classification", label_names=["bad", "good"])
    assert rows.labels is not None
    assert rows.labels.tolist() == [0, 1, 0]
    write_csv(path, [["text", "label"], ["a b", 1], ["e f", 1]])
    with pytest.raises(TinybertError, match="labels are the numbers 1 and the model's are words"):
        read_scored(path, kind="classification", label_names=["bad", "good"])


@pytest.mark.parametrize("names", [("positive", "negative"), ("negative", "positive")])
@pytest.mark.parametrize("labels", [("positive", "negative"), ("Positive", "negative")])
def test_f1_counts_for_the_same_class_in_learning_and_scoring(
    tmp_path: Path, names: tuple[str, str], labels: tuple[str, str]
) -> None:
    rows: list[list[object]] = [[f"text {n}", labels[n % 3 > 0]] for n in range(9)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    data = read_task(*twice(path), metric="f1")
    task, scored, notes = read_scored(
        path, kind="classification", label_names=names, metric="f1", label="label"
    )
    assert set(task.label_names) == set(names)
    assert [name.casefold() for name in task.label_names] == [
        name.casefold() for name in data.task.label_names
    ]
    assert scored.labels is not None
    assert data.train.labels is not None
    assert scored.labels.dtype == np.int64
    assert scored.labels.tolist() == data.train.labels.tolist()
    assert f"f1 counts for '{data.task.label_names[1]}'" in data.notes
    assert f"f1 counts for '{task.label_names[1]}'" in notes


def test_f1_on_numbers_keeps_the_order_of_the_model(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["text", "label"], ["a b", 1], ["c d", 0], ["e f", 1]])
    task, rows, notes = read_scored(path, kind="classification", label_names="yn", metric="f1")
    assert task.label_names == ("y", "n")
    assert rows.labels is not None
    assert rows.labels.tolist() == [1, 0, 1]
    assert "f1 counts for 'n'" in notes
    assert not any("f1" in note for note in read_task(*twice(path), metric="f1").notes)


def test_other_metrics_leave_the_order_of_the_model(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", SCORED)  # type: ignore[arg-type]
    task, rows, notes = read_scored(path, kind="classification", label_names=["b", "a"])
    assert task.label_names == ("b", "a")
    assert rows.labels is not None
    assert rows.labels.tolist() == [0, 0]
    assert not any("f1" in note for note in notes)


def test_f1_of_rows_without_labels(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["text"], ["one"], ["two"]])
    task, rows, _ = read_scored(path, kind="classification", label_names=["b", "a"], metric="f1")
    assert rows.labels is None
    assert task.label_names == ("b", "a")


def test_parts_without_the_named_label_column_are_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "test.csv", [["text"], ["three"]])
    write_csv(tmp_path / "dev.csv", SCORED)  # type: ignore[arg-type]
    asked: dict[str, Any] = {"kind": "classification", "label_names": ["a", "b"]}
    _, rows, notes = read_scored(tmp_path, **asked, label="label")
    assert rows.texts == [("one",), ("two",)]
    assert any(note.endswith("test.csv has no column 'label': left out") for note in notes)
    with pytest.raises(TinybertError, match=r"test\.csv has no label column 'gold': there are"):
        read_scored(tmp_path, **asked, label="gold")


def test_unseen_label_in_dev_names_file_and_line(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "t.csv", [["text", "label"], *words(6)])
    dev = write_csv(tmp_path / "d.csv", [["text", "label"], ["one", "a"], ["two", "c"]])
    with pytest.raises(TinybertError, match=r"d\.csv.*line 3: label 'c'.*\(a, b\)"):
        read_task(train, dev)


def test_id_column_as_label_is_refused(tmp_path: Path) -> None:
    rows = [[f"a {n}", f"name{n}"] for n in range(60)]
    path = write_csv(tmp_path / "t.csv", [["text", "label"], *rows])
    with pytest.raises(TinybertError, match="60 different labels in 60 rows"):
        read_task(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(
            st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
        ).filter(lambda text: text.strip()),
        min_size=2,
        max_size=8,
    )
)
def test_any_text_comes_back(tmp_path: Path, texts: list[str]) -> None:
    labels = ["x", "y"] * 4
    table = [
        ["text", "label"],
        *([text, label] for text, label in zip(texts, labels, strict=False)),
    ]
    csv_path = write_csv(tmp_path / "t.csv", table)  # type: ignore[arg-type]
    json_path = write_jsonl(
        tmp_path / "t.jsonl", [{"text": row[0], "label": row[1]} for row in table[1:]]
    )
    expected = [(text.strip(),) for text in texts]
    assert read_task(*twice(csv_path)).train.texts == expected
    assert read_task(*twice(json_path)).train.texts == expected


REAL = {"RTE": (2490, 277), "SST-2": (67_349, 872), "STS-B": (5749, 1500), "MNLI": (12_808, 9815)}


@pytest.mark.skipif("TINYBERT_DATA" not in os.environ, reason="TINYBERT_DATA is not set")
@pytest.mark.parametrize("name", list(REAL))
def test_real_tsv_files_with_loose_quotes(name: str) -> None:
    """The twin on data of its own: test_tsv_quotes_are_quotes_where_the_whole_file_reads_so."""
    data = read_task(Path(os.environ["TINYBERT_DATA"]) / "glue" / name)
    assert (len(data.train), len(data.dev)) == REAL[name]
    assert data.train.labels is not None
    assert data.task.kind == ("regression" if name == "STS-B" else "classification")
