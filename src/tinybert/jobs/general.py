"""General distillation: raw text → a general student (TinyBERT, section 3.2, first stage)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TrainingRows
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.evaluation import held_out_losses
from tinybert.jobs.common import (
    described,
    open_run,
    plain_settings,
    publish,
    required,
    short_stages,
    versions,
)
from tinybert.jobs.general_corpus import (
    Text,
    check_corpus,
    open_text_of,
    sample_text,
    text_length,
)
from tinybert.jobs.general_plan import check_lengths, epochs_of, plan_of, show_plan, steps_of
from tinybert.jobs.pace import kept_pace, measure_pace
from tinybert.jobs.published import local_student
from tinybert.jobs.similarity import watched
from tinybert.jobs.sizes import default_student
from tinybert.jobs.students import (
    Begun,
    begin_student,
    check_student,
    frozen,
    longest_of_both,
    student_print,
)
from tinybert.progress import Reporter
from tinybert.settings import GeneralSettings
from tinybert.stages import Run, Stage
from tinybert.teachers import fingerprint, load_encoder, load_tokenizer
from tinybert.training import Schedule
from tinybert.work import check_apart

__all__ = ["general_stage", "run_general", "with_steps"]

Watch = Callable[[Distiller], dict[str, float]]


def run_general(settings: GeneralSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil a general student; returns what ``results.json`` holds.

    The output directory loads with ``AutoModel`` and serves as ``student`` of task distillation.
    With ``dry_run`` a few steps are measured, and the plan is printed and returned.
    """
    begun = time.perf_counter()
    path = required(settings.teacher, "--teacher", "the teacher")
    required(settings.corpus, "--corpus", "the corpus")
    output = required(settings.output, "--output", "the output directory")
    check_apart(output, teacher=path, corpus=settings.corpus, student=settings.student)
    check_lengths(settings)
    asked = settings
    local = local_student(asked.student, reporter)
    settings = replace(asked, student=local)
    tokenizer = load_tokenizer(path)
    model = load_encoder(path)
    corpus = check_corpus(settings, model, tokenizer, reporter)
    settings = default_student(settings, model, None, reporter)
    check_student(settings, model, tokenizer, length=text_length(settings))
    watch = None
    if settings.watch:
        longest = longest_of_both(settings.student, model)
        watch = watched(settings.watch, model, tokenizer, reporter, longest)
    if settings.dry_run:
        return _dry_run(settings, reporter, model, tokenizer, watch)
    inputs = {"teacher weights": fingerprint(model), "text read": corpus} | student_print(settings)
    named = replace(settings, student=asked.student) if settings.student == local else settings
    run = open_run(named, reporter, inputs)
    text = open_text_of(run, settings, tokenizer, reporter)
    reporter.say(
        f"{len(text.train):,} blocks, {text.tokens:,} tokens an epoch; "
        f"{len(text.held_out):,} blocks held out"
    )
    student = begin_student(run, settings, model, tokenizer, text.train)
    teacher_figures = described(model, None)  # before the teacher is cut to the mapped depth
    stage = general_stage(run, settings, model, student, text.train, text.held_out, watch=watch)
    stage = with_steps(run, settings, stage, student, text)
    result = run.run(stage, student.directory)
    log = result.record["log"]
    held = [entry for entry in log if "eval_loss" in entry]
    results = {
        "task": "general",
        "metric": None,
        "teacher": teacher_figures,
        "student": described(load_encoder(result.directory), None),
        "retention": None,
        "controls": {},
        "held_out": {k: v for k, v in (held[-1] if held else {}).items() if k.startswith("eval_")},
        "max_length": text.max_length,
        "tokens": round(result.record["steps"] * text.tokens / _steps_an_epoch(settings, text)),
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(asked),
        "versions": versions(),
    }
    publish(run, result, results)
    reporter.say(
        f"general student written to {run.output}: go on with `tinybert distill --student "
        f"{run.output}`"
    )
    return results


def general_stage(
    run: Run,
    settings: GeneralSettings,
    model: PreTrainedModel,
    student: Begun,
    train: TrainingRows,
    held_out: TrainingRows,
    name: str = "general",
    watch: Watch | None = None,
) -> Stage:
    """The general stage; ``model`` (the teacher) is frozen and cut to the depth that is read.

    ``watch`` adds figures to every evaluation.
    """
    teacher = frozen(run, model, None, student.directory, train, settings.batch_size)
    teacher.only_as_deep_as(student.objective.teacher_taps.depth)
    losses = held_out_losses(held_out, teacher, settings.token_budget)
    best = settings.keep == "best"
    return Stage(
        name=name,
        objective=student.objective,
        schedule=Schedule(
            epochs=epochs_of(settings),
            steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            token_budget=settings.token_budget,
            evaluations_in_all=settings.evaluations,
            checkpoints=4,
            checkpoint_seconds=60 * settings.checkpoint_minutes,
            log_every=settings.log_every,
            gradient_norms_every=settings.gradient_norms_every,
        ),
        rows=train,
        teacher=teacher,
        evaluation=losses if watch is None else lambda d: losses(d) | watch(d),
        metric="loss" if best else None,
        greater_is_better=not best,
        dropout=settings.dropout,
    )


def _steps_an_epoch(settings: GeneralSettings, text: Text) -> int:
    return -(-text.blocks // settings.batch_size)


def with_steps(
    run: Run, settings: GeneralSettings, stage: Stage, student: Begun, text: Text
) -> Stage:
    """The general stage with its number of steps; measured here where a budget was given."""
    pace = None
    if settings.budget is not None:
        pace = kept_pace(run, stage, student.directory)
    try:
        steps = steps_of(settings, text.blocks, text.tokens, pace)
    except TinybertError:
        run.discard()  # another budget is another run
        raise
    if pace is not None:
        run.reporter.say(
            f"{pace.tokens_per_second:,.0f} tokens/s, {pace.step_seconds:.2f} s a step: "
            f"{steps:,} steps in {settings.budget}"
        )
    return replace(stage, schedule=replace(stage.schedule, steps=steps))


def _dry_run(
    settings: GeneralSettings,
    reporter: Reporter,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    watch: Watch | None,
) -> dict[str, Any]:
    """Measure a few steps on a throw-away run, and tell the plan."""
    with tempfile.TemporaryDirectory(prefix="tinybert-") as own:
        place = broadcast_object_list([own])[0]  # of several processes, the main one's
        run = open_run(replace(settings, output=Path(place) / "dry"), reporter)
        text = sample_text(settings, tokenizer, reporter)
        student = begin_student(run, settings, model, tokenizer, text.train)
        stage = general_stage(run, settings, model, student, text.train, text.held_out, watch=watch)
        pace = measure_pace(run, stage, student.directory)
        plan = plan_of(settings, student, load_encoder(student.directory), text, pace)
        run.state.wait_for_everyone()
    if run.is_main:
        show_plan(plan, reporter)
    return plan
