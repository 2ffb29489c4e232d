"""From a system's steps to stages: schedules by arithmetic or by the paper, rows, teachers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tinybert.batching import TokenRows, TrainingRows
from tinybert.evaluation import held_out_losses, masked_scores, task_scores
from tinybert.jobs.general_corpus import Text
from tinybert.jobs.rows import TaskRows
from tinybert.masking import MaskedRows, Masking
from tinybert.objectives import Objective
from tinybert.projections import Projections
from tinybert.quantities import parse_count
from tinybert.settings import ReproduceSettings
from tinybert.stages import Stage
from tinybert.systems import System
from tinybert.systems.compute import Cost, step_cost, steps_within
from tinybert.systems.steps import Given, ProgressiveTransfer, Step
from tinybert.teachers import Teacher
from tinybert.training import Schedule

__all__ = ["Planned", "corpus_stages", "plan_corpus", "plan_task", "task_stages"]

TeacherOf = Callable[[Step, Objective], Teacher]


@dataclass(frozen=True)
class Planned:
    """One stage before it has rows: what it minimises, for how long, and what that costs.

    Attributes:
        name: of the stage.
        step: whose it is.
        objective: what is minimised.
        number: of several stages of a step, counted from 1.
        steps, batch_size, learning_rate: of the optimiser.
        cost: operations a token.
        tokens: that the optimiser's steps read.
        rows_tokens: of all rows, once.
    """

    name: str
    step: Step
    objective: Objective
    number: int
    steps: int
    batch_size: int
    learning_rate: float
    cost: Cost
    tokens: float
    rows_tokens: float

    @property
    def flops(self) -> float:
        """Operations of the whole stage."""
        return self.cost.per_token * self.tokens + self.cost.once * self.rows_tokens


def plan_corpus(
    settings: ReproduceSettings,
    system: System,
    given: Given,
    student: PretrainedConfig,
    teacher: PretrainedConfig,
    blocks: int,
    tokens: float,
) -> list[Planned]:
    """The stages of a system's pre-training on a corpus of that size."""
    budget = parse_count(settings.corpus_flops, "--corpus-flops")
    return _planned(settings, system.corpus_steps, given, student, teacher, blocks, tokens, budget)


def plan_task(
    settings: ReproduceSettings,
    system: System,
    given: Given,
    student: PretrainedConfig,
    teacher: PretrainedConfig,
    rows: int,
    tokens: float,
) -> list[Planned]:
    """The stages of a system on a task of that size."""
    budget = parse_count(settings.task_flops, "--task-flops")
    return _planned(settings, system.task_steps, given, student, teacher, rows, tokens, budget)


def _planned(
    settings: ReproduceSettings,
    steps: Sequence[Step],
    given: Given,
    student: PretrainedConfig,
    teacher: PretrainedConfig,
    rows: int,
    tokens: float,
    budget: float,
) -> list[Planned]:
    small = settings.scale == "small"
    length = max(1, round(tokens / rows))
    found = []
    priced = []
    for own in steps:
        step = at_small_scale(own) if small else own
        objectives = step.objectives(given)
        costs = [step_cost(step, each, student, teacher, length) for each in objectives]
        priced.append((step, objectives, costs))
    # The teacher's answers to all rows come off the whole: they serve every later pass.
    once = sum(cost.once * tokens for *_, costs in priced for cost in costs)
    for step, objectives, costs in priced:
        per_epoch = math.ceil(rows / step.batch_size)
        if small:
            shared = step.share * max(0.0, budget - once)
            counts = steps_within(shared, costs, step.batch_size, tokens / rows)
        elif step.steps is not None:
            counts = [math.ceil(step.steps / len(objectives))] * len(objectives)
        else:
            counts = [max(1, math.ceil((step.epochs or 1.0) * per_epoch))] * len(objectives)
        for number, (objective, cost, count) in enumerate(
            zip(objectives, costs, counts, strict=True), 1
        ):
            found.append(
                Planned(
                    name=step.name if len(objectives) == 1 else f"{step.name}-{number}",
                    step=step,
                    objective=objective,
                    number=number,
                    steps=count,
                    batch_size=step.batch_size,
                    learning_rate=step.learning_rate,
                    cost=cost,
                    tokens=count * min(step.batch_size, rows) * tokens / rows,
                    rows_tokens=tokens,
                )
            )
    return found


def at_small_scale(step: Step) -> Step:
    """The step with its values for a budget of minutes: batch, learning rate, λ of attention."""
    changes: dict[str, Any] = {
        "batch_size": step.small_batch_size,
        "learning_rate": step.small_learning_rate,
    }
    if any(field.name == "small_attention" for field in fields(step)):
        changes["attention"] = getattr(step, "small_attention")  # noqa: B009 - of some steps
    return replace(step, **changes)


def _schedule(settings: ReproduceSettings, planned: Planned, **more: Any) -> Schedule:
    return Schedule(
        steps=planned.steps,
        batch_size=planned.batch_size,
        learning_rate=planned.learning_rate,
        token_budget=settings.token_budget,
        checkpoints=0,
        checkpoint_seconds=300.0,
        **more,
    )


def corpus_stages(
    settings: ReproduceSettings,
    planned: Sequence[Planned],
    text: Text,
    masking: Masking | None,
    teacher_of: TeacherOf,
) -> list[Stage]:
    """Stages on a corpus. ``teacher_of`` loads the teacher that an objective reads."""
    stages = []
    for each in planned:
        train: TrainingRows = text.train
        held_out: TrainingRows = text.held_out
        if each.step.masked:
            assert masking is not None
            passes = math.ceil(each.steps * each.batch_size / len(text.train))
            train = MaskedRows(text.train, masking, settings.seed + 1, passes)
            held_out = MaskedRows(text.held_out, masking, settings.seed)
        teacher = teacher_of(each.step, each.objective) if each.objective.teacher_taps else None
        stages.append(
            Stage(
                name=each.name,
                objective=each.objective,
                schedule=_schedule(settings, each, evaluations_in_all=1),
                rows=train,
                masked_lm=each.step.masked,
                teacher=teacher,
                evaluation=masked_scores(held_out, settings.token_budget)
                if teacher is None
                else held_out_losses(held_out, teacher, settings.token_budget),
                prepare=_only_layer(each.number)
                if isinstance(each.step, ProgressiveTransfer)
                else None,
                dropout=settings.dropout if teacher is not None else None,
            )
        )
    return stages


def _only_layer(number: int) -> Callable[[PreTrainedModel, Projections | None], None]:
    """Let one layer learn, the embeddings with the first: those below are done, those above wait
    (MobileBERT, section 3.5)."""

    def prepare(model: PreTrainedModel, projections: Projections | None) -> None:
        body: Any = model.base_model
        body.requires_grad_(False)
        layers: nn.ModuleList = body.encoder.layer
        layers[number - 1].requires_grad_(True)
        if number == 1:
            body.embeddings.requires_grad_(True)

    return prepare


def task_stages(
    settings: ReproduceSettings,
    planned: Sequence[Planned],
    rows: TaskRows,
    teacher: Teacher,
    targets: Callable[[], TokenRows],
) -> list[Stage]:
    """Stages on a task; the last one chooses its weights on the dev rows.

    Args:
        settings: of the reproduction.
        planned: the stages.
        rows: the task's.
        teacher: fine-tuned.
        targets: gives the training rows with the teacher's outputs beside them.
    """
    regression = rows.task.kind == "regression"
    metric = rows.task.metric
    stages = []
    for number, each in enumerate(planned, 1):
        last = number == len(planned)
        request = each.objective.teacher_taps
        states = bool(request.hidden or request.attention or request.embedding)
        train = rows.train if states or not request else targets()
        if not each.objective.needs_labels:
            train = replace(train, labels=None)
        stages.append(
            Stage(
                name=each.name,
                objective=each.objective,
                schedule=_schedule(
                    settings, each, evaluations=0, evaluations_in_all=4 if last else None
                ),
                rows=train,
                labels=rows.task.label_names,
                regression=regression,
                teacher=teacher if states else None,
                evaluation=task_scores(rows.dev, metric) if last else None,
                metric=metric if last else None,
                dropout=None if each.objective.needs_labels else settings.dropout,
            )
        )
    return stages
