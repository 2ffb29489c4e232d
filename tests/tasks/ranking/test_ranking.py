"""Orders of passages: read by query, scored by hand and by library, told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from support import several
from tinybert.errors import TinybertError
from tinybert.tasks.files import read_scored, read_task
from tinybert.tasks.ranking import (
    RankedReading,
    queries_of,
    rank_agreement,
    rank_scores,
    scored_queries,
)


def by_hand(values: list[float], relevance: list[int]) -> tuple[float, float, float]:
    """NDCG and reciprocal rank at 10 and average precision of one query, without equal values."""
    order = [relevance[i] for i in sorted(range(len(values)), key=lambda i: -values[i])]
    discount = [1 / np.log2(place + 2) for place in range(10)]
    best = sorted(relevance, reverse=True)
    gains = [sum(g * d for g, d in zip(x, discount, strict=False)) for x in (order, best)]
    hits = [place for place, gain in enumerate(order, 1) if gain > 0]
    precision = [(n + 1) / place for n, place in enumerate(hits)]
    return gains[0] / gains[1], (1 / hits[0]) * (hits[0] <= 10), float(np.mean(precision))


@given(st.integers(0, 10_000), st.integers(2, 25))
def test_scores_are_what_the_formulas_give(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, 4)
    sizes[0] = most
    queries = np.repeat(np.arange(4), sizes)
    relevance = rng.integers(0, 3, len(queries)) * (rng.random(len(queries)) < 0.5)
    relevance[0] = 1
    values = rng.permutation(len(queries)).astype(float)
    shuffled = rng.permutation(len(queries))
    found = rank_scores("map", values[shuffled], relevance[shuffled], queries[shuffled])
    assert next(iter(found)) == "map"
    each = [
        by_hand(values[queries == q].tolist(), relevance[queries == q].tolist())
        for q in range(4)
        if (queries == q).sum() > 1 and relevance[queries == q].any()
    ]
    wanted = dict(zip(("ndcg@10", "mrr@10", "map"), np.mean(each, axis=0), strict=True))
    assert found == pytest.approx(wanted)
    counts = scored_queries(queries, relevance)
    assert counts["queries"] - counts["single_passage"] - counts["none_relevant"] == len(each)


def test_one_value_for_all_is_the_worst_order() -> None:
    """And not the order of the file, which has the relevant passage first more often than not."""
    relevance, queries = np.array([1, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1])
    same = rank_scores("mrr@10", np.zeros(5), relevance, queries)
    assert same["mrr@10"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    worst = rank_scores("mrr@10", 1.0 - relevance, relevance, queries)
    assert same == pytest.approx(worst)


def test_no_numbers_and_nothing_to_score() -> None:
    with pytest.raises(TinybertError, match="contain NaN or infinity"):
        rank_scores("map", np.array([np.nan, 1]), np.array([0, 1]), np.zeros(2, int))
    for relevance, queries in (([0, 0], [0, 0]), ([1, 0], [0, 1])):
        with pytest.raises(TinybertError, match="no order can be scored"):
            rank_scores("map", np.ones(2), np.array(relevance), np.array(queries))


def test_agreement_is_within_queries() -> None:
    rng = np.random.default_rng(0)
    queries = np.repeat(np.arange(3), [5, 1, 4])
    one, other = rng.normal(size=(2, 10))
    parts = [slice(0, 5), slice(6, 10)]
    found = rank_agreement(one, other, queries)
    tau = [stats.kendalltau(one[p], other[p]).statistic for p in parts]
    assert found["kendall"] == pytest.approx(np.mean(tau))
    # What is added to all of a query's values is no order.
    shifted = rank_agreement(one + 10 * queries, other - 7 * queries, queries)
    assert shifted == pytest.approx(found)
    assert rank_agreement(one, np.zeros(10), queries)["kendall"] == 0
    assert np.isnan(rank_agreement(one[:1], one[:1], queries[:1])["kendall"])


def test_rows_of_a_query_stay_together(tmp_path: Path) -> None:
    path = several.ranked_file(tmp_path / "train.csv", 40)
    data = read_task(path, kind="regression", metric="ndcg@10", label="relevance")
    assert data.task.ranked
    asked = [{row[0].casefold() for row in part.texts} for part in (data.train, data.dev)]
    assert not asked[0] & asked[1]
    assert len(data.train) + len(data.dev) == 160
    assert (np.bincount(queries_of(data.dev.texts)) % 4 == 0).all()
    few = data.train.take([0, 1])
    assert few.alike == [row[:1] for row in few.texts]


def test_what_a_page_tells() -> None:
    texts = [("q", "a"), ("q", "b"), ("p", "c"), ("p", "d")]
    reading = RankedReading(texts, np.array([1.0, 0.0, 0.0, 0.0]))
    teacher = np.array([[2.0], [1.0], [0.0], [1.0]], dtype=np.float32)
    student = np.array([[1.0], [2.0], [0.0], [1.0]], dtype=np.float32)
    told = reading.told(student, teacher)
    assert (told["rows"], told["differ"]) == (2, 1)
    (row,) = told["differing"]
    assert (row["label"], row["teacher"], row["student"]) == ("a", "a", "b")
    assert (row["teacher_right"], row["student_right"]) == (True, False)
    assert told["agreement"]["kendall"] == 0
    assert reading.answered(student)[1] == {"row": 1, "value": 2.0}
    bare = RankedReading(texts, None)
    assert bare.told(student, None)["differing"] == []
    assert bare.told(student, teacher)["differing"][0]["label"] is None
    assert bare.counts() == {"queries": 2}


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"kind": "regression", "metric": "map", "label": "relevance"}
    (tmp_path / "one.csv").write_text("text,relevance\na b,1\nc d,0\n")
    with pytest.raises(TinybertError, match="ranking needs two texts a row"):
        read_task(tmp_path / "one.csv", **asked)
    path = tmp_path / "single.csv"
    path.write_text("query,passage,relevance\n" + "".join(f"q{i},p,{i % 2}\n" for i in range(20)))
    with pytest.raises(TinybertError, match="every query has a single passage"):
        read_task(path, **asked)
    with pytest.raises(TinybertError, match="every query has a single passage"):
        read_scored(path, kind="regression", metric="map", label="relevance")
    path.write_text("query,passage,relevance\nq,a,1\nq,b,-1\nr,c,0\n")
    with pytest.raises(TinybertError, match="relevance -1, and none is less than 0"):
        read_task(path, **asked)
