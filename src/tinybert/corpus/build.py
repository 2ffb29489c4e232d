"""Build a corpus: text once to tokens, in shards that follow from the text alone.

The text is cut into units of a fixed size, in order, at the ends of documents or pieces. Unit i
becomes shard i, whichever thread tokenizes it: the files are the same for any number of threads,
and for a build that was stopped and gone on with. What is unfinished lies in ``OUTPUT.build``;
a finished shard has a mark there, and is not made again unless its text has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.corpus.blocks import Blocks
from tinybert.corpus.files import (
    SHARDS,
    Manifest,
    ShardFacts,
    checksum,
    is_corpus,
    read_manifest,
    write_shard,
)
from tinybert.corpus.sources import TextSource, read_all, total_size
from tinybert.corpus.text import Piece
from tinybert.errors import TinybertError
from tinybert.measure.latency import cores
from tinybert.outputs import (
    check_output,
    check_space,
    clear_errors,
    fsync_tree,
    is_out_of_space,
    move_into_place,
    remove_directory,
    write_json_whole,
)
from tinybert.progress import Reporter, Tracker
from tinybert.tasks.reading.streams import Advance
from tinybert.teachers import tokenizer_print
from tinybert.work import Hold, bytes_in, open_work

__all__ = ["BYTES_PER_BYTE", "build_corpus", "build_directory", "units"]

UNIT = 4_000_000
"""Characters of a shard, about: a million tokens of English."""

BYTES_PER_BYTE = 0.6
"""Of the corpus for one of plain text: English has about four letters a token of two bytes."""

_PACKED_RATIO = 4.0

BUILD_FILE = "build.json"


@dataclass(frozen=True)
class Unit:
    """The text of one shard, and its hash."""

    number: int
    pieces: list[Piece]
    text: str

    @property
    def name(self) -> str:
        return f"{self.number:05d}"


def units(pieces: Iterable[Piece], size: int = UNIT) -> Iterator[Unit]:
    """Pieces in groups of ``size`` characters or little more, in order."""
    number, held, count = 0, list[Piece](), 0
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        held.append(piece)
        count += len(piece.text)
        digest.update(b"\1" if piece.first else b"\2")
        digest.update(piece.text.encode("utf-8"))
        if count >= size:
            yield Unit(number, held, digest.hexdigest())
            number, held, count = number + 1, [], 0
            digest = hashlib.blake2b(digest_size=16)
    if held:
        yield Unit(number, held, digest.hexdigest())


def build_directory(output: str | Path) -> Path:
    """Where a build keeps what is unfinished."""
    return Path(output).with_name(Path(output).name + ".build")


def build_corpus(
    sources: Sequence[TextSource],
    tokenizer: PreTrainedTokenizerBase,
    output: str | Path,
    *,
    max_length: int = 128,
    reporter: Reporter | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    unit: int = UNIT,
) -> Manifest:
    """Tokenize all sources into the corpus ``output``.

    Args:
        sources: from :func:`tinybert.corpus.find_sources`.
        tokenizer: the teacher's.
        output: directory that appears when it is whole.
        max_length: tokens a block, specials included.
        reporter: tells the progress.
        threads: at work on shards at a time; default: one a core.
        resume, overwrite: what to do with an unfinished build, and with an existing output.
        unit: characters a shard.

    Raises:
        TinybertError: a source is broken, or changed since the build was begun; no tokens; the
            disk is full. Finished shards stay, for ``resume``.
    """
    path = check_output(output, overwrite)
    maker = Blocks(tokenizer, max_length)
    reporter = reporter or Reporter(quiet=True)
    place = build_directory(path)
    begun = {
        "sources": [source.name for source in sources],
        "tokenizer": tokenizer_print(tokenizer),
        "max_length": max_length,
        "unit": unit,
    }
    # Sources may come and go at the end: the shards know the text that they were made of.
    with clear_errors(place):
        hold = open_work(
            *(place, BUILD_FILE, begun, "build"),
            resume=resume,
            overwrite=overwrite,
            any_of=["sources"],
        )
        (place / SHARDS).mkdir(exist_ok=True)
    if is_corpus(place):  # stopped just before its last step
        return _publish(place, path, overwrite, hold)
    _check_disk(place, sources)
    build = _Build(place, maker, threads or cores())
    try:
        with clear_errors(place), _tracked(reporter, sources) as (progress, advance):
            build.run(units(read_all(sources, advance), unit), progress)
        if not build.blocks:
            remove_directory(place)
            raise TinybertError("the corpus gives no tokens: its documents are empty or too short.")
    except BaseException:
        if place.is_dir() and not any((place / SHARDS).glob("*.json")):  # nothing to go on with
            remove_directory(place)
        raise
    manifest = Manifest(
        max_length=max_length,
        tokenizer=str(begun["tokenizer"]),
        vocabulary=len(tokenizer),
        pad_id=tokenizer.pad_token_id or 0,
        takes_types="token_type_ids" in tokenizer.model_input_names,
        sources=list(begun["sources"]),  # type: ignore[call-overload]
        documents=sum(s.documents for s in build.done),
        blocks=build.blocks,
        tokens=sum(s.tokens for s in build.done),
        lengths={int(n): int(c) for n, c in enumerate(build.lengths) if c},
        shards=build.done,
    )
    with clear_errors(place):
        tokenizer.save_pretrained(place / "tokenizer")
        manifest.write(place)
    return _publish(place, path, overwrite, hold)


class _Build:
    """Units in, shards out; results in the units' order."""

    def __init__(self, place: Path, maker: Blocks, threads: int) -> None:
        self.shards, self.maker, self.threads = place / SHARDS, maker, threads
        self.done: list[ShardFacts] = []
        self.lengths = np.zeros(0, dtype=np.int64)

    @property
    def blocks(self) -> int:
        return sum(shard.blocks for shard in self.done)

    def run(self, all_units: Iterator[Unit], progress: Tracker) -> None:
        waiting: deque[Future[ShardFacts]] = deque()

        def take() -> None:
            facts = waiting.popleft().result()
            self.done.append(facts)
            self._count(facts)
            tokens = sum(s.tokens for s in self.done)
            progress.advance(0, note=f"{tokens:,} tokens")

        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for unit in all_units:
                    waiting.append(pool.submit(self._shard, unit))
                    # No more text in memory than the threads will need next.
                    while len(waiting) > self.threads:
                        take()
                while waiting:
                    take()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._check_no_more()

    def _shard(self, unit: Unit) -> ShardFacts:
        mark = self.shards / f"{unit.name}.json"
        if (kept := _read_mark(mark)) is not None:
            if kept.text != unit.text:
                raise TinybertError(
                    f"the text of shard {unit.name} is another than when this build was begun: "
                    "start again with --overwrite."
                )
            return kept
        blocks: list[NDArray[Any]] = []
        starts: list[int] = []
        first = False
        texts = [piece.text for piece in unit.pieces]
        for piece, ids in zip(unit.pieces, self.maker.encode(texts), strict=True):
            first |= piece.first
            if made := self.maker.cut(ids):
                if first:
                    starts.append(len(blocks))
                first = False
                blocks += made
        try:
            facts = write_shard(self.shards, unit.name, blocks, starts, self.maker.dtype, unit.text)
            write_json_whole(mark, asdict(facts))
        except TinybertError as error:
            if isinstance(error.__cause__, Exception) and is_out_of_space(error.__cause__):
                raise TinybertError(
                    f"no space left on the disk for {self.shards.parent}: finished shards stay; "
                    "free some and go on with --resume."
                ) from error
            raise
        return facts

    def _count(self, facts: ShardFacts) -> None:
        with np.load(self.shards / f"{facts.name}.npz") as arrays:
            counts = np.bincount(arrays["lengths"])
        width = max(len(counts), len(self.lengths))
        self.lengths = np.pad(self.lengths, (0, width - len(self.lengths)))
        self.lengths[: len(counts)] += counts

    def _check_no_more(self) -> None:
        """A text that became shorter since leaves shards that nothing stands for."""
        if len(list(self.shards.glob("*.json"))) > len(self.done):
            raise TinybertError(
                "the text is shorter than when this build was begun: start again with --overwrite."
            )


def _check_disk(place: Path, sources: Sequence[TextSource]) -> None:
    if total_size(sources) is not None:
        plain = sum((s.size or 0) * (_PACKED_RATIO if _packed(s) else 1.0) for s in sources)
        check_space(place, BYTES_PER_BYTE * plain - bytes_in(place))


def _packed(source: TextSource) -> bool:
    return source.name.endswith((".gz", ".xz", ".zst", ".bz2", ".parquet"))


@contextmanager
def _tracked(
    reporter: Reporter, sources: Sequence[TextSource]
) -> Iterator[tuple[Tracker, Advance]]:
    """A track of megabytes read, where sizes are known; and what to tell the bytes to."""
    size = total_size(sources)
    total = None if size is None else max(1, round(size / 1e6))
    done = told = 0
    with reporter.track(total, "tokenizing", unit="MB") as tracker:

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            if (whole := round(done / 1e6)) > told:
                tracker.advance(whole - told)
                told = whole

        yield tracker, advance
        if total is not None and told < total:
            tracker.advance(total - told)


def _read_mark(mark: Path) -> ShardFacts | None:
    """The facts of a finished shard whose files are all there; None otherwise."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(mark.read_text(encoding="utf-8"))
        found["files"] = {name: (size, check) for name, (size, check) in found["files"].items()}
        facts = ShardFacts(**found)
        if all(checksum(mark.parent / n) == check for n, (_, check) in facts.files.items()):
            return facts
    return None


def _publish(place: Path, path: Path, overwrite: bool, hold: Hold) -> Manifest:
    manifest = read_manifest(place)
    with clear_errors(path):
        for rest in (place / SHARDS).glob(".*.partial-*"):  # of processes that were killed
            rest.unlink()
        hold.release()
        for mark in (place / SHARDS).glob("*.json"):
            mark.unlink()
        fsync_tree(place)
        move_into_place(place, path, overwrite)
        (path / BUILD_FILE).unlink(missing_ok=True)
    return manifest
