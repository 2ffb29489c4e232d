"""Ranking: passages of a query, put in order by one value for each pair."""

from __future__ import annotations

from tinybert.tasks.ranking.metrics import rank_agreement, rank_scores, scored_queries
from tinybert.tasks.ranking.reading import RankedReading
from tinybert.tasks.ranking.rows import RankedRows, check_ranked, queries_of

__all__ = [
    "RankedReading",
    "RankedRows",
    "check_ranked",
    "queries_of",
    "rank_agreement",
    "rank_scores",
    "scored_queries",
]
