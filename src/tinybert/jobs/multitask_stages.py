"""The two stages of several tasks, and the student that they begin with."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.distiller import Distiller
from tinybert.ensemble import TaskTeachers
from tinybert.evaluation import agreement_of, held_out_losses, predict, scores_of
from tinybert.jobs.rows import TaskRows, calibration
from tinybert.jobs.students import Begun, begin_student
from tinybert.jobs.task_stages import common_schedule, with_targets
from tinybert.projections import PROJECTIONS_FILE, Projections
from tinybert.settings import MultitaskSettings
from tinybert.several_tasks import (
    HeadSpec,
    MixedRows,
    fit_outputs,
    load_shared,
    new_shared,
    tasks_objective,
    value_weight,
)
from tinybert.shared_body import SharedBody
from tinybert.stages import Run, Stage, save_student, set_dropout
from tinybert.students import fit_heads
from tinybert.teachers import Teacher, cached_logits, load_encoder
from tinybert.training import Schedule

__all__ = ["OneTask", "begin_shared", "mean_body", "multitask_stages"]

CHOSEN_BY = "mean"
"""The figure that the weights are chosen by: the mean of the tasks' main scores."""


@dataclass
class OneTask:
    """One of several tasks.

    Attributes:
        name: of the task.
        rows: its token rows, labels settled by its teacher.
        model: its teacher.
    """

    name: str
    rows: TaskRows
    model: PreTrainedModel

    @property
    def head(self) -> HeadSpec:
        """What the student's head answers."""
        task = self.rows.task
        return HeadSpec(self.name, task.label_names, task.kind == "regression", task.answering)

    @property
    def labels(self) -> Sequence[str]:
        """Names of the head's outputs, one of a regression."""
        return self.head.labels or ("score",)


def begin_shared(
    run: Run,
    settings: MultitaskSettings,
    tasks: Sequence[OneTask],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[Begun, list[Teacher]]:
    """The directory that the first stage takes, with a head for each task; and the teachers.

    The body starts from the mean of the teachers' bodies on the rows of all. Where that start makes
    a head that answers as its teacher's does, the other tasks' heads are fitted to theirs.
    """
    first, rows = tasks[0], MixedRows([each.rows.train for each in tasks])
    begun = begin_student(
        run,
        settings,
        mean_body([each.model for each in tasks]),
        tokenizer,
        rows,
        labels=first.labels,
        answering=first.head.answering,
    )
    probe = load_encoder(begun.directory)
    cast(torch.nn.Module, probe).to(run.device)
    models = [each.model for each in tasks]
    choices = run.choices(probe, rows, settings.batch_size, models)
    dtype = getattr(torch, choices.teacher_precision)
    teachers = [Teacher(model, tokenizer, dtype=dtype, device=run.device) for model in models]
    for each, teacher in zip(tasks, teachers, strict=True):
        if not each.head.regression:
            teacher.speak_labels(each.rows.task.label_names)

    def make(directory: Path) -> None:
        heads = [each.head for each in tasks]
        bare = directory / ".body"
        shared = new_shared(begun.directory, heads, bare, run.seed)
        if begun.start in ("pca", "layers"):
            shared.to(run.device)
            if settings.dropout is not None:
                set_dropout(shared, settings.dropout)
            few = [calibration(each.rows.train, run.seed) for each in tasks]
            fit_outputs(shared, teachers, few, first=1, seed=run.seed)
        held = begun.directory / PROJECTIONS_FILE
        projections = Projections.load(begun.directory) if held.is_file() else None
        shutil.rmtree(bare)
        save_student(directory, cast(PreTrainedModel, shared), tokenizer, projections)

    return replace(begun, directory=run.made("heads", make)), teachers


def mean_body(models: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """The first model with the mean of all models' bodies.

    Fine-tuned from one encoder, they lie near each other, and their mean favours none of the tasks
    (model soups, arXiv 2203.05482). Of one model it is the model itself.
    """
    first, *others = models
    if not others:
        return first
    middle: PreTrainedModel = copy.deepcopy(first)
    bodies = [each.base_model.state_dict() for each in models]
    with torch.no_grad():
        for name, value in middle.base_model.state_dict().items():
            if value.is_floating_point():
                value.copy_(sum(body[name].double() for body in bodies) / len(bodies))
    return middle


def multitask_stages(
    run: Run,
    settings: MultitaskSettings,
    tasks: Sequence[OneTask],
    teachers: Sequence[Teacher],
    begun: Begun,
    epochs: float,
) -> list[Stage]:
    """TinyBERT's two task stages over the rows of all tasks; ``epochs`` are the first one's."""
    common = common_schedule(settings)
    heads = [each.head for each in tasks]
    load = partial(load_shared, heads=heads)
    stages = []
    if epochs > 0:
        together = TaskTeachers(teachers)
        dev = MixedRows([_plain(each.rows.dev) for each in tasks])
        stages.append(
            Stage(
                name="intermediate",
                objective=begun.objective,
                schedule=Schedule(
                    epochs=epochs, learning_rate=settings.intermediate_learning_rate, **common
                ),
                rows=MixedRows([_plain(each.rows.train) for each in tasks], settings.balance),
                teacher=together,
                evaluation=held_out_losses(dev, together, settings.token_budget),
                dropout=settings.dropout,
                load=load,
            )
        )
    if settings.prediction_epochs > 0:
        learned = [
            with_targets(run, teacher, each.rows.train, run.reporter)
            for each, teacher in zip(tasks, teachers, strict=True)
        ]
        stages.append(
            Stage(
                name="prediction",
                objective=tasks_objective(heads, _weights(tasks, learned), settings.temperature),
                schedule=Schedule(
                    epochs=settings.prediction_epochs,
                    learning_rate=settings.prediction_learning_rate,
                    evaluations=settings.evaluations,
                    **common,
                ),
                rows=MixedRows(learned, settings.balance),
                prepare=_heads(settings, tasks, teachers, begun, epochs, run.seed),
                dropout=settings.dropout,
                evaluation=_scores(run, tasks, teachers),
                metric=CHOSEN_BY,
                load=load,
            )
        )
    return stages


def _plain(rows: Any) -> Any:
    return replace(rows, targets=None)


def _weights(tasks: Sequence[OneTask], learned: Sequence[Any]) -> list[float]:
    """λ of each task's prediction term; alone a task has the paper's, 1."""
    if len(tasks) == 1:
        return [1.0]
    return [
        value_weight(rows.targets) if each.head.regression else 1.0
        for each, rows in zip(tasks, learned, strict=True)
    ]


def _heads(
    settings: MultitaskSettings,
    tasks: Sequence[OneTask],
    teachers: Sequence[Teacher],
    begun: Begun,
    epochs: float,
    seed: int,
) -> Callable[[PreTrainedModel, Projections | None], None] | None:
    """How the prediction stage's heads start: from the teachers', where states were distilled."""
    first = teachers[0]
    whole = begun.mapping[-1] == first.config.num_hidden_layers
    if settings.head == "random" or epochs == 0 or not whole:
        return None

    def prepare(model: PreTrainedModel, projections: Projections | None) -> None:
        if projections is None:
            return
        shared = cast(SharedBody, model)
        few = [calibration(each.rows.train, seed) for each in tasks]
        # What of a head lies in the body (BERT's pooler) is fitted to the first teacher's alone.
        weight = projections.weight_for(projections.layers)
        fit_heads(shared.of(0), first.model, weight, few[0], first.label_order)
        if settings.dropout is not None:
            set_dropout(shared, settings.dropout)
        fit_outputs(shared, teachers, few, first=1, seed=seed)

    return prepare


def _scores(
    run: Run, tasks: Sequence[OneTask], teachers: Sequence[Teacher]
) -> Callable[[Distiller], dict[str, float]]:
    """The mean of the tasks' main scores on their dev rows, and all scores by task.

    Of a task without labels it is how far the student answers as its teacher does.
    """
    wanted: dict[str, NDArray[np.float32]] = {}
    for each, teacher in zip(tasks, teachers, strict=True):
        if each.rows.dev.labels is None:
            with run.state.main_process_first():
                wanted[each.name] = cached_logits(teacher, each.rows.dev, run.work, run.reporter)

    def evaluate(distiller: Distiller) -> dict[str, float]:
        shared = cast(SharedBody, distiller.student)
        figures: dict[str, float] = {}
        main = []
        for number, each in enumerate(tasks):
            dev = each.rows.dev
            outputs = predict(shared.of(number), dev)
            if each.name in wanted:
                scores = {"agreement": agreement_of(outputs, wanted[each.name], dev)}
                main.append(scores["agreement"])
            else:
                metric = each.rows.task.metric
                scores = scores_of(metric, outputs, dev)
                main.append(scores[metric])
            figures |= {f"{name}.{each.name}": score for name, score in scores.items()}
        return {CHOSEN_BY: mean(main)} | figures

    return evaluate
