"""How long both stages of a sentence encoder last: by steps, by passes, or by a budget."""

from __future__ import annotations

import json
import math
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.jobs.common import open_run
from tinybert.jobs.embedder_rows import Sentences, read_sentences
from tinybert.jobs.embedder_stage import embedding_stage
from tinybert.jobs.general import general_stage
from tinybert.jobs.general_corpus import sample_text
from tinybert.jobs.general_plan import plan_of
from tinybert.jobs.pace import Pace, kept_pace, measure_pace
from tinybert.jobs.students import begin_student, frozen
from tinybert.measure import parameters
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter, duration
from tinybert.projections import Projections
from tinybert.quantities import parse_duration
from tinybert.sentence_modules import SentenceHead
from tinybert.settings import EmbedderSettings, GeneralSettings
from tinybert.similarity import sentence_embeddings
from tinybert.stages import STAGE_COPIES, Run
from tinybert.teachers import load_encoder

__all__ = [
    "EmbeddingPlan",
    "check_embedder_lengths",
    "dry_run",
    "general_settings",
    "has_general_stage",
    "plan_embedding",
]

PLAN_FILE, EMBEDDING_PACE = "embedding.json", "embedding-pace.json"
SAMPLE = 1024
"""Sentences on which the teacher is timed, and a plan's steps are measured."""
READ = 20_000
"""Sentences read for a plan."""


@dataclass(frozen=True)
class EmbeddingPlan:
    """The embedding stage in numbers.

    Attributes:
        rows: sentences that the teacher runs and the student learns.
        steps: of the optimiser.
    """

    rows: int
    steps: int


def has_general_stage(settings: EmbedderSettings) -> bool:
    """Whether the student learns the teacher's states first."""
    if settings.general_steps is not None:
        return settings.general_steps > 0
    if settings.budget is not None:
        return settings.general_share > 0 and not Path(settings.student).is_dir()
    return not Path(settings.student).is_dir()


def check_embedder_lengths(settings: EmbedderSettings) -> None:
    """A budget or steps, and one that can be read.

    Raises:
        TinybertError: both, or a budget that is no time.
    """
    if settings.budget is None:
        return
    parse_duration(settings.budget, "--budget")
    for flag, value in (("--steps", settings.steps), ("--general-steps", settings.general_steps)):
        if value:
            raise TinybertError(
                f"--budget and {flag} both say how long to train: give one of them."
            )


def general_settings(settings: EmbedderSettings) -> GeneralSettings:
    """What the general stage is told, as ``tinybert general`` would be."""
    shared = {f.name for f in fields(GeneralSettings)} & {f.name for f in fields(settings)}
    values: dict[str, Any] = {name: getattr(settings, name) for name in shared}
    if settings.sentences:  # a text column is theirs
        values["text"] = None
    budget = None
    if settings.budget is not None:
        budget = f"{settings.general_share * parse_duration(settings.budget, '--budget'):.3f}s"
    values |= {
        "steps": settings.general_steps or None,
        "epochs": None,
        "budget": budget if has_general_stage(settings) else None,
        "batch_size": settings.general_batch_size,
        "learning_rate": settings.general_learning_rate,
    }
    return GeneralSettings(**values)


def plan_embedding(
    run: Run,
    settings: EmbedderSettings,
    model: PreTrainedModel,
    head: SentenceHead,
    rows: Sentences,
    student: Path,
) -> EmbeddingPlan:
    """Rows and steps; with a budget both speeds are measured once, and kept in the run.

    Raises:
        TinybertError: the budget does not last for one step.
    """
    file = run.work / PLAN_FILE
    # The main process decides for all: it may have written the file before another one looks.
    if not broadcast_object_list([file.is_file()])[0]:
        plan = _made_plan(run, settings, model, head, rows, student)
        if run.is_main:
            write_json_whole(file, asdict(plan))
        run.state.wait_for_everyone()
    return EmbeddingPlan(**json.loads(file.read_text()))


def _made_plan(
    run: Run,
    settings: EmbedderSettings,
    model: PreTrainedModel,
    head: SentenceHead,
    rows: Sentences,
    student: Path,
) -> EmbeddingPlan:
    if settings.budget is None:
        plan = plan_by_steps(settings, len(rows.train))
    else:
        share = settings.general_share if has_general_stage(settings) else 0.0
        seconds = (1 - share) * parse_duration(settings.budget, "--budget")
        pace, a_row = measured(run, settings, model, head, rows, student)
        try:
            plan = plan_by_budget(settings, len(rows.train), seconds, pace, a_row)
        except TinybertError:
            run.discard()
            raise
        run.reporter.say(
            f"{pace.step_seconds:.2f} s a step, {1 / a_row:,.0f} sentences/s of the teacher: "
            f"{plan.rows:,} sentences, {plan.steps:,} steps of the embedding stage"
        )
    return plan


def plan_by_steps(settings: EmbedderSettings, available: int) -> EmbeddingPlan:
    """By ``--steps``, or by ``--epochs``; the teacher runs no sentence that is never learned."""
    if settings.steps is None:
        per_epoch = math.ceil(available / settings.batch_size)
        return EmbeddingPlan(available, max(1, math.ceil(settings.epochs * per_epoch)))
    return EmbeddingPlan(min(available, settings.steps * settings.batch_size), settings.steps)


def plan_by_budget(
    settings: EmbedderSettings, available: int, seconds: float, pace: Pace, a_row: float
) -> EmbeddingPlan:
    """As many sentences as can be run by the teacher once and learned ``--epochs`` times.

    Where there are fewer, they are learned more often.

    Args:
        settings: of the run.
        available: sentences that there are.
        seconds: for the stage.
        pace: of its steps.
        a_row: seconds that the teacher takes for a sentence.
    """
    left = seconds - (settings.evaluations + 1) * pace.evaluation_seconds
    learned = pace.step_seconds / settings.batch_size
    rows = min(available, int(left / (a_row + settings.epochs * learned))) if left > 0 else 0
    steps = int((left - rows * a_row) / pace.step_seconds) if rows else 0
    if steps < 1:
        raise TinybertError(
            f"--budget {settings.budget} does not last for one step of the embedding stage here: a "
            f"step takes {pace.step_seconds:.2g} s and {settings.evaluations + 1} evaluations "
            f"{(settings.evaluations + 1) * pace.evaluation_seconds:.2g} s; give more time, a "
            "smaller --general-share or fewer --evaluations."
        )
    return EmbeddingPlan(max(rows, 1), steps)


def measured(
    run: Run,
    settings: EmbedderSettings,
    model: PreTrainedModel,
    head: SentenceHead,
    rows: Sentences,
    student: Path,
) -> tuple[Pace, float]:
    """The pace of the stage's steps, and seconds that the teacher takes for a sentence."""
    few = Sentences(rows.train.take(np.arange(min(SAMPLE, len(rows.train)))), rows.held_out)
    teacher = frozen(run, model, None, student, few.train, settings.batch_size)
    file = run.work / "teacher-pace.json"
    if run.is_main and not file.is_file():
        begun = time.perf_counter()
        sentence_embeddings(teacher.model, few.train, head)
        write_json_whole(file, (time.perf_counter() - begun) / len(few.train))
    run.state.wait_for_everyone()
    a_row = float(json.loads(file.read_text()))
    targets = np.ones((len(few.train), Projections.load(student).teacher_width), dtype=np.float32)
    held = np.ones((len(few.held_out), targets.shape[1]), dtype=np.float32)
    probe = Sentences(replace(few.train, targets=targets), replace(few.held_out, targets=held))
    stage = embedding_stage(settings, head, probe, student, (), None, name="embedding-probe")
    return kept_pace(run, stage, student, EMBEDDING_PACE), a_row


def dry_run(
    settings: EmbedderSettings,
    reporter: Reporter,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    head: SentenceHead,
    length: int,
) -> dict[str, Any]:
    """Measure a few steps of both stages on a throw-away run, and tell the plan.

    Sentences are counted among the first :data:`READ` that are read, no further.
    """
    general = general_settings(settings)
    with tempfile.TemporaryDirectory(prefix="tinybert-") as own:
        place = broadcast_object_list([own])[0]  # of several processes, the main one's
        run = open_run(replace(settings, output=Path(place) / "dry"), reporter)
        rows = read_sentences(settings, tokenizer, length, reporter, most=READ)
        text = sample_text(general, tokenizer, reporter) if has_general_stage(settings) else None
        student = begin_student(run, general, model, tokenizer, rows.train)
        first = None
        if text is not None:
            teacher = load_encoder(str(settings.teacher))
            stage = general_stage(run, general, teacher, student, text.train, text.held_out)
            pace = measure_pace(run, stage, student.directory)
            begun = load_encoder(student.directory)
            first = plan_of(general, student, begun, text, pace)
        pace, a_row = measured(run, settings, model, head, rows, student.directory)
        if settings.budget is None:
            plan = plan_by_steps(settings, len(rows.train))
        else:
            share = settings.general_share if first is not None else 0.0
            seconds = (1 - share) * parse_duration(settings.budget, "--budget")
            plan = plan_by_budget(settings, len(rows.train), seconds, pace, a_row)
        weights = parameters(load_encoder(student.directory))
        run.state.wait_for_everyone()
    training = plan.steps * pace.step_seconds
    training += (settings.evaluations + 1) * pace.evaluation_seconds
    numbers = STAGE_COPIES * weights + plan.rows * head.width(model.config.hidden_size)
    found = {
        "teacher": settings.teacher,
        "vector": head.told,
        "student_parameters": weights,
        "general": first,
        "sentences_read": len(rows.train),
        "sentences": plan.rows,
        "steps": plan.steps,
        "step_seconds": pace.step_seconds,
        "teacher_seconds": plan.rows * a_row,
        "training_seconds": training,
        "disk_bytes": 4 * numbers,
    }
    if run.is_main:
        _show(found, reporter)
    return found


def _show(plan: dict[str, Any], reporter: Reporter) -> None:
    first = plan["general"]
    told = "none"
    if first is not None:
        told = f"{first['steps']:,} steps, {duration(first['training_seconds'])}"
    lines = [
        ["teacher", f"{plan['teacher']}: {plan['vector']}"],
        ["student", f"{plan['student_parameters'] / 1e6:.1f} M parameters"],
        ["general stage", told],
        ["teacher's vectors", f"{plan['sentences']:,}, {duration(plan['teacher_seconds'])}"],
        [
            "embedding stage",
            f"{plan['steps']:,} steps, {plan['step_seconds']:.3g} s each, "
            f"{duration(plan['training_seconds'])}",
        ],
        ["disk", f"up to {plan['disk_bytes'] / 1e9:.2g} GB while it runs"],
    ]
    reporter.table("plan", ["what", "value"], lines)
