"""Augment rows: guesses once a text, then copies row by row, all of it resumable.

Everything unfinished lies in ``OUTPUT.augment``: the plan, neighbours of words, guesses of each
unit of texts, finished shards. Units and shards follow from the rows alone, and a copy from the
seed and its row's number, so that any number of processes, stopped and gone on with at any moment,
writes the same rows. Processes take units and shards in turn and wait for each other's files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.augmentation.masked_lm import Guesser
from tinybert.augmentation.recipe import Recipe, WordFilter
from tinybert.augmentation.sampler import Copy, RowCopies, Slots, copies_of, spelled_like
from tinybert.augmentation.sentences import UNIT, Distinct
from tinybert.augmentation.shards import Counts, Manifest, ShardWriter
from tinybert.augmentation.units import read_unit, write_unit
from tinybert.augmentation.words import Sentence, Word, split_words
from tinybert.errors import TinybertError
from tinybert.outputs import (
    check_output,
    clear_errors,
    fsync_tree,
    is_out_of_space,
    move_into_place,
    remove_directory,
    write_json_whole,
)
from tinybert.pieces import pieces_of
from tinybert.progress import Reporter
from tinybert.work import open_work

__all__ = ["Augmenter", "build_augmentation", "unfinished_directory"]

PLAN_FILE = "plan.json"
CHOICE_FILE = "choice.json"
NEIGHBOURS_FILE = "neighbours.json"
GUESSES, SHARDS = "guesses", "shards"
POLL_SECONDS = 0.2

FindNeighbours = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
"""From words to the words nearest to each; words that are unknown are absent."""


@dataclass(frozen=True)
class Place:
    """Which of several processes this is."""

    rank: int = 0
    world: int = 1
    meet: Callable[[], None] = lambda: None  # until all processes are here; soon

    @property
    def main(self) -> bool:
        return self.rank == 0

    def mine(self, count: int) -> range:
        return range(self.rank, count, self.world)


class Augmenter:
    """Rows of texts, and what may stand for their words.

    Args:
        rows: per row a tuple of one or two texts.
        recipe: how they are augmented.
        words: which words are replaced, and which may stand for them.
        tokenizer: of the masked language model.
        longest: tokens that the model reads at most.
    """

    def __init__(
        self,
        rows: Sequence[tuple[str, ...]],
        recipe: Recipe,
        words: WordFilter,
        tokenizer: PreTrainedTokenizerBase,
        longest: int = 512,
    ) -> None:
        self.rows, self.recipe, self.words, self.tokenizer = rows, recipe, words, tokenizer
        self.length = min(longest, recipe.max_length * (2 if recipe.reference else 1))
        self.distinct = Distinct(rows)
        self.pieces = pieces_of(tokenizer)
        self.uncased = _same_ids(tokenizer, "A", "a")

    def sentences(self, unit: int) -> list[Sentence]:
        """The texts of one unit, split into words."""
        return self.split(self.distinct.texts(unit))

    def split(self, texts: Sequence[str]) -> list[Sentence]:
        return split_words(
            self.tokenizer, self.pieces, texts, self.length, beside_itself=self.recipe.reference
        )

    def wanted(self, word: Word) -> bool:
        return self.words.replaces(word.text)

    def of_several_pieces(self, unit: int) -> set[str]:
        """Words of one unit's texts that no masked language model can guess."""
        return {
            word.text
            for sentence in self.sentences(unit)
            for word in sentence.words
            if word.place is None and self.wanted(word)
        }

    def slots(
        self,
        sentence: Sentence,
        guesses: Mapping[int, NDArray[np.int32]],
        neighbours: Mapping[str, Sequence[str]],
    ) -> Slots:
        """A text with the candidates of each word."""
        offered: list[Sequence[str]] = []
        for number, word in enumerate(sentence.words):
            if number in guesses:  # guessed in its place
                offered.append([self.pieces.surface[i] for i in guesses[number].tolist()])
            elif word.place is None and self.wanted(word):
                near = (w for w in neighbours.get(word.text, ()) if self.words.offers(w))
                first = word.start == 0
                taken = [w for w, _ in zip(near, range(self.recipe.candidates))]  # noqa: B905
                # Vectors may know the word in small letters alone.
                offered.append([spelled_like(word.text, w, first=first) for w in taken])
            else:
                offered.append(())
        return Slots(sentence.text, sentence.words, offered)

    def copies(self, row: int, texts: Sequence[Slots]) -> RowCopies:
        return copies_of(row, texts, self.recipe, uncased=self.uncased)


def _same_ids(tokenizer: PreTrainedTokenizerBase, one: str, other: str) -> bool:
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (one, other)]
    return bool(ids[0] == ids[1])


def unfinished_directory(output: str | Path) -> Path:
    """Where an augmentation keeps what is unfinished."""
    return Path(output).with_name(Path(output).name + ".augment")


def build_augmentation(
    augmenter: Augmenter,
    guesser: Callable[[str], Guesser],
    neighbours: FindNeighbours,
    writer: ShardWriter,
    output: str | Path,
    *,
    identity: Mapping[str, Any],
    precision: Callable[[], str],
    rows_fingerprint: str,
    shard_rows: int = 2000,
    place: Place = Place(),
    reporter: Reporter | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Augment all rows into the directory ``output``.

    Args:
        augmenter: rows and recipe.
        guesser: makes the masked language model ready in a precision; called where there is
            something to guess.
        neighbours: nearest words; called once, by the main process.
        writer: of the shards.
        output: directory that appears when it is whole.
        identity: what was asked for and with which models; a resumed augmentation must bring the
            same. It becomes the manifest's ``models``.
        precision: measured once, by the main process, and kept: all guess in the same.
        rows_fingerprint: of the texts.
        shard_rows: originals a shard.
        place: which of several processes this is.
        reporter: tells the progress.
        resume, overwrite: what to do with an unfinished augmentation, and an existing output.

    Raises:
        TinybertError: the output or an unfinished augmentation is in the way; the disk is full.
    """
    path = Path(output).expanduser().resolve()
    if place.main:
        check_output(path, overwrite)
    work = unfinished_directory(path)
    plan = {
        "rows": augmenter.distinct.fingerprint,
        "recipe": augmenter.recipe.plain(),
        "models": dict(identity),
        "shard_rows": shard_rows,
    }
    reporter = reporter or Reporter(quiet=True)
    if place.main:
        with clear_errors(work):
            hold = open_work(
                work, PLAN_FILE, plan, "augmentation", resume=resume, overwrite=overwrite
            )
            for name in (GUESSES, SHARDS):
                (work / name).mkdir(exist_ok=True)
            if not (work / CHOICE_FILE).is_file():
                write_json_whole(work / CHOICE_FILE, {"precision": precision()})
    place.meet()  # what lies there is settled before anyone reads or writes in it
    build = _Build(work, augmenter, writer, shard_rows, place, reporter)
    try:
        with clear_errors(work):
            chosen = json.loads((work / CHOICE_FILE).read_text("utf-8"))["precision"]
            build.find_neighbours(neighbours)  # first: a bad vector file must not cost hours
            build.guess(lambda: guesser(chosen))
            build.sample()
    except TinybertError as error:
        if isinstance(error.__cause__, Exception) and is_out_of_space(error.__cause__):
            raise TinybertError(
                f"no space left on the disk for {work}: what is finished stays; free some and go "
                "on with --resume."
            ) from error
        raise
    manifest = Manifest(
        rows=rows_fingerprint,
        columns=writer.columns,
        recipe=augmenter.recipe.plain(),
        models={**identity, "guess_precision": chosen},
        counts=build.counts(),
        shards=[_part(i) for i in range(build.shard_count)],
    )
    place.meet()  # nobody reads there any more
    if place.main:
        hold.release()
        _publish(work, path, manifest, overwrite)
    place.meet()
    return manifest


class _Build:
    def __init__(
        self,
        work: Path,
        augmenter: Augmenter,
        writer: ShardWriter,
        shard_rows: int,
        place: Place,
        reporter: Reporter,
    ) -> None:
        self.work, self.augmenter, self.writer = work, augmenter, writer
        self.shard_rows, self.place, self.reporter = shard_rows, place, reporter
        self.shard_count = -(-len(augmenter.rows) // shard_rows)
        self._counts: list[Counts] = []
        self._unit = lru_cache(maxsize=8)(self._read_unit)

    # --- guesses ------------------------------------------------------------------------------

    def guess(self, make: Callable[[], Guesser]) -> None:
        """Guess this process's units; then all are there."""
        files = [self.work / GUESSES / f"{u:05d}.npz" for u in range(self.augmenter.distinct.units)]
        open_units = [u for u in self.place.mine(len(files)) if not files[u].is_file()]
        guesser = make() if open_units else None
        choice = self.augmenter.words.choice(self.augmenter.pieces)
        done = len(self.place.mine(len(files))) - len(open_units)
        total = len(self.augmenter.distinct)
        with self.reporter.track(total, "guessing words", unit="texts") as progress:
            progress.start_from(min(total, done * (total // max(1, len(files)))))
            for unit in open_units:
                assert guesser is not None
                sentences = self.augmenter.sentences(unit)
                told = _Told(progress.advance, sentences, self.augmenter.wanted)
                found = guesser.guesses(sentences, self.augmenter.wanted, choice, told)
                told.rest()
                write_unit(files[unit], found)
        self.wait_for(files)

    # --- neighbours ---------------------------------------------------------------------------

    def find_neighbours(self, find: FindNeighbours) -> None:
        """Nearest words of all words of several pieces: by the main process, once."""
        file = self.work / NEIGHBOURS_FILE
        if self.place.main and not file.is_file():
            words: set[str] = set()
            for unit in range(self.augmenter.distinct.units):
                words |= self.augmenter.of_several_pieces(unit)
            found = find(sorted(words))
            write_json_whole(file, {word: list(near) for word, near in sorted(found.items())})
        self.wait_for([file])
        self.neighbours: dict[str, list[str]] = json.loads(file.read_text("utf-8"))

    # --- copies -------------------------------------------------------------------------------

    def sample(self) -> None:
        """Write this process's shards; then all are there."""
        marks = [self._mark(i) for i in range(self.shard_count)]
        mine = self.place.mine(self.shard_count)
        open_shards = [i for i in mine if not marks[i].is_file()]
        rows = len(self.augmenter.rows)
        with self.reporter.track(rows, "writing copies", unit="rows") as progress:
            progress.start_from(min(rows, (len(mine) - len(open_shards)) * self.shard_rows))
            for shard in open_shards:
                counts = self._shard(shard)
                write_json_whole(marks[shard], asdict(counts))
                progress.advance(counts.rows)
        self.wait_for(marks)
        self._counts = [Counts(**json.loads(mark.read_text("utf-8"))) for mark in marks]

    def _shard(self, shard: int) -> Counts:
        begin = shard * self.shard_rows
        numbers = range(begin, min(begin + self.shard_rows, len(self.augmenter.rows)))
        counts = Counts()
        written: list[tuple[int, Sequence[Copy]]] = []
        for number, slots in zip(numbers, self._slots(numbers), strict=True):
            made = self.augmenter.copies(number, slots)
            original = Copy(tuple(each.text for each in slots))
            written.append((number, [original, *made.copies]))
            counts += Counts(
                rows=1,
                copies=len(made.copies),
                duplicates=made.duplicates,
                words=made.words,
                changed=made.changed,
                unchanged_rows=int(not made.copies),
            )
        self.writer.write(self.work / SHARDS / _part(shard), written)
        return counts

    def _slots(self, numbers: range) -> list[list[Slots]]:
        """The rows' texts with candidates; each different text is split once."""
        wanted = self.augmenter.distinct.numbers[numbers.start : numbers.stop]
        texts: dict[int, str] = {}
        for number, row in zip(numbers, wanted.tolist(), strict=True):
            texts |= dict(zip(row, self.augmenter.rows[number], strict=True))
        slots: dict[int, Slots] = {}
        order = sorted(texts)
        for number, sentence in zip(
            order, self.augmenter.split([texts[n] for n in order]), strict=True
        ):
            guesses = self.guesses_of(number)
            slots[number] = self.augmenter.slots(sentence, guesses, self.neighbours)
        return [[slots[n] for n in row] for row in wanted.tolist()]

    def guesses_of(self, number: int) -> dict[int, NDArray[np.int32]]:
        """The guesses of one different text."""
        return self._unit(number // UNIT)[number % UNIT]

    def _read_unit(self, unit: int) -> list[dict[int, NDArray[np.int32]]]:
        return read_unit(self.work / GUESSES / f"{unit:05d}.npz")

    def counts(self) -> Counts:
        return sum(self._counts, Counts())

    def _mark(self, shard: int) -> Path:
        return self.work / SHARDS / f"{_part(shard)}.json"

    def wait_for(self, files: Sequence[Path]) -> None:
        """Until all of these are there: others may be at work on them, for hours."""
        for file in files:
            while not file.is_file():
                if self.place.world == 1:
                    raise TinybertError(f"{file} has gone while it was needed: start again.")
                time.sleep(POLL_SECONDS)


def _part(shard: int) -> str:
    return f"part-{shard:05d}.parquet"


class _Told:
    """Turns words done into texts done, for progress."""

    def __init__(
        self,
        advance: Callable[[int], None],
        sentences: Sequence[Sentence],
        wanted: Callable[[Word], bool],
    ) -> None:
        self.advance, self.texts = advance, len(sentences)
        self.words = sum(w.place is not None and wanted(w) for s in sentences for w in s.words)
        self.done = self.told = 0

    def __call__(self, words: int) -> None:
        self.done += words
        if (now := self.texts * self.done // max(1, self.words)) > self.told:
            self.advance(now - self.told)
            self.told = now

    def rest(self) -> None:
        if self.told < self.texts:
            self.advance(self.texts - self.told)


def _publish(work: Path, path: Path, manifest: Manifest, overwrite: bool) -> None:
    shards = work / SHARDS
    with clear_errors(path):
        for mark in shards.glob("*.json"):
            mark.unlink()
        manifest.write(shards)
        fsync_tree(shards)
        move_into_place(shards, path, overwrite)
        remove_directory(work)
