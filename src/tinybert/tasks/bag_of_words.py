"""The honest baseline: a linear model on counted words, no pre-training, seconds to fit."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from tinybert.errors import TinybertError
from tinybert.tasks.metrics import compute
from tinybert.tasks.task import Rows, TaskData

__all__ = ["bag_of_words_score"]


def bag_of_words_score(data: TaskData, part: Literal["dev", "test"] | None = None) -> float:
    """Score of a linear model on TF-IDF of words and word pairs, by the task's own metric.

    Logistic regression (one class against the rest, C = 10) for classification, ridge regression
    otherwise; scikit-learn's both. It learns from ``data.train`` alone; nothing is tuned on the
    rows that it is scored on. Ten classes and ten thousand sentences take a few seconds.

    Args:
        data: a task with labels.
        part: rows to score on; the test rows where there are any, else the dev rows.

    Raises:
        TinybertError: the rows have no labels.
    """
    part = part or ("dev" if data.test is None else "test")
    rows = data.dev if part == "dev" else data.test
    if rows is None:
        raise TinybertError("the task has no test rows: score the dev rows")
    if rows.labels is None or data.train.labels is None:
        raise TinybertError("a bag-of-words score needs labels: name the label column")
    # Any run of word characters: one-letter words count, and no text is without features for it.
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]")
    train = words.fit_transform(_joined(data.train))
    features = words.transform(_joined(rows))
    if data.task.kind == "regression":
        ridge = Ridge(alpha=1.0, solver="sparse_cg").fit(train, data.train.labels)
        return compute(data.task.metric, ridge.predict(features), rows.labels)[data.task.metric]
    model = OneVsRestClassifier(LogisticRegression(C=10.0, solver="liblinear", random_state=0))
    predictions = model.fit(train, data.train.labels).predict(features)
    # As logits, so that the metric knows how many classes there are.
    logits = np.eye(max(len(data.task.label_names), 2))[predictions]
    return compute(data.task.metric, logits, rows.labels)[data.task.metric]


def _joined(rows: Rows) -> list[str]:
    return [" | ".join(texts) for texts in rows.texts]
