"""Guesses of one unit of texts in a file: flat arrays, without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybert.outputs import whole_file

__all__ = ["read_unit", "write_unit"]


def write_unit(file: Path, found: Sequence[Mapping[int, NDArray[np.int32]]]) -> None:
    """Keep the guesses of one unit of texts, whole or absent.

    Args:
        found: for each text {number of the word: token ids, best first}.
    """
    words = [(text, word, ids) for text, each in enumerate(found) for word, ids in each.items()]
    flat = [ids for _, _, ids in words]
    with whole_file(file) as partial, partial.open("wb") as stream:
        np.savez(
            stream,
            texts=np.array(len(found), dtype=np.int64),
            text=np.array([text for text, _, _ in words], dtype=np.int32),
            word=np.array([word for _, word, _ in words], dtype=np.int32),
            count=np.array([len(ids) for ids in flat], dtype=np.int32),
            ids=np.concatenate([np.zeros(0, np.int32), *flat]),
        )


def read_unit(file: Path) -> list[dict[int, NDArray[np.int32]]]:
    """What :func:`write_unit` kept."""
    with np.load(file) as held:
        found: list[dict[int, NDArray[np.int32]]] = [{} for _ in range(int(held["texts"]))]
        pieces = np.split(held["ids"], np.cumsum(held["count"])[:-1]) if len(held["count"]) else []
        for text, word, ids in zip(
            held["text"].tolist(), held["word"].tolist(), pieces, strict=True
        ):
            found[text][word] = ids
    return found
