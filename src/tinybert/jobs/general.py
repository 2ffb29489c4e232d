"""General distillation: raw text → a general student (TinyBERT, section 3.2, first stage)."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tinybert.batching import TokenRows
from tinybert.corpus import read_documents, token_blocks
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
from tinybert.jobs.sizes import default_student
from tinybert.jobs.students import Begun, begin_student, check_student, frozen, student_print
from tinybert.mapping import layer_mapping, shown
from tinybert.measure.latency import check_length
from tinybert.progress import Reporter
from tinybert.settings import GeneralSettings
from tinybert.stages import Run, Stage
from tinybert.teachers import fingerprint, load_encoder, load_tokenizer
from tinybert.training import Schedule

__all__ = ["run_general"]


def check_blocks(rows: TokenRows) -> None:
    """Refuse a corpus of which nothing could be held back."""
    if len(rows) < 2:
        raise TinybertError("the corpus gives one block of tokens only: give more text.")


def split_held_out(rows: TokenRows, held_out: int, seed: int) -> tuple[TokenRows, TokenRows]:
    """Blocks to train on, and blocks kept back (at most a tenth)."""
    check_blocks(rows)
    count = max(1, min(held_out, len(rows) // 10))
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows.take(np.sort(order[count:])), rows.take(np.sort(order[:count]))


def run_general(settings: GeneralSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil a general student; returns what ``results.json`` holds.

    The output directory loads with ``AutoModel`` and serves as ``student`` of task distillation.
    """
    begun = time.perf_counter()
    path = required(settings.teacher, "--teacher", "the teacher")
    required(settings.corpus, "--corpus", "the corpus")
    required(settings.output, "--output", "the output directory")
    tokenizer = load_tokenizer(path)
    model = load_encoder(path)
    check_length(model, settings.max_length)
    asked = settings
    settings = default_student(asked, model, None, reporter)
    shape = check_student(settings, model, tokenizer)
    documents = read_documents(settings.corpus)
    if settings.dry_run:
        return _dry_run(settings, reporter, model, tokenizer, documents, shape)
    inputs = {"teacher weights": fingerprint(model)} | student_print(settings)
    run = open_run(settings, reporter, inputs)

    def make_corpus(directory: Path) -> None:
        with reporter.track(None, "tokenizing", unit="documents") as progress:
            blocks = token_blocks(
                documents, tokenizer, settings.max_length, advance=progress.advance
            )
        check_blocks(blocks)
        blocks.save(directory)

    rows = TokenRows.load(run.made("corpus", make_corpus))
    train, held_out = split_held_out(rows, settings.held_out, settings.seed)
    reporter.say(f"{len(train):,} blocks, {int(train.lengths.sum()):,} tokens an epoch")
    begun_student = begin_student(run, settings, model, tokenizer, train)
    teacher_figures = described(model, None)  # before the teacher is cut to the mapped depth
    result = run.run(
        general_stage(run, settings, model, begun_student, train, held_out),
        begun_student.directory,
    )
    student = load_encoder(result.directory)
    log = result.record["log"]
    held = [entry for entry in log if "eval_loss" in entry]
    results = {
        "task": "general",
        "metric": None,
        "teacher": teacher_figures,
        "student": described(student, None),
        "retention": None,
        "controls": {},
        "held_out": {k: v for k, v in (held[-1] if held else {}).items() if k.startswith("eval_")},
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
    model: Any,
    student: Begun,
    train: TokenRows,
    held_out: TokenRows,
    name: str = "general",
) -> Stage:
    """The general stage; ``model`` (the teacher) is frozen and cut to the depth that is read."""
    teacher = frozen(run, model, None, student.directory, train, settings.batch_size)
    teacher.only_as_deep_as(student.objective.teacher_taps.depth)
    return Stage(
        name=name,
        objective=student.objective,
        schedule=Schedule(
            epochs=settings.epochs,
            steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            token_budget=settings.token_budget,
            evaluations=4,
            checkpoints=4,
            log_every=settings.log_every,
            gradient_norms_every=settings.gradient_norms_every,
        ),
        rows=train,
        teacher=teacher,
        evaluation=held_out_losses(held_out, teacher, settings.token_budget),
        dropout=settings.dropout,
    )


def _dry_run(
    settings: GeneralSettings,
    reporter: Reporter,
    model: Any,
    tokenizer: Any,
    documents: Any,
    shape: str,
) -> dict[str, Any]:
    """Check what can be checked, and tell the plan."""
    sample = token_blocks(islice(documents, 200), tokenizer, settings.max_length)
    layers = int(shape.split("x")[0])
    mapping = layer_mapping(settings.layer_mapping, layers, model.config.num_hidden_layers)
    plan = {
        "teacher": settings.teacher,
        "student": shape,
        "layer_mapping": shown(mapping),
        "mean_block_tokens": float(sample.lengths.mean()),
        "steps": settings.steps,
        "epochs": settings.epochs,
    }
    reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in plan.items()])
    return plan
