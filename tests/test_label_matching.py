"""Labels of a teacher and of the data: matched by name, tested on rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.label_matching import match_labels, match_sets, says_nothing

NLI = ("contradiction", "entailment", "neutral")


def answers(
    order: list[int], truth: NDArray[np.int64], right: float, seed: int = 0
) -> NDArray[np.float64]:
    """Logits of a teacher whose output i means label ``order[i]``, right on that share of rows."""
    rng = np.random.default_rng(seed)
    meant = np.where(rng.random(len(truth)) < right, truth, rng.integers(0, len(order), len(truth)))
    place = np.argsort(order)  # label → output
    logits = rng.normal(size=(len(truth), len(order)))
    logits[np.arange(len(truth)), place[meant]] += 10
    return logits


def some_truth(labels: int = 3, rows: int = 200) -> NDArray[np.int64]:
    return np.random.default_rng(7).integers(0, labels, rows)


@given(st.permutations(range(3)), st.integers(0, 50))
def test_names_match_in_any_order_and_case(order: list[int], seed: int) -> None:
    truth = some_truth()
    own = [NLI[place].title() for place in order]
    logits = answers(order, truth, 0.8, seed)
    found = match_labels(own, NLI, logits, truth)
    assert found.names == tuple(NLI[place] for place in order)
    assert found.labels == NLI
    # What the names are for: put into the data's order, the answers are as right as they were.
    columns = [found.names.index(name) for name in NLI]
    assert (logits[:, columns].argmax(1) == truth).mean() > 0.7


def test_the_trap_of_the_original_stops_the_run() -> None:
    """Names in the wrong order: 10 % accuracy and no error, in the original code."""
    truth = some_truth()
    logits = answers([2, 0, 1], truth, 0.9)
    with pytest.raises(TinybertError, match=r"suspicious.*--teacher-labels") as error:
        match_labels(NLI, NLI, logits, truth)
    assert "neutral, contradiction, entailment" in str(error.value)


@given(st.permutations(range(3)))
def test_names_that_say_nothing_are_tested_on_rows(order: list[int]) -> None:
    truth = some_truth()
    found = match_labels(["LABEL_0", "LABEL_1", "LABEL_2"], NLI, answers(order, truth, 0.8), truth)
    assert found.names == tuple(NLI[place] for place in order)
    assert "LABEL_0 is" in found.note


@pytest.mark.parametrize(("right", "rows"), [(0.0, 200), (0.9, 4)])
def test_a_doubtful_assignment_stops_the_run(right: float, rows: int) -> None:
    truth = some_truth(rows=rows)
    logits = answers([1, 0, 2], truth, right)
    with pytest.raises(TinybertError, match="say nothing"):
        match_labels(["LABEL_0", "LABEL_1", "LABEL_2"], NLI, logits, truth)


def test_nothing_to_test_names_that_say_nothing_on() -> None:
    with pytest.raises(TinybertError, match="no labelled rows"):
        match_labels(["LABEL_0", "LABEL_1"], ["no", "yes"])


def test_numbers_stand_for_themselves_and_take_the_teachers_words() -> None:
    truth = some_truth(2)
    found = match_labels(["NEGATIVE", "POSITIVE"], ["0", "1"], answers([0, 1], truth, 0.9), truth)
    assert found.names == found.labels == ("NEGATIVE", "POSITIVE")
    found = match_labels(["LABEL_0", "LABEL_1"], ["0", "1"], answers([0, 1], truth, 0.9), truth)
    assert found.names == found.labels == ("0", "1")
    with pytest.raises(TinybertError, match="suspicious"):
        match_labels(["LABEL_0", "LABEL_1"], ["0", "1"], answers([1, 0], truth, 0.9), truth)


def test_a_bad_teacher_is_no_reason_to_stop() -> None:
    """At chance no order is significantly better than the one the names give."""
    truth = some_truth(2)
    found = match_labels(["a", "b"], ["a", "b"], answers([0, 1], truth, 0.0, seed=3), truth)
    assert found.names == ("a", "b")


def test_what_has_nothing_in_common_is_refused() -> None:
    with pytest.raises(TinybertError, match=r"politics.*--teacher-labels"):
        match_labels(["sport", "politics"], ["yes", "no"])
    with pytest.raises(TinybertError, match="3 outputs .* 2 labels"):
        match_labels(["a", "b", "c"], ["a", "b"])


def test_names_that_differ_in_case_only() -> None:
    truth = some_truth(2)
    with pytest.raises(TinybertError, match="not the data's"):
        match_labels(["x", "y"], ["a", "A"], answers([0, 1], truth, 0.9), truth)


def test_says_nothing() -> None:
    assert says_nothing(["LABEL_0", "label 1", "2", "class-3"])
    assert not says_nothing(["LABEL_0", "sport"])


@pytest.mark.parametrize("classes", [2, 40, 150])
def test_a_good_teacher_of_many_classes_is_matched(classes: int) -> None:
    truth = np.repeat(np.arange(classes), 12)
    order = np.random.default_rng(1).permutation(classes).tolist()
    labels = [f"name {n}" for n in range(classes)]
    own = [f"LABEL_{n}" for n in range(classes)]
    found = match_labels(own, labels, answers(order, truth, 1.0), truth)
    assert found.names == tuple(labels[place] for place in order)


@pytest.mark.parametrize(("classes", "right"), [(77, 0.4), (150, 0.5), (300, 0.8)])
def test_right_names_of_a_weak_teacher_are_believed(classes: int, right: float) -> None:
    """It confuses whole classes with others; some order is then better on any rows by chance."""
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(classes), 12)
    taken_for = rng.permutation(classes)
    logits = answers(list(range(classes)), truth, 1.0)
    wrong = rng.random(len(truth)) > right
    logits[wrong] = 0
    logits[wrong, taken_for[truth[wrong]]] = 10
    labels = [f"name {n}" for n in range(classes)]
    if right >= 0.5:
        assert match_labels(labels, labels, logits, truth).names == tuple(labels)
    else:  # then the confusions outnumber the answers that are right: doubt is in place
        with pytest.raises(TinybertError, match="suspicious"):
            match_labels(labels, labels, logits, truth)
        assert "; but" in match_labels(labels, labels, logits, truth, said=True).note


def test_what_the_user_says_is_told_and_taken() -> None:
    truth = some_truth()
    logits = answers([2, 0, 1], truth, 0.9)
    found = match_labels(NLI, NLI, logits, truth, said=True)
    assert found.names == NLI
    assert "; but as named the teacher is right on" in found.note


def set_answers(
    order: list[int], truth: NDArray[np.bool_], noise: float, seed: int = 0
) -> NDArray[np.float64]:
    """Logits of a teacher whose output i means label ``order[i]``, with so much noise."""
    rng = np.random.default_rng(seed)
    return np.where(truth[:, order], 2.0, -2.0) + noise * rng.normal(size=truth.shape)


def some_sets(rows: int = 200) -> NDArray[np.bool_]:
    """Sets in which one label is common, one rare, and two go together."""
    rng = np.random.default_rng(5)
    found = rng.random((rows, 4)) < [0.6, 0.1, 0.3, 0.3]
    found[:, 3] |= found[:, 2] & (rng.random(rows) < 0.5)
    return found


SETS = ("common", "rare", "first", "second")


@given(st.permutations(range(4)), st.integers(0, 50))
def test_sets_match_by_name_and_are_tested(order: list[int], seed: int) -> None:
    truth = some_sets()
    logits = set_answers(order, truth, 2.0, seed)
    own = [SETS[place].title() for place in order]
    assert match_sets(own, SETS, logits, truth).names == tuple(SETS[place] for place in order)
    if order != [0, 1, 2, 3]:
        with pytest.raises(TinybertError, match=r"suspicious.*--teacher-labels"):
            match_sets(SETS, SETS, logits, truth)
        told = match_sets(SETS, SETS, logits, truth, said=True)
        assert told.names == SETS
        assert "; but as named" in told.note
    found = match_sets([f"LABEL_{i}" for i in range(4)], SETS, logits, truth)
    assert found.names == tuple(SETS[place] for place in order)


def test_sets_without_a_clear_order_are_refused() -> None:
    truth = some_sets()
    nameless = [f"LABEL_{i}" for i in range(4)]
    noise = np.random.default_rng(0).normal(size=truth.shape)
    with pytest.raises(TinybertError, match="no order of the data's labels is clearly the best"):
        match_sets(nameless, SETS, noise, truth)
    with pytest.raises(TinybertError, match="no labelled rows to test them on"):
        match_sets(nameless, SETS)
    with pytest.raises(TinybertError, match="are not the data's"):
        match_sets(["a", "b", "c", "d"], SETS, noise, truth)
    with pytest.raises(TinybertError, match="has 2 outputs"):
        match_sets(["a", "b"], SETS)
