"""A corpus as rows to train on: mapped into memory, never loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows
from tinybert.corpus.files import (
    SHARDS,
    Manifest,
    checksum,
    read_manifest,
)
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.teachers import tokenizer_print

__all__ = ["CorpusRows", "check_tokenizer", "hold_out_documents", "open_corpus"]


class CorpusRows:
    """Blocks of a corpus, or some of them; serves wherever :class:`TokenRows` are trained on.

    Of each block its length and its place stay in memory, six to eight bytes, and four more in a
    view of some; the tokens are read from the mapped shards.

    Args:
        manifest: of the corpus.
        ids: token ids of each shard, flat, mapped.
        lengths: of all blocks.
        starts: numbers of the blocks that begin a document, ascending.
        chosen: the blocks that these rows are; all where None.
    """

    labels: None = None
    targets: None = None
    cut = 0

    def __init__(
        self,
        manifest: Manifest,
        ids: Sequence[NDArray[Any]],
        lengths: NDArray[Any],
        starts: NDArray[np.int64],
        chosen: NDArray[np.uint32] | None = None,
    ) -> None:
        self.manifest, self._ids, self._all, self.starts = manifest, ids, lengths, starts
        self._chosen = chosen
        blocks = [shard.blocks for shard in manifest.shards]
        self._first = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        self._offsets = self._within_shards(lengths)
        self.lengths: NDArray[Any] = lengths if chosen is None else lengths[chosen]
        self.pad_id, self.takes_types = manifest.pad_id, manifest.takes_types

    def _within_shards(self, lengths: NDArray[Any]) -> NDArray[np.uint32]:
        """Where each block begins in its shard; a shard is far smaller than 2³² tokens."""
        offsets = np.zeros(len(lengths), dtype=np.uint32)
        for begin, end in zip(self._first, self._first[1:], strict=False):
            if end - begin < 2:  # nothing to add up
                continue
            np.cumsum(lengths[begin : end - 1], dtype=np.uint32, out=offsets[begin + 1 : end])
        return offsets

    def __len__(self) -> int:
        return len(self.lengths)

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        return np.asarray(self.lengths[indices])

    def block(self, index: int) -> NDArray[Any]:
        """Token ids of one block, specials included, mapped."""
        place = index if self._chosen is None else int(self._chosen[index])
        shard = int(np.searchsorted(self._first, place, side="right")) - 1
        start = int(self._offsets[place])
        return self._ids[shard][start : start + int(self._all[place])]

    def parts(self) -> Sequence[NDArray[Any]]:
        """Token ids of the whole corpus, shard by shard, mapped."""
        return self._ids

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenRows:
        """A copy of some rows in memory, in the order given."""
        rows = np.asarray(indices, dtype=np.int64)
        empty = self._ids[0][:0]
        return TokenRows(
            ids=np.concatenate([empty, *(self.block(int(i)) for i in rows)]),
            offsets=np.concatenate([[0], np.cumsum(self.lengths[rows], dtype=np.int64)]),
            pad_id=self.pad_id,
            takes_types=self.takes_types,
        )

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Rows padded to their longest, as :meth:`TokenRows.batch`."""
        return self.take(indices).batch(np.arange(len(indices)))

    def view(self, indices: NDArray[Any]) -> CorpusRows:
        """Some rows, without a copy of their tokens."""
        places = np.asarray(indices)
        if self._chosen is not None:
            places = self._chosen[places]
        return CorpusRows(
            self.manifest, self._ids, self._all, self.starts, places.astype(np.uint32)
        )

    def fingerprint(self) -> str:
        """A hash of these rows, known from the corpus' checksums."""
        digest = hashlib.sha256(self.manifest.fingerprint().encode())
        if self._chosen is not None:
            digest.update(np.ascontiguousarray(self._chosen).data)
        return digest.hexdigest()[:16]


def open_corpus(
    directory: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    verify: bool = True,
    reporter: Reporter | None = None,
) -> CorpusRows:
    """Open what ``tinybert corpus build`` wrote.

    Args:
        directory: the corpus.
        tokenizer: of the models; None: not compared.
        verify: read all shards once and compare their checksums (0.5 to 1 GB a second); sizes are
            compared in any case.
        reporter: tells the progress.

    Raises:
        TinybertError: no corpus, another tokenizer, a shard that is missing, cut short or altered.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if tokenizer is not None:
        check_tokenizer(directory, manifest, tokenizer)
    place = directory / SHARDS
    _check_files(place, manifest, verify, reporter or Reporter(quiet=True))
    narrow = np.uint16 if manifest.max_length < 2**16 else np.uint32
    ids: list[NDArray[Any]] = []
    lengths: list[NDArray[Any]] = [np.zeros(0, narrow)]
    starts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    begin = 0
    for shard in manifest.shards:
        # An array of no tokens cannot be mapped.
        mode = "r" if shard.tokens else None
        ids.append(np.load(place / f"{shard.name}.ids.npy", mmap_mode=mode))  # type: ignore[arg-type]
        with np.load(place / f"{shard.name}.npz") as arrays:
            lengths.append(arrays["lengths"].astype(narrow))
            starts.append(arrays["documents"].astype(np.int64) + begin)
        begin += shard.blocks
        found = (len(lengths[-1]), len(starts[-1]), int(lengths[-1].sum(dtype=np.int64)))
        if found != (shard.blocks, shard.documents, shard.tokens) or len(ids[-1]) != shard.tokens:
            raise TinybertError(
                f"the corpus {directory} counts shard {shard.name} otherwise than its files: "
                "copy it again, or build the corpus again."
            )
    return CorpusRows(manifest, ids, np.concatenate(lengths), np.concatenate(starts))


def check_tokenizer(
    directory: str | Path, manifest: Manifest, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise ``TinybertError`` where a corpus was built with another tokenizer."""
    if tokenizer_print(tokenizer) != manifest.tokenizer:
        raise TinybertError(
            f"the corpus {directory} was built with another tokenizer than the teacher's"
            + _sizes(manifest.vocabulary, len(tokenizer))
            + ": build it with this teacher."
        )


def _sizes(there: int, here: int) -> str:
    return "" if there == here else f" ({there:,} pieces there, {here:,} here)"


def _check_files(place: Path, manifest: Manifest, verify: bool, reporter: Reporter) -> None:
    again = "copy it again, or build the corpus again."
    for shard in manifest.shards:
        for name, (size, _) in shard.files.items():
            path = place / name
            if not path.is_file():
                raise TinybertError(f"the corpus' file {path} is missing: {again}")
            if path.stat().st_size != size:
                raise TinybertError(
                    f"the corpus' file {path} has {path.stat().st_size:,} bytes instead of "
                    f"{size:,}: {again}"
                )
    if not verify:
        return
    with reporter.track(len(manifest.shards), "checking the corpus", unit="shards") as progress:
        for shard in manifest.shards:
            for name, (_, wanted) in shard.files.items():
                if checksum(place / name) != wanted:
                    raise TinybertError(
                        f"the corpus' file {place / name} was altered (its checksum differs): "
                        f"{again}"
                    )
            progress.advance()


def hold_out_documents(rows: CorpusRows, blocks: int, seed: int) -> tuple[CorpusRows, CorpusRows]:
    """Rows to train on, and about ``blocks`` rows (a tenth at most) of documents kept back whole.

    Where no document is small enough, the last blocks are kept back.

    Raises:
        TinybertError: one row only.
    """
    if len(rows) < 2:
        raise TinybertError("the corpus gives one block of tokens only: give more text.")
    wanted = max(1, min(blocks, len(rows) // 10))
    edges = np.append(rows.starts, len(rows))
    sizes = np.diff(edges)
    held = np.zeros(len(rows), dtype=bool)
    count = 0
    for document in np.random.default_rng(seed).permutation(len(sizes)):
        if count + sizes[document] <= wanted:
            held[edges[document] : edges[document + 1]] = True
            count += int(sizes[document])
        if count == wanted:
            break
    if count == 0:
        held[-wanted:] = True
    return rows.view(np.flatnonzero(~held)), rows.view(np.flatnonzero(held))
