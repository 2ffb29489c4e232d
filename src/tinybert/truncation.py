"""Which rows a tokenizer has cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import BatchEncoding, PreTrainedTokenizerBase

__all__ = ["cut_rows"]


def cut_rows(
    tokenizer: PreTrainedTokenizerBase,
    encoded: BatchEncoding,
    rows: Sequence[tuple[Any, ...]],
    max_length: int,
    **how: Any,
) -> NDArray[np.bool_]:
    """Which rows were longer than ``max_length`` tokens.

    Only full ones can have been. What was cut off does not always tell: a tokenizer written in
    Python keeps no trace of it, and tokenizers 0.23.1 and 0.23.2 stop reading where a row is full.
    Full rows without such a trace are tokenized once more, whole.

    Args:
        tokenizer: made ``encoded``.
        encoded: the rows, cut, without padding.
        rows: what each of them was made of: a text, two texts, or a list of words.
        max_length: tokens a row at most, specials included.
        how: further arguments that the tokenizer was called with, ``is_split_into_words``.

    Returns:
        (rows,) bool.
    """
    counts = np.fromiter(map(len, encoded["input_ids"]), dtype=np.int64, count=len(rows))
    cut = np.zeros(len(rows), dtype=np.bool_)
    for row in map(int, np.flatnonzero(counts >= max_length)):
        kept = encoded.encodings is not None and encoded.encodings[row].overflowing
        cut[row] = bool(kept) or _length(tokenizer, rows[row], **how) > max_length
    return cut


def _length(tokenizer: PreTrainedTokenizerBase, row: tuple[Any, ...], **how: Any) -> int:
    return len(tokenizer(*row, verbose=False, **how)["input_ids"])
