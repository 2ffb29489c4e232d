"""A task of sets of labels out of the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.files import check_different, other_part, tell_shared
from tinybert.tasks.reading.columns import Columns, check_column, choose_columns
from tinybert.tasks.reading.rows import Table, read_part
from tinybert.tasks.reading.sources import Part, PartName, open_source
from tinybert.tasks.sets.labels import SetColumn, Settled, TruthColumns, same_name
from tinybert.tasks.sets.metrics import SET_METRICS
from tinybert.tasks.splits import hold_out
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = ["read_sets", "read_sets_scored"]

Found = SetColumn | TruthColumns


def read_sets(
    train: str | Path,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 42,
    dev_share: float = 0.1,
    reporter: Reporter | None = None,
) -> TaskData:
    """Read texts with any number of labels each.

    The labels are in one column, as a list (JSON lines, Parquet) or as a text with ``;``, ``|`` or
    ``,`` between them, where nothing is no label; or in a column of 0 and 1 for each label
    (``true`` and ``false`` too), named with commas.

    Args:
        train, dev, test, text, seed, dev_share, reporter: as of :func:`tinybert.tasks.read_task`.
            Held out rows leave some with every label among the training rows.
        label: the column of labels, or all columns of 0 and 1.
        metric: one of :data:`~tinybert.tasks.sets.metrics.SET_METRICS`; by default the first.
        label_names: the labels in the order of the outputs; by default those of the training rows,
            sorted, or the columns in their order.

    Returns:
        The task; labels are (rows, labels) bool. Without a label column they are ``None``.

    Raises:
        TinybertError: whatever is wrong with the files or with what was asked.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    _check_metric(metric)
    source = open_source(train, reporter)
    notes = list(source.notes)
    train_part = source.part("train")
    dev_part = other_part(source, dev, "dev", notes, reporter)
    test_part = other_part(source, test, "test", notes, reporter)
    check_different({"train": train_part, "dev": dev_part, "test": test_part})
    columns, names = _columns(train_part, text, label, notes)
    table, found = _read(train_part, columns, names, "train", reporter)
    settled = None
    if found is not None:
        with replace(columns, label=names[0]).about_label():
            settled = found.settle(label_names, notes)
    task = _task(source.title, columns, names, settled, metric)
    rows = _rows(table, found, settled)
    if dev_part is None:
        kept, held_out = hold_out(rows, seed, dev_share, train_part.name)
        learned, chosen = rows.take(kept), rows.take(held_out)
        notes.append(f"no dev rows given: {len(chosen)} of {len(rows)} rows held out (seed {seed})")
    else:
        learned = rows
        chosen = _rows(*_read(dev_part, columns, names, "dev", reporter), settled)
    reported = None
    if test_part is not None:
        reported = _reported(test_part, columns, names, settled, test is not None, notes, reporter)
    tell_shared(learned, chosen if dev_part is not None else None, reported, notes)
    return TaskData(task, learned, chosen, reported, notes)


def read_sets_scored(
    path: str | Path,
    names: Sequence[str],
    *,
    text: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    reporter: Reporter | None = None,
) -> tuple[Task, Rows, list[str]]:
    """Read rows to score a model on, whose labels are the model's.

    Args:
        path: as of :func:`read_sets`; of several parts test, dev or train, whichever is first.
        names: the model's labels in the order of its outputs.
        text, metric, reporter: as of :func:`read_sets`.
        label: as there; by default columns that are called as the model's labels, else one whose
            name says that it holds labels.

    Raises:
        TinybertError: as :func:`read_sets`; a label that the model does not know.
    """
    _check_metric(metric)
    source = open_source(path, reporter)
    notes = list(source.notes)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    part = source.whole or next(source.parts[name] for name in order if name in source.parts)
    if source.whole is None:
        notes.append(f"scored on {part.name}")
    if label is None:
        own = [column for column in part.columns if any(same_name(column, n) for n in names)]
        if len(own) == len(names) > 1:
            label = ",".join(own)
            notes.append(f"label columns: {label}")
    columns, label_columns = _columns(part, text, label, notes)
    table, found = _read(part, columns, label_columns, "rows", reporter)
    settled = Settled(tuple(names))
    if isinstance(found, SetColumn):
        settled = found.settled_by(names)
    rows = _rows(table, found, settled)
    return _task(source.title, columns, label_columns, settled, metric), rows, notes


def _check_metric(metric: str | None) -> None:
    if metric is not None and metric not in SET_METRICS:
        raise TinybertError(
            f"metric '{metric}' does not score sets of labels: choose one of "
            f"{', '.join(SET_METRICS)}"
        )


def _columns(
    part: Part, text: str | None, label: str | None, notes: list[str]
) -> tuple[Columns, tuple[str, ...]]:
    """The text columns, and the label column or columns."""
    names: tuple[str, ...] = ()
    if label is not None:
        # A name with a comma in it is that column, if there is one.
        asked = [label] if label in part.columns else label.split(",")
        names = tuple(name.strip() for name in asked if name.strip())
        if not names or len(set(names)) < len(names):
            raise TinybertError(
                f"label columns '{label}': name one column, or several different ones"
            )
        for name in names:
            check_column(part, name, "label")
    columns = choose_columns(part, text, names[0] if names else None, notes, names[1:])
    if both := [name for name in names if name in columns.text]:
        raise TinybertError(f"column '{both[0]}' cannot be both text and label: name another")
    if not names and columns.label is not None:
        names = (columns.label,)
    return replace(columns, label=None), names


def _read(
    part: Part, columns: Columns, names: tuple[str, ...], what: str, reporter: Reporter | None
) -> tuple[Table, Found | None]:
    found: Found | None = None
    if len(names) > 1:
        found = TruthColumns(part.name, names)
    elif names:
        found = SetColumn(f"{part.name}, column '{names[0]}'")
    return read_part(part, columns, what, reporter, more=names, further=found), found


def _rows(table: Table, found: Found | None, settled: Settled | None) -> Rows:
    if found is None or settled is None:
        return Rows(table.texts, None)
    return Rows(table.texts, found.matrix(settled, table.places))


def _reported(
    part: Part,
    columns: Columns,
    names: tuple[str, ...],
    settled: Settled | None,
    asked: bool,
    notes: list[str],
    reporter: Reporter | None,
) -> Rows | None:
    """The rows to report on; None for such as have no labels and were not asked for."""
    if all(name in shard.columns for name in names for shard in part.shards):
        table, found = _read(part, columns, names, "test", reporter)
        if found is None or not found.unlabelled:
            return _rows(table, found, settled)
    if asked:
        raise TinybertError(
            f"{part.name} has no labels in {', '.join(names)} to report on: leave --test out, or "
            "name rows with labels"
        )
    notes.append(f"{part.name} has no labels: left out")
    return None


def _task(
    title: str,
    columns: Columns,
    names: tuple[str, ...],
    settled: Settled | None,
    metric: str | None,
) -> Task:
    return Task(
        name=title,
        kind="multi-label",
        label_names=() if settled is None else settled.names,
        metric=metric or SET_METRICS[0],
        text_columns=columns.text,
        label_column=",".join(names) or None,
    )
