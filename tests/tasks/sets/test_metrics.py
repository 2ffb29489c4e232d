"""Scores of sets of labels, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.sets import set_scores


def by_hand(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    def f1(said: np.ndarray, there: np.ndarray) -> float:
        total = said.sum() + there.sum()
        return 2 * float((said & there).sum()) / float(total) if (said & there).any() else 0.0

    each = [f1(answers[:, k], truth[:, k]) for k in range(truth.shape[1])]
    exact = [bool((a == t).all()) for a, t in zip(answers, truth, strict=True)]
    return {
        "micro_f1": f1(answers, truth),
        "macro_f1": float(np.mean(each)),
        "exact_match": float(np.mean(exact)),
    }


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 999))
def test_scores_are_what_counting_gives(rows: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(size=(rows, labels)), rng.random((rows, labels)) < 0.4
    found = set_scores("macro_f1", logits, truth)
    assert next(iter(found)) == "macro_f1"
    assert found == pytest.approx(by_hand(logits > 0, truth))


def test_half_is_not_above_half() -> None:
    assert set_scores("micro_f1", np.zeros((2, 2)), np.ones((2, 2), bool))["micro_f1"] == 0
    nothing = set_scores("micro_f1", -np.ones((2, 2)), np.zeros((2, 2), bool))
    assert (nothing["micro_f1"], nothing["exact_match"]) == (0.0, 1.0)


def test_outputs_that_are_no_numbers() -> None:
    with pytest.raises(TinybertError, match="contain NaN or infinity"):
        set_scores("micro_f1", np.array([[np.nan, 1.0]]), np.ones((1, 2), bool))
