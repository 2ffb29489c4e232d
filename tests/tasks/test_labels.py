from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.labels import (
    LabelReader,
    class_numbers,
    guess_kind,
    merged,
    names_of,
    spelled,
    values_of,
)

LINES = range(2, 1000)
VALUES = st.lists(st.sampled_from(["a", "A ", "b", 1, 1.0, "1", 2, True, "x y"]), min_size=1)


@given(VALUES)
def test_every_row_keeps_its_label(values: list[Any]) -> None:
    labels, _ = merged(spelled(values, LINES, "t"))
    assert len(labels) == len(values)
    assert len(set(labels.distinct)) == len(labels.distinct)

    def same(value: Any) -> str:
        text = str(value).strip().casefold()
        return "1" if text == "1.0" else text

    chosen = [labels.distinct[code] for code in labels.codes]
    assert [same(label) for label in chosen] == [same(value) for value in values]
    numbers = class_numbers(labels, labels.distinct, LINES, "t")
    assert np.array_equal(numbers, labels.codes)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_values(values: list[float]) -> None:
    found = values_of(spelled(values, LINES, "t"), LINES, "t")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(values, dtype=np.float32))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0.5", "1", "0"] * 10, "classification"),
        ([n / 10 for n in range(30)], "regression"),
        (list(range(30)), "classification"),
        (["0.5", "a"] * 9, "classification"),
    ],
)
def test_kind(values: list[Any], kind: str) -> None:
    assert guess_kind(spelled(values, LINES, "t")) == kind


def test_missing_labels_are_counted_and_placed() -> None:
    with pytest.raises(TinybertError, match="t: 3 of 5 rows have no label .first in line 3"):
        spelled(["a", None, " ", "b", float("nan")], LINES, "t")


def test_places_may_be_words() -> None:
    places = ["line 2 of a.csv", "line 1 of b.csv"]
    with pytest.raises(TinybertError, match="t, line 1 of b.csv: label 'z' is none"):
        class_numbers(spelled(["a", "z"], places, "t"), ["a", "b"], places, "t")


def test_class_numbers_with_names() -> None:
    reader = LabelReader("t")
    reader.add([1, 0, -1], LINES.__getitem__, ["no", "yes"])
    reader.add([0, 1], LINES.__getitem__, ["yes", "no"])
    labels = reader.finish()
    assert [labels.distinct[code] for code in labels.codes] == ["yes", "no", "", "yes", "no"]
    with pytest.raises(TinybertError, match="t, line 3: class 2 has no name; there are 2"):
        reader.add([1, 2], LINES.__getitem__, ["no", "yes"])


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (["no", "yes"], ["1", "0"], [1, 0]),
        (["no", "yes"], ["YES", " no"], [1, 0]),
        (["1", "0"], ["true", "False"], [0, 1]),
        (["0.0", "1.0"], ["1", "0"], [1, 0]),
        (["a", "A"], ["A", "a"], [1, 0]),
    ],
)
def test_given_names(names: list[str], values: list[str], expected: list[int]) -> None:
    assert class_numbers(spelled(values, LINES, "t"), names, LINES, "t").tolist() == expected


def test_long_numbers_are_not_rounded() -> None:
    labels = ["12345678901234567890", "12345678901234567891"]
    assert names_of(spelled(labels, LINES, "t"), "t") == tuple(labels)


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_labels_that_are_no_single_values(value: object) -> None:
    with pytest.raises(TinybertError, match="t, line 2: a label is a word or a number"):
        spelled([value], LINES, "t")
