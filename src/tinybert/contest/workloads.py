"""What the models are given: sequences of one length, or real rows as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Feed", "Workload", "fixed_feeds", "read_feeds", "row_feeds", "write_feeds"]

Feed = Mapping[str, NDArray[np.int64]]
"""What one pass is given: (batch, length) each."""


@dataclass(frozen=True)
class Workload:
    """One cell of the comparison.

    Attributes:
        batch: sequences a pass (rows that come last may be fewer).
        length: tokens of every sequence; None for real rows, each batch as long as its longest.
    """

    batch: int
    length: int | None

    @property
    def name(self) -> str:
        """
        >>> Workload(1, 128).name, Workload(32, None).name
        ('batch 1, 128 tokens', 'batch 32, real rows')
        """
        what = "real rows" if self.length is None else f"{self.length} tokens"
        return f"batch {self.batch}, {what}"


def fixed_feeds(workload: Workload, vocabulary: int) -> list[Feed]:
    """One batch of random tokens without padding, the same for all models.

    Args:
        workload: with a length.
        vocabulary: pieces of the smallest vocabulary among the models.
    """
    assert workload.length is not None
    # Away from the first ids: a padding id in a sequence can change what a model does.
    rng = np.random.default_rng(0)
    shape = (workload.batch, workload.length)
    ids = rng.integers(vocabulary // 2, vocabulary, shape, dtype=np.int64)
    return [{"input_ids": ids, "attention_mask": np.ones_like(ids)}]


def row_feeds(batches: Sequence[Feed], vocabulary: int) -> list[Feed]:
    """Real rows for one model: padded batches whose ids its vocabulary has.

    Args:
        batches: as the rows come.
        vocabulary: of the model. One without a tokenizer of its own is given another's rows,
            whose lengths are what counts.
    """
    return [{**feed, "input_ids": feed["input_ids"] % vocabulary} for feed in batches]


def write_feeds(path: Path, feeds: Sequence[Sequence[Feed]]) -> None:
    """All workloads of one model, for its process."""
    arrays = {
        f"{number}/{turn}/{name}": array
        for number, of_one in enumerate(feeds)
        for turn, feed in enumerate(of_one)
        for name, array in feed.items()
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_feeds(path: Path) -> list[list[dict[str, NDArray[np.int64]]]]:
    """What :func:`write_feeds` wrote."""
    found: dict[tuple[int, int], dict[str, NDArray[np.int64]]] = {}
    with np.load(path) as file:
        for key in file.files:
            number, turn, name = key.split("/")
            found.setdefault((int(number), int(turn)), {})[name] = file[key]
    feeds: list[list[dict[str, NDArray[np.int64]]]] = []
    for number, _ in sorted(found):
        if number == len(feeds):
            feeds.append([])
        feeds[number].append(found[number, len(feeds[number])])
    return feeds
