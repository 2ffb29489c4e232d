"""Texts in a mapped file behave as the list of tuples that they stand for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.tasks.task import Rows
from tinybert.tasks.texts import Texts, TextWriter

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def written(rows: list[tuple[str, ...]], pieces: int = 1) -> Texts:
    columns = []
    for column in zip(*rows, strict=True):
        writer = TextWriter()
        for part in np.array_split(np.arange(len(column)), pieces):
            writer.add([column[i] for i in part])
        columns.append(writer.finish())
    return Texts(columns)


@given(st.data(), st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=20), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_as_a_list(data: st.DataObject, rows: list[tuple[str, ...]], pieces: int) -> None:
    texts = written(rows, pieces)
    assert list(texts) == rows
    assert len(texts) == len(rows)
    assert texts == rows
    assert rows == texts
    assert [texts[i] for i in range(-len(rows), len(rows))] == rows + rows
    assert list(reversed(texts)) == rows[::-1]
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9))
    assert texts.take(places) == [rows[i] for i in places]
    cut = data.draw(st.slices(len(rows)))
    assert texts[cut] == rows[cut]
    assert texts.take(places).take(range(len(places)))[:2] == [rows[i] for i in places][:2]


def test_more_rows_than_are_read_at_once() -> None:
    rows: list[tuple[str, ...]] = [(f"text {n}",) for n in range(10_000)]
    texts = written(rows, 3)
    assert list(texts) == rows
    order = np.random.default_rng(0).permutation(len(rows))
    assert texts.take(order) == [rows[i] for i in order]


def test_differences_are_seen() -> None:
    rows: list[tuple[str, ...]] = [("a",), ("b",)]
    texts = written(rows)
    assert texts != rows[:1]
    assert texts != [("a",), ("c",)]
    assert texts != "ab"
    assert repr(texts) == "<2 rows: ('a',), ('b',)>"
    with pytest.raises(IndexError):
        texts[2]


def test_rows_take_lazily() -> None:
    rows = Rows(written([("a",), ("b",), ("c",)]), np.array([0, 1, 2])).take([2, 0])
    assert isinstance(rows.texts, Texts)
    assert rows.texts == [("c",), ("a",)]
    assert rows.labels is not None
    assert rows.labels.tolist() == [2, 0]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    texts = written([("a",), ("b",)])
    assert os.listdir(tmp_path) == []
    assert texts == [("a",), ("b",)]
