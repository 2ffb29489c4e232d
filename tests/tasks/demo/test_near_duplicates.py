from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.tasks.demo.near_duplicates import NEAR, bigrams, groups, normalised

texts = st.lists(
    st.lists(st.sampled_from(("ab", "cd", "ef", "12", "345", "X")), max_size=8).map(" ".join),
    max_size=14,
)


@given(texts)
@settings(max_examples=150, deadline=None)
def test_groups_are_the_components_of_nearness(some: list[str]) -> None:
    """Against plain sets and a plain closure."""
    expected = list(range(len(some)))
    for one, other in combinations(range(len(some)), 2):
        a, b = bigrams(some[one]), bigrams(some[other])
        if len(a & b) >= NEAR * len(a | b):
            old, new = expected[other], expected[one]
            expected = [new if number == old else number for number in expected]
    found = groups(some)
    assert found.dtype == np.int64
    for one, other in combinations(range(len(some)), 2):
        assert (found[one] == found[other]) == (expected[one] == expected[other])


@given(texts)
def test_numbered_by_first_appearance(some: list[str]) -> None:
    seen = list(dict.fromkeys(groups(some).tolist()))
    assert seen == list(range(len(seen)))


def test_numbers_case_and_punctuation_do_not_count() -> None:
    assert normalised("Codec CP037, from 'A/B'.") == normalised("codec cp1140 from a b")
    assert groups(
        ["Codec cp037 is made.", "codec CP1140: is made", "Nothing like it."]
    ).tolist() == [
        0,
        0,
        1,
    ]
