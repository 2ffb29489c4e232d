"""A file of rows as all readers show it: looked into, and read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from tinybert.errors import TinybertError
from tinybert.tasks.reading.streams import Advance

__all__ = [
    "AT_ONCE",
    "SAMPLE",
    "Batch",
    "Shard",
    "check_columns",
    "check_flat",
    "is_flat",
    "unheard",
    "wordy",
]

AT_ONCE = 8192
"""Rows of a batch."""

SAMPLE = 200
"""Rows that columns are guessed by."""


class Batch(NamedTuple):
    """Some rows: ``columns[i][j]`` is what row j has in the i-th column that was asked for."""

    columns: list[list[Any]]
    lines: Sequence[int]


@dataclass(frozen=True)
class Shard:
    """A file of rows, looked into but not read.

    Attributes:
        name: how errors name it.
        columns: names of its columns; of a JSON file those in its first 200 rows.
        wordy: columns of which most of the first rows hold more than one word.
        size: in bytes, which progress is told in.
        batches: reads the columns of the given names from the beginning.
        unit: what the numbers of a batch's rows are: lines of a file, entries of a list, rows.
        key: equal for shards that are the same file.
        strict: whether every row has all columns, so that files of one part have the same.
        label_names: names of the classes of a column, where the file knows them.
        late: of a JSON file, once it is read: columns that came after the sample, and where.
        lists: reads columns of lists and objects too, where ``batches`` refuses them.
    """

    name: str
    columns: list[str]
    wordy: frozenset[str]
    size: int
    batches: Callable[[Sequence[str], Advance], Iterator[Batch]]
    unit: str
    key: str
    strict: bool = True
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    lists: Callable[[Sequence[str], Advance], Iterator[Batch]] | None = None


def check_columns(name: str, columns: Sequence[str]) -> None:
    """Raises ``TinybertError`` where a column has no name or that of another."""
    for number, column in enumerate(columns, start=1):
        if not column:
            raise TinybertError(
                f"{name}: column {number} has no name in the header: name it, or remove it (pandas "
                "writes one unless told index=False)"
            )
        if column in columns[: number - 1]:
            raise TinybertError(f"{name}: column '{column}' is there twice; rename one")


def wordy(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> frozenset[str]:
    """The names of the columns most of whose values are texts of more than one word."""

    def share(values: Sequence[Any]) -> float:
        found = sum(isinstance(value, str) and " " in value.strip() for value in values)
        return found / max(1, len(values))

    return frozenset(
        name for name, values in zip(names, columns, strict=True) if share(values) > 0.5
    )


def is_flat(kind: Any) -> bool:
    """Whether an Arrow type holds single values: texts, numbers, dates, truth values."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (binary or pa.types.is_fixed_size_binary(kind) or pa.types.is_nested(kind))


def check_flat(name: str, column: str, kind: Any) -> None:
    """Raises ``TinybertError`` where a column's Arrow type holds no single values."""
    if not is_flat(kind):
        raise TinybertError(
            f"{name}: column '{column}' holds {kind}, not texts or numbers: name another one with "
            "--text or --label, or write it as strings"
        )


def unheard(_: int) -> None:
    """Progress that nobody is told of."""
