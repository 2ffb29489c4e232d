"""A task out of the user's rows: which parts, which columns, which labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.labels import (
    Labels,
    are_words,
    check_missing,
    class_numbers,
    first_number,
    guess_kind,
    merged,
    names_of,
    usual_order,
    values_of,
)
from tinybert.tasks.metrics import default_metric, metric_kind
from tinybert.tasks.ranking.rows import check_ranked, ranked_rows
from tinybert.tasks.reading.columns import Columns, choose_columns, is_label_name
from tinybert.tasks.reading.formats import READERS, Readers
from tinybert.tasks.reading.rows import Table, read_part
from tinybert.tasks.reading.sources import Part, PartName, Source, open_source
from tinybert.tasks.splits import hold_out, text_hashes
from tinybert.tasks.task import Kind, Rows, Task, TaskData

__all__ = ["check_different", "other_part", "read_scored", "read_task", "tell_shared"]


def read_task(
    train: str | Path,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    *,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    kind: Kind | None = None,
    metric: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 42,
    dev_share: float = 0.1,
    reporter: Reporter | None = None,
) -> TaskData:
    """Read a task from files, a directory of files, or a data set on the Hugging Face Hub.

    Files are CSV, TSV (each with a header), JSON lines, a JSON list or Parquet; all but Parquet
    also packed (``.gz``, ``.zst``, ``.xz``, ``.bz2``). A directory holds files of one part, or
    files and folders whose names say train, dev (valid, validation) or test. A data set is named
    ``owner/name`` or ``owner/name:configuration``.

    What is not said is guessed, and every guess is told in ``TaskData.notes``. Without a label
    column the labels are ``None``: distillation needs none.

    Args:
        train: rows to learn from.
        dev: rows to choose by; goes before those that ``train`` has. Where there are none,
            ``dev_share`` of the training rows is held out; rows with the same text stay together,
            and every class stays in the training rows.
        test: rows to report on; goes before those that ``train`` has. Those are left out where
            they have no labels (none, or -1 throughout).
        text: the text column, or two for pairs (``"a,b"`` or a sequence).
        label: the label column.
        kind: by default regression when labels are fractions with many values.
        metric: by default that of the kind: accuracy, or mean of Pearson and Spearman. One of
            :data:`~tinybert.tasks.task.RANKING_METRICS` makes it a ranking: rows are pairs of a
            query and a passage, and those of a query stay in one part.
        label_names: the class names in order; labels are then these words or their numbers. By
            default those that the file declares (``ClassLabel``), else the labels found, sorted;
            spellings that differ in case or spacing are one label.
        seed: of the split.
        dev_share: share of rows to hold out, between 0 and 1.
        reporter: tells progress.

    Returns:
        The task; its texts lie in files that are mapped into memory.

    Raises:
        TinybertError: whatever is wrong with the files or with what was asked, in one sentence
            with the line where there is one.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    source = open_source(train, reporter)
    notes = list(source.notes)
    train_part = source.part("train")
    dev_part = other_part(source, dev, "dev", notes, reporter)
    test_part = other_part(source, test, "test", notes, reporter)
    check_different({"train": train_part, "dev": dev_part, "test": test_part})
    columns = choose_columns(train_part, text, label, notes)
    table = read_part(train_part, columns, "train", reporter)
    labels = table.labels
    if labels is not None:
        with columns.about_label():
            check_missing(labels, table.places, _where(table.name, columns))
    task, labels = _task(
        source.title, train_part, columns, labels, kind, metric, label_names, notes
    )
    if labels is not None:
        _tell_positive(task, notes)
    # Other parts may lack a class: what the numbers stand for is the training rows' to say.
    first = None if labels is None else first_number(labels, task.label_names)
    rows = _rows(table, columns, task, labels, first)
    if task.ranked:
        check_ranked(rows, train_part.name)
    if dev_part is None:
        kept, held_out = hold_out(rows, seed, dev_share, train_part.name)
        learned, chosen = rows.take(kept), rows.take(held_out)
        notes.append(f"no dev rows given: {len(chosen)} of {len(rows)} rows held out (seed {seed})")
    else:
        dev_table = read_part(dev_part, columns, "dev", reporter)
        learned, chosen = rows, _rows(dev_table, columns, task, dev_table.labels, first)
    reported = None
    if test_part is not None:
        reported = _reported(test_part, columns, task, first, test is not None, notes, reporter)
    tell_shared(learned, chosen if dev_part is not None else None, reported, notes)
    return TaskData(task, learned, chosen, reported, notes)


def read_scored(
    path: str | Path,
    *,
    kind: Kind,
    label_names: Sequence[str] = (),
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    metric: str | None = None,
    reporter: Reporter | None = None,
) -> tuple[Task, Rows, list[str]]:
    """Read rows to score a model on, whose labels are the model's.

    Args:
        path: as for :func:`read_task`; rows may be of one class, or without labels. Of several
            parts the first that has labels is taken: test, dev, train.
            Numbers stand for ``label_names`` in their order where that is beyond doubt.
        kind: what the model gives.
        label_names: the model's classes in the order of its outputs.
        text, label, metric, reporter: as for :func:`read_task`.

    Returns:
        The task, its rows, and notes on what was guessed. The task's labels stand in the order of
        ``label_names``; for F1, which counts for class 1 alone, in that of :func:`read_task`.

    Raises:
        TinybertError: as :func:`read_task`; a label that the model does not know.
    """
    source = open_source(path, reporter)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    parts = [source.parts[name] for name in order if name in source.parts]
    if source.whole is not None:
        parts = [source.whole]
    left_out: list[str] = []
    if label is not None:
        lacking = [part for part in parts if not _has_column(part, label)]
        if len(lacking) < len(parts):  # otherwise the first one says that it has no such column
            parts = [part for part in parts if part not in lacking]
            left_out = [f"{part.name} has no column '{label}': left out" for part in lacking]
    found: list[tuple[Part, Columns, Table, list[str]]] = []
    for part in parts:
        notes = [] if source.whole is not None else [f"scored on {part.name}", *left_out]
        columns = choose_columns(part, text, label, notes)
        found.append((part, columns, read_part(part, columns, "rows", reporter), notes))
        if not found[-1][2].is_unlabelled:
            break
    else:
        found = found[:1]
    part, columns, table, notes = found[-1]
    task, _ = _task(source.title, part, columns, None, kind, metric, label_names, notes)
    rows = _rows(table, columns, task, table.labels)
    if task.ranked:
        check_ranked(rows, part.name)
    if task.metric == "f1" and rows.labels is not None and table.labels is not None:
        declared = _declared(part, columns)
        places = usual_order(table.labels, task.label_names, declared)
        task = replace(task, label_names=tuple(task.label_names[place] for place in places))
        rows = replace(rows, labels=np.argsort(places)[rows.labels.astype(np.int64)])
        _tell_positive(task, notes)
    return task, rows, notes


def other_part(
    source: Source,
    given: str | Path | None,
    name: PartName,
    notes: list[str],
    reporter: Reporter | None,
    readers: Readers = READERS,
) -> Part | None:
    """The rows that were named for a part, else those that the training rows' source has."""
    if given is None:
        return source.parts.get(name)
    other = open_source(given, reporter, readers)
    notes += other.notes
    return other.part(name)


def check_different(parts: dict[str, Part | None]) -> None:
    found = [(name, part) for name, part in parts.items() if part is not None]
    for i, (name, part) in enumerate(found):
        for earlier, other in found[:i]:
            if part.same_as(other):
                raise TinybertError(
                    f"{name} and {earlier} rows are the same file ({part.name}): leave --{name} "
                    "out, or name another file"
                )


def _task(
    title: str,
    part: Part,
    columns: Columns,
    labels: Labels | None,
    kind: Kind | None,
    metric: str | None,
    label_names: Sequence[str] | None,
    notes: list[str],
) -> tuple[Task, Labels | None]:
    """The task, and its labels with variants of spelling made one."""
    where = _where(part.name, columns)
    if columns.label is None:
        _check_no_late_label(part)
    if kind not in (None, "classification", "regression"):
        raise TinybertError(f"kind '{kind}' is unknown: say classification or regression")
    if metric is not None:
        metric_for = metric_kind(metric)
        if kind not in (None, metric_for):
            raise TinybertError(f"metric '{metric}' is for {metric_for}, the task is {kind}")
        kind = metric_for
    names = tuple(label_names or _declared(part, columns))
    if len(set(names)) < len(names):
        raise TinybertError(
            f"label names {', '.join(names)} are not distinct: name each class once"
        )
    if kind is None:
        kind = "classification"
        if labels is not None and not names:
            kind = guess_kind(labels)
            notes.append(f"{kind}: column '{columns.label}' holds {len(labels.distinct)} values")
    if kind == "classification" and labels is not None:
        if not names:
            labels, said = merged(labels)
            notes += said
        with columns.about_label():
            found = names_of(labels, where)
        names = names or found
    if kind == "regression":
        names = ()
        if labels is not None and len(labels.distinct) == 1:
            with columns.about_label():
                raise TinybertError(
                    f"{where}: every label is {labels.distinct[0]}: nothing to learn from"
                )
    if metric == "f1" and len(names) > 2:
        raise TinybertError(f"metric 'f1' is for 2 classes, here are {len(names)}: take macro_f1")
    task = Task(
        name=title,
        kind=kind,
        label_names=names,
        metric=metric or default_metric(kind),
        text_columns=columns.text,
        label_column=columns.label,
    )
    return task, labels


def _declared(part: Part, columns: Columns) -> Sequence[str]:
    """The class names that the file itself gives."""
    return part.shards[0].label_names.get(columns.label or "", ())


def _has_column(part: Part, name: str) -> bool:
    """Whether any file of the part has it; one that alone lacks it is a fault to be told."""
    return any(name in shard.columns for shard in part.shards)


def _tell_positive(task: Task, notes: list[str]) -> None:
    if task.metric == "f1" and len(task.label_names) == 2 and are_words(task.label_names):
        notes.append(f"f1 counts for '{task.label_names[1]}'")


def _check_no_late_label(part: Part) -> None:
    """JSON rows may name a label that the first ones, by which columns are guessed, have not."""
    for shard in part.shards:
        for name, line in shard.late.items():
            if is_label_name(name):
                raise TinybertError(
                    f"{shard.name}: column '{name}' begins in {shard.unit} {line}, and the rows "
                    "before have no label: label all rows, or leave the column out"
                )


def _where(name: str, columns: Columns) -> str:
    return f"{name}, column '{columns.label}'"


def _rows(
    table: Table, columns: Columns, task: Task, labels: Labels | None, first: int | None = None
) -> Rows:
    """The rows; ``first`` as in :func:`class_numbers`."""
    if labels is None:
        return _made(table, task, None)
    where = _where(table.name, columns)
    found: NDArray[np.generic]
    with columns.about_label():
        check_missing(labels, table.places, where)
        if task.kind == "regression":
            found = values_of(labels, table.places, where)
        else:
            found = class_numbers(labels, task.label_names, table.places, where, first)
    return _made(table, task, found)


def _made(table: Table, task: Task, labels: NDArray[np.generic] | None) -> Rows:
    return (
        ranked_rows(table.texts, labels, table.name) if task.ranked else Rows(table.texts, labels)
    )


def _reported(
    part: Part,
    columns: Columns,
    task: Task,
    first: int | None,
    asked: bool,
    notes: list[str],
    reporter: Reporter | None,
) -> Rows | None:
    """The rows to report on; None for such as have no labels and were not asked for."""
    has_column = all(columns.label in shard.columns for shard in part.shards)
    table = None
    if columns.label is None or has_column:
        table = read_part(part, columns, "test", reporter)
        if columns.label is None or not table.is_unlabelled:
            return _rows(table, columns, task, table.labels, first)
    if asked:
        raise TinybertError(
            f"{part.name} has no labels in a column '{columns.label}' to report on: leave --test "
            "out, or name rows with labels"
        )
    notes.append(f"{part.name} has no labels: left out")
    return None


def tell_shared(train: Rows, dev: Rows | None, test: Rows | None, notes: list[str]) -> None:
    """Notes on texts that are in the training rows as well."""
    given = {"dev": dev, "test": test}
    if dev is None and test is None:
        return
    seen = text_hashes(train.texts)
    for name, rows in given.items():
        if rows is not None and (shared := int(np.isin(text_hashes(rows.texts), seen).sum())):
            notes.append(f"{shared} of {len(rows)} {name} texts are in the training rows as well")
