"""JSON files: an object a line, or one list of objects."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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

__all__ = ["open_json"]


def open_json(path: Path) -> Shard:
    late: dict[str, int] = {}
    unit, rows = "line", _json_lines
    if _is_list(path):
        unit, rows = "entry", _json_list

    def batches(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        known = set(columns)
        numbered = rows(path, advance)
        while some := list(itertools.islice(numbered, AT_ONCE)):
            for number, value in some:
                if not value.keys() <= known:
                    late.update((name, number) for name in value.keys() - known)
                    known |= value.keys()
            yield Batch(
                [[value.get(name) for _, value in some] for name in names],
                [number for number, _ in some],
            )

    first = [value for _, value in itertools.islice(rows(path, unheard), SAMPLE)]
    if not first:
        raise TinybertError(f"{path} holds no rows: add rows")
    columns = list(dict.fromkeys(itertools.chain.from_iterable(first)))
    check_columns(str(path), columns)
    return Shard(
        str(path),
        columns,
        wordy(columns, [[value.get(name) for value in first] for name in columns]),
        path.stat().st_size,
        batches,
        unit,
        str(path.resolve()),
        strict=False,
        late=late,
    )


def _is_list(path: Path) -> bool:
    with open_text(path) as stream:
        for line in stream:
            if line.strip():
                return line.lstrip().startswith("[")
    raise TinybertError(f"{path} is empty: give a file with rows")


def _json_lines(path: Path, advance: Advance) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path, advance) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise TinybertError(
                        f"{path}, line {number}: not JSON ({error}); put one object on each line"
                    ) from None
                yield number, _checked_row(path, "line", number, value)


def _json_list(path: Path, advance: Advance) -> Iterator[tuple[int, dict[str, Any]]]:
    """A list is one value, so it is read whole; lines take less memory."""
    with open_text(path, advance) as stream:
        try:
            values = json.load(stream)
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise TinybertError(f"{path} is a broken JSON list ({error}): mend it") from None
    for number, value in enumerate(values, start=1):
        yield number, _checked_row(path, "entry", number, value)


def _checked_row(path: Path, unit: str, number: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TinybertError(
            f'{path}, {unit} {number}: not an object; every row is {{"text": "...", "label": ...}}'
        )
    return value
