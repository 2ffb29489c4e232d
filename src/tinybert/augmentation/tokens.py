"""Augmented rows as tokens in a file: tokenized shard by shard, read from there, never all held."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.alignment import AlignedRows, align_rows
from tinybert.augmentation.shards import Manifest, augmented_texts
from tinybert.batching import TokenRows, narrowest, tokenize
from tinybert.errors import TinybertError

__all__ = ["open_tokens", "write_tokens"]

FACTS = "facts.json"
THEIRS = "theirs"


def write_tokens(
    augmented: Path,
    manifest: Manifest,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    place: Path,
    advance: Callable[[int], None] | None = None,
    teacher: PreTrainedTokenizerBase | None = None,
) -> None:
    """Tokenize originals and copies into the directory ``place``.

    Args:
        augmented: what `tinybert augment` wrote.
        manifest: its own.
        tokenizer: of teacher and student.
        max_length: tokens a row at most.
        place: an empty directory.
        advance: told the number of rows done.
        teacher: the teacher's tokenizer where ``tokenizer`` is the student's alone; rows are then
            written under both, with their spans.
    """
    originals: list[NDArray[np.int64]] = []
    with ExitStack() as stack:
        own = stack.enter_context(_Writer(place, tokenizer))
        theirs = None
        if teacher is not None:
            (place / THEIRS).mkdir()
            theirs = stack.enter_context(_Writer(place / THEIRS, teacher))
        for numbers, texts in augmented_texts(augmented, manifest):
            if teacher is None or theirs is None:
                own.add(tokenize(tokenizer, texts, max_length))
            else:
                rows = align_rows(texts, tokenizer, teacher, max_length)
                own.add(rows, rows.spans)
                theirs.add(rows.theirs, rows.their_spans)
            originals.append(numbers.astype(np.int64))
            if advance is not None:
                advance(len(texts))
    np.save(place / "originals.npy", np.concatenate(originals))


class _Writer:
    """Rows of one tokenizer, written into a directory one piece after the other."""

    def __init__(self, place: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self.place = place
        self._lengths: list[NDArray[np.int64]] = []
        self._facts: dict[str, Any] = {"cut": 0, "spans": None}
        self._facts["dtype"] = np.dtype(narrowest(len(tokenizer))).name

    def __enter__(self) -> _Writer:
        names = ("ids", "types", "spans")
        self._files = {name: (self.place / name).open("wb") for name in names}
        return self

    def add(self, rows: TokenRows, spans: NDArray[Any] | None = None) -> None:
        facts = self._facts
        self._write("ids", rows.ids)
        if rows.type_ids is not None:
            self._write("types", rows.type_ids)
        if spans is not None:
            self._write("spans", spans)
            facts["spans"] = spans.dtype.name
        self._lengths.append(rows.lengths)
        facts |= {"pad_id": rows.pad_id, "takes_types": rows.takes_types}
        facts |= {"cut": facts["cut"] + rows.cut, "types": rows.type_ids is not None}

    def _write(self, name: str, array: NDArray[Any]) -> None:
        self._files[name].write(np.ascontiguousarray(array).data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file in self._files.values():
            file.close()
        if kind is None:
            np.save(self.place / "lengths.npy", np.concatenate(self._lengths).astype(np.int32))
            (self.place / FACTS).write_text(json.dumps(self._facts), encoding="utf-8")


def open_tokens(place: Path, train: TokenRows) -> TokenRows:
    """What :func:`write_tokens` wrote, mapped, with the labels of the originals.

    Args:
        place: its directory.
        train: the rows that were augmented.

    Raises:
        TinybertError: more rows were augmented than there are.
    """
    originals = np.load(place / "originals.npy")
    if len(originals) and int(originals.max()) >= len(train):
        raise TinybertError("the augmented rows are of other training rows: augment these.")
    labels = None if train.labels is None else train.labels[originals]
    rows, spans = _opened(place, labels)
    if spans is None:
        return rows
    theirs, their_spans = _opened(place / THEIRS, labels)
    assert their_spans is not None
    own = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return AlignedRows(**own, theirs=theirs, spans=spans, their_spans=their_spans)


def _opened(place: Path, labels: NDArray[Any] | None) -> tuple[TokenRows, NDArray[Any] | None]:
    facts = json.loads((place / FACTS).read_text("utf-8"))
    lengths = np.load(place / "lengths.npy")

    def mapped(name: str, dtype: Any) -> NDArray[Any]:
        return np.memmap(place / name, dtype=dtype, mode="r")

    rows = TokenRows(
        ids=mapped("ids", facts["dtype"]),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        pad_id=facts["pad_id"],
        type_ids=mapped("types", np.uint8) if facts["types"] else None,
        takes_types=facts["takes_types"],
        labels=labels,
        cut=facts["cut"],
    )
    return rows, mapped("spans", facts["spans"]) if facts.get("spans") else None
