"""Task distillation: intermediate layers, then the prediction layer (TinyBERT, section 3.2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.evaluation import held_out_losses, predict, task_scores
from tinybert.jobs.common import (
    Begun,
    TaskRows,
    begin_student,
    calibration,
    check_student,
    described,
    frozen,
    open_run,
    plain_settings,
    required,
    retention,
    short_stages,
    student_print,
    task_rows,
    versions,
)
from tinybert.measure.latency import check_length
from tinybert.objectives import prediction_objective
from tinybert.progress import Reporter
from tinybert.projections import Projections
from tinybert.settings import DistillSettings
from tinybert.stages import Run, Stage
from tinybert.students import fit_heads
from tinybert.tasks.metrics import agreement, compute, default_metric
from tinybert.tasks.task import Task
from tinybert.teachers import (
    Teacher,
    aligned_labels,
    cached_logits,
    fingerprint,
    has_head,
    head_labels,
    load_encoder,
    load_tokenizer,
)
from tinybert.training import Schedule

__all__ = ["distillation_stages", "run_distill"]


def run_distill(settings: DistillSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil a task student from a fine-tuned teacher; returns what ``results.json`` holds."""
    begun = time.perf_counter()
    path = required(settings.teacher, "--teacher", "the teacher")
    required(settings.data, "--data", "the training file")
    required(settings.output, "--output", "the output directory")
    tokenizer = load_tokenizer(path)
    if not has_head(path):
        raise TinybertError(
            f"{path} is an encoder without a task head: fine-tune it on this data first, with "
            f"`tinybert finetune --model {path} --data {settings.data} --output TEACHER`."
        )
    rows = task_rows(settings, tokenizer, reporter, settings.seed)
    rows.task = _settled(path, rows.task)
    regression = rows.task.kind == "regression"
    model = load_encoder(path, labels=head_labels(path), regression=regression)
    check_length(model, settings.max_length)
    if not regression:
        aligned_labels(head_labels(path), rows.task.label_names)
    shape = check_student(settings, model, tokenizer)
    if settings.intermediate_epochs == settings.prediction_epochs == 0:
        raise TinybertError("both stages have 0 epochs: there is nothing to train.")
    teacher_figures = described(model, None)
    if settings.dry_run:
        return _dry_run(settings, rows, reporter, shape)
    inputs = {"rows": rows.fingerprint(), "teacher weights": fingerprint(model)}
    run = open_run(settings, reporter, inputs | student_print(settings))
    names = None if regression else rows.task.label_names
    student = begin_student(run, settings, model, tokenizer, rows.train, labels=names)
    teacher = frozen(run, model, tokenizer, student.directory, rows.train, settings.batch_size)
    if not regression:
        teacher.speak_labels(rows.task.label_names)
    with run.state.main_process_first():
        what = "teacher on the test rows"
        outputs = cached_logits(teacher, rows.test, run.work, reporter, what)
    metric = rows.task.metric
    if rows.test.labels is not None:
        score = compute(metric, outputs, rows.test.labels)[metric]
        teacher_figures["score"] = score
        reporter.say(f"the teacher's {metric} is {score:.4f} on {len(rows.test)} rows")
    stages = distillation_stages(run, settings, rows, teacher, student, reporter)
    result = run.run_all(stages, student.directory)
    final = load_encoder(result.directory, labels=rows.task.label_names, regression=regression).to(
        run.device
    )
    logits = predict(final, rows.test)
    student_score = (
        None if rows.test.labels is None else compute(metric, logits, rows.test.labels)[metric]
    )
    results = {
        "task": rows.task.name,
        "metric": metric if rows.test.labels is not None else None,
        "teacher": teacher_figures,
        "student": described(final, student_score),
        "retention": retention(student_score, teacher_figures["score"]),
        "agreement": agreement(logits, outputs),
        "controls": {},
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(settings),
        "versions": versions(),
    }
    run.finish(result, {"results.json": results})
    _tell(results, reporter, run.output)
    return results


def _settled(path: str, task: Task) -> Task:
    """The task as the teacher's head allows it; rows without labels take the teacher's."""
    names = head_labels(path)
    if task.label_column is None:
        if len(names) == 1:
            return replace(
                task, kind="regression", label_names=(), metric=default_metric("regression")
            )
        return replace(task, kind="classification", label_names=names)
    if len(names) != (outputs := 1 if task.kind == "regression" else len(task.label_names)):
        raise TinybertError(
            f"the teacher has {len(names)} outputs and the data asks for {outputs}: "
            "fine-tune the teacher on this data with `tinybert finetune`."
        )
    return task


def distillation_stages(
    run: Run,
    settings: DistillSettings,
    rows: TaskRows,
    teacher: Teacher,
    student: Begun,
    reporter: Reporter,
    prefix: str = "",
) -> list[Stage]:
    """The paper's two task stages. The teacher's logits are kept, so the second runs without it."""
    regression = rows.task.kind == "regression"
    names = rows.task.label_names
    common: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "warmup": settings.warmup,
        "token_budget": settings.token_budget,
        "log_every": settings.log_every,
        "gradient_norms_every": settings.gradient_norms_every,
    }
    stages = []
    if settings.intermediate_epochs > 0:
        stages.append(
            Stage(
                name=f"{prefix}intermediate",
                objective=student.objective,
                schedule=Schedule(
                    epochs=settings.intermediate_epochs,
                    learning_rate=settings.intermediate_learning_rate,
                    **common,
                ),
                rows=replace(rows.train, targets=None),
                labels=names,
                regression=regression,
                teacher=teacher,
                evaluation=held_out_losses(rows.dev, teacher, settings.token_budget),
                dropout=settings.dropout,
            )
        )
    if settings.prediction_epochs > 0:
        stages.append(
            Stage(
                name=f"{prefix}prediction",
                objective=prediction_objective(settings.temperature, regression),
                schedule=Schedule(
                    epochs=settings.prediction_epochs,
                    learning_rate=settings.prediction_learning_rate,
                    evaluations=settings.evaluations,
                    **common,
                ),
                rows=with_targets(run, teacher, rows.train, reporter),
                labels=names,
                regression=regression,
                prepare=_head(settings, rows, teacher, student, run.seed),
                dropout=settings.dropout,
                **_choice(run, rows, teacher, reporter, settings.token_budget),
            )
        )
    return stages


def _head(
    settings: DistillSettings, rows: TaskRows, teacher: Teacher, student: Begun, seed: int
) -> Callable[[PreTrainedModel, Projections | None], None] | None:
    """How the prediction stage's head starts: from the teacher's, where states were distilled."""
    whole = student.mapping[-1] == teacher.config.num_hidden_layers
    if settings.head == "random" or settings.intermediate_epochs <= 0 or not whole:
        return None

    def prepare(model: PreTrainedModel, projections: Projections | None) -> None:
        if projections is not None:
            weight = projections.weight_for(projections.layers)
            batches = calibration(rows.train, seed)
            fit_heads(model, teacher.model, weight, batches, teacher.label_order)

    return prepare


def with_targets(run: Run, teacher: Teacher, rows: TokenRows, reporter: Reporter) -> TokenRows:
    """The rows with the teacher's logits beside them."""
    with run.state.main_process_first():  # the others read what it kept
        return replace(rows, targets=cached_logits(teacher, rows, run.work, reporter))


def _choice(
    run: Run, rows: TaskRows, teacher: Teacher, reporter: Reporter, budget: int
) -> dict[str, Any]:
    """What chooses the best weights: the metric, or without labels the teacher's outputs."""
    if rows.dev.labels is not None:
        metric = rows.task.metric
        return {"evaluation": task_scores(rows.dev, metric), "metric": metric}
    dev = with_targets(run, teacher, rows.dev, reporter)
    return {
        "evaluation": held_out_losses(dev, teacher, budget),
        "metric": "prediction",
        "greater_is_better": False,
    }


def _dry_run(
    settings: DistillSettings, rows: TaskRows, reporter: Reporter, shape: str
) -> dict[str, Any]:
    def steps(epochs: float) -> int:
        if epochs <= 0:
            return 0
        return Schedule(epochs, batch_size=settings.batch_size).total_steps(len(rows.train))

    plan = {
        "training rows": len(rows.train),
        "intermediate steps": steps(settings.intermediate_epochs),
        "prediction steps": steps(settings.prediction_epochs),
        "student": shape,
        "metric": rows.task.metric,
    }
    reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in plan.items()])
    return plan


def _tell(results: dict[str, Any], reporter: Reporter, output: Path) -> None:
    teacher, student = results["teacher"], results["student"]

    def figure(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    reporter.table(
        f"{results['task']}: {results['metric'] or 'agreement with the teacher'}",
        ["model", "score", "parameters", "FLOPs (128 tokens)"],
        [
            [
                name,
                figure(m["score"]),
                f"{m['parameters'] / 1e6:.2f}M",
                f"{(m['flops_128'] or 0) / 1e9:.3f}G",
            ]
            for name, m in (("teacher", teacher), ("student", student))
        ],
    )
    if results["retention"] is not None:
        reporter.say(f"the student keeps {100 * results['retention']:.1f} % of the teacher's score")
    reporter.say(f"it agrees with the teacher on {results['agreement']:.4f}; written to {output}")
