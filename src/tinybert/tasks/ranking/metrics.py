"""How good an order of passages is, query by query; and how alike two orders are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score

from tinybert.errors import TinybertError
from tinybert.tasks.task import RANKING_METRICS

__all__ = ["rank_agreement", "rank_scores", "scored_queries"]

DEPTH = 10

Array = NDArray[Any]


def _by_query(queries: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of each query, in their order."""
    order = np.argsort(queries, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(queries[order])) + 1)


def scored_queries(queries: NDArray[np.int64], relevance: Array) -> dict[str, int]:
    """How many queries there are, and how many say nothing about an order.

    Those have no relevant passage, or a single passage.
    """
    rows = list(_by_query(queries))
    single = sum(len(each) < 2 for each in rows)
    none = sum(len(each) > 1 and not (relevance[each] > 0).any() for each in rows)
    return {"queries": len(rows), "single_passage": single, "none_relevant": none}


def rank_scores(
    metric: str, values: Array, relevance: Array, queries: NDArray[np.int64]
) -> dict[str, float]:
    """NDCG and reciprocal rank at 10, and mean average precision; ``metric`` first.

    Means over queries with two passages or more and one at least that is relevant (above 0).
    Passages of equal value stand in the order that is worst, the least relevant first: one value
    for all is no order. NDCG's gain is the relevance itself (scikit-learn's ``ndcg_score``).

    Args:
        metric: the main one.
        values: (rows,) a model's, the higher the earlier.
        relevance: (rows,) 0 or more.
        queries: (rows,) the number of each row's query.

    Raises:
        TinybertError: a value is no finite number; no query can be scored.

    >>> rank_scores("mrr@10", np.array([3.0, 2.0, 1.0]), np.array([0, 1, 0]), np.zeros(3, int))
    {'mrr@10': 0.5, 'ndcg@10': 0.6309297535714574, 'map': 0.5}
    """
    if not np.isfinite(values).all():
        raise TinybertError(
            "the model's outputs contain NaN or infinity: train again with a lower learning rate "
            "or in float32"
        )
    found = []
    for rows in _by_query(queries):
        wanted = np.asarray(relevance, dtype=np.float64)[rows]
        if len(rows) < 2 or not (wanted > 0).any():
            continue
        # From here on no two are equal: the place itself is the value.
        wanted = wanted[np.lexsort((wanted, -np.asarray(values, dtype=np.float64)[rows]))]
        place = -np.arange(len(wanted), dtype=np.float64)
        first = int(np.argmax(wanted > 0)) + 1
        found.append(
            (
                ndcg_score([wanted], [place], k=DEPTH, ignore_ties=True),
                1 / first if first <= DEPTH else 0.0,
                average_precision_score(wanted > 0, place),
            )
        )
    if not found:
        raise TinybertError(
            "no query has both a relevant passage and one more, so no order can be scored: give "
            "more passages a query"
        )
    means = dict(zip(RANKING_METRICS, map(float, np.mean(found, axis=0)), strict=True))
    return {metric: means[metric]} | means


def rank_agreement(one: Array, other: Array, queries: NDArray[np.int64]) -> dict[str, float]:
    """Kendall's tau-b and Spearman's correlation of two models' values within queries.

    Means over queries with two passages or more; 0 for a query where one side gives one value to
    all; nan where no query has two passages.

    >>> found = rank_agreement(np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), np.zeros(3, int))
    >>> {name: round(value, 4) for name, value in found.items()}
    {'kendall': 0.3333, 'spearman': 0.5}
    """
    found = []
    for rows in _by_query(queries):
        if len(rows) < 2:
            continue
        both = one[rows], other[rows]
        if min(float(np.ptp(side)) for side in both) == 0:
            found.append((0.0, 0.0))
            continue
        found.append((stats.kendalltau(*both).statistic, stats.spearmanr(*both).statistic))
    kendall, spearman = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return {"kendall": float(kendall), "spearman": float(spearman)}
