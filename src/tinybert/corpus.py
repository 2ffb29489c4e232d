"""Raw text → packed token blocks for general distillation.

A block is a piece of one document, specials included: no masking and no sentence pairs, since the
student learns from states. Documents are never mixed in a block, and the short block at a
document's end stays short instead of being padded.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows, narrowest
from tinybert.errors import TinybertError

__all__ = ["documents_of", "read_documents", "token_blocks"]

_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}


def read_documents(paths: Sequence[str | Path]) -> Iterator[list[str]]:
    """Documents, as lists of paragraphs, from text files (also .gz, .xz, .bz2).

    One paragraph a line, a blank line between documents; a file's end ends a document.

    Raises:
        TinybertError: a file is missing or a directory (said at once, before any is read); or, as
            it is read, empty, not UTF-8 or cut short.
    """
    if not paths:
        raise TinybertError("no corpus was given: name at least one text file with --corpus.")
    files = [Path(path) for path in paths]
    for path in files:
        if path.is_dir():
            raise TinybertError(f"{path} is a directory: name the text files in it.")
        if not path.is_file():
            raise TinybertError(f"there is no text file {path}.")
    return _read(files)


def _read(files: Sequence[Path]) -> Iterator[list[str]]:
    for path in files:
        found = False
        opener = _OPENERS.get(path.suffix, open)
        try:
            with opener(path, "rt", encoding="utf-8") as file:
                for document in documents_of(file):
                    found = True
                    yield document
        except UnicodeDecodeError as error:
            raise TinybertError(
                f"{path} is not UTF-8 text (byte {error.object[error.start]:#04x}): save it as "
                "UTF-8, or check that it is a text file."
            ) from error
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
            raise TinybertError(f"{path} cannot be read to its end ({error}).") from error
        if not found:
            raise TinybertError(f"{path} holds no text.")


def documents_of(lines: TextIO | Iterable[str]) -> Iterator[list[str]]:
    """Group lines into documents at blank lines."""
    document: list[str] = []
    for line in lines:
        if text := line.strip():
            document.append(text)
        elif document:
            yield document
            document = []
    if document:
        yield document


def token_blocks(
    documents: Iterable[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 128,
    at_once: int = 512,
    shortest: int = 4,
    advance: Callable[[int], None] | None = None,
) -> TokenRows:
    """Tokenize documents and cut each into blocks of at most ``max_length`` tokens.

    Args:
        documents: lists of paragraphs.
        tokenizer: the teacher's, which is the student's too.
        max_length: tokens a block, specials included.
        at_once: documents a call of the tokenizer.
        shortest: a document's last block is dropped when it has fewer tokens of text.
        advance: called with the number of documents done.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room < shortest:
        raise TinybertError(
            f"blocks of {max_length} tokens leave no room for text: use 16 or more."
        )
    start, end = _specials(tokenizer)
    dtype: Any = narrowest(len(tokenizer))
    pieces: list[np.ndarray] = []
    lengths: list[int] = []

    def take(batch: list[str]) -> None:
        encoded = tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
        for ids in encoded:
            for i in range(0, len(ids), room):
                text = ids[i : i + room]
                if len(text) < shortest:
                    continue
                block = np.array([*start, *text, *end], dtype=dtype)
                pieces.append(block)
                lengths.append(len(block))
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
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        pad_id=tokenizer.pad_token_id or 0,
        takes_types="token_type_ids" in tokenizer.model_input_names,
    )


def _specials(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Special tokens before and after a text, read from an encoded word."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for i in range(len(full) - len(plain) + 1):
        if full[i : i + len(plain)] == plain:
            return full[:i], full[i + len(plain) :]
    raise TinybertError("this tokenizer's special tokens cannot be told from its text.")
