"""The beginning of a text, tokenized in memory, and what it tells of the whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows
from tinybert.corpus.blocks import token_blocks
from tinybert.corpus.build import BYTES_PER_BYTE
from tinybert.corpus.sources import TextSource, read_all, total_size

__all__ = ["Sample", "take_sample"]

SIZE = 4_000_000
"""Characters that are tokenized, or little more."""

_MOST = 32
"""How many times as many are read at most, to find the end of a part."""


@dataclass(frozen=True)
class Sample:
    """Blocks of the beginning.

    Attributes:
        rows: the blocks.
        share: how many times as long the whole is; None where nobody knows.
        whole: whether these are all.
        seconds: that reading and tokenizing took, in one thread.
        characters: that were read.
    """

    rows: TokenRows
    share: float | None
    whole: bool
    seconds: float
    characters: int

    @property
    def bytes_to_write(self) -> int | None:
        """Disk that the whole will take as a corpus, about."""
        return None if self.share is None else round(self.share * BYTES_PER_BYTE * self.characters)


def take_sample(
    sources: Sequence[TextSource], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Sample:
    """Read and tokenize the first megabytes of all sources together.

    Raises:
        TinybertError: a source is broken, or no tokens come of it.
    """
    size = total_size(sources)
    read = characters = seen = 0
    measured: tuple[int, int] | None = None  # bytes read, and all the characters they gave

    def advance(count: int) -> None:
        nonlocal read, measured
        if seen and (measured is None or seen > measured[1]):
            measured = (read, seen)
        read += count

    begun = time.perf_counter()
    texts: list[list[str]] = []
    for piece in read_all(sources, advance):
        if characters < SIZE:
            texts.append([piece.text])
            characters += len(piece.text)
        seen += len(piece.text)
        # Files are read in parts: only at the end of a part are bytes and characters the same text.
        ended = size is None or (measured is not None and measured[1] >= SIZE)
        if characters >= SIZE and (ended or seen >= _MOST * SIZE):
            break
    rows = token_blocks(texts, tokenizer, max_length)
    seconds = time.perf_counter() - begun
    whole = seen < SIZE
    share: float | None = None
    if whole:
        share = 1.0
    elif size is not None and read:
        part, given = measured if measured is not None and measured[1] >= SIZE else (read, seen)
        share = max(1.0, size / part * given / characters)
    return Sample(rows, share, whole, seconds, characters)
