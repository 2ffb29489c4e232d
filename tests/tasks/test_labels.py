from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.labels import (
    LabelReader,
    are_words,
    class_numbers,
    first_number,
    guess_kind,
    merged,
    names_of,
    spelled,
    usual_order,
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
        (["bad", "good"], ["0", "0.0"], [0, 0]),
        (["bad", "good"], ["2", "1", "2.0"], [1, 0, 1]),
        (["bad", "fair", "good"], [-1, 0, 1], [0, 1, 2]),
        (["bad", "good"], ["0", "good"], [0, 1]),
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


@pytest.mark.parametrize(
    "value", ["007", "1E2", "1e2", "+3", "+3.0", "٣", "٣.0", "1_0", ".0", "1.", "01.0", "1.50"]
)
def test_only_a_zero_fraction_is_taken_off(value: str) -> None:
    assert spelled([value], LINES, "t").distinct == [value]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7.0", "7"), (" -3.00", "-3"), (0.0, "0"), (-0.0, "0"), ("12345678901234567890.0",) * 2],
)
def test_integers_that_went_through_floats(value: object, expected: str) -> None:
    assert spelled([value], LINES, "t").distinct == [expected.removesuffix(".0")]


@pytest.mark.parametrize("codes", [["0010", "10", "1E2"], ["3", "+3", "٣"], ["7", "007", "7e0"]])
def test_different_codes_are_different_classes(codes: list[str]) -> None:
    labels, notes = merged(spelled(codes * 2, LINES, "t"))
    assert set(names_of(labels, "t")) == set(codes)
    assert notes == []
    assert class_numbers(labels, codes, LINES, "t").tolist() == [0, 1, 2] * 2
    with pytest.raises(TinybertError, match="is none of the task's labels"):
        class_numbers(labels, codes[:2], LINES, "t")


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (["bad", "good"], ["1", "1"]),
        (["bad", "good"], ["1", "3"]),
        (["bad", "fair", "good"], ["1", "2"]),
        (["bad", "good"], ["good", "1"]),
        (["bad", "good"], ["1", "2", "3"]),
    ],
)
def test_numbers_that_may_stand_for_either_are_refused(names: list[str], values: list[str]) -> None:
    with pytest.raises(TinybertError, match="t: labels are the numbers .*are words .bad, .*: name"):
        class_numbers(spelled(values, LINES, "t"), names, LINES, "t")


def test_a_number_too_high_is_told_with_its_line() -> None:
    with pytest.raises(TinybertError, match="t: labels are the numbers 0, 1, 2 and"):
        class_numbers(spelled(["0", "1", "2"], LINES, "t"), ["bad", "good"], LINES, "t")
    with pytest.raises(TinybertError, match="t, line 2: label '9+' is none of"):
        class_numbers(spelled(["9" * 5000], LINES, "t"), ["bad", "good"], LINES, "t")
    with pytest.raises(TinybertError, match="t, line 3: label '2' is none of"):
        class_numbers(spelled(["0", "2"], LINES, "t"), ["bad", "good"], LINES, "t", first=0)


def test_what_other_rows_said_of_the_numbers_holds() -> None:
    labels = spelled(["1", "1"], LINES, "t")
    names = ["bad", "good"]
    assert class_numbers(labels, names, LINES, "t", first=0).tolist() == [1, 1]
    assert class_numbers(labels, names, LINES, "t", first=1).tolist() == [0, 0]
    with pytest.raises(TinybertError, match="line 2: label '0' is none of"):
        class_numbers(spelled(["0", "1"], LINES, "t"), names, LINES, "t", first=1)


@given(st.integers(-5, 5), st.integers(2, 6), st.data())
def test_numbers_stand_for_the_names_in_order_or_for_none(
    first: int, classes: int, data: st.DataObject
) -> None:
    """All numbers in sequence: the i-th is name i. Some of them: the same, or refused."""
    names = [f"class {letter}" for letter in "abcdef"[:classes]]
    numbers = list(range(first, first + classes))
    some = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    found = first_number(spelled(numbers, LINES, "t"), names)
    assert found == first
    assert first_number(spelled(some, LINES, "t"), names) in (
        {first} if len(some) == classes else {0, None} if 0 in some else {None}
    )


@pytest.mark.parametrize(
    ("names", "values", "declared", "expected"),
    [
        (["pos", "neg"], ["pos", "neg"], (), [1, 0]),
        (["neg", "pos"], ["pos", "neg"], (), [0, 1]),
        (["pos", "neg"], ["pos"], (), [1, 0]),
        (["pos", "neg"], ["1", "0"], (), [0, 1]),
        (["pos", "neg"], ["1", "2"], (), [0, 1]),
        (["pos", "neg"], ["pos", "neg"], ("pos", "neg"), [0, 1]),
        (["neg", "pos"], ["pos", "neg"], ("Pos", "Neg"), [1, 0]),
        (["neg", "pos"], ["Pos", "neg", "Pos"], (), [1, 0]),
        (["1", "0"], ["1", "0"], (), [1, 0]),
        (["1", "0"], ["true", "false"], (), [1, 0]),
        (["a", "A"], ["A", "a"], (), [1, 0]),
    ],
)
def test_the_order_that_the_rows_give(
    names: list[str], values: list[str], declared: tuple[str, ...], expected: list[int]
) -> None:
    assert usual_order(spelled(values, LINES, "t"), names, declared) == expected


def test_words() -> None:
    assert are_words(["no", "LABEL_1"])
    assert not are_words(["no", "1"])
