"""The columns of a part read into memory: texts in a mapped file, labels as codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.labels import LabelReader, Labels
from tinybert.tasks.reading.columns import Columns, check_column
from tinybert.tasks.reading.shards import Batch, Shard, unheard
from tinybert.tasks.reading.sources import Part
from tinybert.tasks.reading.streams import Advance
from tinybert.tasks.texts import Texts, TextWriter

__all__ = ["Further", "Places", "Table", "read_part"]

_MB = 1_000_000
_WORTH_TELLING = 5 * _MB


class Places:
    """Where each row of a part stands, in words: ``places[7]`` is ``"line 9"``."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._runs: list[tuple[int, Sequence[int] | NDArray[np.int64]]] = []
        self._ends: list[int] = []

    def add(self, shard: int, lines: Sequence[int]) -> None:
        """Append rows that stand in these lines of a shard."""
        kept = lines if isinstance(lines, range) else np.asarray(lines, dtype=np.int64)
        self._runs.append((shard, kept))
        self._ends.append(len(lines) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, row: int) -> str:
        run = int(np.searchsorted(self._ends, row, side="right"))
        shard, lines = self._runs[run]
        words = f"{self._shards[shard].unit} {lines[row - self._ends[run] + len(lines)]}"
        return words if len(self._shards) == 1 else f"{words} of {self._shards[shard].name}"


@dataclass(frozen=True)
class Table:
    """What was read.

    Attributes:
        name: of the part, for errors.
        texts: one or two texts a row, spaces around them gone, none empty.
        labels: ``None`` without a label column; missing ones are ``""``.
        places: where each row stands.
    """

    name: str
    texts: Texts
    labels: Labels | None
    places: Places

    @property
    def is_unlabelled(self) -> bool:
        """Whether it has no label column, or one that says nothing: all empty or all -1."""
        return self.labels is None or set(self.labels.distinct) <= {"", "-1"}


class Further(Protocol):
    """Takes in columns beside the texts, whatever they hold, piece by piece."""

    def add(
        self,
        columns: Sequence[Sequence[Any]],
        place: Callable[[int], str],
        declared: Sequence[str],
    ) -> None:
        """Some rows of all columns; ``place`` says where row i stands, ``declared`` are the class
        names that the file gives for the first column."""
        ...


def read_part(
    part: Part,
    columns: Columns,
    what: str,
    reporter: Reporter | None = None,
    *,
    more: Sequence[str] = (),
    further: Further | None = None,
) -> Table:
    """Read the task's columns of a part.

    Args:
        part: files with these columns.
        columns: which ones.
        what: the part's role, for progress: ``"train"``.
        reporter: tells progress by bytes.
        more: further columns, which may hold lists.
        further: takes them in.

    Raises:
        TinybertError: no such column; no rows; rows without a text; labels that are no single
            values; whatever is wrong with a file.
    """
    for name in columns.text:
        check_column(part, name, "text")
    if columns.label is not None:
        check_column(part, columns.label, "label")
    for name in more:
        check_column(part, name, "label")
    reader = _Reader(part, columns)
    with reading_progress(part, what, reporter) as advance:
        for number, shard in enumerate(part.shards):
            batches = shard.batches if further is None else shard.lists or shard.batches
            for batch in batches((*columns.all, *more), advance):
                start = len(reader.places)
                reader.add(number, batch)
                if further is not None:
                    found = batch.columns[len(columns.all) :]
                    declared = shard.label_names.get(more[0], ())
                    further.add(found, partial(reader.place, start), declared)
    return reader.finish()


class _Reader:
    """Takes in batches of a part."""

    def __init__(self, part: Part, columns: Columns) -> None:
        self._part, self._columns = part, columns
        self.places = Places(part.shards)
        self._writers = [TextWriter() for _ in columns.text]
        self._labels: LabelReader | None = None
        if columns.label is not None:
            self._labels = LabelReader(f"{part.name}, column '{columns.label}'")
        self._empty = 0
        self._first_empty = ""

    def add(self, shard: int, batch: Batch) -> None:
        start = len(self.places)
        self.places.add(shard, batch.lines)
        place = partial(self.place, start)
        texts = [
            self._texts(name, values, place)
            for name, values in zip(self._columns.text, batch.columns, strict=False)
        ]
        empty = [row for row, found in enumerate(zip(*texts, strict=True)) if not all(found)]
        if empty:
            self._first_empty = self._first_empty or place(empty[0])
            self._empty += len(empty)
        for name, writer, values in zip(self._columns.text, self._writers, texts, strict=True):
            try:
                writer.add(values)
            except UnicodeEncodeError as error:
                row = values.index(error.object)
                raise TinybertError(
                    f"{self._part.name}, {place(row)}: '{name}' holds half of a surrogate pair, "
                    "which is no character: mend it"
                ) from None
        if self._labels is not None and self._columns.label is not None:
            names = self._part.shards[shard].label_names.get(self._columns.label)
            with self._columns.about_label():
                self._labels.add(batch.columns[len(self._columns.text)], place, names)

    def place(self, start: int, row: int) -> str:
        """Where the row stands that is ``row`` rows after ``start``."""
        return self.places[start + row]

    def _texts(self, name: str, values: list[Any], place: Callable[[int], str]) -> list[str]:
        return [
            value.strip() if type(value) is str else self._text(name, value, place, row)
            for row, value in enumerate(values)
        ]

    def _text(self, name: str, value: Any, place: Callable[[int], str], row: int) -> str:
        if isinstance(value, (list, dict)):
            raise TinybertError(
                f"{self._part.name}, {place(row)}: '{name}' holds a {type(value).__name__}, not a "
                "text: write it as one string, or name another column with --text"
            )
        if value is None or value != value:  # NaN is what pandas makes of an empty cell
            return ""
        return str(value).strip()

    def finish(self) -> Table:
        rows, name = len(self.places), self._part.name
        if not rows:
            raise TinybertError(f"{name} has a header and no rows: add rows")
        if self._empty:
            with self._columns.about_text():
                raise TinybertError(
                    f"{name}: {self._empty} of {rows} rows have no text (first in "
                    f"{self._first_empty}): fill or remove them"
                )
        texts = Texts([writer.finish() for writer in self._writers])
        labels = None if self._labels is None else self._labels.finish()
        return Table(name, texts, labels, self.places)


@contextmanager
def reading_progress(part: Part, what: str, reporter: Reporter | None) -> Iterator[Advance]:
    """Progress in megabytes; small files are read before anybody could look."""
    total = sum(shard.size for shard in part.shards)
    if reporter is None or total < _WORTH_TELLING:
        yield unheard
        return
    done = 0
    with reporter.track(total // _MB, f"reading {what}", unit="MB") as track:

        def advance(size: int) -> None:
            nonlocal done
            done += size
            if done // _MB > track.done:
                track.advance(done // _MB - track.done)

        yield advance
