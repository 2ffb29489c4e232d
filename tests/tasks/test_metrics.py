from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.metrics import METRICS, agreement, compute, default_metric, metric_kind

CLASSIFICATION = [name for name in METRICS if metric_kind(name) == "classification"]
REGRESSION = [name for name in METRICS if metric_kind(name) == "regression"]


def test_known_values() -> None:
    predictions, labels = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, 1, 1])
    assert compute("accuracy", predictions, labels) == {"accuracy": pytest.approx(0.6)}
    # TP 2, FP 1, FN 1, TN 1
    scores = compute("f1", predictions, labels)
    assert list(scores) == ["f1", "accuracy"]
    assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert compute("macro_f1", predictions, labels)["macro_f1"] == pytest.approx((2 / 3 + 0.5) / 2)
    expected = (2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2)
    assert compute("mcc", predictions, labels)["mcc"] == pytest.approx(expected)


def test_correlations() -> None:
    values, labels = np.array([1.0, 2.0, 3.0, 10.0]), np.array([1.0, 2.0, 4.0, 5.0])
    scores = compute("pearson_spearman", values, labels)
    assert list(scores) == ["pearson_spearman", "pearson", "spearman"]
    assert scores["pearson"] == pytest.approx(np.corrcoef(values, labels)[0, 1])
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson_spearman"] == pytest.approx((1 + scores["pearson"]) / 2)
    assert compute("pearson", values[:, None], labels)["pearson"] == scores["pearson"]


def test_logits_are_classes_by_their_highest() -> None:
    logits = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]], dtype=np.float16)
    assert compute("accuracy", logits, [1, 0]) == {"accuracy": 1.0}


@pytest.mark.parametrize("metric", list(METRICS))
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_constant_outputs_are_finite_and_silent(metric: str, rows: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (0.0, 0.1):
            outputs = np.full(rows, value if metric in REGRESSION else 0)
            for labels in (np.arange(rows) % 2, np.zeros(rows, dtype=int)):
                score = compute(metric, outputs, labels)[metric]
                assert np.isfinite(score)
                if metric in [*REGRESSION, "f1", "mcc"]:
                    assert score == 0.0


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_perfect_and_bounded(data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(list(METRICS)))
    rows = data.draw(st.integers(2, 20))
    whole = metric in CLASSIFICATION
    value = st.integers(0, 1) if whole else st.floats(-1e300, 1e300, allow_subnormal=False)
    labels = np.array(data.draw(st.lists(value, min_size=rows, max_size=rows)))
    outputs = np.array(data.draw(st.lists(value, min_size=rows, max_size=rows)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = compute(metric, outputs, labels)[metric]
        assert -1 - 1e-9 <= score <= 1 + 1e-9
        if whole and len(set(labels.tolist())) == 2:
            assert compute(metric, labels, labels)[metric] == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_correlation_does_not_depend_on_scale(scale: float) -> None:
    values, labels = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])
    plain = compute("pearson", values, labels)["pearson"]
    assert compute("pearson", scale * values, labels)["pearson"] == pytest.approx(plain)


def test_agreement() -> None:
    student = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 5.0]])
    teacher = np.array([[9.0, 1.0], [0.0, 0.1], [0.0, 1.0], [0.0, 0.1]])
    assert agreement(student, teacher) == 0.75
    assert agreement([[1.0], [2.0], [3.0]], [[2.0], [4.0], [6.0]]) == pytest.approx(1.0)
    assert agreement([1.0, 1.0], [0.0, 3.0]) == 0.0
    with pytest.raises(ValueError, match="against teacher"):
        agreement(student, teacher[:3])


def test_what_cannot_be_scored() -> None:
    with pytest.raises(TinybertError, match="unknown.*accuracy, f1"):
        compute("bleu", [1], [1])
    with pytest.raises(TinybertError, match="NaN"):
        compute("accuracy", [[np.nan, 1.0]], [1])
    with pytest.raises(TinybertError, match="labels contain NaN"):
        compute("pearson", [1.0, 2.0], [np.nan, 1.0])
    with pytest.raises(TinybertError, match="macro_f1"):
        compute("f1", np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="rows"):
        compute("accuracy", np.eye(3), [0, 1])
    with pytest.raises(ValueError, match="rows"):
        compute("accuracy", np.zeros((0, 2)), [])


def test_defaults() -> None:
    assert default_metric("classification") == "accuracy"
    assert default_metric("regression") == "pearson_spearman"
