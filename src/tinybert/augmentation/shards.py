"""Augmented rows on disk: Parquet shards, and one file that says what they are.

OUTPUT/part-00000.parquet     rows in their order, each with its copies after it
OUTPUT/_augmentation.json     what they were made of and with; counts (readers of Parquet
                              directories pass over names that begin with _)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tinybert.augmentation.sampler import Copy
from tinybert.errors import TinybertError
from tinybert.outputs import whole_file, write_json_whole

__all__ = [
    "Counts",
    "Manifest",
    "ShardWriter",
    "augmented_texts",
    "is_augmentation",
    "read_manifest",
]

MANIFEST = "_augmentation.json"
VERSION = 1


@dataclass
class Counts:
    """What was made.

    Attributes:
        rows: originals.
        copies: different copies of them.
        duplicates: copies that were dropped, being the original or an earlier copy.
        words: words of all copies that might have been replaced.
        changed: words of all copies that were.
        unchanged_rows: originals without any copy, such as those of no word.
    """

    rows: int = 0
    copies: int = 0
    duplicates: int = 0
    words: int = 0
    changed: int = 0
    unchanged_rows: int = 0

    @property
    def total(self) -> int:
        """Originals and copies."""
        return self.rows + self.copies

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{n: v + getattr(other, n) for n, v in asdict(self).items()})


@dataclass(frozen=True)
class Manifest:
    """What ``_augmentation.json`` holds.

    Attributes:
        rows: fingerprint of the texts that were augmented, in their order.
        columns: names of the text columns.
        recipe: how, as plain data.
        models: fingerprints and names of the masked language model and the word vectors.
        counts: see :class:`Counts`.
        shards: file names, in the rows' order.
    """

    rows: str
    columns: list[str]
    recipe: dict[str, Any]
    models: dict[str, Any]
    counts: Counts
    shards: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Of rows, recipe, models and counts: what the copies follow from."""
        plain = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def write(self, directory: Path) -> None:
        write_json_whole(directory / MANIFEST, {"tinybert_augmentation": VERSION, **asdict(self)})


def is_augmentation(directory: str | Path) -> bool:
    """Whether ``tinybert augment`` wrote this directory."""
    return (Path(directory).expanduser() / MANIFEST).is_file()


def read_manifest(directory: str | Path) -> Manifest:
    """What was augmented, and how.

    Raises:
        TinybertError: no augmentation, or one of another version.
    """
    directory = Path(directory).expanduser()
    if not is_augmentation(directory):
        raise TinybertError(
            f"{directory} is no augmentation: `tinybert augment --output {directory}` writes one."
        )
    try:
        found = json.loads((directory / MANIFEST).read_text("utf-8"))
        if found.pop("tinybert_augmentation") != VERSION:
            raise ValueError("another version")
        manifest = Manifest(**(found | {"counts": Counts(**found["counts"])}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TinybertError(
            f"{directory / MANIFEST} cannot be read ({error}): augment the rows again."
        ) from error
    for name in manifest.shards:
        if not (directory / name).is_file():
            raise TinybertError(f"the shard {directory / name} is missing: augment the rows again.")
    return manifest


class ShardWriter:
    """Writes rows and their copies.

    Args:
        columns: names of the text columns.
        label: name and values (names or numbers, one an original) of the label column; None
            where there is none.
    """

    def __init__(self, columns: Sequence[str], label: tuple[str, Sequence[Any]] | None) -> None:
        self.columns, self.label = list(columns), label
        taken = {*columns, *([label[0]] if label else [])}
        self.row, self.copy, self.changed = (
            _free(name, taken) for name in ("row", "copy", "changed")
        )
        value = pa.string()
        if label is not None and len(label[1]) and not isinstance(label[1][0], str):
            value = pa.float32()
        change = pa.struct(
            [
                ("column", pa.string()),
                ("start", pa.int32()),
                ("word", pa.string()),
                ("to", pa.string()),
            ]
        )
        self.schema = pa.schema(
            [(self.row, pa.int64()), (self.copy, pa.int32())]
            + [(name, pa.string()) for name in columns]
            + ([(label[0], value)] if label else [])
            + [(self.changed, pa.list_(change))]
        )

    def write(self, path: Path, rows: Sequence[tuple[int, Sequence[Copy]]]) -> None:
        """One shard, whole or absent.

        Args:
            rows: number of each original, and its copies with the original itself in front.
        """
        held: dict[str, list[Any]] = {name: [] for name in self.schema.names}
        for number, copies in rows:
            for i, copy in enumerate(copies):
                held[self.row].append(number)
                held[self.copy].append(i)
                for name, text in zip(self.columns, copy.texts, strict=True):
                    held[name].append(text)
                if self.label is not None:
                    held[self.label[0]].append(self.label[1][number])
                held[self.changed].append(
                    [
                        {"column": self.columns[c.text], "start": c.start, "word": c.word}
                        | {"to": c.to}
                        for c in copy.changes
                    ]
                )
        with whole_file(path) as partial:
            pq.write_table(pa.table(held, schema=self.schema), partial, compression="zstd")


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def augmented_texts(
    directory: Path, manifest: Manifest, at_once: int = 8192
) -> Iterator[tuple[np.ndarray[Any, Any], list[tuple[str, ...]]]]:
    """All rows and copies, some thousand at a time: numbers of the originals, and texts."""
    for name in manifest.shards:
        try:
            file = pq.ParquetFile(directory / name)
            row = next(n for n in file.schema_arrow.names if n.rstrip("_") == "row")
            for batch in file.iter_batches(at_once, columns=[row, *manifest.columns]):
                texts = [batch.column(column).to_pylist() for column in manifest.columns]
                yield batch.column(row).to_numpy(), list(zip(*texts, strict=True))
        except (OSError, pa.ArrowException, StopIteration, KeyError) as error:
            raise TinybertError(
                f"the shard {directory / name} cannot be read ({error}): augment the rows again."
            ) from error
