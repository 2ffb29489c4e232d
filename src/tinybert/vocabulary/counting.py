"""How often text uses each piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

__all__ = ["HELD_CHARACTERS", "Counts", "chunks", "count_pieces"]

AT_ONCE = 1024
CHARACTERS_AT_ONCE = 1 << 20

FIRST = 16
HELD_EVERY = 10
HELD_CHARACTERS = 1 << 22
"""Texts held out to compare on: every tenth, up to so many characters."""


class Counts:
    """What was counted.

    Attributes:
        pieces: (vocabulary,) int64, how often each piece was used.
        texts: number of texts with anything in them.
        first: some of the texts.
        held: texts that are held out, and
        held_pieces: what they alone use, (vocabulary,) int64.
    """

    def __init__(self, size: int) -> None:
        self.pieces: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self.held_pieces: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self.texts = 0
        self.first: list[str] = []
        self.held: list[str] = []


def count_pieces(
    backend: Tokenizer, texts: Iterable[str], size: int, *, hold_out: bool = False
) -> Counts:
    """Count the pieces of texts.

    Args:
        backend: cuts neither rows nor pads them.
        texts: read once, in chunks.
        size: ids that there are.
        hold_out: also keep some of the texts, to be compared on. Theirs are counted as well.
    """
    counts = Counts(size)
    kept = 0
    for chunk in chunks(texts):
        found = [e.ids for e in backend.encode_batch_fast(chunk, add_special_tokens=False)]
        counts.pieces += _sums(found, size)
        counts.texts += len(chunk)
        counts.first = counts.first or chunk[:FIRST]
        if not hold_out or kept >= HELD_CHARACTERS:
            continue
        first = -(counts.texts - len(chunk)) % HELD_EVERY
        held = chunk[first::HELD_EVERY]
        kept += sum(map(len, held))
        counts.held += held
        counts.held_pieces += _sums(found[first::HELD_EVERY], size)
    return counts


def _sums(found: list[list[int]], size: int) -> NDArray[np.int64]:
    ids = np.fromiter((i for row in found for i in row), dtype=np.int64)
    return np.bincount(ids, minlength=size)


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists that memory holds easily; empty ones are left out."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if not text.strip():
            continue
        chunk.append(text)
        characters += len(text)
        if len(chunk) >= AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
