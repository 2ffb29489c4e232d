from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.mapping import MAPPINGS, layer_mapping, shown

depths = st.integers(1, 48).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))


@given(depths, st.sampled_from(MAPPINGS))
def test_named_mappings_increase_within_the_teacher(depth: tuple[int, int], kind: str) -> None:
    student, teacher = depth
    mapping = layer_mapping(kind, student, teacher)
    assert len(mapping) == student
    assert mapping[0] >= 1
    assert mapping[-1] <= teacher
    assert all(a < b for a, b in pairwise(mapping))
    assert layer_mapping(list(mapping), student, teacher) == mapping
    assert layer_mapping(",".join(map(str, mapping)), student, teacher) == mapping


@given(depths)
def test_uniform_is_the_nearest_layer_and_ends_at_the_top(depth: tuple[int, int]) -> None:
    student, teacher = depth
    mapping = layer_mapping("uniform", student, teacher)
    assert mapping[-1] == teacher
    for m, layer in enumerate(mapping, start=1):
        # Half up, in whole numbers: layer - 1/2 <= m*N/M < layer + 1/2.
        assert 2 * student * layer - student <= 2 * m * teacher < 2 * student * layer + student


@given(depths)
def test_top_and_bottom(depth: tuple[int, int]) -> None:
    student, teacher = depth
    assert layer_mapping("bottom", student, teacher) == tuple(range(1, student + 1))
    assert layer_mapping("top", student, teacher) == tuple(
        range(teacher - student + 1, teacher + 1)
    )


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(4, 12, (3, 6, 9, 12)), (4, 6, (2, 3, 5, 6)), (6, 12, (2, 4, 6, 8, 10, 12)), (1, 6, (6,))],
)
def test_uniform_examples(student: int, teacher: int, expected: tuple[int, ...]) -> None:
    assert layer_mapping("uniform", student, teacher) == expected


@pytest.mark.parametrize(
    ("kind", "student", "teacher", "message"),
    [
        ("uniform", 7, 6, "at most 6 layers"),
        ("top", 7, 6, "at most 6 layers"),
        ("bottom", 7, 6, "at most 6 layers"),
        ("uniform", 0, 6, "at least one layer"),
        ("middle", 4, 6, "uniform, top, bottom"),
        ("", 4, 6, "uniform, top, bottom"),
        ("2,4", 3, 6, "one for each"),
        ([2, 4, 7], 3, 6, "layer 7"),
        ([0, 4, 6], 3, 6, "layer 0"),
        ([2, 2, 6], 3, 6, "does not increase"),
        ("6,4,2", 3, 6, "does not increase"),
    ],
)
def test_bad_mappings(kind: str | list[int], student: int, teacher: int, message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        layer_mapping(kind, student, teacher)


def test_shown() -> None:
    assert shown((2, 3, 5, 6)) == "1→2 2→3 3→5 4→6"
