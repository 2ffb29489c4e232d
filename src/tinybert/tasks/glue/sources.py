"""Where the rows of a GLUE task come from: a directory of the original files, or the Hub.

The original files are tab-separated and know no quoting: a quotation mark is a character. Columns
are found by name, so that MNLI's files are read in full (12 columns in train, 16 in dev) as well
as cut down to ``sentence1 sentence2 gold_label``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.glue.facts import DIAGNOSTIC, GLUE, TRAIN, GlueTask, Part, plain_name
from tinybert.tasks.labels import class_numbers, spelled, values_of
from tinybert.tasks.reading.streams import open_text
from tinybert.tasks.task import Rows

__all__ = ["HUB_NAME", "IndexedRows", "Source", "open_source", "task_folder", "tasks_below"]

HUB_NAME = "nyu-mll/glue"
"""GLUE on the Hugging Face Hub."""

_NO_LABEL = "-"  # MultiNLI's mark for rows on which the annotators did not agree


@dataclass(frozen=True)
class IndexedRows:
    """Rows without labels, and the number that the leaderboard knows each by.

    Attributes:
        rows: the texts.
        index: ``(rows,)`` int64, distinct.
    """

    rows: Rows
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


class Source(Protocol):
    """Reads the parts of one task; ``None`` where it has no such part.

    ``notes`` gathers what is worth telling about the rows read.
    """

    notes: list[str]

    def labelled(self, part: Part) -> Rows | None: ...

    def unlabelled(self, part: Part) -> IndexedRows | None: ...


def open_source(task: GlueTask, where: str | Path) -> Source:
    """The source at ``where``: a directory if there is one, else a data set on the Hub.

    Raises:
        TinybertError: ``where`` is a file, looks like a path and is none, or holds no such task.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        return Files(task, task_folder(task, path))
    if path.exists():
        raise TinybertError(f"{where} is a file: give the directory with {task.title}'s files")
    name = str(where)
    if isinstance(where, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise TinybertError(
            f"there is no directory {where}: give the directory with {task.title}'s files, or "
            f"{HUB_NAME} to read them from the Hub"
        )
    return Hub(task, HUB_NAME if name == "glue" else name)


def tasks_below(path: Path) -> list[str]:
    """Names of the tasks with training rows in a directory of their own name, in GLUE's order.

    That directory lies in ``path``, or is ``path`` itself.
    """
    found = []
    for name, task in GLUE.items():
        own = _own_folders(task, path)
        if plain_name(path.resolve().name) in (task.config, *task.aliases):
            own.append(path)
        if own and (own[0] / TRAIN.file).is_file():
            found.append(name)
    return found


class Files:
    """The original files of a task in one directory."""

    def __init__(self, task: GlueTask, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.notes: list[str] = []

    def labelled(self, part: Part) -> Rows | None:
        path = self.folder / part.file
        if not path.is_file():
            return None
        task = self.task
        wanted = (*task.text_columns, task.label_column)
        columns, lines, broken = _read_tsv(path, wanted, task.train_columns, task.ragged)
        labels = columns.pop()
        kept = [
            place
            for place, label in enumerate(labels)
            if label != _NO_LABEL and (label or not task.ragged)
        ]
        broken += labels.count("") if task.ragged else 0
        if broken:
            self.notes.append(f"{path.name}: {broken} broken lines left out, as is usual")
        if _NO_LABEL in labels:
            self.notes.append(f"{path.name}: {labels.count(_NO_LABEL)} rows without a gold label")
        if not kept:
            raise TinybertError(f"{path} has no rows: download {task.title} again")
        self._tell_empty(path.name, columns)
        numbers = _label_array(
            task,
            [labels[place] for place in kept],
            [lines[place] for place in kept],
            f"{path}, column '{task.label_column}'",
        )
        texts = list(zip(*columns, strict=True))
        return Rows([texts[place] for place in kept], numbers)

    def unlabelled(self, part: Part) -> IndexedRows | None:
        path = self._diagnostic() if part is DIAGNOSTIC else self.folder / part.file
        if path is None or not path.is_file():
            return None
        index, *columns = _read_tsv(path, (self.task.index_column, *self.task.text_columns))[0]
        return IndexedRows(Rows(list(zip(*columns, strict=True)), None), _numbers(index, path))

    def _diagnostic(self) -> Path | None:
        """It comes in a directory of its own, under several names."""
        folders = [self.folder] + [
            folder
            for folder in sorted(self.folder.parent.iterdir())
            if plain_name(folder.name) in ("ax", "diagnostic")
        ]
        names = (DIAGNOSTIC.file, DIAGNOSTIC.submission)
        paths = [folder / name for folder in folders for name in names]
        return next((path for path in paths if path.is_file()), None)

    def _tell_empty(self, name: str, columns: Sequence[Sequence[str]]) -> None:
        empty = sum(not all(texts) for texts in zip(*columns, strict=True))
        if empty:
            self.notes.append(f"{name}: {empty} rows with an empty text, kept as they are in GLUE")


class Hub:
    """A task of a data set on the Hugging Face Hub."""

    def __init__(self, task: GlueTask, name: str) -> None:
        self.task, self.name = task, name
        self.notes: list[str] = []
        self._splits = _load(name, task.config)

    def labelled(self, part: Part) -> Rows | None:
        split = self._splits.get(part.split)
        if split is None:
            return None
        columns = self._columns(split, (*self.task.hub_columns, "label"))
        labels = columns.pop()
        names = getattr(split.features["label"], "names", None)
        spellings = [
            names[label] if names and label in range(len(names)) else str(label) for label in labels
        ]
        where = f"{self.name}, {self.task.config}, {part.split}"
        numbers = _label_array(self.task, spellings, range(1, len(labels) + 1), where)
        return Rows(_stripped(columns), numbers)

    def unlabelled(self, part: Part) -> IndexedRows | None:
        split = self._splits.get(part.split)
        if part is DIAGNOSTIC:
            try:
                split = _load(self.name, "ax").get(part.split)
            except TinybertError:
                return None
        if split is None:
            return None
        index, *columns = self._columns(split, ("idx", *self.task.hub_columns))
        return IndexedRows(Rows(_stripped(columns), None), _numbers(index, self.name))

    def _columns(self, split: Any, wanted: Sequence[str]) -> list[Any]:
        for name in wanted:
            if name not in split.column_names:
                raise TinybertError(
                    f"{self.name} is not laid out as GLUE: {self.task.config} has no column "
                    f"'{name}' (there are {', '.join(split.column_names)}); give {HUB_NAME}"
                )
        rows = split.select_columns(list(wanted))[:]
        return [rows[name] for name in wanted]


def _load(name: str, config: str) -> dict[str, Any]:
    import datasets  # slow to import

    try:
        return dict(datasets.load_dataset(name, config))
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise TinybertError(
            f"{name} is no directory here, and its '{config}' cannot be loaded from the Hub "
            f"({first}): give the directory with GLUE's files, or check name and network"
        ) from error


def task_folder(task: GlueTask, path: Path) -> Path:
    """The task's directory: one of that name below ``path``, or ``path`` itself."""
    if own := _own_folders(task, path):
        return own[0]
    other = {plain_name(other.config) for other in GLUE.values()} - {task.config}
    if any(path.glob("*.tsv")) and plain_name(path.name) not in other:
        return path
    below = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    found = ", ".join(below[:12]) or "no directories"
    raise TinybertError(
        f"{path} does not hold {task.title}: there should be a directory {task.title} with "
        f"train.tsv in it (found: {found})"
    )


def _own_folders(task: GlueTask, path: Path) -> list[Path]:
    """The directories in ``path`` that have the task's name, in any spelling."""
    names = (task.config, *task.aliases)
    return sorted(
        entry for entry in path.iterdir() if entry.is_dir() and plain_name(entry.name) in names
    )


def _read_tsv(
    path: Path, wanted: Sequence[str], header: Sequence[str] = (), ragged: bool = False
) -> tuple[list[list[str]], list[int], int]:
    """The wanted columns of a file without quoting.

    Args:
        path: the file.
        wanted: names of columns.
        header: names of all columns, for a file whose first line is a row.
        ragged: leave lines of another width out; otherwise they are an error.

    Returns:
        A list of stripped texts per wanted column, the line number of each row, and the number of
        lines left out.
    """
    names = list(header)
    columns: list[list[str]] = [[] for _ in wanted]
    lines: list[int] = []
    left_out = 0
    places = _places(path, names, wanted) if names else []
    with open_text(path) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            fields = text.rstrip("\r\n").split("\t")
            if not names:
                names = [field.strip() for field in fields]
                places = _places(path, names, wanted)
            elif len(fields) == len(names):
                lines.append(line)
                for column, place in zip(columns, places, strict=True):
                    column.append(fields[place].strip())
            elif ragged:
                left_out += 1
            else:
                raise TinybertError(
                    f"{path}, line {line}: {len(fields)} fields where there should be "
                    f"{len(names)}; fields are separated by tabs and never quoted"
                )
    if not lines:
        raise TinybertError(f"{path} has no rows: download it again")
    return columns, lines, left_out


def _places(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    for name in wanted:
        if name not in names:
            raise TinybertError(
                f"{path} has no column '{name}': GLUE's layout has {', '.join(wanted)}, here are "
                f"{', '.join(names)[:200]}"
            )
    return [names.index(name) for name in wanted]


def _label_array(
    task: GlueTask, labels: Sequence[str], lines: Sequence[int], where: str
) -> NDArray[np.generic]:
    spellings = spelled(labels, lines, where)
    if task.label_names:
        return class_numbers(spellings, task.label_names, lines, where, first=0)
    return values_of(spellings, lines, where)


def _numbers(index: Sequence[Any], where: str | Path) -> NDArray[np.int64]:
    try:
        numbers = np.array([int(value) for value in index], dtype=np.int64)
    except (ValueError, OverflowError):
        numbers = np.zeros(len(index) + 1, dtype=np.int64)
    if len(np.unique(numbers)) != len(index):
        raise TinybertError(
            f"{where}: the index column should number the rows, each once; download it again"
        )
    return numbers


def _stripped(columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(text.strip() for text in texts) for texts in zip(*columns, strict=True)]
