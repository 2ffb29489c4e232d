"""GLUE's tasks as data to learn from and to report on.

The labels of the official test sets are not public. So the official dev set is what is reported,
as in the literature, and the rows to choose a model on are held out of the training rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinybert.errors import TinybertError
from tinybert.progress import Reporter, Tracker
from tinybert.tasks.glue.facts import DIAGNOSTIC, TRAIN, GlueTask, Part, find_glue_task
from tinybert.tasks.glue.sources import HUB_NAME, IndexedRows, Source, open_source
from tinybert.tasks.splits import hold_out
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = ["HUB_NAME", "MOST_DEV_ROWS", "read_glue", "read_glue_dev", "read_glue_test"]

MOST_DEV_ROWS = 2_000
"""Rows held out at most: a score on so many has a standard error of about a point."""


def read_glue(
    name: str,
    where: str | Path = HUB_NAME,
    *,
    seed: int = 42,
    dev_share: float = 0.1,
    rows: int | None = None,
    reporter: Reporter | None = None,
) -> TaskData:
    """A task of GLUE: rows to learn from, rows to choose a model on, the official dev set.

    ``train`` is the official training set less ``dev``, which is held out of it; ``test`` is the
    official dev set, for MNLI its matched half, with the other one in ``extra["mismatched"]``.
    ``notes`` says so, with the numbers of rows and what is odd about them.

    Args:
        name: of the task, in any usual spelling (``sst-2``, ``SST-2``, ``sst2``).
        where: the task's directory with the original files, the directory that holds it, or the
            name of a data set on the Hub.
        seed: of the sample and of the rows held out.
        dev_share: share of the training rows to hold out, :data:`MOST_DEV_ROWS` at most.
        rows: take a sample of that many training rows, of which some are then held out.
        reporter: tells progress.

    Raises:
        TinybertError: no such task, no such data, or data in another layout than GLUE's.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    if rows is not None and rows < 2:
        raise TinybertError(f"{rows} training rows are too few: give 2 or more")
    task = find_glue_task(name)
    source = open_source(task, where)
    with (reporter or Reporter(quiet=True)).track(
        1 + len(task.dev), f"reading {task.title}", unit="parts"
    ) as progress:
        train = _needed(source, task, TRAIN, where)
        progress.advance()
        extra = _dev_parts(source, task, where, progress)
    test = extra.pop("test")
    notes = source.notes
    official = len(train)
    if rows is not None and rows < official:
        drawn = np.random.default_rng(seed).choice(official, rows, replace=False)
        train = train.take(np.sort(drawn))
        notes.append(f"{rows:,} of {official:,} training rows drawn (seed {seed})")
    kept, held_out = hold_out(train, seed, min(dev_share, MOST_DEV_ROWS / len(train)), where)
    notes.append(
        f"no labels of {task.title}'s official test set are public: {len(held_out):,} of "
        f"{len(train):,} training rows held out to choose on (seed {seed}), and GLUE's "
        f"{_told(task.dev[0])} reported ({len(test):,} rows)"
    )
    notes += [
        f"GLUE's {_told(part)} reported as '{part.name}' ({len(extra[part.name]):,} rows)"
        for part in task.dev
        if part.name in extra
    ]
    return TaskData(task.task, train.take(kept), train.take(held_out), test, notes, extra)


def read_glue_dev(
    name: str, where: str | Path = HUB_NAME, *, reporter: Reporter | None = None
) -> tuple[Task, dict[str, Rows]]:
    """The official dev rows of a task alone, to score a model on; training rows are not needed.

    Args:
        name: of the task, as for :func:`read_glue`.
        where: as for :func:`read_glue`.
        reporter: tells progress, and what is odd about the rows.

    Returns:
        The task, and part name → rows: ``test``, the official dev set, as :func:`read_glue` calls
        it; for MNLI its matched half, with ``mismatched`` beside it where that is there.

    Raises:
        TinybertError: as :func:`read_glue`; the official dev set is missing.
    """
    task = find_glue_task(name)
    source = open_source(task, where)
    reporter = reporter or Reporter(quiet=True)
    with reporter.track(len(task.dev), f"reading {task.title}", unit="parts") as progress:
        found = _dev_parts(source, task, where, progress)
    for note in source.notes:
        reporter.say(note)
    return task.task, found


def read_glue_test(
    name: str, where: str | Path = HUB_NAME, *, reporter: Reporter | None = None
) -> dict[str, IndexedRows]:
    """The official test sets of a task, without labels, as the leaderboard asks for them.

    Args:
        name: of the task, as for :func:`read_glue`.
        where: as for :func:`read_glue`.
        reporter: tells progress.

    Returns:
        Part name → rows: ``test``; for MNLI ``matched``, ``mismatched`` and, where GLUE's
        diagnostic set is there, ``diagnostic``.

    Raises:
        TinybertError: as :func:`read_glue`; an official part is missing.
    """
    task = find_glue_task(name)
    source = open_source(task, where)
    found: dict[str, IndexedRows] = {}
    parts = (*task.tests, DIAGNOSTIC) if task.name == "mnli" else task.tests
    with (reporter or Reporter(quiet=True)).track(
        len(parts), f"reading {task.title}", unit="parts"
    ) as progress:
        for part in parts:
            rows = source.unlabelled(part)
            if rows is not None:
                found[part.name] = rows
            elif part is not DIAGNOSTIC:
                raise _missing(task, part, where)
            progress.advance()
    return found


def _dev_parts(
    source: Source, task: GlueTask, where: str | Path, progress: Tracker
) -> dict[str, Rows]:
    """The official dev set as ``test``, and further dev parts that are there by their names."""
    found = {"test": _needed(source, task, task.dev[0], where)}
    progress.advance()
    for part in task.dev[1:]:
        rows = source.labelled(part)
        if rows is None:
            source.notes.append(f"no {part.file}: nothing is reported on {part.name} rows")
        else:
            found[part.name] = rows
        progress.advance()
    return found


def _needed(source: Source, task: GlueTask, part: Part, where: str | Path) -> Rows:
    rows = source.labelled(part)
    if rows is None:
        raise _missing(task, part, where)
    return rows


def _missing(task: GlueTask, part: Part, where: str | Path) -> TinybertError:
    return TinybertError(
        f"{where} has no {part.file} (on the Hub: {part.split}) of {task.title}: download the "
        f"task whole, or give {HUB_NAME}"
    )


def _told(part: Part) -> str:
    return "dev set" if part.name == "dev" else f"{part.name} dev set"
