"""Text → blocks of tokens.

A block is a piece of one document, specials included: no masking and no sentence pairs, since the
student learns from states. Documents are never mixed in a block, and the short block at a
document's end stays short instead of being padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows, narrowest
from tinybert.errors import TinybertError

__all__ = ["SHORTEST", "Blocks", "token_blocks"]

SHORTEST = 4
"""A document's last block is dropped when it has fewer tokens of text."""

_CHARACTERS_AT_ONCE = 1 << 18
"""Text of one call of the tokenizer: what it makes of it is some fifty times as large."""


class Blocks:
    """Makes blocks of at most ``max_length`` tokens; may be used by several threads at once.

    Args:
        tokenizer: the teacher's, which is the student's too.
        max_length: tokens a block, specials included.

    Raises:
        TinybertError: such blocks leave no room for text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.start, self.end = _specials(tokenizer)
        self.room = max_length - len(self.start) - len(self.end)
        if self.room < SHORTEST:
            raise TinybertError(
                f"blocks of {max_length} tokens leave no room for text: use 16 or more."
            )
        self.dtype: Any = narrowest(len(tokenizer))
        self._tokenizer = tokenizer
        self._backend = _own_backend(tokenizer)

    def encode(self, texts: Sequence[str]) -> Iterator[NDArray[Any]]:
        """Token ids of each text, without specials."""
        batch: list[str] = []
        size = 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size >= _CHARACTERS_AT_ONCE:
                yield from self._encode(batch)
                batch, size = [], 0
        if batch:
            yield from self._encode(batch)

    def _encode(self, texts: list[str]) -> Iterator[NDArray[Any]]:
        if self._backend is not None:
            for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False):
                yield np.array(encoding.ids, dtype=self.dtype)
            return
        for ids in self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            yield np.array(ids, dtype=self.dtype)

    def cut(self, ids: NDArray[Any]) -> list[NDArray[Any]]:
        """The blocks of one text, specials included."""
        blocks = []
        for i in range(0, len(ids), self.room):
            text = ids[i : i + self.room]
            if len(text) >= SHORTEST:
                blocks.append(np.concatenate([self.start, text, self.end]).astype(self.dtype))
        return blocks


def token_blocks(
    documents: Iterable[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 128,
    at_once: int = 512,
    advance: Callable[[int], None] | None = None,
) -> TokenRows:
    """Tokenize documents in memory and cut each into blocks of at most ``max_length`` tokens.

    Args:
        documents: lists of paragraphs.
        tokenizer: the teacher's, which is the student's too.
        max_length: tokens a block, specials included.
        at_once: documents between two calls of ``advance``.
        advance: called with the number of documents done.

    Raises:
        TinybertError: no tokens come of it.
    """
    maker = Blocks(tokenizer, max_length)
    pieces: list[NDArray[Any]] = []

    def take(batch: list[str]) -> None:
        for ids in maker.encode(batch):
            pieces.extend(maker.cut(ids))
        if advance is not None:
            advance(len(batch))

    batch: list[str] = []
    for document in documents:
        batch.append("\n".join(document))
        if len(batch) == at_once:
            take(batch)
            batch = []
    if batch:
        take(batch)
    if not pieces:
        raise TinybertError("the corpus gives no tokens: its documents are empty or too short.")
    return TokenRows(
        ids=np.concatenate(pieces),
        offsets=np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.int64),
        pad_id=tokenizer.pad_token_id or 0,
        takes_types="token_type_ids" in tokenizer.model_input_names,
    )


def _own_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """A copy of a fast tokenizer's engine: truncation and padding are settings of the engine, which
    another call may set meanwhile."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return None
    own = Tokenizer.from_str(backend.to_str())
    own.no_truncation()
    own.no_padding()
    return own


def _specials(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Special tokens before and after a text, read from an encoded word."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for i in range(len(full) - len(plain) + 1):
        if full[i : i + len(plain)] == plain:
            return full[:i], full[i + len(plain) :]
    raise TinybertError("this tokenizer's special tokens cannot be told from its text.")
