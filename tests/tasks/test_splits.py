"""Rows held out: no text on both sides, no class lost, the share kept."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.splits import hold_out, text_hashes
from tinybert.tasks.task import Rows


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "X "])), min_size=9),
    st.integers(0, 1000),
    st.floats(0.05, 0.5),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_properties(texts: list[tuple[str, ...]], seed: int, share: float, classes: int) -> None:
    labels = np.arange(len(texts)) % classes
    rows = Rows(texts, labels)
    try:
        kept, held_out = hold_out(rows, seed, share, "rows.csv")
    except TinybertError:
        groups = np.unique(text_hashes(texts), return_counts=True)[1]
        target = max(1, round(share * len(texts)))
        assert groups.min() > target or classes > 1 or len(groups) == 1
        return
    assert sorted([*kept, *held_out]) == list(range(len(texts)))
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(held_out) > 0)
    assert 1 <= len(held_out) <= max(1, round(share * len(texts)))
    folded = [tuple(text.casefold().strip() for text in row) for row in texts]
    assert not {folded[i] for i in kept} & {folded[i] for i in held_out}
    assert set(labels[kept]) == set(labels)
    again = hold_out(rows, seed, share, "rows.csv")
    assert np.array_equal(again[1], held_out)


def test_values_and_no_labels() -> None:
    texts: list[tuple[str, ...]] = [(f"text {n}",) for n in range(50)]
    for labels in (None, np.linspace(0, 5, 50, dtype=np.float32)):
        kept, held_out = hold_out(Rows(texts, labels), 0, 0.2, "rows.csv")
        assert (len(kept), len(held_out)) == (40, 10)
    assert not np.array_equal(hold_out(Rows(texts, None), 1, 0.2, "")[1], held_out)


def test_a_class_of_one_row_is_kept() -> None:
    texts: list[tuple[str, ...]] = [(f"text {n}",) for n in range(10)]
    labels = np.array([0] * 9 + [1])
    for seed in range(20):
        assert 9 in hold_out(Rows(texts, labels), seed, 0.5, "rows.csv")[0]


def test_too_few_rows() -> None:
    with pytest.raises(TinybertError, match=r"rows.csv has too few different rows \(1\)"):
        hold_out(Rows([("a",), ("A ",)], None), 0, 0.5, "rows.csv")


def test_hashes_tell_pairs_from_their_joined_text() -> None:
    a, b, c, d = text_hashes([("a b", "c"), ("a", "b c"), ("a b c",), ("A  b", "C ")])
    assert len({int(a), int(b), int(c)}) == 3
    assert a == d


def test_hashes_are_the_same_from_run_to_run() -> None:
    program = "from tinybert.tasks.splits import text_hashes; print(text_hashes([('a b',)])[0])"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) == int(text_hashes([("a b",)])[0])
