"""Tagged words out of files: formats, columns, classes, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import words
from tinybert.errors import TinybertError
from tinybert.tasks.tagging import read_tagged, read_tagged_scored
from tinybert.tasks.task import Rows

TEXT = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n"


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(rows: Rows) -> list[list[int]]:
    assert rows.labels is not None
    return [[int(tag) for tag in row] for row in rows.labels]


def test_columns_tabs_packed_and_zeros_behind(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text(TEXT)
    with gzip.open(tmp_path / "a.conll.gz", "wt") as file:
        file.write(TEXT.replace(" ", "\t"))
    (tmp_path / "b.bio").write_text("New York\tB-LOC\t0\nis\tO\t0\r\n\r\nbig\tO\t0\n")
    data = read_tagged(tmp_path / "a.conll.gz", tmp_path / "dev.txt")
    assert list(data.train.texts) == [("EU", "rejects"), ("Peter", "Blackburn")]
    assert data.task.label_names == ("O", "B-ORG", "B-PER", "I-PER")
    assert data.train.labels is not None
    assert [list(row) for row in data.train.labels] == [[1, 0], [2, 3]]
    assert data.task.metric == "entity_f1"
    held = read_tagged(tmp_path / "b.bio", dev_share=0.5)
    assert sorted([*held.train.texts, *held.dev.texts]) == [("New York", "is"), ("big",)]


def test_lists_in_json_lines_and_parquet_with_declared_names(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "ner_tags": [1, 0]}, {"tokens": ["c"], "ner_tags": [1]}]
    features = {"ner_tags": {"_type": "List", "feature": {"_type": "ClassLabel", "names": "OX"}}}
    features["ner_tags"]["feature"]["names"] = ["O", "B-X"]  # type: ignore[index]
    table = pa.Table.from_pylist(rows)
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (tmp_path / "set").mkdir()
    for part in ("train", "validation"):
        pq.write_table(table.replace_schema_metadata(told), tmp_path / "set" / f"{part}.parquet")
    data = read_tagged(tmp_path / "set")
    assert data.task.label_names == ("O", "B-X")
    assert data.dev.labels is not None
    assert [list(row) for row in data.dev.labels] == [[1, 0], [1]]
    plain = lines(tmp_path / "pos.jsonl", *({"words": ["a", "b"], "pos": ["N", "V"]},) * 3)
    task, found, _ = read_tagged_scored(plain, ("V", "N"))
    assert task.metric == "token_accuracy"
    assert found.labels is not None
    assert list(found.labels[0]) == [1, 0]
    _, found, _ = read_tagged_scored(lines(tmp_path / "no.jsonl", {"tokens": ["a"]}), ("V", "N"))
    assert found.labels is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 2: 2 words and 1 tag: give each word a tag"),
        ({"tokens": [], "tags": []}, "line 2: a row without words: remove it"),
        ({"tags": ["O"]}, "line 2: 'tokens' holds nothing and not a list of words"),
        ({"tokens": "a b", "tags": ["O"]}, "'tokens' holds a text and not a list of words"),
        ({"tokens": ["a"], "tags": [None]}, "'tags' holds nothing among its tags"),
        ({"tokens": ["a"], "tags": None}, "'tags' holds nothing and not a list of tags"),
        ({"tokens": [1], "tags": ["O"]}, "'tokens' holds a number among its words"),
        ({"tokens": [0], "tags": ["O"]}, "'tokens' holds a number among its words"),
        ({"tokens": [False], "tags": ["O"]}, "'tokens' holds a bool among its words"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "'tokens' holds nothing among its words"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, object], said: str) -> None:
    path = lines(tmp_path / "rows.jsonl", {"tokens": ["a"], "tags": ["B-X"]}, row)
    with pytest.raises(TinybertError, match=said):
        read_tagged(path)


def test_bad_files(tmp_path: Path) -> None:
    good = words.conll(tmp_path / "good.conll", 20)
    empty = tmp_path / "empty.conll"
    empty.write_text("\n\n-DOCSTART- O\n")
    uneven = tmp_path / "uneven.conll"
    uneven.write_text("a O\nb\n\n")
    strange = tmp_path / "strange.conll"
    strange.write_text("lock B-A\nfile B-NEW\n")
    table = tmp_path / "table.csv"
    table.write_text("tokens,tags\na,O\n")
    same = tmp_path / "same.conll"
    same.write_text("a O\n\nb O\n")
    other = lines(tmp_path / "other.jsonl", {"text": "a b", "tags": ["O"]})
    for asked, said in (
        ((empty, good), "holds no sentences: give lines of a word and its tag"),
        ((uneven, good), r"line 2: 1 column \(b\), and the first line has 2"),
        (
            (good, strange),
            "strange.conll, line 1: tag 'B-NEW' is not among the training rows' tags",
        ),
        ((table, good), "is a table of one value a cell"),
        ((same, good), "every word has the tag O: nothing to learn from"),
        ((other, good), "which column holds the words"),
        ((good, good), "are the same file"),
    ):
        with pytest.raises(TinybertError, match=said):
            read_tagged(*asked)
    for more, said in (
        ({"metric": "accuracy"}, "does not score tags: choose one of entity_f1, token_accuracy"),
        ({"label": "nothing"}, "has no tag column 'nothing'"),
        ({"label_names": ["O", "B-A"]}, "is not among the training rows' tags"),
    ):
        with pytest.raises(TinybertError, match=said):
            read_tagged(good, **more)  # type: ignore[arg-type]
    pos = lines(tmp_path / "pos.jsonl", *({"words": ["a", "b"], "pos": ["N", "V"]},) * 3)
    with pytest.raises(TinybertError, match="counts entities, and these tags mark none"):
        read_tagged(pos, metric="entity_f1")


def test_tags_as_numbers_are_named(tmp_path: Path) -> None:
    """By ``--labels``, or by the model; numbers that are names stay so, in the order of size."""
    rows = [{"tokens": ["a", "b"], "tags": [0, 2]}, {"tokens": ["c"], "tags": [1]}]
    path, dev = lines(tmp_path / "n.jsonl", *rows), lines(tmp_path / "dev.jsonl", *rows[:1])
    data = read_tagged(path, dev, label_names=("O", "B-X", "I-X"))
    assert data.task.metric == "entity_f1"
    assert numbers(data.train) == [[0, 2], [1]]
    assert numbers(data.dev) == [[0, 2]]
    _, found, _ = read_tagged_scored(path, ("I-X", "O", "B-X"))
    assert numbers(found) == [[0, 2], [1]]
    with pytest.raises(TinybertError, match="tag 2 is none of the 2 that the model knows"):
        read_tagged_scored(path, ("O", "B-X"))
    with pytest.raises(TinybertError, match="tag 2 is none of the 2 that are given"):
        read_tagged(path, dev, label_names=("O", "B-X"))
    many = [{"tokens": ["a"], "tags": [number]} for number in (10, 2, 30)]
    data = read_tagged(
        lines(tmp_path / "many.jsonl", *many), lines(tmp_path / "m.jsonl", *many[:2])
    )
    assert data.task.label_names == ("2", "10", "30")
    assert numbers(data.dev) == [[1], [0]]
    _, found, _ = read_tagged_scored(tmp_path / "many.jsonl", data.task.label_names)
    assert numbers(found) == [[1], [0], [2]]
    strange = lines(tmp_path / "strange.jsonl", {"tokens": ["a"], "tags": [1]})
    with pytest.raises(TinybertError, match="tag '1' is not among the training rows' tags"):
        read_tagged(tmp_path / "many.jsonl", strange)


def test_the_column_of_tags_is_the_training_rows(tmp_path: Path) -> None:
    """Also of a file whose tags are all O, where another column says more."""
    (tmp_path / "train.conll").write_text("EU NNP I-NP B-ORG\nis VBZ I-VP O\n")
    for part in ("dev", "test"):
        (tmp_path / f"{part}.conll").write_text("it PRP I-NP O\nis VBZ I-VP O\n")
    data = read_tagged(tmp_path)
    assert data.task.label_names == ("O", "B-ORG")
    assert data.test is not None
    for rows in (data.dev, data.test):
        assert numbers(rows) == [[0, 0]]
    assert any("tags in column 4 of 4" in note for note in data.notes)
    dev = tmp_path / "dev.conll"
    _, found, notes = read_tagged_scored(dev, ("O", "B-ORG"))
    assert numbers(found) == [[0, 0]]
    assert any("tags in column 4 of 4" in note for note in notes)
    for label, names in (("column 2", ("PRP", "VBZ")), ("column 3", ("I-NP", "I-VP"))):
        _, found, _ = read_tagged_scored(dev, names, label=label)
        assert numbers(found) == [[0, 1]]
        _, found, _ = read_tagged_scored(dev, names)  # the model's own tags
        assert numbers(found) == [[0, 1]]
    _, found, _ = read_tagged_scored(dev, ("O", "B-ORG"), label="column 4")
    assert numbers(found) == [[0, 0]]
    named = read_tagged(tmp_path, label="column 3")
    assert named.task.label_names == ("I-NP", "I-VP")
    # A part of another layout: by the tags that are known.
    short = tmp_path / "short.txt"
    short.write_text("EU B-ORG -\nis O -\n")
    assert numbers(read_tagged(tmp_path, short).dev) == [[1, 0]]
