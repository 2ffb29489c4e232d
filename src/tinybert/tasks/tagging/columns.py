"""CoNLL's columns: a word a line with its tag, a blank line after each sentence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinybert.errors import TinybertError
from tinybert.tasks.reading.formats import READERS
from tinybert.tasks.reading.shards import AT_ONCE, Batch, Shard, unheard
from tinybert.tasks.reading.streams import Advance, open_text

__all__ = ["TAGGED_READERS", "open_columns"]

WORDS, TAGS = "tokens", "tags"
_HEAD = "-DOCSTART-"


def open_columns(path: Path) -> Shard:
    """Look into a file of columns: the word first, its tag in the column that says most.

    Of more than two columns the tag is the last one whose values are not all alike (files have a
    column of zeros, or of document names, behind it).
    """
    first = list(itertools.islice(_sentences(path, unheard), 200))
    if not first:
        raise TinybertError(f"{path} holds no sentences: give lines of a word and its tag")
    width = len(first[0][1][0])
    if width == 1:
        names = [WORDS]
    else:
        names = [WORDS, *(f"column {number}" for number in range(2, width + 1))]
        names[_tag_column(first, width)] = TAGS

    def batches(wanted: Sequence[str], advance: Advance) -> Iterator[Batch]:
        places = [names.index(name) for name in wanted]
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
    return Shard(str(path), names, frozenset(), size, batches, "line", key)


def _tag_column(sentences: Sequence[tuple[int, list[list[str]]]], width: int) -> int:
    rows = [row for _, found in sentences for row in found if len(row) == width]
    for place in range(width - 1, 1, -1):
        if len({row[place] for row in rows}) > 1:
            return place
    return 1


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
