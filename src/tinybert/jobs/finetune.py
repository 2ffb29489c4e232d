"""Plain fine-tuning on labels: a run of one stage without a teacher."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.evaluation import predict, task_scores
from tinybert.jobs.common import (
    described,
    open_run,
    part_scores,
    plain_settings,
    publish,
    required,
    short_stages,
    versions,
)
from tinybert.jobs.row_tasks import ranking_figures
from tinybert.jobs.rows import TaskRows, task_rows
from tinybert.measure.latency import check_length
from tinybert.objectives import label_objective
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.settings import FinetuneSettings
from tinybert.stages import Stage, check_no_run, save_student
from tinybert.teachers import fingerprint, load_encoder, load_tokenizer
from tinybert.training import Schedule
from tinybert.work import check_apart

__all__ = ["finetune_inputs", "finetune_rows", "finetune_stage", "run_finetune"]


def run_finetune(
    settings: FinetuneSettings, reporter: Reporter, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fine-tune an encoder on labels; returns what ``results.json`` holds, ``more`` included."""
    path = required(settings.model, "--model", "the encoder")
    output = required(settings.output, "--output", "the output directory")
    check_output(output, settings.overwrite)  # before the rows are read
    check_apart(output, model=path, data=settings.data, dev=settings.dev, test=settings.test)
    check_no_run(output, resume=settings.resume, overwrite=settings.overwrite)
    tokenizer = load_tokenizer(path)
    rows = task_rows(settings, tokenizer, reporter)
    model = load_encoder(path)
    if settings.dry_run:
        _check(settings, rows, model)
        steps = finetune_schedule(settings).total_steps(len(rows.train))
        plan = {"rows": len(rows.train), "steps": steps, "metric": rows.task.metric}
        reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in plan.items()])
        return plan
    return finetune_rows(settings, rows, model, tokenizer, reporter, more)


def finetune_inputs(
    settings: FinetuneSettings, rows: TaskRows, model: PreTrainedModel
) -> dict[str, Any]:
    """What decides how a fine-tuned model turns out: rows, weights, schedule, seed."""
    return {
        "rows": rows.fingerprint(),
        "model weights": fingerprint(model),
        "labels": list(rows.task.label_names),
        "metric": rows.task.metric,
        "epochs": settings.epochs,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "warmup": settings.warmup,
        "evaluations": settings.evaluations,
        "seed": settings.seed,
    }


def finetune_rows(
    settings: FinetuneSettings,
    rows: TaskRows,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fine-tune ``model`` on rows that are read already."""
    begun = time.perf_counter()
    _check(settings, rows, model)
    inputs = finetune_inputs(settings, rows, model)
    run = open_run(settings, reporter, {n: inputs[n] for n in ("rows", "model weights")})
    start = run.made("start", lambda d: save_student(d, model, tokenizer, None))
    stage = finetune_stage(rows, finetune_schedule(settings))
    result = run.run(stage, start)
    tuned = load_encoder(
        result.directory,
        labels=stage.labels,
        regression=stage.regression,
        answering=stage.answering,
    )
    tuned.to(run.device)
    metric = rows.task.metric
    logits = {name: predict(tuned, part) for name, part in rows.reported.items()}
    scores = part_scores(metric, logits, rows.reported)
    results = {
        "task": rows.task.name,
        "metric": metric,
        "teacher": None,
        "student": described(tuned, scores["test"][metric]) | {"scores": scores},
        "retention": None,
        "controls": {},
        "rows": rows.counts(),
        **ranking_figures(rows.test),
        "data": settings.data,
        "text_columns": list(rows.task.text_columns),
        "inputs": inputs,
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(settings),
        "versions": versions(),
        **(more or {}),
    }
    publish(run, result, results)
    count, score = rows.counts()["test"], scores["test"][metric]
    reporter.say(f"{metric} {score:.4f} on {count} rows; written to {run.output}")
    return results


def _check(settings: FinetuneSettings, rows: TaskRows, model: PreTrainedModel) -> None:
    if rows.train.labels is None or rows.test.labels is None:
        raise TinybertError(
            f"{settings.data} has no label column: fine-tuning needs labels; name the column with "
            "--label."
        )
    check_length(model, settings.max_length)


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
        objective=label_objective(regression, answering=rows.task.answering),
        schedule=schedule,
        rows=rows.train,
        labels=rows.task.label_names,
        regression=regression,
        answering=rows.task.answering,
        evaluation=task_scores(rows.dev, rows.task.metric),
        metric=rows.task.metric,
        dropout=dropout,
    )
