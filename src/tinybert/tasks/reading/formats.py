"""Which file is read how: by its ending."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tinybert.errors import TinybertError
from tinybert.tasks.reading.json_rows import open_json
from tinybert.tasks.reading.parquet_rows import open_parquet
from tinybert.tasks.reading.separated import open_csv, open_tsv
from tinybert.tasks.reading.shards import Shard
from tinybert.tasks.reading.streams import PACKED

__all__ = ["READERS", "Readers", "ending_of", "is_file_like", "open_shard"]

Readers = Mapping[str, Callable[[Path], Shard]]

READERS: dict[str, Callable[[Path], Shard]] = {
    ".csv": open_csv,
    ".tsv": open_tsv,
    ".jsonl": open_json,
    ".json": open_json,
    ".parquet": open_parquet,
}
"""File ending → what looks into such a file."""


_FILE_LIKE = re.compile(r"\.[A-Za-z]\w*")


def is_file_like(name: str) -> bool:
    """Whether a name ends as a file's does, and not as a version.

    >>> is_file_like("rows.csv"), is_file_like("owner/stack-v2.1")
    (True, False)
    """
    return _FILE_LIKE.fullmatch(Path(name).suffix) is not None


def ending_of(path: Path, readers: Readers = READERS) -> str | None:
    """The format of a file by its name, such as ``.csv`` for ``a.csv.gz``; None for others.

    >>> ending_of(Path("train.CSV.zst")), ending_of(Path("README.md"))
    ('.csv', None)
    """
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    ending = inner.suffix.lower()
    return ending if ending in readers else None


def open_shard(path: Path, readers: Readers = READERS) -> Shard:
    """Look into a file of rows: its columns and its first rows.

    Raises:
        TinybertError: missing, a directory, unknown ending, empty, cut short, not UTF-8, columns
            without a name or twice; what is wrong further down is said when it is read.
    """
    ending = ending_of(path, readers)
    if path.is_dir():
        raise TinybertError(f"{path} is a directory: give a file ({', '.join(readers)})")
    if not path.exists():
        raise TinybertError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise TinybertError(f"{path} is no regular file, and it is read more than once: save it")
    if ending is None:
        raise TinybertError(
            f"{path} ends in '{path.suffix}', which is not read: save it as one of "
            f"{', '.join(readers)} (text formats also packed: {', '.join(PACKED)})"
        )
    return readers[ending](path)
