"""The best spans of one window: a start, an end not before it, and not too many tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Span", "best_spans"]


class Span(NamedTuple):
    """First and last token, and the sum of their logits."""

    start: int
    end: int
    score: float


def best_spans(
    starts: NDArray[np.floating],
    ends: NDArray[np.floating],
    max_tokens: int,
    count: int = 1,
) -> list[Span]:
    """The spans with the highest sums, highest first; of equals the one that starts first.

    All spans are looked at, not only those between the best starts and ends.

    Args:
        starts: (tokens,) logits of the passage's tokens.
        ends: (tokens,) likewise.
        max_tokens: tokens of a span at most.
        count: how many, fewer where there are fewer.

    >>> import numpy as np
    >>> best_spans(np.array([0.0, 5.0, 1.0]), np.array([9.0, 0.0, 2.0]), 3)
    [Span(start=0, end=0, score=9.0)]
    """
    tokens = len(starts)
    if not tokens:
        return []
    widths = min(max_tokens, tokens)
    beyond = np.full(widths - 1, -np.inf)
    last = sliding_window_view(np.concatenate([ends.astype(np.float64), beyond]), widths)
    flat = (starts.astype(np.float64)[:, None] + last).reshape(-1)  # row: start, column: width
    order: NDArray[np.int64]
    if count == 1:
        order = np.array([flat.argmax()])
    else:
        order = np.argsort(-flat, kind="stable")[:count]
    return [
        Span(int(place // widths), int(place // widths + place % widths), float(flat[place]))
        for place in order
        if np.isfinite(flat[place])
    ]
