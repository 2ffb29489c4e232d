"""A built corpus on disk: shards of packed tokens, and one file that says what they are.

CORPUS/corpus.json            what it was built from and with; counts and checksums
CORPUS/shards/00000.ids.npy   token ids of all blocks, one after the other
CORPUS/shards/00000.npz       ``lengths`` of the blocks; ``documents``: first block of each
CORPUS/tokenizer/             the tokenizer
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.outputs import whole_file, write_json_whole

__all__ = ["Manifest", "ShardFacts", "is_corpus", "read_manifest"]

MANIFEST = "corpus.json"
SHARDS = "shards"
VERSION = 1


@dataclass(frozen=True)
class ShardFacts:
    """One shard: counts, hash of the text it was made of, sizes and checksums of its files."""

    name: str
    documents: int
    blocks: int
    tokens: int
    text: str
    files: dict[str, tuple[int, str]]  # name → bytes, checksum


@dataclass(frozen=True)
class Manifest:
    """What ``corpus.json`` holds.

    Attributes:
        max_length: tokens a block at most, specials included.
        tokenizer: fingerprint of the tokenizer.
        vocabulary: number of its pieces.
        pad_id, takes_types: as in :class:`tinybert.batching.TokenRows`.
        sources: names of what was read.
        documents, blocks, tokens: counts; tokens with specials.
        lengths: length of a block → number of such blocks.
        shards: in their order.
    """

    max_length: int
    tokenizer: str
    vocabulary: int
    pad_id: int
    takes_types: bool
    sources: list[str]
    documents: int
    blocks: int
    tokens: int
    lengths: dict[int, int]
    shards: list[ShardFacts] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        write_json_whole(directory / MANIFEST, {"tinybert_corpus": VERSION, **asdict(self)})

    def fingerprint(self) -> str:
        """Of everything in the corpus, known from its checksums."""
        digest = hashlib.sha256(f"{self.pad_id} {self.takes_types}".encode())
        for shard in self.shards:
            digest.update(json.dumps(shard.files, sort_keys=True).encode())
        return digest.hexdigest()[:16]


def is_corpus(path: str | Path) -> bool:
    """Whether a directory was written by ``tinybert corpus build``."""
    return (Path(path) / MANIFEST).is_file()


def read_manifest(directory: str | Path) -> Manifest:
    """What a corpus is.

    Raises:
        TinybertError: not a corpus, a broken ``corpus.json``, or one of a later format.
    """
    directory = Path(directory)
    if not is_corpus(directory):
        raise TinybertError(
            f"{directory} is no corpus (it has no {MANIFEST}): make one with `tinybert corpus "
            "build`."
        )
    try:
        content = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        version = content.pop("tinybert_corpus")
        if version != VERSION:
            raise TinybertError(
                f"{directory} has format {version}, and this version reads {VERSION}: build it "
                "again."
            )
        shards = [
            ShardFacts(**{**shard, "files": {n: (s, c) for n, (s, c) in shard["files"].items()}})
            for shard in content.pop("shards")
        ]
        lengths = {int(n): count for n, count in content.pop("lengths").items()}
        return Manifest(**content, lengths=lengths, shards=shards)
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise TinybertError(
            f"{directory / MANIFEST} is broken ({error}): build the corpus again."
        ) from None


def write_shard(
    directory: Path,
    name: str,
    blocks: Sequence[NDArray[Any]],
    starts: Sequence[int],
    dtype: Any,
    text: str,
) -> ShardFacts:
    """Write a shard's files, each whole or absent.

    Args:
        directory: of the shards.
        name: of the shard.
        blocks: token ids of each, specials included.
        starts: numbers of the blocks that begin a document.
        dtype: of the ids.
        text: hash of the text it was made of.
    """
    lengths = np.fromiter(map(len, blocks), dtype=np.uint32, count=len(blocks))
    ids = np.concatenate([np.zeros(0, dtype), *blocks])
    files: dict[str, tuple[int, str]] = {}
    with whole_file(directory / f"{name}.ids.npy") as partial, partial.open("wb") as file:
        np.save(file, ids)
    with whole_file(directory / f"{name}.npz") as partial, partial.open("wb") as file:
        np.savez(file, lengths=lengths, documents=np.asarray(starts, dtype=np.uint32))
    for ending in (".ids.npy", ".npz"):
        path = directory / f"{name}{ending}"
        files[path.name] = (path.stat().st_size, checksum(path))
    return ShardFacts(name, len(starts), len(blocks), int(lengths.sum()), text, files)


def checksum(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
