"""What a reproduction will do and take, before it does it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tinybert.jobs.augmented import augmented_rows
from tinybert.jobs.general_corpus import sample_text
from tinybert.jobs.reproduce.cells import Cell, chosen_systems, copies_of, takes_copies
from tinybert.jobs.reproduce.make import GRID, rows_of, text_settings
from tinybert.jobs.reproduce.stages import Planned, plan_part
from tinybert.measure.latency import longest_input
from tinybert.processes import this_device
from tinybert.progress import Reporter, duration
from tinybert.settings import ReproduceSettings
from tinybert.students.shapes import shape_of
from tinybert.systems import system_shape
from tinybert.systems.compute import forward_flops
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.teachers import load_encoder, load_tokenizer

__all__ = ["Plan", "make_plan", "show_plan"]

MEASURED_ROWS, MEASURED_LENGTH = 16, 64


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        stages: (system, task or "corpus") → its stages, of the first seed's rows.
        seconds: what each cell will take, about.
    """

    stages: Mapping[tuple[str, str], list[Planned]]
    seconds: Mapping[Cell, float]

    def total(self, cells: Iterable[Cell], jobs: int) -> float:
        """Seconds of some cells."""
        return sum(self.seconds[cell] for cell in cells) / jobs


def make_plan(
    settings: ReproduceSettings, cells: Mapping[Cell, Any], tasks: list[str], reporter: Reporter
) -> Plan:
    """Count the arithmetic of every cell, and turn it into seconds by a short measurement.

    Raises:
        TinybertError: rows or text cannot be read, or do not fit.
    """
    systems = chosen_systems(settings)
    teacher = load_encoder(str(settings.teacher))
    tokenizer = load_tokenizer(str(settings.teacher))
    config = teacher.config
    stages: dict[tuple[str, str], list[Planned]] = {}
    tuning: dict[str, float] = {}
    for task in tasks:
        rows = rows_of(settings, Cell("teacher", "BERT_BASE", task, settings.seed), reporter)
        count, tokens = len(rows.train), float(rows.train.lengths.sum())
        length = max(1, round(tokens / count))
        tuning[task] = 3 * forward_flops(config, length) * tokens * settings.teacher_epochs
        for system in (each for each in systems.values() if not each.is_teacher):
            times = 1.0
            if takes_copies(settings, system):
                place = copies_of(settings, task, settings.seed)
                manifest = augmented_rows(place, rows, Reporter(quiet=True))
                assert manifest is not None
                times = manifest.counts.total / count
            stages[system.name, task] = plan_part(
                settings,
                system,
                "task",
                config,
                round(times * count),
                times * tokens,
                rows.task.kind == "regression",
            )
    if any(cell.kind == "pretrained" for cell in cells):
        text = sample_text(text_settings(settings), tokenizer, reporter)
        for system in systems.values():
            if system.corpus_steps:
                stages[system.name, "corpus"] = plan_part(
                    settings, system, "corpus", config, text.blocks, text.tokens
                )
    rate = _operations_a_second(teacher, settings)
    seconds = {}
    for cell in cells:
        if cell.kind == "teacher":
            operations = tuning[cell.task]
        else:
            where = cell.task if cell.kind == "student" else "corpus"
            planned = stages[cell.system, where]
            operations = sum(each.flops for each in planned)
            if settings.grid and cell.kind == "student":
                operations += (len(GRID) - 1) * planned[-1].flops
        seconds[cell] = operations / rate
    return Plan(stages, seconds)


def _operations_a_second(teacher: Any, settings: ReproduceSettings) -> float:
    """Of the teacher's passes in one process of as many as there will be, about."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // settings.jobs))
    length = min(MEASURED_LENGTH, longest_input(teacher) or MEASURED_LENGTH)
    teacher.to(this_device())
    ids = torch.full((MEASURED_ROWS, length), 5, device=teacher.device)
    taken = []
    try:
        for _ in range(3):
            begun = time.perf_counter()
            loss = teacher(input_ids=ids).last_hidden_state.mean()
            loss.backward()
            loss.item()  # waits for the device
            taken.append(time.perf_counter() - begun)
            teacher.zero_grad(set_to_none=True)
    finally:
        torch.set_num_threads(threads)
    operations = 3 * forward_flops(teacher.config, length) * ids.numel()
    return float(operations / min(taken))


def show_plan(
    settings: ReproduceSettings, plan: Plan, missing: list[Cell], reporter: Reporter
) -> None:
    """The plan as two tables and a line."""
    systems = chosen_systems(settings)
    teacher = shape_of(load_encoder(str(settings.teacher)).config)
    lines = []
    for (name, where), stages in plan.stages.items():
        title = where if where == "corpus" else find_glue_task(where).title
        for each in stages:
            lines.append(
                [
                    name,
                    str(system_shape(systems[name], teacher)),
                    title,
                    each.name,
                    f"{each.steps:,} x {each.batch_size}",
                    f"{each.learning_rate:g}",
                    f"{each.flops / 1e12:.3g}",
                ]
            )
    reporter.table(
        f"plan ({settings.scale} scale)",
        ["system", "shape", "on", "stage", "steps", "learning rate", "TFLOP"],
        lines,
    )
    starved = {
        name for (name, _), stages in plan.stages.items() if any(s.steps == 1 for s in stages)
    }
    if starved and settings.scale == "small":
        reporter.say(
            f"NOTE: {', '.join(sorted(starved))} {'has' if len(starved) == 1 else 'have'} a stage "
            "of one step: --corpus-flops or --task-flops is too little to compare anything"
        )
    for cell in missing[:3]:
        reporter.say(f"{cell.title}: about {duration(plan.seconds[cell])}")
    total = plan.total(missing, settings.jobs)
    reporter.say(
        f"{len(missing)} cells to make, about {duration(total)} in all with {settings.jobs} at a "
        "time"
    )
