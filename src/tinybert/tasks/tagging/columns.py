"""CoNLL's columns: a word a line with its tag, a blank line after each sentence."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybert.errors import TinybertError
from tinybert.task_heads import OUTSIDE
from tinybert.tasks.reading.formats import READERS
from tinybert.tasks.reading.shards import AT_ONCE, Batch, Shard, unheard
from tinybert.tasks.reading.sources import Part
from tinybert.tasks.reading.streams import Advance, open_text

__all__ = ["TAGGED_READERS", "TAGS", "open_columns", "tag_column", "width_of"]

WORDS, TAGS = "tokens", "tags"
_HEAD = "-DOCSTART-"


@dataclass(frozen=True)
class _Columns(Shard):
    """A file of columns.

    Attributes:
        values: of each of its columns, what its first sentences hold.
    """

    values: tuple[frozenset[str], ...] = ()


def open_columns(path: Path) -> Shard:
    """Look into a file of columns: the word first, its tag in one of the others.

    They are called ``column 2`` and so on; ``tags`` is the one of :func:`tag_column`.
    """
    first = list(itertools.islice(_sentences(path, unheard), 200))
    if not first:
        raise TinybertError(f"{path} holds no sentences: give lines of a word and its tag")
    width = len(first[0][1][0])
    rows = [row for _, found in first for row in found if len(row) == width]
    values = tuple(frozenset(row[place] for row in rows) for place in range(width))
    place_of = {WORDS: 0} | {_called(place): place for place in range(1, width)}
    if width > 1:
        place_of[TAGS] = _tag_place(values, ())

    def batches(wanted: Sequence[str], advance: Advance) -> Iterator[Batch]:
        places = [place_of[name] for name in wanted]
        sentences = _sentences(path, advance)
        while some := list(itertools.islice(sentences, AT_ONCE)):
            for line, rows in some:
                for number, row in enumerate(rows):
                    if len(row) != width:
                        raise TinybertError(
                            f"{path}, line {line + number}: {len(row)} column"
                            f"{'s' * (len(row) != 1)} ({' '.join(row)[:40]}), and the first line "
                            f"has {width}: give every word as many, with its tag"
                        )
            columns = [[[row[place] for row in rows] for _, rows in some] for place in places]
            yield Batch(columns, [line for line, _ in some])

    size, key = path.stat().st_size, str(path.resolve())
    names = list(place_of)
    return _Columns(str(path), names, frozenset(), size, batches, "line", key, values=values)


def width_of(part: Part) -> int | None:
    """How many columns the part's files have; None of other formats."""
    first = part.shards[0]
    return len(first.values) if isinstance(first, _Columns) else None


def tag_column(part: Part, known: Collection[str] = ()) -> str:
    """The column that ``tags`` stands for, over all files of a part; ``tags`` of other formats.

    It is the last one whose values are all ``known``, where there is one; else the last one whose
    values are not all alike (files have a column of zeros, or of document names, behind the tags).
    """
    found = [shard.values for shard in part.shards if isinstance(shard, _Columns)]
    if not found or min(map(len, found)) < 2:
        return TAGS
    values = [frozenset().union(*column) for column in zip(*found, strict=False)]
    return _called(_tag_place(values, known))


def _called(place: int) -> str:
    return f"column {place + 1}"


def _tag_place(values: Sequence[frozenset[str]], known: Collection[str]) -> int:
    places = range(len(values) - 1, 0, -1)
    named = [place for place in places if values[place] <= frozenset(known)]
    # A column of zeros may pass for a tag; one of O alone is a file without entities.
    told = [place for place in named if len(values[place]) > 1 or values[place] == {OUTSIDE}]
    varied = [place for place in places if place > 1 and len(values[place]) > 1]
    return next(iter([*told, *named, *varied]), 1)


def _sentences(path: Path, advance: Advance) -> Iterator[tuple[int, list[list[str]]]]:
    """The line that a sentence begins in, and its words' columns."""
    rows: list[list[str]] = []
    start = 0
    with open_text(path, advance) as stream:
        for number, line in enumerate(stream, start=1):
            text = line.strip(" \t\r\n")
            # Columns are parted by tabs where there are any: a word may hold a space then.
            cells = text.split("\t") if "\t" in text else text.split(" ")
            row = [cell.strip() for cell in cells if cell.strip()]
            if not row or row[0] == _HEAD:
                if rows:
                    yield start, rows
                rows = []
                continue
            start = start if rows else number
            rows.append(row)
    if rows:
        yield start, rows


def _not_a_table(path: Path) -> Shard:
    raise TinybertError(
        f"{path} is a table of one value a cell, and words with a tag each are wanted: give CoNLL "
        "columns (.conll, .txt, .bio), or JSON lines or Parquet with lists of tokens and tags"
    )


TAGGED_READERS = READERS | dict.fromkeys(
    (".conll", ".txt", ".bio", ".iob", ".iob2", ".conll2003"), open_columns
)
TAGGED_READERS |= {".tsv": open_columns, ".csv": _not_a_table}
"""File ending → what looks into a file of tagged words."""
