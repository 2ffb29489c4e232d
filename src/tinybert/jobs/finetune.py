"""Plain fine-tuning on labels: a run of one stage without a teacher."""

from __future__ import annotations

import time
from typing import Any

from tinybert.errors import TinybertError
from tinybert.evaluation import predict, task_scores
from tinybert.jobs.common import (
    TaskRows,
    described,
    open_run,
    plain_settings,
    required,
    short_stages,
    task_rows,
    versions,
)
from tinybert.measure.latency import check_length
from tinybert.objectives import label_objective
from tinybert.progress import Reporter
from tinybert.settings import FinetuneSettings
from tinybert.stages import Stage, save_student
from tinybert.tasks.metrics import compute
from tinybert.teachers import fingerprint, load_encoder, load_tokenizer
from tinybert.training import Schedule

__all__ = ["finetune_stage", "run_finetune"]


def run_finetune(settings: FinetuneSettings, reporter: Reporter) -> dict[str, Any]:
    """Fine-tune an encoder on labels; returns what ``results.json`` holds."""
    begun = time.perf_counter()
    path = required(settings.model, "--model", "the encoder")
    required(settings.data, "--data", "the training file")
    required(settings.output, "--output", "the output directory")
    tokenizer = load_tokenizer(path)
    rows = task_rows(settings, tokenizer, reporter, settings.seed)
    if rows.train.labels is None or rows.test.labels is None:
        raise TinybertError(f"{settings.data} has no label column: fine-tuning needs labels.")
    model = load_encoder(path)
    check_length(model, settings.max_length)
    if settings.dry_run:
        steps = finetune_schedule(settings).total_steps(len(rows.train))
        plan = {"rows": len(rows.train), "steps": steps, "metric": rows.task.metric}
        reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in plan.items()])
        return plan
    inputs = {"rows": rows.fingerprint(), "model weights": fingerprint(model)}
    run = open_run(settings, reporter, inputs)
    start = run.made("start", lambda d: save_student(d, model, tokenizer, None))
    stage = finetune_stage(rows, finetune_schedule(settings))
    result = run.run(stage, start)
    student = load_encoder(result.directory, labels=stage.labels, regression=stage.regression).to(
        run.device
    )
    metric = rows.task.metric
    score = compute(metric, predict(student, rows.test), rows.test.labels)[metric]
    results = {
        "task": rows.task.name,
        "metric": metric,
        "teacher": None,
        "student": described(student, score),
        "retention": None,
        "controls": {},
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(settings),
        "versions": versions(),
    }
    run.finish(result, {"results.json": results})
    reporter.say(f"{metric} {score:.4f} on {len(rows.test)} rows; written to {run.output}")
    return results


def finetune_schedule(settings: FinetuneSettings) -> Schedule:
    return Schedule(
        epochs=settings.epochs,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        token_budget=settings.token_budget,
        evaluations=settings.evaluations,
        log_every=settings.log_every,
        gradient_norms_every=settings.gradient_norms_every,
    )


def finetune_stage(
    rows: TaskRows, schedule: Schedule, name: str = "finetune", dropout: float | None = None
) -> Stage:
    """Labels as the objective; the best weights are those with the best metric on dev."""
    regression = rows.task.kind == "regression"
    return Stage(
        name=name,
        objective=label_objective(regression),
        schedule=schedule,
        rows=rows.train,
        labels=rows.task.label_names,
        regression=regression,
        evaluation=task_scores(rows.dev, rows.task.metric),
        metric=rows.task.metric,
        dropout=dropout,
    )
