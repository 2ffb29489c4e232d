"""Where rows come from: a file, a directory of files, or a data set on the Hugging Face Hub.

A directory and a data set have parts (train, dev, test), told by the names of files and folders,
or of splits; a file is one part, whichever is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.reading.formats import (
    READERS,
    Readers,
    ending_of,
    is_file_like,
    open_shard,
)
from tinybert.tasks.reading.shards import (
    AT_ONCE,
    SAMPLE,
    Batch,
    Shard,
    check_columns,
    check_flat,
    is_flat,
    wordy,
)
from tinybert.tasks.reading.streams import PACKED, Advance

__all__ = ["Part", "PartName", "Source", "open_source"]

PartName = Literal["train", "dev", "test"]

_PART = {
    "train": r"train(ing|set)?",
    "dev": r"(dev(el|set)?|val(id(ation)?)?)",
    "test": r"test(ing|set)?",
}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.,=-]+)?")


@dataclass(frozen=True)
class Part:
    """The files of one part: one, or several with the same columns.

    Attributes:
        name: how errors and notes name it.
        shards: in the order in which they are read.
    """

    name: str
    shards: tuple[Shard, ...]

    @property
    def columns(self) -> list[str]:
        return self.shards[0].columns

    def same_as(self, other: Part) -> bool:
        """Whether a file of this part is one of the other's too."""
        return bool({shard.key for shard in self.shards} & {shard.key for shard in other.shards})


@dataclass(frozen=True)
class Source:
    """What was named, looked into.

    Attributes:
        name: as the user gave it.
        title: a short name for tables and result files.
        parts: by name, where files or splits are named so.
        whole: all files as one part, where they are not.
        notes: sentences for the user: what was found, what is not read.
    """

    name: str
    title: str
    parts: dict[PartName, Part] = field(default_factory=dict)
    whole: Part | None = None
    notes: list[str] = field(default_factory=list)

    def part(self, name: PartName) -> Part:
        """The rows to take for ``name``: its part, or the whole source where it has no parts.

        Raises:
            TinybertError: it has parts, and this is none of them.
        """
        found = self.parts.get(name, self.whole)
        if found is None:
            raise TinybertError(
                f"{self.name} has no {name} rows, only {' and '.join(self.parts)}: name the file"
            )
        return found


def open_source(
    given: str | Path, reporter: Reporter | None = None, readers: Readers = READERS
) -> Source:
    """Look into a file, a directory or a data set on the Hub.

    Args:
        given: a path; or, where there is none, ``owner/name``, ``owner/name:configuration`` or a
            bare ``name``.
        reporter: tells of the download.
        readers: file ending → what looks into such a file.

    Raises:
        TinybertError: neither; an empty directory, one with files of several formats; no network.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        return _directory(path, readers)
    if path.exists() or not _may_be_on_hub(str(given)):
        shard = open_shard(path, readers)
        inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
        return Source(str(given), inner.stem, whole=Part(shard.name, (shard,)))
    return _hub(str(given), reporter or Reporter(quiet=True))


# --- directories ----------------------------------------------------------------------------------


def _directory(root: Path, readers: Readers) -> Source:
    files, others = _files(root, readers)
    if not files:
        raise TinybertError(
            f"{root} holds no files of rows ({', '.join(readers)}; packed {', '.join(PACKED)}): "
            "check the path"
        )
    by_part: dict[PartName | None, list[Path]] = {}
    for path in files:
        by_part.setdefault(_part_of(path.relative_to(root)), []).append(path)
    title = root.resolve().name
    if set(by_part) == {None}:
        return Source(
            str(root),
            title,
            whole=_part(root, str(root), files, readers),
            notes=_unread(root, others),
        )
    others += by_part.pop(None, [])
    parts: dict[PartName, Part] = {}
    for name in by_part:
        if name is not None:
            parts[name] = _part(root, f"{root} ({name})", by_part[name], readers)
    notes = [
        f"{name}: {_listed([str(path.relative_to(root)) for path in by_part[name]])}"
        for name in parts
    ]
    return Source(str(root), title, parts, notes=notes + _unread(root, others))


def _files(root: Path, readers: Readers) -> tuple[list[Path], list[Path]]:
    """Files of rows below a directory, and other files; hidden ones and ``_…`` are neither."""
    rows: list[Path] = []
    others: list[Path] = []
    for path in sorted(root.rglob("*")):
        names = path.relative_to(root).parts
        if path.is_file() and not any(name.startswith((".", "_")) for name in names):
            (others if ending_of(path, readers) is None else rows).append(path)
    return rows, others


def _part_of(path: Path) -> PartName | None:
    """The part that a path names: the outermost folder that names one, else the file.

    >>> _part_of(Path("data/train-00000-of-00004.parquet")), _part_of(Path("valid/trains.csv"))
    ('train', 'dev')
    """
    for name in path.parts:
        if (found := _named(name)) is not None:
            return found
    return None


def _named(name: str) -> PartName | None:
    parts: tuple[PartName, ...] = ("train", "dev", "test")
    for part in parts:
        if re.match(rf"(.*[._-])?{_PART[part]}(?![A-Za-z])", name, re.I):
            return part
    return None


def _part(root: Path, name: str, paths: Sequence[Path], readers: Readers) -> Part:
    endings: dict[str | None, Path] = {}
    for path in paths:
        endings.setdefault(ending_of(path, readers), path)
    if len(endings) > 1:
        shown = " and ".join(str(path.relative_to(root)) for path in endings.values())
        raise TinybertError(
            f"{name} holds files of several formats ({shown}): keep those of one, or name a file"
        )
    shards = tuple(open_shard(path, readers) for path in paths)
    first = shards[0]
    for shard in shards[1:]:
        if first.strict and set(shard.columns) != set(first.columns):
            raise TinybertError(
                f"{shard.name} has the columns {', '.join(shard.columns)}, and {first.name} has "
                f"{', '.join(first.columns)}: files of one part need the same"
            )
    return Part(name if len(shards) > 1 else first.name, shards)


def _unread(root: Path, others: Sequence[Path]) -> list[str]:
    if not others:
        return []
    return [f"not read: {_listed([str(path.relative_to(root)) for path in others])} in {root}"]


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 3:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more files"


# --- the Hub --------------------------------------------------------------------------------------


def _may_be_on_hub(given: str) -> bool:
    """Whether a name that is no path can be that of a data set; ``rows.csv`` cannot.

    >>> [_may_be_on_hub(name) for name in ("imdb", "a/b-v1.1:c", "./a", "rows.csv", "a/b/c")]
    [True, True, False, False, False]
    """
    name = given.partition(":")[0]
    return (
        _HUB_NAME.fullmatch(given) is not None
        and not given.startswith((".", "-"))
        and not is_file_like(name)
    )


def _hub(given: str, reporter: Reporter) -> Source:
    splits = _loaded(given, reporter)
    name, _, configuration = given.partition(":")
    title = "-".join(filter(None, [name.rpartition("/")[2], configuration]))
    parts: dict[PartName, Part] = {}
    unread = []
    names: tuple[PartName, ...] = ("train", "dev", "test")
    for split in sorted(splits, key=len):  # test before test_matched
        part = _named(split)
        if part is None or part in parts:
            unread.append(split)
        else:
            shard = _hub_shard(f"{given}, split {split}", splits[split])
            parts[part] = Part(shard.name, (shard,))
    notes = [f"{part}: {parts[part].name}" for part in names if part in parts]
    if unread:
        notes.append(f"not read: the splits {', '.join(unread)} of {given}")
    if not parts:
        raise TinybertError(
            f"{given} has no split train, validation or test, only {', '.join(splits)}"
        )
    return Source(given, title, {name: parts[name] for name in names if name in parts}, notes=notes)


def _loaded(given: str, reporter: Reporter) -> dict[str, Any]:
    """The splits of a data set on the Hub, downloaded or from the cache."""
    import datasets  # takes a second, and only those who name such a data set need it

    name, _, configuration = given.partition(":")
    reporter.say(f"{given} is no local path: looking for a data set of that name on the Hub")
    if reporter.quiet:
        datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(name, configuration or None)
    except ConnectionError as error:
        raise TinybertError(
            f"{given} is no local path, and the Hugging Face Hub cannot be reached ({error}): "
            "check the path, or the network"
        ) from None
    except Exception as error:  # noqa: BLE001 - it raises what its many readers raise
        reason = " ".join(str(error).split()) or type(error).__name__
        if len(reason) > 300:
            reason = reason[:300] + "..."
        raise TinybertError(
            f"{given} is no local path, and as a data set on the Hugging Face Hub it cannot be "
            f"loaded ({reason}): check the name, or add its configuration, owner/name:configuration"
        ) from None
    return dict(found)


def _hub_shard(name: str, rows: Any) -> Shard:
    schema, size = rows.features.arrow_schema, int(rows.data.nbytes)

    def batches(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        for column in names:
            check_flat(name, column, schema.field(column).type)
        return read(names, advance)

    def read(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        done = 0
        for batch in rows.select_columns(list(names)).with_format(None).iter(AT_ONCE):
            columns = [batch[column] for column in names]
            count = len(columns[0])
            yield Batch(columns, range(done + 1, done + count + 1))
            advance(size * (done + count) // len(rows) - size * done // len(rows))
            done += count

    columns = list(rows.column_names)
    check_columns(name, columns)
    flat = [column for column in columns if is_flat(schema.field(column).type)]
    first = rows.select_columns(flat).with_format(None)[:SAMPLE]
    return Shard(
        name,
        columns,
        wordy(flat, [first[column] for column in flat]),
        size,
        batches,
        "row",
        name,
        label_names={
            column: tuple(kind.names)
            for column, outer in rows.features.items()
            for kind in (getattr(outer, "feature", outer),)  # of a list what it holds
            if type(kind).__name__ == "ClassLabel"
        },
        lists=read,
    )
