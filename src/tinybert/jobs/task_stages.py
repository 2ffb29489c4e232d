"""The stages of a task: the two of TinyBERT (section 3.2), and the controls beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from tinybert.batching import TokenRows
from tinybert.evaluation import held_out_losses, task_scores
from tinybert.jobs.finetune import finetune_stage
from tinybert.jobs.rows import TaskRows, calibration
from tinybert.jobs.students import Begun
from tinybert.objectives import prediction_objective
from tinybert.progress import Reporter
from tinybert.projections import Projections
from tinybert.settings import DistillSettings, MultitaskSettings
from tinybert.settings.kinds import own_task
from tinybert.stages import Run, Stage
from tinybert.students import fit_heads
from tinybert.tasks.glue.facts import GLUE, find_glue_task
from tinybert.teachers import Teacher, cached_logits
from tinybert.training import Schedule

__all__ = [
    "common_schedule",
    "control_stages",
    "distillation_stages",
    "epochs_of",
    "with_targets",
]

MANY_ROWS = 50_000
_PAPER_EPOCHS = dict.fromkeys(GLUE, 20) | {"cola": 50, "mnli": 10, "qqp": 10, "qnli": 10}


def epochs_of(settings: DistillSettings, rows: int) -> tuple[float, str]:
    """Epochs of the intermediate stage, and why (TinyBERT, section 4.2)."""
    if settings.intermediate_epochs is not None:
        return settings.intermediate_epochs, "as asked"
    if not own_task(settings.task):
        return float(_PAPER_EPOCHS[find_glue_task(settings.task).name]), "the paper's for this task"
    if rows <= MANY_ROWS:
        return 20.0, "the paper's"
    epochs = max(1.0, round(20 * MANY_ROWS / rows, 1))
    return epochs, f"the paper's 20 are for small tasks; {rows:,} rows are read about as often"


def common_schedule(settings: DistillSettings | MultitaskSettings) -> dict[str, Any]:
    """What the schedules of both stages have in common."""
    return {
        "batch_size": settings.batch_size,
        "warmup": settings.warmup,
        "token_budget": settings.token_budget,
        "log_every": settings.log_every,
        "gradient_norms_every": settings.gradient_norms_every,
    }


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
    common = common_schedule(settings)
    stages = []
    intermediate_epochs = epochs_of(settings, len(rows.train))[0]
    if intermediate_epochs > 0:
        stages.append(
            Stage(
                name=f"{prefix}intermediate",
                objective=student.objective,
                schedule=Schedule(
                    epochs=intermediate_epochs,
                    learning_rate=settings.intermediate_learning_rate,
                    **common,
                ),
                rows=replace(rows.train, targets=None),
                labels=names,
                regression=regression,
                answering=rows.task.answering,
                teacher=teacher,
                evaluation=held_out_losses(rows.dev, teacher, settings.token_budget),
                dropout=settings.dropout,
            )
        )
    if settings.prediction_epochs > 0:
        stages.append(
            Stage(
                name=f"{prefix}prediction",
                objective=prediction_objective(
                    settings.temperature, regression, answering=rows.task.answering
                ),
                schedule=Schedule(
                    epochs=settings.prediction_epochs,
                    learning_rate=settings.prediction_learning_rate,
                    evaluations=settings.evaluations,
                    **common,
                ),
                rows=with_targets(run, teacher, rows.train, reporter),
                labels=names,
                regression=regression,
                answering=rows.task.answering,
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
    if settings.head == "random" or settings.intermediate_epochs == 0 or not whole:
        return None

    def prepare(model: PreTrainedModel, projections: Projections | None) -> None:
        if projections is not None:
            weight = projections.weight_for(projections.layers)
            batches = calibration(rows.train, seed)
            fit_heads(model, teacher.model, weight, batches, teacher.label_order)

    return prepare


def with_targets(run: Run, teacher: Teacher, rows: TokenRows, reporter: Reporter) -> TokenRows:
    """The rows as the student reads them, with the teacher's logits beside them."""
    with run.state.main_process_first():  # the others read what it kept
        kept = cached_logits(teacher, rows, run.work, reporter)
    return replace(rows.for_student(), targets=kept)


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


def control_stages(
    run: Run,
    settings: DistillSettings,
    rows: TaskRows,
    teacher: Teacher,
    stages: Sequence[Stage],
    reporter: Reporter,
    prefix: str = "",
) -> dict[str, Stage]:
    """Name → stage: the student's start trained otherwise, for as many steps as ``stages``.

    On labels alone (where there are labels) and on the teacher's logits alone; both choose their
    weights on the dev rows, as the student does.
    """
    steps = sum(stage.schedule.total_steps(len(rows.train)) for stage in stages)
    last = stages[-1]
    schedule = replace(last.schedule, steps=steps, learning_rate=settings.prediction_learning_rate)
    logits = Stage(
        name=f"{prefix}control-logits",
        objective=prediction_objective(
            settings.temperature, last.regression, answering=last.answering
        ),
        schedule=schedule,
        rows=with_targets(run, teacher, rows.train, reporter),
        labels=last.labels,
        regression=last.regression,
        answering=last.answering,
        dropout=settings.dropout,
        **_choice(run, rows, teacher, reporter, settings.token_budget),
    )
    found = {}
    if rows.train.labels is not None:
        name = f"{prefix}control-labels"
        found["same start, labels alone"] = finetune_stage(rows, schedule, name, settings.dropout)
    return found | {"same start, logits alone": logits}
