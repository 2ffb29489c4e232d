"""Masked language modelling: an encoder gets an output head, or goes on learning from text."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.evaluation import masked_scores
from tinybert.jobs.common import (
    described,
    open_run,
    plain_settings,
    publish,
    required,
    short_stages,
    versions,
)
from tinybert.jobs.general_corpus import Text, check_corpus, open_text_of, sample_text
from tinybert.jobs.general_plan import asked_steps, check_lengths
from tinybert.jobs.pace import measure_pace
from tinybert.masking import MaskedRows, Masking
from tinybert.measure import parameters
from tinybert.objectives import mlm_objective
from tinybert.pieces import is_unsegmented, pieces_of
from tinybert.progress import Reporter, duration
from tinybert.projections import PROJECTIONS_FILE, Projections
from tinybert.settings import MlmSettings
from tinybert.stages import STAGE_COPIES, Run, Stage, save_student, set_dropout
from tinybert.teachers import fingerprint, has_masked_lm_head, load_encoder, load_tokenizer
from tinybert.training import Schedule
from tinybert.work import check_apart

__all__ = ["mlm_stages", "run_mlm"]

DEFAULT_HEAD_STEPS = 500
MOST_ROWS = 1 << 25
"""Rows, passes counted, whose order is drawn at a time; masks repeat after so many."""


@dataclass(frozen=True)
class _Steps:
    """Optimiser steps of the output head alone, and of all weights after that."""

    head: int
    all: int


def run_mlm(settings: MlmSettings, reporter: Reporter) -> dict[str, Any]:
    """Train a masked language model; returns what ``results.json`` holds.

    The output directory loads with ``AutoModelForMaskedLM``. With ``dry_run`` a few steps are
    measured, and the plan is printed and returned.
    """
    begun = time.perf_counter()
    path = required(settings.model, "--model", "the encoder")
    required(settings.corpus, "--corpus", "the corpus")
    output = required(settings.output, "--output", "the output directory")
    check_apart(output, model=path, corpus=settings.corpus)
    check_lengths(settings)
    head_steps = _head_steps(settings, path, reporter)
    tokenizer = load_tokenizer(path)
    masking = masking_of(settings, tokenizer, path)
    model = load_encoder(path, masked_lm=True, seed=settings.seed)
    _check_vocabulary(model, tokenizer, path)
    corpus = check_corpus(settings, model, tokenizer, reporter)
    if settings.dry_run:
        return _dry_run(settings, reporter, model, tokenizer, masking, head_steps)
    run = open_run(settings, reporter, {"model weights": fingerprint(model), "text read": corpus})
    text = open_text_of(run, settings, tokenizer, reporter)
    reporter.say(
        f"{len(text.train):,} blocks, {text.tokens:,} tokens an epoch; "
        f"{len(text.held_out):,} blocks held out"
    )
    steps = _Steps(head_steps, asked_steps(settings, text.blocks, text.tokens) or 0)
    if not steps.all:
        reporter.say(
            "only the output head learns, the encoder stays as it is: --steps, --tokens or "
            "--epochs trains all weights"
        )
    start = _start(run, model, tokenizer, path)
    result = run.run_all(mlm_stages(settings, text, masking, steps), start)
    log = [entry for record in run.finished for entry in record["log"]]
    before, *_, after = [
        {key: value for key, value in entry.items() if key.startswith("eval_")}
        for entry in log
        if "eval_mlm" in entry
    ]
    trained = load_encoder(result.directory, masked_lm=True)
    results = {
        "task": "mlm",
        "metric": "masked_accuracy",
        "teacher": None,
        "student": described(trained, after["eval_masked_accuracy"]),
        "retention": None,
        "controls": {},
        "held_out": after,
        "held_out_before": before,
        "max_length": text.max_length,
        "tokens": _tokens(settings, text, steps.head + steps.all),
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(settings),
        "versions": versions(),
    }
    publish(run, result, results)
    reporter.say(
        f"masked tokens guessed right: {100 * after['eval_masked_accuracy']:.1f} % (before "
        f"{100 * before['eval_masked_accuracy']:.1f} %); written to {run.output}"
    )
    return results


def mlm_stages(
    settings: MlmSettings, text: Text, masking: Masking, steps: _Steps, passes: int | None = None
) -> list[Stage]:
    """The head's stage and that of all weights, as far as they have steps.

    Args:
        settings: of the run.
        text: blocks to train on, blocks held out.
        masking: how they are masked.
        steps: of both stages.
        passes: over the text with masks of their own; default: as many as there are.
    """
    held_out = MaskedRows(text.held_out, masking, settings.seed)

    def stage(name: str, count: int, learning_rate: float, seed: int) -> Stage:
        needed = math.ceil(count * settings.batch_size / len(text.train))
        most = max(1, MOST_ROWS // len(text.train))
        return Stage(
            name=name,
            objective=mlm_objective(),
            schedule=Schedule(
                steps=count,
                batch_size=settings.batch_size,
                learning_rate=learning_rate,
                warmup=settings.warmup,
                token_budget=settings.token_budget,
                evaluations_in_all=settings.evaluations,
                checkpoints=4,
                checkpoint_seconds=60 * settings.checkpoint_minutes,
                log_every=settings.log_every,
                gradient_norms_every=settings.gradient_norms_every,
            ),
            rows=MaskedRows(text.train, masking, seed, passes or min(needed, most)),
            masked_lm=True,
            evaluation=masked_scores(held_out, settings.token_budget),
        )

    stages = []
    if steps.head:
        head = stage("head", steps.head, settings.head_learning_rate, settings.seed + 1)
        stages.append(replace(head, prepare=freeze_encoder))
    if steps.all:
        stages.append(stage("mlm", steps.all, settings.learning_rate, settings.seed + 2))
    return stages


def freeze_encoder(model: PreTrainedModel, projections: Projections | None) -> None:
    """Let the output head alone learn; an output embedding that is the input's stays with it."""
    model.base_model.requires_grad_(False)
    set_dropout(model.base_model, 0.0)  # the states that the head will see when it is used


def masking_of(
    settings: MlmSettings, tokenizer: PreTrainedTokenizerBase, path: str | Path
) -> Masking:
    """How the tokens of this model's vocabulary are masked.

    Raises:
        TinybertError: there is no mask token, or the shares leave it nothing.
    """
    if tokenizer.mask_token_id is None:
        raise TinybertError(
            f"the tokenizer of {path} has no mask token, as those of causal language models: give "
            "an encoder, such as BERT."
        )
    if settings.random_share + settings.kept_share > 1:
        raise TinybertError(
            f"--random-share {settings.random_share:g} and --kept-share {settings.kept_share:g} "
            "are more than all masked tokens: let them be 1 at most together."
        )
    pieces = pieces_of(tokenizer)
    # Where no spaces stand between words, a whole sentence would be one word.
    apart = np.array([is_unsegmented(surface) for surface in pieces.surface])
    return Masking(
        mask_id=int(tokenizer.mask_token_id),
        special=pieces.special,
        continues=pieces.continues & ~apart if settings.whole_words else None,
        share=settings.mask_share,
        replaced=settings.random_share,
        kept=settings.kept_share,
    )


def _head_steps(settings: MlmSettings, path: str | Path, reporter: Reporter) -> int:
    """Steps of the head alone.

    Raises:
        TinybertError: none, and none of all weights either.
    """
    has_head = has_masked_lm_head(path)
    steps = settings.head_steps
    if steps is None:
        steps = 0 if has_head else DEFAULT_HEAD_STEPS
    lengths = (settings.steps, settings.tokens, settings.epochs)
    if not steps and all(length is None for length in lengths):
        why = "has an output head already" if has_head else "gets no step for its output head"
        raise TinybertError(
            f"{path} {why}, and nothing says how long all weights learn: give --steps, --tokens "
            "or --epochs, or --head-steps for the head alone."
        )
    if has_head and not steps:
        reporter.say("the model has an output head already: it is not trained alone first")
    return steps


def _check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str | Path
) -> None:
    if len(tokenizer) > model.config.vocab_size:
        raise TinybertError(
            f"the tokenizer of {path} has {len(tokenizer):,} pieces and its model "
            f"{model.config.vocab_size:,}: they do not belong together."
        )


def _start(
    run: Run, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str | Path
) -> Path:
    """The directory that the first stage takes; what a student has of projections goes along."""
    found = (Path(path) / PROJECTIONS_FILE).is_file()
    projections = Projections.load(path) if found else None
    return run.made("start", lambda d: save_student(d, model, tokenizer, projections))


def _tokens(settings: MlmSettings, text: Text, steps: int) -> int:
    return round(steps * text.tokens / math.ceil(text.blocks / settings.batch_size))


def _dry_run(
    settings: MlmSettings,
    reporter: Reporter,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masking: Masking,
    head_steps: int,
) -> dict[str, Any]:
    """Measure a few steps of each stage on a throw-away run, and tell the plan."""
    with tempfile.TemporaryDirectory(prefix="tinybert-") as own:
        place = broadcast_object_list([own])[0]  # of several processes, the main one's
        run = open_run(replace(settings, output=Path(place) / "dry"), reporter)
        text = sample_text(settings, tokenizer, reporter)
        steps = _Steps(head_steps, asked_steps(settings, text.blocks, text.tokens) or 0)
        start = _start(run, model, tokenizer, settings.model or "")
        stages = mlm_stages(settings, text, masking, steps, passes=1)
        paces = {stage.name: measure_pace(run, stage, start) for stage in stages}
        run.state.wait_for_everyone()
    counts = {"head": steps.head, "mlm": steps.all}
    plan = {
        "model": settings.model,
        "parameters": parameters(model),
        "blocks": text.blocks,
        "tokens_an_epoch": text.tokens,
        "corpus_is_estimated": text.estimated,
        "head_steps": steps.head,
        "steps": steps.all,
        "tokens": _tokens(settings, text, steps.head + steps.all),
        "step_seconds": {name: pace.step_seconds for name, pace in paces.items()},
        "training_seconds": sum(
            counts[name] * pace.step_seconds + (settings.evaluations + 1) * pace.evaluation_seconds
            for name, pace in paces.items()
        ),
        "disk_bytes": 4 * STAGE_COPIES * parameters(model) + text.bytes_to_write,
        "peak_memory_bytes": max(pace.peak_bytes for pace in paces.values()),
    }
    if run.is_main:
        reporter.table("plan", ["what", "value"], _plan_lines(plan))
    return plan


def _plan_lines(plan: dict[str, Any]) -> Sequence[list[str]]:
    about = "about " if plan["corpus_is_estimated"] else ""
    seconds = plan["step_seconds"]
    lines = [
        ["model", f"{plan['model']}, {plan['parameters'] / 1e6:.1f} M parameters"],
        ["an epoch", f"{about}{plan['tokens_an_epoch']:,} tokens in {plan['blocks']:,} blocks"],
    ]
    for name, what, count in (
        ("head", "output head alone", plan["head_steps"]),
        ("mlm", "all weights", plan["steps"]),
    ):
        told = f"{count:,} steps, {seconds[name]:.3g} s each" if count else "no steps"
        lines.append([what, told])
    return [
        *lines,
        ["tokens", f"{about}{plan['tokens']:,}"],
        ["training", f"{about}{duration(plan['training_seconds'])}"],
        ["disk", f"up to {plan['disk_bytes'] / 1e9:.2g} GB while it runs"],
        ["memory", f"{plan['peak_memory_bytes'] / 1e9:.2g} GB a process so far"],
    ]
