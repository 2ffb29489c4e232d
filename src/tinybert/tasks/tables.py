"""Tables of the user's: CSV and JSON lines, read with the line number of whatever is wrong.

Python's own ``csv`` and ``json`` read them. Arrow's and pandas' readers guess types, which turns
the text "NA" into nothing and "007" into 7, and their errors name rows, not lines.
A further format is one more function in :data:`READERS`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError

__all__ = ["READERS", "Table", "read_table"]

_LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True)
class Table:
    """Rows of named values, with the line (counted from 1) on which each begins."""

    path: Path
    columns: list[str]
    rows: list[dict[str, Any]]
    lines: list[int]


def read_table(path: str | Path) -> Table:
    """Read a file by its ending: ``.csv``, ``.jsonl`` or ``.json``.

    Raises:
        TinybertError: missing, a directory, unknown ending, empty, header only, not UTF-8, a row
            of another width than the header, a malformed JSON line.
    """
    path = Path(path)
    if path.is_dir():
        raise TinybertError(f"{path} is a directory: give a file ({', '.join(READERS)})")
    if not path.exists():
        raise TinybertError(f"{path} does not exist: check the path")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TinybertError(
            f"{path} ends in '{path.suffix}', which is not read: save it as one of "
            f"{', '.join(READERS)}"
        )
    table = reader(path)
    if not table.rows:
        raise TinybertError(f"{path} has a header and no rows: add rows")
    return table


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TinybertError(f"{path} cannot be read ({error.strerror}): check its rights") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TinybertError(f"{path} is UTF-16: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TinybertError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in line {line} (byte "
            f"{error.start} of the file); save it as UTF-8"
        ) from None
    if not text.strip():
        raise TinybertError(f"{path} is empty: give a file with rows")
    return text


def _read_csv(path: Path) -> Table:
    text = _decoded(path)
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    line = 1
    try:
        for cells in reader:
            if not columns:
                columns = [cell.strip() for cell in cells]
                if cells:
                    _check_header(path, columns)
            elif cells:
                if len(cells) != len(columns):
                    raise TinybertError(
                        f"{path}, line {line}: {len(cells)} fields where the header has "
                        f"{len(columns)}; put fields with commas in double quotes"
                    )
                rows.append(dict(zip(columns, cells, strict=True)))
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise TinybertError(
            f"{path}: the field that begins in line {line} has a broken quotation ({error}); "
            'double each " inside a quoted field'
        ) from None
    return Table(path, columns, rows, lines)


def _check_header(path: Path, columns: list[str]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise TinybertError(f"{path}: column '{twice[0]}' is there twice; rename one")


def _read_json(path: Path) -> Table:
    text = _decoded(path)
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise TinybertError(f"{path} is a broken JSON list ({error}): mend it") from None
        return _records(path, list(enumerate(values, start=1)), "entry")
    numbered = []
    # Not splitlines: JSON strings may hold U+2028 and other separators as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                numbered.append((number, json.loads(line)))
            except (json.JSONDecodeError, RecursionError) as error:
                raise TinybertError(
                    f"{path}, line {number}: not JSON ({error}); put one object on each line"
                ) from None
    return _records(path, numbered, "line")


def _records(path: Path, numbered: list[tuple[int, Any]], place: str) -> Table:
    columns: dict[str, None] = {}
    for number, value in numbered:
        if not isinstance(value, dict):
            raise TinybertError(
                f"{path}, {place} {number}: not an object; every row is "
                '{"text": "...", "label": ...}'
            )
        columns.update(dict.fromkeys(value))
    return Table(
        path, list(columns), [value for _, value in numbered], [number for number, _ in numbered]
    )


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json,
    ".json": _read_json,
}
"""File ending → reader."""
