"""From a system's steps to stages: schedules by arithmetic or by the paper, rows, teachers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tinybert.attention_transfer import relation_heads
from tinybert.batching import TokenRows, TrainingRows
from tinybert.evaluation import held_out_losses, masked_scores, task_scores
from tinybert.jobs.general_corpus import Text
from tinybert.jobs.rows import TaskRows, calibration
from tinybert.mapping import layer_mapping
from tinybert.masking import MaskedRows, Masking
from tinybert.objectives import Objective
from tinybert.projections import Projections
from tinybert.quantities import parse_count
from tinybert.settings import ReproduceSettings
from tinybert.stages import Stage
from tinybert.students import fit_heads, start_at_mean
from tinybert.systems import System, student_config
from tinybert.systems.compute import Cost, answers_are_kept, step_cost, steps_within
from tinybert.systems.steps import Given, ProgressiveTransfer, RelationTransfer, Step
from tinybert.teachers import Teacher
from tinybert.training import Schedule

__all__ = ["Planned", "corpus_stage", "given_of", "plan_part", "task_stages"]


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
        kept: whether the teacher's answers to all rows are kept; else it is in the loop.
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
    kept: bool

    @property
    def flops(self) -> float:
        """Operations of the whole stage."""
        answered = self.rows_tokens if self.kept else self.tokens
        return self.cost.per_token * self.tokens + self.cost.once * answered


def given_of(
    system: System, student: PretrainedConfig, teacher: PretrainedConfig, regression: bool = False
) -> Given:
    """What a system's objectives depend on, beside this teacher."""
    layers = student.num_hidden_layers
    wanted = [step.relation_heads for step in system.steps if isinstance(step, RelationTransfer)]
    return Given(
        mapping=layer_mapping(system.mapping, layers, teacher.num_hidden_layers),
        teacher_layers=teacher.num_hidden_layers,
        regression=regression,
        relation_heads=relation_heads(teacher.hidden_size, student.hidden_size, wanted[0])
        if wanted
        else 1,
    )


def plan_part(
    settings: ReproduceSettings,
    system: System,
    part: Literal["corpus", "task"],
    teacher: PretrainedConfig,
    rows: int,
    tokens: float,
    regression: bool = False,
) -> list[Planned]:
    """The stages of a system on a corpus or on a task of that size.

    Args:
        settings: of the reproduction.
        system: which.
        part: its steps on the corpus, or on the task.
        teacher: the teacher's configuration.
        rows, tokens: of one pass.
        regression: whether the task's label is a value.
    """
    student = student_config(system, teacher)
    given = given_of(system, student, teacher, regression)
    small = settings.scale == "small"
    amount = settings.corpus_flops if part == "corpus" else settings.task_flops
    budget = parse_count(amount, f"--{part}-flops")
    length = max(1, round(tokens / rows))
    steps = system.corpus_steps if part == "corpus" else system.task_steps
    whole: list[Planned] = []
    if system.whole is not None:
        whole = plan_part(settings, system.whole, part, teacher, rows, tokens, regression)
    found: list[Planned] = []
    for own in steps:
        batch = settings.corpus_batch if part == "corpus" else settings.task_batch
        step = at_small_scale(own, batch) if small else own
        objectives = step.objectives(given)
        for number, objective in enumerate(objectives, 1):
            name = step.name if len(objectives) == 1 else f"{step.name}-{number}"
            cost = step_cost(step, objective, student, teacher, length)
            if len(whole) == len(steps):
                count = whole[len(found)].steps
            elif small:
                share = budget * step.share / len(objectives)
                count = steps_within(share, cost, rows, tokens, step.batch_size)
            elif step.steps is not None:
                count = math.ceil(step.steps / len(objectives))
            else:
                count = math.ceil((step.epochs or 1.0) * math.ceil(rows / step.batch_size))
            found.append(
                Planned(
                    name=name,
                    step=step,
                    objective=objective,
                    number=number,
                    steps=max(1, count),
                    batch_size=step.batch_size,
                    learning_rate=step.learning_rate,
                    cost=cost,
                    tokens=max(1, count) * min(step.batch_size, rows) * tokens / rows,
                    rows_tokens=tokens,
                    kept=answers_are_kept(count, rows, step.batch_size),
                )
            )
    return found


def at_small_scale(step: Step, batch_size: int | None = None) -> Step:
    """The step with its values for a budget of minutes: batch (or the one that is asked for),
    learning rate, λ of attention."""
    changes: dict[str, Any] = {
        "batch_size": batch_size or step.small_batch_size,
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


def corpus_stage(
    settings: ReproduceSettings,
    planned: Planned,
    text: Text,
    masking: Masking | None,
    teacher: Teacher | None,
) -> Stage:
    """A stage on a corpus; ``teacher`` where its objective reads one."""
    train: TrainingRows = text.train
    held_out: TrainingRows = text.held_out
    seed = settings.pretraining_seed
    if planned.step.masked:
        assert masking is not None
        passes = math.ceil(planned.steps * planned.batch_size / len(text.train))
        train = MaskedRows(text.train, masking, seed + 1, passes)
        held_out = MaskedRows(text.held_out, masking, seed)
    transfer = isinstance(planned.step, ProgressiveTransfer)
    return Stage(
        name=planned.name,
        objective=planned.objective,
        schedule=_schedule(settings, planned, evaluations_in_all=1),
        rows=train,
        masked_lm=planned.step.masked,
        teacher=teacher,
        evaluation=masked_scores(held_out, settings.token_budget)
        if teacher is None
        else held_out_losses(held_out, teacher, settings.token_budget),
        prepare=_only_layer(planned.number) if transfer else None,
        dropout=settings.dropout if teacher is not None else None,
    )


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
    system: System,
    seed: int,
) -> list[Stage]:
    """Stages on a task; the last one chooses its weights on the dev rows.

    Args:
        settings: of the reproduction.
        planned: the stages.
        rows: the task's.
        teacher: fine-tuned.
        targets: gives the training rows with the teacher's outputs beside them.
        system: whose stages they are.
        seed: of the rows that heads are fitted on.
    """
    regression = rows.task.kind == "regression"
    metric = rows.task.metric
    stages: list[Stage] = []
    started = settings.head == "random"
    followed = system.start != "random" or any(each.objective.needs_projections for each in planned)
    for number, each in enumerate(planned, 1):
        last = number == len(planned)
        request = each.objective.teacher_taps
        states = bool(request.hidden or request.attention or request.embedding)
        kept = bool(request) and not states and each.kept
        train = targets() if kept else rows.train
        if not each.objective.needs_labels:
            train = replace(train, labels=None)
        prepare = None
        if each.objective.student_taps.logits and not started:
            prepare = _head_start(rows, teacher if request.logits and followed else None, seed)
            started = True
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
                teacher=teacher if request and not kept else None,
                evaluation=task_scores(rows.dev, metric) if last else None,
                metric=metric if last else None,
                prepare=prepare,
                dropout=None if each.objective.needs_labels else settings.dropout,
            )
        )
    return stages


def _head_start(
    rows: TaskRows, teacher: Teacher | None, seed: int
) -> Callable[[PreTrainedModel, Projections | None], None]:
    """A head fitted to the teacher's answers, or without a teacher a regression's at the mean of
    the labels. ``teacher`` is given where it answers, and the student's states come from its own.
    """

    def prepare(model: PreTrainedModel, projections: Projections | None) -> None:
        if rows.task.kind == "regression" and rows.train.labels is not None:
            start_at_mean(model, float(rows.train.labels.mean()))
        if teacher is None:
            return
        weight: Tensor
        if projections is not None:
            weight = projections.weight_for(projections.layers)
        else:  # copied layers
            weight = torch.eye(model.config.hidden_size)
        fit_heads(model, teacher.model, weight, calibration(rows.train, seed), teacher.label_order)

    return prepare
