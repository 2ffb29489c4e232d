"""Pairs of a query and a passage; those of one query belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.splits import text_hashes
from tinybert.tasks.task import Rows

__all__ = ["RankedRows", "check_ranked", "queries_of", "ranked_rows"]


@dataclass(frozen=True)
class RankedRows(Rows):
    """Rows of (query, passage); labels are (rows,) float32, how relevant a passage is."""

    @property
    def alike(self) -> Sequence[tuple[str, ...]]:
        """The passages of a query stay in one part."""
        return [row[:1] for row in self.texts]

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> RankedRows:
        """The rows at ``indices``, in that order."""
        rows = Rows(self.texts, self.labels).take(indices)
        return RankedRows(rows.texts, rows.labels)


def queries_of(texts: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
    """(rows,) the number of each row's query: rows of one first text, whatever its case.

    >>> queries_of([("who?", "a"), ("why?", "b"), ("Who?", "c")]).tolist()
    [0, 1, 0]
    """
    hashes = text_hashes([row[:1] for row in texts])
    _, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[numbers.reshape(-1)]


def ranked_rows(
    texts: Sequence[tuple[str, ...]], labels: NDArray[np.generic] | None, where: str
) -> RankedRows:
    """Checked rows.

    Raises:
        TinybertError: one text a row, or a negative relevance.
    """
    if len(texts[0]) != 2:
        raise TinybertError(
            f"{where}: ranking needs two texts a row, a query and a passage: name both columns "
            "with --text QUERY,PASSAGE"
        )
    if labels is not None and (least := float(np.asarray(labels, dtype=np.float64).min())) < 0:
        raise TinybertError(
            f"{where}: a passage has the relevance {least:g}, and none is less than 0: give 0 to "
            "what is not relevant"
        )
    return RankedRows(texts, labels)


def check_ranked(rows: Rows, where: str) -> None:
    """Refuse rows with nothing to put in order.

    Raises:
        TinybertError: every query has a single passage.
    """
    if np.bincount(queries_of(rows.texts)).max() < 2:
        raise TinybertError(
            f"{where}: every query has a single passage, so there is nothing to rank: give several "
            "passages a query, the query first (--text QUERY,PASSAGE), or say --task regression"
        )
