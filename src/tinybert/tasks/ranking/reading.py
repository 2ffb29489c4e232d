"""Values of pairs as an order of each query's passages: scored, compared, told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.tasks.ranking.metrics import rank_agreement, rank_scores, scored_queries
from tinybert.tasks.ranking.rows import queries_of

__all__ = ["RankedReading"]

MOST_TOLD = 200
"""Queries for which teacher and student put another passage first, kept for the page."""


@dataclass(frozen=True)
class RankedReading:
    """The pairs that values are given to.

    Attributes:
        texts: (query, passage) of every row.
        gold: (rows,) how relevant a passage is; None without labels.
    """

    texts: Sequence[tuple[str, ...]]
    gold: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def queries(self) -> NDArray[np.int64]:
        """(rows,) the number of each row's query."""
        return queries_of(self.texts)

    def counts(self) -> dict[str, int]:
        """Queries, and how many of them no score counts: see :func:`scored_queries`."""
        if self.gold is None:
            return {"queries": int(self.queries.max()) + 1}
        return scored_queries(self.queries, self.gold)

    def scores(self, metric: str, outputs: NDArray[np.float32]) -> dict[str, float]:
        """NDCG and reciprocal rank at 10, and mean average precision."""
        assert self.gold is not None
        return rank_scores(metric, self.settled(outputs), self.gold, self.queries)

    def settled(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rows,) the values."""
        return np.asarray(outputs).reshape(len(self))

    def alike(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        """Kendall's tau-b of two models' values within queries, its mean."""
        return self.agreement(one, other)["kendall"]

    def agreement(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, float]:
        """Kendall's and Spearman's, see :func:`rank_agreement`; of values or outputs."""
        return rank_agreement(self.settled(one), self.settled(other), self.queries)

    def answered(self, outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        """The value of every row."""
        return [
            {"row": row, "value": float(value)} for row, value in enumerate(self.settled(outputs))
        ]

    def told(
        self, student: NDArray[np.float32], teacher: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """How alike the two orders are, and the queries for which another passage comes first."""
        short = min(self.texts[:200], key=lambda row: abs(sum(len(t.split()) for t in row) - 14))
        said: dict[str, Any] = {
            "kind": "ranking",
            "rows": self.counts()["queries"],
            "labelled": self.gold is not None,
            "classes": [],
            "example": list(short),
            "differ": 0,
            "differing": [],
            "split": None,
        }
        if teacher is None:
            return said
        mine, its = self.settled(student), self.settled(teacher)
        said["agreement"] = self.agreement(mine, its)
        rows = np.split(
            order := np.argsort(self.queries, kind="stable"),
            np.flatnonzero(np.diff(self.queries[order])) + 1,
        )
        differ = []
        for each in rows:
            first, its_first = (int(each[np.argmax(values[each])]) for values in (mine, its))
            if first != its_first:
                differ.append((float(its[its_first] - its[first]), first, its_first))
        said["differ"] = len(differ)
        said["differing"] = [
            self._differing(first, its_first) for _, first, its_first in sorted(differ)[::-1]
        ][:MOST_TOLD]
        return said

    def _differing(self, mine: int, its: int) -> dict[str, Any]:
        def right(row: int) -> bool | None:
            return None if self.gold is None else bool(self.gold[row] > 0)

        query, label = self.texts[its][0], None
        if self.gold is not None:
            rows = np.flatnonzero(self.queries == self.queries[its])
            best = int(rows[np.argmax(self.gold[rows])])
            label = self.texts[best][1] if self.gold[best] > 0 else "none is relevant"
        return {
            "row": its,
            "texts": [query],
            "label": label,
            "teacher": self.texts[its][1],
            "student": self.texts[mine][1],
            "teacher_right": right(its),
            "student_right": right(mine),
        }
