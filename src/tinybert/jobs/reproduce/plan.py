"""What a reproduction will do and take, before it does it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tinybert.batching import TrainingRows
from tinybert.choices import Choices, choose
from tinybert.corpus import build_corpus, find_sources, is_corpus
from tinybert.corpus.build import build_directory
from tinybert.errors import TinybertError
from tinybert.jobs.general_corpus import Text, check_corpus, sample_text
from tinybert.jobs.reproduce.cells import Cell, chosen_systems
from tinybert.jobs.reproduce.make import TextSettings, given_of, rows_of
from tinybert.jobs.reproduce.stages import Planned, plan_corpus, plan_task
from tinybert.progress import Reporter, duration
from tinybert.quantities import parse_count
from tinybert.settings import ReproduceSettings
from tinybert.students import start_student
from tinybert.students.shapes import Shape, shape_of
from tinybert.systems import student_config, system_shape
from tinybert.systems.compute import forward_flops
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.teachers import has_head, has_masked_lm_head, load_encoder, load_tokenizer

__all__ = ["Plan", "check_settings", "fixed_choices", "make_plan", "text_of"]

MEASURED_ROWS, MEASURED_LENGTH = 16, 64


def check_settings(settings: ReproduceSettings) -> None:
    """Refuse, before anything is read, what cannot be run.

    Raises:
        TinybertError: amounts that make no sense; a teacher without an output head where a system
            needs one; a teacher of a task; no corpus where a system needs one.
    """
    parse_count(settings.corpus_flops, "--corpus-flops")
    parse_count(settings.task_flops, "--task-flops")
    path = str(settings.teacher)
    load_tokenizer(path)
    if has_head(path):
        raise TinybertError(
            f"{path} is fine-tuned for a task, and students are pre-trained from a plain encoder: "
            "give that one; it is fine-tuned for each task here."
        )
    systems = [s for s in chosen_systems(settings).values() if not s.is_teacher]
    needing = [s.name for s in systems if s.needs_output_head]
    if needing and not has_masked_lm_head(path):
        raise TinybertError(
            f"{' and '.join(needing)} learn from the teacher's guesses of masked tokens, and "
            f"{path} has no output head: make one with `tinybert mlm`, or leave them out of "
            "--systems."
        )
    if not settings.corpus and (learning := [s.name for s in systems if s.corpus_steps]):
        raise TinybertError(
            f"{', '.join(learning)} are pre-trained on text: give it with --corpus, or choose "
            "others with --systems."
        )
    if systems and shape_of(load_encoder(path).config).layers < 3:
        raise TinybertError(f"{path} has fewer than three layers: there is no third of it.")


def text_of(settings: ReproduceSettings, reporter: Reporter) -> ReproduceSettings:
    """The settings with a built corpus: raw text is tokenized once, for all systems."""
    if not settings.corpus or settings.dry_run:
        return settings
    if any(is_corpus(Path(name).expanduser()) for name in settings.corpus):
        return settings
    assert settings.output is not None
    place = settings.output / "corpus"
    if not is_corpus(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        build_corpus(
            find_sources(settings.corpus, None),
            load_tokenizer(str(settings.teacher)),
            place,
            max_length=settings.max_length,
            reporter=reporter,
            resume=build_directory(place).exists(),
        )
    return replace(settings, corpus=[str(place)])


def fixed_choices(settings: ReproduceSettings, rows: TrainingRows) -> tuple[Choices, str]:
    """Precision and attention for all cells alike: measured once, kept beside them."""
    teacher = load_encoder(str(settings.teacher))
    layers = teacher.config.num_hidden_layers
    config = shape_of(teacher.config)
    student = start_student(
        teacher,
        Shape(max(1, layers // 3), config.hidden, config.intermediate, config.heads),
        start="random",
        mapping=tuple(range(1, max(1, layers // 3) + 1)),
    )
    assert settings.output is not None
    settings.output.mkdir(parents=True, exist_ok=True)
    found = choose(
        settings.output / "choices.json",
        student,
        rows,
        precision=settings.precision,
        teacher_precision=settings.teacher_precision,
        attention=settings.attention,
    )
    return found, found.reason


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        stages: (system, task or "corpus") → its stages, of the first seed's rows.
        seconds: what each cell will take, about.
    """

    stages: Mapping[tuple[str, str], list[Planned]]
    seconds: Mapping[Cell, float]

    def total(self, jobs: int) -> float:
        """Seconds of all cells."""
        return sum(self.seconds.values()) / jobs


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
    stages: dict[tuple[str, str], list[Planned]] = {}
    text: Text | None = None
    if any(cell.kind == "pretrained" for cell in cells):
        asked = TextSettings(settings.corpus, None, None, settings.held_out, settings.seed)
        check_corpus(asked, teacher, tokenizer, reporter)
        text = sample_text(asked, tokenizer, reporter)
    tuning: dict[str, float] = {}
    for task in tasks:
        rows = rows_of(settings, Cell("teacher", "BERT_BASE", task, settings.seed), reporter)
        tokens = float(rows.train.lengths.sum())
        length = max(1, round(tokens / len(rows.train)))
        tuning[task] = 3 * forward_flops(teacher.config, length) * tokens * settings.teacher_epochs
        for system in systems.values():
            if system.is_teacher:
                continue
            config = student_config(system, teacher.config)
            given = given_of(system, config, teacher.config, rows.task.kind == "regression")
            stages[system.name, task] = plan_task(
                settings, system, given, config, teacher.config, len(rows.train), tokens
            )
    for system in systems.values():
        if system.corpus_steps and text is not None:
            config = student_config(system, teacher.config)
            given = given_of(system, config, teacher.config)
            stages[system.name, "corpus"] = plan_corpus(
                settings, system, given, config, teacher.config, text.blocks, text.tokens
            )
    rate = _operations_a_second(teacher, settings)
    seconds = {}
    for cell in cells:
        if cell.kind == "teacher":
            operations = tuning[cell.task]
        else:
            where = cell.task if cell.kind == "student" else "corpus"
            operations = sum(each.flops for each in stages[cell.system, where])
        seconds[cell] = operations / rate
    return Plan(stages, seconds)


def _operations_a_second(teacher: Any, settings: ReproduceSettings) -> float:
    """Of the teacher's passes in one process of as many as there will be, about."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // settings.jobs))
    ids = torch.full((MEASURED_ROWS, MEASURED_LENGTH), 5)
    taken = []
    try:
        for _ in range(3):
            begun = time.perf_counter()
            teacher(input_ids=ids).last_hidden_state.mean().backward()
            taken.append(time.perf_counter() - begun)
            teacher.zero_grad(set_to_none=True)
    finally:
        torch.set_num_threads(threads)
    operations = 3 * forward_flops(teacher.config, MEASURED_LENGTH) * ids.numel()
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
    total = sum(plan.seconds[cell] for cell in missing) / settings.jobs
    reporter.say(
        f"{len(missing)} cells to make, about {duration(total)} in all with {settings.jobs} at a "
        "time"
    )
