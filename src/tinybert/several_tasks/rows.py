"""Rows of several tasks as the rows of one training: how many are drawn of each, which is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinybert.batching import TokenRows

__all__ = ["MixedRows", "rows_drawn"]


def rows_drawn(sizes: Sequence[int], balance: float) -> NDArray[np.int64]:
    """Rows of each task that an epoch shows, as many together as there are rows.

    Task t's part is sizes[t]^balance out of their sum: at 1 every row once, at 0 as many of each
    task, in between small tasks more often than once and large ones less.

    >>> rows_drawn([900, 100], 1.0), rows_drawn([900, 100], 0.5), rows_drawn([900, 100], 0.0)
    (array([900, 100]), array([750, 250]), array([500, 500]))
    """
    rows = np.asarray(sizes, dtype=np.int64)
    if balance == 1.0:
        return rows
    parts = rows.astype(np.float64) ** balance
    exact = rows.sum() * parts / parts.sum()
    found: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    left = int(rows.sum() - found.sum())
    found[np.argsort(found - exact, kind="stable")[:left]] += 1
    return found


class MixedRows:
    """The rows of several tasks one after the other; a batch that learns is of one task.

    Serves as :class:`~tinybert.batching.TrainingRows`. It has no labels: its rows are learned from
    teachers.

    Args:
        parts: token rows of each task, under one tokenizer, all with a teacher's logits as
            ``targets`` or all without.
        balance: of the rows that an epoch draws, see :func:`rows_drawn`.

    Attributes:
        groups: (rows,) int64, the task of each row, counted in the order of ``parts``.
        targets: (rows, most labels of any task) float32, NaN where a task has fewer; or None.
    """

    labels: NDArray[Any] | None = None

    def __init__(self, parts: Sequence[TokenRows], balance: float = 1.0) -> None:
        self.sizes = [len(part) for part in parts]
        self.balance = balance
        self.groups = np.repeat(np.arange(len(parts)), self.sizes)
        self._rows = _packed(parts)
        found = [part.targets for part in parts if part.targets is not None]
        if found and len(found) < len(parts):
            raise ValueError("either all tasks have kept logits or none has")
        self._widths = [each.shape[1] for each in found]
        self.targets = _side_by_side(found) if found else None
        self._prints = [part.fingerprint() for part in parts]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self._rows.lengths

    @property
    def places(self) -> NDArray[np.int64]:
        """Places of each row where states are compared: its tokens."""
        return self._rows.lengths

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some rows."""
        return self._rows.lengths_of(indices)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Rows ``indices`` padded to their longest, as of :meth:`TokenRows.batch`.

        Of one task with ``task``, its number (a scalar), and where there are any
        ``teacher_logits``. Rows of several tasks are model inputs and nothing else.
        """
        batch = self._rows.batch(indices)
        tasks = np.unique(self.groups[np.asarray(indices, dtype=np.int64)])
        if len(tasks) != 1:
            return batch
        task = int(tasks[0])
        batch["task"] = torch.tensor(task)
        if self.targets is not None:
            kept = self.targets[np.asarray(indices, dtype=np.int64), : self._widths[task]]
            batch["teacher_logits"] = torch.from_numpy(np.ascontiguousarray(kept))
        return batch

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The rows of one epoch in their order; it follows from seed and epoch alone.

        Each task has its own sequence of shuffled passes, of which every epoch takes the next
        rows: over a run no row of a task is seen two times more often than another.
        """
        counts = rows_drawn(self.sizes, self.balance)
        drawn = np.arange(len(self))
        if list(counts) != self.sizes:
            starts = np.cumsum([0, *self.sizes[:-1]])
            drawn = np.concatenate(
                [
                    starts[task] + _stretch(size, int(count), epoch, (seed, task))
                    for task, (size, count) in enumerate(zip(self.sizes, counts, strict=True))
                ]
            )
        return drawn[np.random.default_rng((seed, epoch)).permutation(len(drawn))]

    def fingerprint(self) -> str:
        """A hash of all tasks' rows and of how they are drawn."""
        told = " ".join([*self._prints, repr(self.balance)])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenRows:
        """A copy of some rows as texts of no task, in the order given."""
        return self._rows.take(indices)


def _packed(parts: Sequence[TokenRows]) -> TokenRows:
    """The texts of all parts; where only some have token types, the others' are 0."""
    types = None
    if any(part.type_ids is not None for part in parts):
        types = np.concatenate(
            [
                np.zeros(len(part.ids), dtype=np.uint8) if part.type_ids is None else part.type_ids
                for part in parts
            ]
        )
    lengths = np.concatenate([part.lengths for part in parts])
    return TokenRows(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        pad_id=parts[0].pad_id,
        type_ids=types,
        takes_types=parts[0].takes_types,
    )


def _side_by_side(targets: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    widest = max(each.shape[1] for each in targets)
    shape = (sum(map(len, targets)), widest)
    found = np.full(shape, np.nan, dtype=np.float32)
    start = 0
    for each in targets:
        found[start : start + len(each), : each.shape[1]] = each
        start += len(each)
    return found


def _stretch(size: int, count: int, epoch: int, key: tuple[int, int]) -> NDArray[np.int64]:
    """Rows ``epoch · count`` to ``(epoch + 1) · count`` of shuffled passes over ``size`` rows."""
    first, last = epoch * count // size, ((epoch + 1) * count - 1) // size
    # Four numbers: a seed of two is the order of an epoch, and shorter ones are filled with 0.
    passes = [
        np.random.default_rng((*key, number, 1)).permutation(size)
        for number in range(first, last + 1)
    ]
    start = epoch * count - first * size
    return np.concatenate(passes)[start : start + count]
