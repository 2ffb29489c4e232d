"""Making one cell: a system's pre-training, a task's teacher, a student of a task."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedModel

from tinybert.batching import TokenRows, TrainingRows
from tinybert.corpus import is_corpus
from tinybert.evaluation import predict
from tinybert.jobs.augmented import augmented_rows, augmented_tokens
from tinybert.jobs.common import described, part_scores, short_stages, versions
from tinybert.jobs.finetune import run_finetune
from tinybert.jobs.general_corpus import Text, open_text_of
from tinybert.jobs.mlm import masking_of
from tinybert.jobs.reproduce.cells import (
    Cell,
    Prints,
    chosen_systems,
    copies_of,
    identity,
    kept,
    takes_copies,
)
from tinybert.jobs.reproduce.stages import (
    Planned,
    corpus_stage,
    given_of,
    plan_part,
    task_stages,
)
from tinybert.jobs.rows import TaskRows, calibration, task_rows
from tinybert.jobs.students import frozen
from tinybert.jobs.task_stages import with_targets
from tinybert.mapping import layer_mapping
from tinybert.progress import Reporter
from tinybert.projections import Projections
from tinybert.settings import DistillSettings, FinetuneSettings, MlmSettings, ReproduceSettings
from tinybert.stages import Run, Stage, StageResult, save_student
from tinybert.students import shape_of, start_student
from tinybert.students.shapes import Shape
from tinybert.systems import System, student_config, system_shape
from tinybert.tasks.glue.reader import HUB_NAME
from tinybert.teachers import Teacher, load_encoder, load_tokenizer

__all__ = ["TextSettings", "make_cell", "rows_of", "text_settings"]

GRID = tuple((batch, rate) for batch in (16, 32) for rate in (1e-5, 2e-5, 3e-5))
"""The paper's, section 4.2: batch size and learning rate of the last stage."""


def make_cell(
    settings: ReproduceSettings, prints: Prints, cell: Cell, reporter: Reporter
) -> dict[str, Any]:
    """Make a cell, or go on with one that was stopped; returns its results.

    Those are in ``results.json`` of its directory, ``cell`` among them.
    """
    if (found := kept(settings, prints, cell)) is not None:
        return found
    if cell.kind == "teacher":
        return _teacher_cell(settings, prints, cell, reporter)
    if cell.kind == "pretrained":
        return _Pretraining(settings, prints, cell, reporter).make()
    return _Student(settings, prints, cell, reporter).make()


# --- the teacher ----------------------------------------------------------------------------------


def _shared(settings: ReproduceSettings, cell: Cell) -> dict[str, Any]:
    return {
        "data": settings.data or HUB_NAME,
        "task": cell.task,
        "seed": cell.seed,
        "rows": settings.rows,
        "max_length": settings.max_length,
    }


def rows_of(settings: ReproduceSettings, cell: Cell, reporter: Reporter) -> TaskRows:
    """A task's rows as the seed splits them."""
    asked = FinetuneSettings(**_shared(settings, cell))
    return task_rows(asked, load_tokenizer(str(settings.teacher)), reporter)


def _teacher_cell(
    settings: ReproduceSettings, prints: Prints, cell: Cell, reporter: Reporter
) -> dict[str, Any]:
    assert settings.output is not None
    asked = FinetuneSettings(
        **_shared(settings, cell),
        model=settings.teacher,
        output=cell.place(settings.output),
        epochs=settings.teacher_epochs,
        learning_rate=settings.teacher_learning_rate,
        precision=settings.precision,
        attention=settings.attention,
        token_budget=settings.token_budget,
        resume=True,
    )
    return run_finetune(asked, reporter, {"cell": identity(settings, prints, cell)})


# --- students -------------------------------------------------------------------------------------


@dataclass
class _Making:
    """What pre-training and task have in common."""

    settings: ReproduceSettings
    prints: Prints
    cell: Cell
    reporter: Reporter

    def __post_init__(self) -> None:
        self.begun = time.perf_counter()
        self.path = str(self.settings.teacher)
        self.system = chosen_systems(self.settings)[self.cell.system]
        self.identity = identity(self.settings, self.prints, self.cell)
        assert self.settings.output is not None
        self.output = self.settings.output
        self.place = self.cell.place(self.output)
        self.tokenizer = load_tokenizer(self.path)
        self.place.parent.mkdir(parents=True, exist_ok=True)

    def open_run(self) -> Run:
        settings = self.settings
        return Run(
            self.place,
            self.identity,
            self.reporter,
            seed=settings.pretraining_seed if self.cell.kind == "pretrained" else self.cell.seed,
            resume=True,
            precision=settings.precision,
            teacher_precision=settings.teacher_precision,
            attention=settings.attention,
        )

    def start(self, run: Run, rows: TrainingRows, masked_lm: bool) -> Path:
        """The directory that a system's first stage takes."""
        teacher = load_encoder(self.path, masked_lm=masked_lm)
        system = self.system

        def make(directory: Path) -> None:
            model, projections = started(system, teacher, rows, run.seed, masked_lm)
            save_student(directory, model, self.tokenizer, projections)

        return run.made("start", make)

    def figures(
        self, run: Run, planned: Sequence[Planned], model: PreTrainedModel
    ) -> dict[str, Any]:
        shape = system_shape(self.system, shape_of(load_encoder(self.path).config))
        return {
            "system": self.system.name,
            "shape": str(shape),
            "student": described(model, None),
            "flops": sum(each.flops for each in planned),
            "tokens": sum(each.tokens for each in planned),
            "stages": short_stages(run.finished),
            "seconds": round(time.perf_counter() - self.begun, 1),
            "threads": torch.get_num_threads(),
            "cell": self.identity,
            "versions": versions(),
        }


class _Pretraining(_Making):
    def make(self) -> dict[str, Any]:
        run = self.open_run()
        asked = text_settings(self.settings)
        text = open_text_of(run, asked, self.tokenizer, self.reporter)
        config = load_encoder(self.path).config
        planned = plan_part(self.settings, self.system, "corpus", config, text.blocks, text.tokens)
        first = self.start(run, text.train, planned[0].step.masked)
        masking = None
        if any(each.step.masked for each in planned):
            masking = masking_of(MlmSettings(model=self.path), self.tokenizer, self.path)
        result = StageResult(first)
        for each in planned:  # one teacher in memory at a time
            teacher = self.teacher(run, each, first, text) if each.objective.teacher_taps else None
            stage = corpus_stage(self.settings, each, text, masking, teacher)
            result = run.run(stage, result.directory)
        losses = {
            record["name"]: [
                {k: v for k, v in entry.items() if k.startswith("eval_")}
                for entry in record["log"]
                if any(k.startswith("eval_") for k in entry)
            ]
            for record in run.finished
        }
        results = self.figures(run, planned, load_encoder(result.directory))
        results["held_out"] = losses
        run.finish(result, {"results.json": results})
        return results

    def teacher(self, run: Run, planned: Planned, student: Path, text: Text) -> Teacher:
        """What the objective reads, no deeper than that."""
        masked = planned.step.masked
        model = load_encoder(self.path, masked_lm=masked)
        found = frozen(run, model, None, student, text.train, planned.batch_size)
        if not masked:
            found.only_as_deep_as(planned.objective.teacher_taps.depth)
        return found


@dataclass
class TextSettings:
    corpus: list[str]
    text: str | None
    max_length: int | None
    held_out: int
    seed: int


def text_settings(settings: ReproduceSettings) -> TextSettings:
    """What is asked of the text; blocks of a built corpus are as they are."""
    built = any(is_corpus(Path(name).expanduser()) for name in settings.corpus)
    length = None if built else settings.max_length
    return TextSettings(settings.corpus, None, length, settings.held_out, settings.pretraining_seed)


class _Student(_Making):
    def make(self) -> dict[str, Any]:
        settings, system = self.settings, self.system
        rows = rows_of(settings, self.cell, self.reporter)
        run = self.open_run()
        originals = rows.counts()
        if takes_copies(settings, system):
            rows = self.with_copies(run, rows)
        regression = rows.task.kind == "regression"
        teacher_place = Cell("teacher", "BERT_BASE", self.cell.task, self.cell.seed).place(
            self.output
        )
        model = load_encoder(teacher_place, labels=rows.task.label_names, regression=regression)
        if system.corpus_steps:
            first = Cell("pretrained", self.cell.system).place(self.output)
        else:
            first = self.start(run, rows.train, masked_lm=False)
        tokens = float(rows.train.lengths.sum())
        planned = plan_part(
            settings, system, "task", model.config, len(rows.train), tokens, regression
        )
        teacher = frozen(run, model, self.tokenizer, first, rows.train, planned[0].batch_size)
        if not regression:
            teacher.speak_labels(rows.task.label_names)

        def targets() -> TokenRows:
            return with_targets(run, teacher, rows.train, self.reporter)

        stages = task_stages(settings, planned, rows, teacher, targets, system, self.cell.seed)
        before = run.run_all(stages[:-1], first)
        result, tried = self.last(run, stages[-1], before)
        student = load_encoder(
            result.directory, labels=rows.task.label_names, regression=regression
        )
        student.to(run.device)
        metric = rows.task.metric
        logits = {name: predict(student, part) for name, part in rows.reported.items()}
        results = self.figures(run, planned, student) | {
            "metric": metric,
            "scores": part_scores(metric, logits, rows.reported),
            "dev": result.record["best"],
            "rows": originals,
            "trained_rows": len(rows.train),
            "grid": tried,
        }
        results["flops"] += planned[-1].flops * max(0, len(tried) - 1)
        run.finish(result, {"results.json": results}, weights=settings.keep_models)
        return results

    def with_copies(self, run: Run, rows: TaskRows) -> TaskRows:
        """The training rows with their augmented copies."""
        directory = copies_of(self.settings, self.cell.task, self.cell.seed)
        manifest = augmented_rows(directory, rows, self.reporter)
        assert manifest is not None
        asked = DistillSettings(augment=directory, max_length=self.settings.max_length)
        tokens = augmented_tokens(run, asked, manifest, rows, self.tokenizer)
        return replace(rows, train=tokens)

    def last(
        self, run: Run, stage: Stage, before: StageResult
    ) -> tuple[StageResult, list[dict[str, Any]]]:
        """The last stage; with ``grid`` the best on the dev rows of several."""
        if not self.settings.grid:
            return run.run(stage, before.directory), []
        found = []
        read = stage.schedule.total_steps(len(stage.rows)) * stage.schedule.batch_size
        for batch, rate in GRID:
            schedule = replace(
                stage.schedule,
                batch_size=batch,
                learning_rate=rate,
                steps=max(1, round(read / batch)),
            )
            named = replace(stage, name=f"{stage.name}-{batch}-{rate:g}", schedule=schedule)
            found.append((run.run(named, before.directory), batch, rate))

        def score(result: StageResult) -> float:
            value = result.record["best"]["value"]
            return -float("inf") if value is None else float(value)

        best = max(found, key=lambda each: score(each[0]))[0]
        return best, [
            {"batch_size": batch, "learning_rate": rate, "dev": score(result)}
            for result, batch, rate in found
        ]


def started(
    system: System,
    teacher: PreTrainedModel,
    rows: TrainingRows,
    seed: int,
    masked_lm: bool,
) -> tuple[PreTrainedModel, Projections | None]:
    """A system's student before its first stage, and its projections where it learns any."""
    config = student_config(system, teacher.config)
    given = given_of(system, config, teacher.config)
    projected = any(o.needs_projections for s in system.steps for o in s.objectives(given))
    projections = None
    torch.manual_seed(seed)
    if projected:
        projections = Projections(
            config.hidden_size, teacher.config.hidden_size, config.num_hidden_layers
        )
    shape = system_shape(system, shape_of(teacher.config))
    if not isinstance(shape, Shape):
        kind = AutoModelForMaskedLM if masked_lm else AutoModel
        return kind.from_config(config).to(torch.float32), projections  # type: ignore[no-untyped-call]
    start = {"first": "layers"}.get(system.start, system.start)
    mapping = given.mapping
    if system.start == "first":
        mapping = layer_mapping("bottom", shape.layers, teacher.config.num_hidden_layers)
    model = start_student(
        teacher,
        shape,
        start=start,
        mapping=mapping,
        projections=projections,
        calibration=calibration(rows, seed) if start == "pca" else None,
        seed=seed,
    )
    return model, projections
