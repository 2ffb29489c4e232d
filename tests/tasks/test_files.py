from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.files import read_task


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def words(count: int, labels: str = "ab") -> list[list[object]]:
    return [[f"text number {n}", labels[n % len(labels)]] for n in range(count)]


def test_csv_with_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    text = 'He said "no, thanks",\nand left'
    path = write_csv(tmp_path / "t.csv", [["text", "label"], [text, "b"], *words(9), ["NA", "a"]])
    data = read_task(path, path)
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
    assert read_task(path, path).train.texts == [("a b",), ("c d",)]


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
    one, other = read_task(lines, lines), read_task(whole, whole)
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
    data = read_task(path, path)
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
    data = read_task(path, path, label_names=["no", "yes"])
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
    ("t.csv", b'text,label\n"a\nb",x\nc\n', {}, "line 4: 1 fields"),
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
    ("t.txt", b"text\na\n", {}, r"'\.txt'.*\.csv, \.jsonl"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"metric": "bleu"}, "'bleu' is unknown.*accuracy"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"metric": "mcc", "kind": "regression"}, "'mcc' is for"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"kind": "ranking"}, "'ranking' is unknown"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"kind": "regression"}, "'x' is no finite number"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"dev_share": 1.5}, "not between 0 and 1"),
    ("t.csv", b"text,label\na,x\nb,y\n", {}, "too few different rows"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label_names": ["x", "x"]}, "repeat|not distinct"),
    ("t.csv", b"text,label\na,x\nb,y\n", {"label_names": ["x", "z"]}, "line 3: label 'y' is none"),
]


@pytest.mark.parametrize(("name", "data", "asked", "message"), BAD)
def test_bad_input_is_one_clear_sentence(
    tmp_path: Path, name: str, data: bytes, asked: dict[str, object], message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TinybertError, match=message) as caught:
        read_task(path, **asked)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="does not exist"):
        read_task(tmp_path / "none.csv")
    with pytest.raises(TinybertError, match="is a directory"):
        read_task(tmp_path)


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
            st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1
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
    assert read_task(csv_path, csv_path).train.texts == expected
    assert read_task(json_path, json_path).train.texts == expected
