"""A task out of the user's files: which columns, which labels, which rows to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.labels import class_numbers, guess_kind, names_of, spelled, values_of
from tinybert.tasks.metrics import default_metric, metric_kind
from tinybert.tasks.tables import Table, read_table
from tinybert.tasks.task import Kind, Rows, Task, TaskData

__all__ = ["read_scored", "read_task"]

_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("query", "passage"),
    ("question", "sentence"),
    ("question", "answer"),
    ("question", "context"),
)
_SINGLES = ("text", "sentence", "content", "review", "comment", "document", "question", "query")
_LABELS = (
    "label",
    "labels",
    "class",
    "target",
    "score",
    "category",
    "sentiment",
    "rating",
    "topic",
)


def read_task(
    train_path: str | Path,
    dev_path: str | Path | None = None,
    *,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    kind: Kind | None = None,
    metric: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 42,
    dev_share: float = 0.1,
) -> TaskData:
    """Read a task from CSV (``.csv``, header first) or JSON lines (``.jsonl``, ``.json``) files.

    What is not said is guessed, and every guess is told in ``TaskData.notes``. Without a label
    column the labels are ``None``: distillation needs none.

    Args:
        train_path: rows to learn from.
        dev_path: rows to choose by. Without it ``dev_share`` of the training rows is held out;
            rows with the same text stay together, and every class stays in the training rows.
        text: the text column, or two for pairs (``"a,b"`` or a sequence).
        label: the label column.
        kind: by default regression when labels are fractions with many values.
        metric: by default that of the kind: accuracy, or mean of Pearson and Spearman.
        label_names: the class names in order (a teacher's, say); labels are then these words or
            their numbers. By default the labels found, sorted.
        seed: of the split.
        dev_share: share of rows to hold out, between 0 and 1.

    Raises:
        TinybertError: whatever is wrong with the files or with what was asked, in one sentence
            with the line where there is one.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    notes: list[str] = []
    train_table = read_table(train_path)
    text_columns = _text_columns(train_table, text, label, notes)
    label_column = _label_column(train_table, label, text_columns, notes)
    spellings: list[str] | None = None
    if label_column is not None:
        spellings = _spellings(train_table, label_column)
    task = _task(
        train_table, text_columns, label_column, spellings, kind, metric, label_names, notes
    )
    train = _rows(train_table, task, "train")
    if dev_path is None:
        kept, held_out = _hold_out(train, seed, dev_share, train_table.path)
        train, dev = train.take(kept), train.take(held_out)
        notes.append(
            f"no dev file: {len(dev)} of {len(kept) + len(dev)} rows held out (seed {seed})"
        )
    else:
        dev = _rows(read_table(dev_path), task, "dev")
        seen = {_key(texts) for texts in train.texts}
        shared = sum(_key(texts) in seen for texts in dev.texts)
        if shared:
            notes.append(f"{shared} of {len(dev)} dev texts are in the training rows as well")
    return TaskData(task, train, dev, notes=notes)


def read_scored(
    path: str | Path,
    *,
    kind: Kind,
    label_names: Sequence[str] = (),
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    metric: str | None = None,
) -> tuple[Task, Rows, list[str]]:
    """Read one file of rows to score a model on, whose labels are the model's.

    Args:
        path: a file as for :func:`read_task`; its rows may be of one class, or without labels.
        kind: what the model gives.
        label_names: the model's classes in the order of its outputs.
        text, label, metric: as for :func:`read_task`.

    Returns:
        The task, its rows, and notes on what was guessed.

    Raises:
        TinybertError: as :func:`read_task`; a label that the model does not know.
    """
    notes: list[str] = []
    table = read_table(path)
    text_columns = _text_columns(table, text, label, notes)
    label_column = _label_column(table, label, text_columns, notes)
    task = _task(table, text_columns, label_column, None, kind, metric, label_names, notes)
    return task, _rows(table, task, table.path.stem), notes


def _task(
    table: Table,
    text_columns: tuple[str, ...],
    label_column: str | None,
    spellings: list[str] | None,
    kind: Kind | None,
    metric: str | None,
    label_names: Sequence[str] | None,
    notes: list[str],
) -> Task:
    where = f"{table.path}, column '{label_column}'"
    if kind not in (None, "classification", "regression"):
        raise TinybertError(f"kind '{kind}' is unknown: say classification or regression")
    if metric is not None:
        metric_for = metric_kind(metric)
        if kind not in (None, metric_for):
            raise TinybertError(f"metric '{metric}' is for {metric_for}, the task is {kind}")
        kind = metric_for
    names = tuple(label_names or ())
    if len(set(names)) < len(names):
        raise TinybertError(
            f"label names {', '.join(names)} are not distinct: name each class once"
        )
    if kind is None:
        if spellings is None or names:
            kind = "classification"
        else:
            kind = guess_kind(spellings)
            notes.append(f"{kind}: column '{label_column}' holds {len(set(spellings))} values")
    if kind == "classification" and spellings is not None:
        found = names_of(spellings, where)
        names = names or found
    if kind == "regression":
        names = ()
        if spellings is not None and len(set(spellings)) == 1:
            raise TinybertError(f"{where}: every label is {spellings[0]}: nothing to learn from")
    if metric == "f1" and len(names) > 2:
        raise TinybertError(f"metric 'f1' is for 2 classes, here are {len(names)}: take macro_f1")
    return Task(
        name=table.path.stem,
        kind=kind,
        label_names=names,
        metric=metric or default_metric(kind),
        text_columns=text_columns,
        label_column=label_column,
    )


def _text_columns(
    table: Table, text: str | Sequence[str] | None, label: str | None, notes: list[str]
) -> tuple[str, ...]:
    if text is not None:
        # A name with a comma in it is that column, if there is one.
        names = [text] if isinstance(text, str) and text in table.columns else text
        asked = names.split(",") if isinstance(names, str) else list(names)
        columns = tuple(name.strip() for name in asked if name.strip())
        for name in columns:
            _check_column(table, name, "text")
        if len(set(columns)) < len(columns) or len(columns) not in (1, 2):
            raise TinybertError(f"text columns '{text}': name one column, or two different ones")
        return columns
    by_name = {name.casefold(): name for name in table.columns if name != label}
    for pair in _PAIRS:
        if all(name in by_name for name in pair):
            return _told(tuple(by_name[name] for name in pair), notes)
    for name in _SINGLES:
        if name in by_name:
            return _told((by_name[name],), notes)
    rest = [
        name for folded, name in by_name.items() if folded not in _LABELS and _wordy(table, name)
    ]
    if len(rest) == 1:
        return _told((rest[0],), notes)
    raise TinybertError(
        f"{table.path}: which column is the text? name it; there are {', '.join(table.columns)}"
    )


def _told(columns: tuple[str, ...], notes: list[str]) -> tuple[str, ...]:
    notes.append("text: column " + " and ".join(f"'{name}'" for name in columns))
    return columns


def _wordy(table: Table, column: str) -> bool:
    """Whether most values hold more than one word."""
    values = [row.get(column) for row in table.rows[:200]]
    return (
        sum(isinstance(value, str) and " " in value.strip() for value in values) > len(values) / 2
    )


def _label_column(
    table: Table, label: str | None, text_columns: tuple[str, ...], notes: list[str]
) -> str | None:
    if label is not None:
        _check_column(table, label, "label")
        if label in text_columns:
            raise TinybertError(f"column '{label}' cannot be both text and label: name another")
        return label
    by_name = {name.casefold(): name for name in table.columns if name not in text_columns}
    for name in _LABELS:
        if name in by_name:
            notes.append(f"label: column '{by_name[name]}'")
            return by_name[name]
    notes.append("no label column found: rows without labels")
    return None


def _check_column(table: Table, name: str, what: str) -> None:
    if name not in table.columns:
        raise TinybertError(
            f"{table.path} has no {what} column '{name}': there are {', '.join(table.columns)}"
        )


def _spellings(table: Table, column: str) -> list[str]:
    where = f"{table.path}, column '{column}'"
    return spelled([row.get(column) for row in table.rows], table.lines, where)


def _rows(table: Table, task: Task, part: str, *, labels: bool = True) -> Rows:
    for name in task.text_columns:
        _check_column(table, name, "text")
    texts, empty = [], []
    for row, line in zip(table.rows, table.lines, strict=True):
        values = []
        for name in task.text_columns:
            value = row.get(name)
            if isinstance(value, (list, dict)):
                raise TinybertError(
                    f"{table.path}, line {line}: '{name}' is {type(value).__name__}, not a text"
                )
            values.append("" if value is None else str(value).strip())
        if not all(values):
            empty.append(line)
        texts.append(tuple(values))
    if empty:
        raise TinybertError(
            f"{table.path}: {len(empty)} of {len(texts)} rows have no text (first in line "
            f"{empty[0]}): fill or remove them"
        )
    found: NDArray[np.generic] | None = None
    if labels and task.label_column is not None:
        _check_column(table, task.label_column, "label")
        spellings = _spellings(table, task.label_column)
        where = f"{table.path}, column '{task.label_column}'"
        if task.kind == "regression":
            found = values_of(spellings, table.lines, where)
        else:
            found = class_numbers(spellings, task.label_names, table.lines, where)
    return Rows(texts, found, [f"{part}:{number}" for number in range(len(texts))])


def _key(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What makes two rows' texts the same: words, whatever their case and spacing."""
    return tuple(" ".join(text.casefold().split()) for text in texts)


@dataclass
class _Left:
    """Rows of each class that the training rows still hold."""

    count: dict[object, int]

    def gives(self, labels: list[object]) -> bool:
        return all(self.count[label] > labels.count(label) for label in set(labels))

    def give(self, labels: list[object]) -> None:
        for label in labels:
            self.count[label] -= 1


def _hold_out(rows: Rows, seed: int, share: float, path: Path) -> tuple[list[int], list[int]]:
    """Places of the rows kept and held out; equal texts stay on one side."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, texts in enumerate(rows.texts):
        groups.setdefault(_key(texts), []).append(place)
    classes: list[object] = [None] * len(rows)
    if rows.labels is not None and np.issubdtype(rows.labels.dtype, np.integer):
        classes = rows.labels.tolist()
    left = _Left({label: classes.count(label) for label in set(classes)})
    target = max(1, round(share * len(rows)))
    held_out: list[int] = []
    members = list(groups.values())
    for number in np.random.default_rng(seed).permutation(len(members)):
        group = members[number]
        labels = [classes[place] for place in group]
        if len(held_out) + len(group) <= target and left.gives(labels):
            held_out += group
            left.give(labels)
    if not held_out:
        raise TinybertError(
            f"{path} has too few different rows ({len(groups)}) to hold some out: give a dev file"
        )
    held = set(held_out)
    return [place for place in range(len(rows)) if place not in held], sorted(held_out)
