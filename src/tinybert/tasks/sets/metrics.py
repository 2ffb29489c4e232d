"""Scores of sets of labels, from scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import f1_score

from tinybert.errors import TinybertError

__all__ = ["SET_METRICS", "chosen", "set_scores"]

SET_METRICS = ("micro_f1", "macro_f1", "exact_match")


def chosen(outputs: ArrayLike) -> NDArray[np.bool_]:
    """Which labels are answered: those with a probability above 0.5, a logit above 0.

    Raises:
        TinybertError: an output is no finite number.

    >>> chosen([[2.0, -1.0, 0.0]])
    array([[ True, False, False]])
    """
    logits = np.asarray(outputs)
    if not np.isfinite(logits).all():
        raise TinybertError(
            "the model's outputs contain NaN or infinity: train again with a lower learning rate "
            "or in float32"
        )
    return np.asarray(logits > 0)


def set_scores(metric: str, outputs: ArrayLike, labels: NDArray[Any]) -> dict[str, float]:
    """All three scores of a model's outputs, ``metric`` first.

    * ``micro_f1``: F1 over all pairs of row and label;
    * ``macro_f1``: the mean over labels of the F1 of each, 0 for one that is neither there nor
      answered;
    * ``exact_match``: the share of rows with just the right labels.

    Args:
        metric: the main one.
        outputs: (rows, labels) logits.
        labels: (rows, labels), true where a row has the label.

    >>> set_scores("micro_f1", [[1.0, -1.0], [1.0, 1.0]], np.array([[1, 0], [1, 0]]) == 1)
    {'micro_f1': 0.8, 'macro_f1': 0.5, 'exact_match': 0.5}
    """
    answers, truth = chosen(outputs), np.asarray(labels, dtype=np.bool_)
    if answers.shape != truth.shape or answers.ndim != 2 or not len(truth):
        raise ValueError(f"outputs {answers.shape} against labels {truth.shape}")
    if truth.shape[1] == 1:  # scikit-learn takes one column for two classes
        both = [f1_score(truth[:, 0], answers[:, 0], zero_division=0.0)] * 2
    else:
        both = [
            f1_score(truth, answers, average=average, zero_division=0.0)
            for average in ("micro", "macro")
        ]
    found = {
        "micro_f1": float(both[0]),
        "macro_f1": float(both[1]),
        "exact_match": float((answers == truth).all(axis=1).mean()),
    }
    return {metric: found[metric]} | found
