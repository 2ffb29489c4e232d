"""Scores of a task, all of them from scikit-learn and SciPy, under one set of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from tinybert.errors import TinybertError
from tinybert.tasks.task import RANKING_METRICS, Kind

__all__ = ["METRICS", "agreement", "compute", "default_metric", "metric_kind"]

Array = NDArray[Any]


def accuracy(predictions: Array, labels: Array) -> float:
    """Share of rows whose predicted class is the label."""
    return float(sklearn_metrics.accuracy_score(labels, predictions))


def f1(predictions: Array, labels: Array) -> float:
    """F1 of class 1, for two classes; 0 where class 1 is neither present nor predicted."""
    return float(sklearn_metrics.f1_score(labels, predictions, pos_label=1, zero_division=0.0))


def macro_f1(predictions: Array, labels: Array) -> float:
    """Mean over classes of the F1 of each."""
    score = sklearn_metrics.f1_score(labels, predictions, average="macro", zero_division=0.0)
    return float(score)


def mcc(predictions: Array, labels: Array) -> float:
    """Matthews correlation coefficient; 0 for constant predictions."""
    if _constant(predictions) or _constant(labels):
        return 0.0
    return float(sklearn_metrics.matthews_corrcoef(labels, predictions))


def pearson(predictions: Array, labels: Array) -> float:
    """Pearson correlation; 0 where either side is constant."""
    if _constant(predictions) or _constant(labels):
        return 0.0
    # Standardised first, so that values of 1e-200 or 1e200 keep their correlation.
    return _finite(stats.pearsonr(_standard(predictions), _standard(labels)).statistic)


def spearman(predictions: Array, labels: Array) -> float:
    """Spearman rank correlation; 0 where either side is constant."""
    if _constant(predictions) or _constant(labels):
        return 0.0
    return _finite(stats.spearmanr(predictions, labels).statistic)


def pearson_spearman(predictions: Array, labels: Array) -> float:
    """Mean of the Pearson and the Spearman correlation, GLUE's score for STS-B."""
    return (pearson(predictions, labels) + spearman(predictions, labels)) / 2


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "mcc": mcc,
    "pearson": pearson,
    "spearman": spearman,
    "pearson_spearman": pearson_spearman,
}
"""Every metric: name → function of (predictions, labels), predictions being classes or values."""

_REGRESSION = ("pearson_spearman", "pearson", "spearman")
# What is worth reading beside each main metric.
_COMPANIONS: dict[str, tuple[str, ...]] = {
    "f1": ("accuracy",),
    "macro_f1": ("accuracy",),
    "mcc": ("accuracy",),
    "pearson": ("spearman",),
    "spearman": ("pearson",),
    "pearson_spearman": ("pearson", "spearman"),
}


def default_metric(kind: Kind) -> str:
    """``"accuracy"`` for classification, ``"pearson_spearman"`` for regression."""
    return "pearson_spearman" if kind == "regression" else "accuracy"


def metric_kind(metric: str) -> Kind:
    """The kind of task that a metric scores.

    Raises:
        TinybertError: no metric has this name.
    """
    if metric in RANKING_METRICS:  # of values, read as an order
        return "regression"
    if metric not in METRICS:
        known = ", ".join((*METRICS, *RANKING_METRICS))
        raise TinybertError(f"metric '{metric}' is unknown: choose one of {known}")
    return "regression" if metric in _REGRESSION else "classification"


def compute(metric: str, outputs: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """The scores of a model's outputs, the main metric first, its usual companions after it.

    Args:
        metric: a name in :data:`METRICS`.
        outputs: logits ``(rows, classes)``; or classes ``(rows,)``; for regression values
            ``(rows,)`` or ``(rows, 1)``.
        labels: ``(rows,)`` class numbers or values.

    Raises:
        TinybertError: unknown metric, NaN or infinity in the outputs or labels, or ``f1`` with more
            than two classes.
        ValueError: shapes that do not fit, or no rows.

    >>> compute("mcc", [[2.0, 1.0], [0.0, 3.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1, 0])
    {'mcc': 1.0, 'accuracy': 1.0}
    >>> compute("pearson_spearman", [1.0, 1.0, 1.0], [0.0, 2.0, 5.0])["pearson_spearman"]
    0.0
    """
    kind = metric_kind(metric)
    predictions, truth = _predictions(outputs, kind), np.asarray(labels)
    if truth.ndim != 1 or len(truth) != len(predictions) or not len(truth):
        raise ValueError(f"outputs of {len(predictions)} rows against labels of {truth.shape}")
    if not np.isfinite(truth.astype(np.float64)).all():
        raise TinybertError("the labels contain NaN or infinity: remove those rows")
    if kind == "regression":
        truth = truth.astype(np.float64)
    if metric == "f1":
        shape = np.shape(outputs)
        classes = shape[1] if len(shape) == 2 else int(max(truth.max(), predictions.max())) + 1
        if classes > 2:
            raise TinybertError(f"f1 is for 2 classes, here are {classes}: choose macro_f1")
    names = (metric, *_COMPANIONS.get(metric, ()))
    return {name: METRICS[name](predictions, truth) for name in names}


def agreement(
    student_outputs: ArrayLike, teacher_outputs: ArrayLike, kind: Kind | None = None
) -> float:
    """How far a student answers as its teacher does, labels aside.

    Classification, ``(rows, classes)`` with 2 classes or more: share of rows with the same
    highest class. Regression, ``(rows,)`` or ``(rows, 1)``: Pearson correlation.

    >>> agreement([[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.7, 0.3]])
    0.5
    """
    student, teacher = np.asarray(student_outputs), np.asarray(teacher_outputs)
    if student.shape != teacher.shape or not student.size:
        raise ValueError(f"student outputs {student.shape} against teacher's {teacher.shape}")
    if kind is None:
        wide = student.ndim == 2 and student.shape[1] > 1
        kind = "classification" if wide else "regression"
    one, other = _predictions(student, kind), _predictions(teacher, kind)
    return pearson(one, other) if kind == "regression" else accuracy(one, other)


def _predictions(outputs: ArrayLike, kind: Kind) -> Array:
    values = np.asarray(outputs)
    if not np.isfinite(values.astype(np.float64)).all():
        raise TinybertError(
            "the model's outputs contain NaN or infinity: train again with a lower learning rate "
            "or in float32"
        )
    if kind == "regression":
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise ValueError(f"regression takes outputs (rows,) or (rows, 1), not {values.shape}")
        return values.astype(np.float64)
    if values.ndim == 2:
        return np.asarray(values.argmax(axis=1))
    if values.ndim != 1:
        raise ValueError(f"classification takes (rows, classes) or (rows,), not {values.shape}")
    return values


def _constant(values: Array) -> bool:
    # Rounding noise around one value is no signal; SciPy would warn and return noise or NaN.
    spread = float(values.max() - values.min()) if len(values) > 1 else 0.0
    return spread <= 1e-12 * float(np.abs(values).max(initial=0.0))


def _standard(values: Array) -> Array:
    scaled = values / np.abs(values).max()
    centred = scaled - scaled.mean()
    return np.asarray(centred / np.abs(centred).max())


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0
