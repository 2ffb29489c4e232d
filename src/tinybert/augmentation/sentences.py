"""The different texts of many rows: each is guessed once, however often it is repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNIT", "Distinct"]

UNIT = 1024
"""Different texts that are guessed and kept together, in the order in which they first occur."""


class Distinct:
    """The different texts of rows, numbered as they first occur; the texts stay with the rows.

    Args:
        rows: per row a tuple of one or two texts.

    >>> distinct = Distinct([("a", "b"), ("c", "a")])
    >>> len(distinct), distinct.numbers.tolist(), distinct.texts(0)
    (3, [[0, 1], [2, 0]], ['a', 'b', 'c'])
    """

    def __init__(self, rows: Sequence[tuple[str, ...]]) -> None:
        self._rows = rows
        columns = len(rows[0]) if len(rows) else 1
        self.numbers = np.zeros((len(rows), columns), dtype=np.int32)
        known: dict[bytes, int] = {}
        whole = hashlib.sha256()
        first: list[tuple[int, int]] = []
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                key = hashlib.blake2b(text.encode(), digest_size=16).digest()
                whole.update(key)
                number = known.setdefault(key, len(first))
                if number == len(first):
                    first.append((row, column))
                self.numbers[row, column] = number
        self.fingerprint = whole.hexdigest()[:16]
        self._first: NDArray[np.int64] = np.array(first, dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._first)

    @property
    def units(self) -> int:
        return -(-len(self) // UNIT)

    def texts(self, unit: int) -> list[str]:
        """The texts of one unit."""
        places = self._first[unit * UNIT : (unit + 1) * UNIT]
        return [self._rows[int(row)][int(column)] for row, column in places]
