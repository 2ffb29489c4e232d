"""Which pieces stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError

__all__ = ["choose"]


def choose(
    counts: NDArray[np.int64],
    always: Iterable[int],
    needs: Callable[[int], Iterable[int]],
    *,
    most: int | None = None,
    least: int = 1,
) -> NDArray[np.int64]:
    """Ids of the pieces that stay, ascending, (kept,) int64.

    Args:
        counts: (vocabulary,) how often each piece is used.
        always: stay whatever the counts.
        needs: ids that a piece cannot be made without; they come and go with it.
        most: pieces at most, all included; the most frequent go first, of equals the lower id.
        least: uses of a piece to be kept.

    Raises:
        TinybertError: more pieces stay always than ``most``.

    >>> choose(np.array([0, 5, 9, 1]), [0], lambda piece: [], most=3).tolist()
    [0, 1, 2]
    """
    kept = _with_needs(always, needs, set())
    if most is not None and len(kept) > most:
        raise TinybertError(
            f"--pieces {most} is too few: {len(kept):,} pieces stay always (special tokens and "
            f"single characters, so that every word can be read); give {len(kept):,} or more."
        )
    used = np.flatnonzero(counts >= max(1, least))
    for piece in used[np.lexsort((used, -counts[used]))].tolist():
        if most is not None and len(kept) >= most:
            break
        if piece in kept:
            continue
        more = _with_needs([piece], needs, kept)
        if most is None or len(kept) + len(more) <= most:
            kept |= more
    return np.array(sorted(kept), dtype=np.int64)


def _with_needs(
    pieces: Iterable[int], needs: Callable[[int], Iterable[int]], kept: set[int]
) -> set[int]:
    """The pieces and all that they need, less those kept already."""
    found: set[int] = set()
    waiting = list(pieces)
    while waiting:
        piece = waiting.pop()
        if piece not in found and piece not in kept:
            found.add(piece)
            waiting += needs(piece)
    return found
