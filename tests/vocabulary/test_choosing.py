"""Which pieces stay: the most frequent, within bounds, with all they need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.vocabulary.choosing import choose

COUNTS = st.lists(st.integers(0, 9), min_size=3, max_size=30)


def nothing(_: int) -> Iterable[int]:
    return ()


@given(COUNTS, st.integers(2, 30), st.integers(1, 4))
def test_the_most_frequent_are_kept(counts: list[int], most: int, least: int) -> None:
    array = np.array(counts)
    kept = set(choose(array, {0, 1}, nothing, most=most, least=least).tolist())
    assert {0, 1} <= kept
    assert len(kept) <= most
    others = kept - {0, 1}
    left = set(range(len(counts))) - kept
    assert all(counts[i] >= least for i in others)
    if len(kept) < most:
        assert all(counts[i] < least for i in left)
    elif others:
        assert min(counts[i] for i in others) >= max((counts[i] for i in left), default=0)


@given(COUNTS, st.integers(6, 30))
def test_needs_are_kept_within_the_bound(counts: list[int], most: int) -> None:
    """Each piece needs the one at half its id."""

    def needs(piece: int) -> Iterable[int]:
        return (piece // 2,)

    kept = set(choose(np.array(counts), {0}, needs, most=most).tolist())
    assert len(kept) <= most
    assert all(piece // 2 in kept for piece in kept)


def test_too_few_pieces_are_told() -> None:
    with pytest.raises(TinybertError, match=r"--pieces 2 is too few: 3 pieces stay always"):
        choose(np.array([1, 1, 1, 1]), {0, 1, 2}, nothing, most=2)
