"""Parquet files, by Arrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tinybert.errors import TinybertError
from tinybert.tasks.reading.shards import (
    AT_ONCE,
    SAMPLE,
    Batch,
    Shard,
    check_columns,
    check_flat,
    is_flat,
    unheard,
    wordy,
)
from tinybert.tasks.reading.streams import PACKED, Advance

__all__ = ["open_parquet"]


def open_parquet(path: Path) -> Shard:
    def batches(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        for name in names:
            check_flat(str(path), name, schema.field(name).type)
        return _parquet_batches(path, names, advance)

    if path.suffix.lower() in PACKED:
        raise TinybertError(
            f"{path} is a packed Parquet file: unpack it, Parquet packs its columns itself"
        )
    with _parquet(path) as file:
        schema = file.schema_arrow
    check_columns(str(path), schema.names)
    flat = [one.name for one in schema if is_flat(one.type)]
    first = next(_parquet_batches(path, flat, unheard, SAMPLE), None)
    return Shard(
        str(path),
        schema.names,
        wordy(flat, first.columns) if first else frozenset(),
        path.stat().st_size,
        batches,
        "row",
        str(path.resolve()),
        label_names=_hub_label_names(schema.metadata or {}),
        lists=lambda names, advance: _parquet_batches(path, names, advance),
    )


def _parquet_batches(
    path: Path, names: Sequence[str], advance: Advance, at_once: int = AT_ONCE
) -> Iterator[Batch]:
    with _parquet(path) as file:
        total, size, done = file.metadata.num_rows, path.stat().st_size, 0
        for batch in file.iter_batches(batch_size=at_once, columns=list(names)):
            columns = [batch.column(name).to_pylist() for name in names]
            lines = range(done + 1, done + batch.num_rows + 1)
            advance(size * (done + batch.num_rows) // total - size * done // total)
            done += batch.num_rows
            if batch.num_rows:
                yield Batch(columns, lines)


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """An open Parquet file, whose errors are one sentence."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise TinybertError(f"{path} is no whole Parquet file ({reason}): write it again") from None


def _inner(kind: dict[str, Any]) -> dict[str, Any]:
    """What a list holds; anything else is itself."""
    inner = kind.get("feature")
    return inner if isinstance(inner, dict) else kind


def _hub_label_names(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Class names by column, as the ``datasets`` library leaves them in its Parquet files."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        kinds = {name: _inner(kind) for name, kind in features.items() if isinstance(kind, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # another program's file
    return {
        name: tuple(map(str, kind["names"]))
        for name, kind in kinds.items()
        if kind.get("_type") == "ClassLabel" and isinstance(kind.get("names"), list)
    }
