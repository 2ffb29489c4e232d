"""``tinybert reproduce``: the plan first, then cell after cell, and the tables anew after each.

The output directory grows. A finished cell is kept and never made again; the same command goes on
where it was stopped, cells that were under way included.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.jobs.common import required, versions
from tinybert.jobs.general_corpus import sample_text
from tinybert.jobs.glue import tasks_in
from tinybert.jobs.reproduce.cells import Cell, Prints, all_cells, chosen_systems, kept
from tinybert.jobs.reproduce.inputs import check_settings, fixed_choices, prints_of, text_of
from tinybert.jobs.reproduce.make import rows_of, text_settings
from tinybert.jobs.reproduce.plan import Plan, make_plan, show_plan
from tinybert.jobs.reproduce.pool import make_cells
from tinybert.jobs.reproduce.speed import speed_of
from tinybert.jobs.reproduce.tables import summary, table, write_tables
from tinybert.outputs import check_output
from tinybert.progress import Reporter, duration
from tinybert.settings import ReproduceSettings
from tinybert.students.shapes import Shape, shape_of
from tinybert.systems import System
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.glue.reader import HUB_NAME
from tinybert.teachers import load_encoder, load_tokenizer
from tinybert.work import Hold, check_apart

__all__ = ["run_reproduce"]


def run_reproduce(settings: ReproduceSettings, reporter: Reporter) -> dict[str, Any]:
    """Make what is not there yet; returns what ``results.json`` holds, or of an ablation
    ``ablation-NAME.json``.

    Raises:
        TinybertError: what is asked makes no sense; rows, text or teacher cannot be read; or, at
            the end, cells that failed, all others kept.
    """
    required(settings.teacher, "--teacher", "the teacher")
    output = Path(required(settings.output, "--output", "the output directory"))
    check_output(output, overwrite=True)  # finished cells are in it
    check_apart(output, teacher=settings.teacher, data=settings.data)
    settings = replace(settings, output=output)
    chosen_systems(settings)  # refuses names that there are not
    tasks = [find_glue_task(name).name for name in settings.tasks]
    tasks = tasks or tasks_in(settings.data or HUB_NAME)
    if len(set(tasks)) < len(tasks):
        raise TinybertError(f"--tasks {' '.join(settings.tasks)} names a task twice.")
    check_settings(settings)
    cells = all_cells(settings, tasks)
    prints = prints_of(settings, cells, tasks, reporter)
    found = {c: results for c in cells if (results := kept(settings, prints, c)) is not None}
    missing = [cell for cell in cells if cell not in found]
    plan = make_plan(settings, cells, tasks, reporter)
    if found:
        reporter.say(f"{len(found)} cells are finished already")
    show_plan(settings, plan, missing, reporter)
    if settings.dry_run:
        return {
            "cells": [{**asdict(c), "seconds": plan.seconds[c]} for c in missing],
            "seconds": plan.total(missing, settings.jobs),
        }
    output.mkdir(parents=True, exist_ok=True)
    hold = Hold(output)  # of two commands each would count the other's cells as lost
    try:
        return _made(settings, prints, cells, found, plan, reporter)
    finally:
        hold.release()


def _made(
    settings: ReproduceSettings,
    prints: Prints,
    cells: Mapping[Cell, tuple[Cell, ...]],
    found: dict[Cell, dict[str, Any]],
    plan: Plan,
    reporter: Reporter,
) -> dict[str, Any]:
    """Make what is missing, and write the tables anew after each cell."""
    output = settings.output
    assert output is not None
    systems = chosen_systems(settings)
    missing = [cell for cell in cells if cell not in found]
    asked = settings
    settings = text_of(settings, prints, reporter)
    settings = _chosen(settings, cells, reporter)
    failures: dict[Cell, str] = {}
    # Systems and ablations may share a directory, and so the cells of the whole method.
    name = "results" if settings.ablation == "none" else f"ablation-{settings.ablation}"
    begun = time.perf_counter()
    planned = plan.total(missing, 1)

    def tables(speed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        results = {
            **summary(systems, found, failures, speed),
            "notes": _notes(settings, systems),
            "seconds": round(sum(each["seconds"] for each in found.values()), 1),
            "settings": json.loads(json.dumps(asdict(asked), default=str)),
            "versions": versions(),
        }
        write_tables(results, output, name)
        return results

    def done(cell: Cell, results: dict[str, Any]) -> None:
        found[cell] = results
        tables()
        waiting = [c for c in missing if c not in found and c not in failures]
        left = plan.total(waiting, 1)
        ahead = left * (time.perf_counter() - begun) / max(1e-9, planned - left)
        reporter.say(
            f"{cell.title}: {_told(cell, results)} ({duration(results['seconds'])}; "
            f"{len(found)} of {len(cells)} cells, about {duration(ahead)} left)"
        )

    def failed(cell: Cell, reason: str) -> None:
        failures[cell] = reason
        reporter.say(f"{cell.title} FAILED: {reason}")

    make_cells(settings, prints, cells, set(found), reporter, done, failed)
    # At the end: cells that are made beside a measurement would blur it.
    results = tables(speed_of(systems, str(settings.teacher), output, reporter))
    head, lines = table(results)
    reporter.table("GLUE dev sets, scores x 100", head, lines)
    for note in results["notes"]:
        reporter.say(f"NOTE: {note}")
    reporter.say(f"tables and cells are in {output}")
    if failures:
        cell, reason = next(iter(failures.items()))
        raise TinybertError(
            f"{len(failures)} of {len(cells)} cells failed, first {cell.title}: {reason} All "
            "others are kept; the same command tries these again."
        )
    return results


def _told(cell: Cell, results: dict[str, Any]) -> str:
    if cell.kind == "pretrained":
        return f"{results['flops'] / 1e12:.3g} TFLOP"
    scores = results["student"]["scores"] if cell.kind == "teacher" else results["scores"]
    return f"{results['metric']} {100 * scores['test'][results['metric']]:.1f}"


def _chosen(
    settings: ReproduceSettings, cells: Iterable[Cell], reporter: Reporter
) -> ReproduceSettings:
    """Precision and attention by one measurement for all cells."""
    if settings.corpus:
        tokenizer = load_tokenizer(str(settings.teacher))
        rows = sample_text(text_settings(settings), tokenizer, reporter).held_out
    else:
        first = next(cell for cell in cells if cell.kind == "teacher")
        rows = rows_of(settings, first, Reporter(quiet=True)).dev
    choices = fixed_choices(settings, rows)
    reporter.say(
        f"computing in {choices.precision} with {choices.attention} attention, the teacher in "
        f"{choices.teacher_precision} ({choices.reason})"
    )
    chosen: Any = {
        "precision": choices.precision,
        "teacher_precision": choices.teacher_precision,
        "attention": choices.attention,
    }
    return replace(settings, **chosen)


def _notes(settings: ReproduceSettings, systems: dict[str, System]) -> list[str]:
    """What a reader of the table has to know."""
    teacher = shape_of(load_encoder(str(settings.teacher)).config)
    notes = [
        f"BERT_BASE stands for the teacher at hand, {settings.teacher} ({teacher}), fine-tuned "
        "for each task and seed.",
        "Scores are of the official dev sets; weights were chosen on a part of the training rows.",
        "Speed-ups are over the teacher: one sequence of 128 tokens, PyTorch float32, processor.",
        "All seeds of a system share one pre-training: spreads and intervals leave its chance out. "
        "The paper's share is of the average over its nine test columns.",
    ]
    if settings.scale == "small":
        notes.append(
            f"Systems with stages on the corpus had {settings.corpus_flops} operations there, and "
            f"every system {settings.task_flops} on each task and seed (ablations: the steps of "
            "the whole method). Learning rates and batches are for small scale and were not tuned "
            "for each system; TinyBERT's λ of attention is 0.1, not the paper's 1."
        )
    if settings.head == "teacher":
        notes.append(
            "Heads that learn the teacher's answers, on states that come from it, start from its "
            "own, fitted to these answers; other regression heads at the mean of the labels. The "
            "papers start all of them at random."
        )
    if teacher != Shape(12, 768, 3072, 12):
        notes.append("Sizes are not the paper's: the teacher has another shape than BERT_BASE.")
    notes += [f"{s.name}: {s.note}" for s in systems.values() if s.note]
    if settings.augment is None and any(s.augmented for s in systems.values()):
        notes.append("TinyBERT's systems learned without augmented rows, which the paper's had.")
    return notes
