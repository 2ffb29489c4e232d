"""Augmented rows as tokens in a file: tokenized shard by shard, read from there, never all held."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.augmentation.shards import Manifest, augmented_texts
from tinybert.batching import TokenRows, narrowest, tokenize
from tinybert.errors import TinybertError

__all__ = ["open_tokens", "write_tokens"]

FACTS = "facts.json"


def write_tokens(
    augmented: Path,
    manifest: Manifest,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    place: Path,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Tokenize originals and copies into the directory ``place``.

    Args:
        augmented: what `tinybert augment` wrote.
        manifest: its own.
        tokenizer: of teacher and student.
        max_length: tokens a row at most.
        place: an empty directory.
        advance: told the number of rows done.
    """
    lengths: list[NDArray[np.int64]] = []
    originals: list[NDArray[np.int64]] = []
    facts: dict[str, Any] = {"cut": 0}
    with (place / "ids").open("wb") as ids, (place / "types").open("wb") as types:
        for numbers, texts in augmented_texts(augmented, manifest):
            rows = tokenize(tokenizer, texts, max_length)
            ids.write(np.ascontiguousarray(rows.ids).data)
            if rows.type_ids is not None:
                types.write(np.ascontiguousarray(rows.type_ids).data)
            lengths.append(rows.lengths)
            originals.append(numbers.astype(np.int64))
            facts |= {"pad_id": rows.pad_id, "takes_types": rows.takes_types}
            facts |= {"cut": facts["cut"] + rows.cut, "types": rows.type_ids is not None}
            if advance is not None:
                advance(len(texts))
    np.save(place / "lengths.npy", np.concatenate(lengths).astype(np.int32))
    np.save(place / "originals.npy", np.concatenate(originals))
    facts["dtype"] = np.dtype(narrowest(len(tokenizer))).name
    (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def open_tokens(place: Path, train: TokenRows) -> TokenRows:
    """What :func:`write_tokens` wrote, mapped, with the labels of the originals.

    Args:
        place: its directory.
        train: the rows that were augmented.

    Raises:
        TinybertError: more rows were augmented than there are.
    """
    facts = json.loads((place / FACTS).read_text("utf-8"))
    lengths = np.load(place / "lengths.npy")
    originals = np.load(place / "originals.npy")
    if len(originals) and int(originals.max()) >= len(train):
        raise TinybertError("the augmented rows are of other training rows: augment these.")
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    mapped = np.memmap(place / "ids", dtype=facts["dtype"], mode="r")
    types = np.memmap(place / "types", dtype=np.uint8, mode="r") if facts["types"] else None
    return replace(
        train,
        ids=mapped,
        offsets=offsets,
        pad_id=facts["pad_id"],
        type_ids=types,
        takes_types=facts["takes_types"],
        labels=None if train.labels is None else train.labels[originals],
        targets=None,
        cut=facts["cut"],
    )
