"""Rows held out of the training rows, and texts that lie in two parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.task import Rows

__all__ = ["hold_out", "text_hashes"]


def text_hashes(texts: Sequence[tuple[str, ...]]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row's words, whatever their case and spacing.

    Rows of equal hash are taken for equal: among ten million different rows two share a hash with
    a chance of about 3 in a million.

    Returns:
        ``(rows,)`` uint64, the same from run to run.

    >>> a, b, c = text_hashes([("One  line",), ("one line ",), ("one", "line")])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """

    def digest(row: tuple[str, ...]) -> bytes:
        # No word holds a line feed, so that pairs are not joined into one text.
        words = "\n".join(" ".join(text.casefold().split()) for text in row)
        return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    return np.frombuffer(b"".join(digest(row) for row in texts), dtype=np.uint64)


def hold_out(
    rows: Rows, seed: int, share: float, where: str | Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the rows kept and of the rows held out, both ascending.

    Rows of equal texts (:func:`text_hashes`) stay on one side, and every class keeps a row at
    least on the side of the kept.

    Args:
        rows: all rows.
        seed: of the draw.
        share: of the rows to hold out; never more, except that one row is always held out.
        where: the source's name, for the error.

    Raises:
        TinybertError: no group of equal rows is small enough.
    """
    _, first, inverse = np.unique(text_hashes(rows.alike), return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))  # groups by first appearance
    group = rank[inverse]
    members = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    counted = _counter(rows)
    left = counted(np.arange(len(rows)))
    target = max(1, round(share * len(rows)))
    held_out: list[int] = []
    for number in np.random.default_rng(seed).permutation(len(ends)):
        if len(held_out) == target:
            break
        places = members[ends[number - 1] if number else 0 : ends[number]]
        if len(held_out) + len(places) > target:
            continue
        counts = counted(places)
        if (left[counts > 0] > counts[counts > 0]).all():
            held_out += places.tolist()
            left = left - counts
    if not held_out:
        raise TinybertError(
            f"{where} has too few different rows ({len(ends)}) to hold some out: give a dev file"
        )
    kept = np.ones(len(rows), dtype=bool)
    kept[held_out] = False
    return np.flatnonzero(kept), np.flatnonzero(~kept)


def _counter(rows: Rows) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Counts how many of some rows have each class; without classes all rows are of one."""
    labels = rows.labels
    if labels is not None and labels.dtype == np.bool_:  # sets of labels
        return lambda places: np.asarray(labels[places].sum(axis=0), dtype=np.int64)
    numbers = np.zeros(len(rows), dtype=np.int64)
    if labels is not None and np.issubdtype(labels.dtype, np.integer):
        numbers = labels.astype(np.int64)
    classes = int(numbers.max(initial=0)) + 1
    return lambda places: np.bincount(numbers[places], minlength=classes)
