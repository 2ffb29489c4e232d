"""CSV and TSV files, by Python's own ``csv``.

Arrow's and pandas' readers guess types, which turns the text "NA" into nothing and "007" into 7,
and their errors name rows, not lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from tinybert.errors import TinybertError
from tinybert.tasks.reading.shards import (
    AT_ONCE,
    SAMPLE,
    Batch,
    Shard,
    check_columns,
    unheard,
    wordy,
)
from tinybert.tasks.reading.streams import Advance, open_text

__all__ = ["open_csv", "open_tsv"]

_LONGEST_FIELD = 2**31 - 1
_NAMES = {",": "commas", "\t": "tabs"}


def open_csv(path: Path) -> Shard:
    return _separated(path, ",", quoted=True)


def open_tsv(path: Path) -> Shard:
    return _separated(path, "\t", quoted=_quoted(path))


def _separated(path: Path, separator: str, quoted: bool) -> Shard:
    def batches(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        return _csv_batches(path, separator, quoted, names, advance)

    with open_text(path) as stream:
        columns = _header(path, _csv_reader(stream, separator, quoted), separator)
    first = next(_csv_batches(path, separator, quoted, columns, unheard, SAMPLE), None)
    words = wordy(columns, first.columns) if first else frozenset()
    return Shard(
        str(path), columns, words, path.stat().st_size, batches, "line", str(path.resolve())
    )


def _csv_reader(stream: TextIO, separator: str, quoted: bool) -> Any:
    csv.field_size_limit(_LONGEST_FIELD)
    if quoted:
        return csv.reader(stream, delimiter=separator, strict=True)
    return csv.reader(stream, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)


def _header(path: Path, reader: Any, separator: str) -> list[str]:
    try:
        for cells in reader:
            columns = [cell.strip() for cell in cells]
            if columns and columns != [""]:
                check_columns(str(path), columns)
                if len(columns) == 1 and (other := re.search(r"[;|,\t]", columns[0])):
                    raise TinybertError(
                        f"{path}: the header is one column, {columns[0]!r}: separate columns with "
                        f"{_NAMES[separator]}, not with {other[0]!r}"
                    )
                return columns
    except csv.Error as error:
        raise _broken(path, 1, error) from None
    raise TinybertError(f"{path} is empty: give a file with rows")


def _broken(path: Path, line: int, error: csv.Error) -> TinybertError:
    return TinybertError(
        f"{path}: the field that begins in line {line} has a broken quotation ({error}); "
        'double each " inside a quoted field'
    )


def _csv_batches(
    path: Path,
    separator: str,
    quoted: bool,
    names: Sequence[str],
    advance: Advance,
    at_once: int = AT_ONCE,
) -> Iterator[Batch]:
    with open_text(path, advance) as stream:
        reader = _csv_reader(stream, separator, quoted)
        header = _header(path, reader, separator)
        width, places = len(header), [header.index(name) for name in names]
        rows: list[list[str]] = []
        lines: list[int] = []
        line = reader.line_num + 1
        try:
            for cells in reader:
                if len(cells) == width:
                    rows.append(cells)
                    lines.append(line)
                elif cells:
                    found = f"{len(cells)} field{'s' if len(cells) > 1 else ''}"
                    remedy = f"put fields with {_NAMES[separator]} in double quotes"
                    if len(cells) < width:
                        remedy = "complete or remove the line"
                    raise TinybertError(
                        f"{path}, line {line}: {found} where the header has {width}; {remedy}"
                    )
                line = reader.line_num + 1
                if len(rows) == at_once:
                    yield Batch([[row[place] for row in rows] for place in places], lines)
                    rows, lines = [], []
        except csv.Error as error:
            raise _broken(path, line, error) from None
        if rows:
            yield Batch([[row[place] for row in rows] for place in places], lines)


def _quoted(path: Path) -> bool:
    """Whether a TSV file quotes as CSV does.

    Much of it does not: a quotation mark is a character like others. So quotes are quotes only if
    a field begins with one and the whole file reads well that way: every quotation is closed at
    a field's end, every row is as wide as the header.
    """
    with open_text(path) as stream:
        if not any(line.startswith('"') or '\t"' in line for line in stream):
            return False
    with open_text(path) as stream:
        reader = _csv_reader(stream, "\t", quoted=True)
        try:
            width = 0
            for cells in reader:
                width = width or len(cells)
                if cells and len(cells) != width:
                    return False
        except csv.Error:
            return False
    return True
