"""Heads of several tasks on one body: made, started at a teacher's answers, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from tinybert.shared_body import SharedBody
from tinybert.students.heads import fit_output
from tinybert.taps import TapRequest
from tinybert.task_heads import Answering
from tinybert.teachers import Teacher, load_encoder

__all__ = ["HeadSpec", "fit_outputs", "load_shared", "new_shared"]


@dataclass(frozen=True)
class HeadSpec:
    """What the head of one task answers.

    Attributes:
        name: of the task.
        labels: names of its outputs, in the data's order; empty of a regression.
        regression: one value instead of classes.
        answering: one class a row, or a set of labels.
    """

    name: str
    labels: tuple[str, ...]
    regression: bool = False
    answering: Answering = "rows"

    def load(self, path: str | Path, seed: int = 0) -> PreTrainedModel:
        """A model with this head; newly made where ``path`` has none."""
        return load_encoder(
            path,
            labels=self.labels,
            regression=self.regression,
            answering=self.answering,
            seed=seed,
        )


def new_shared(directory: Path, heads: Sequence[HeadSpec], scratch: Path, seed: int) -> SharedBody:
    """A student of all tasks: the body, and the first task's head, are those of ``directory``.

    The others' heads are new, each drawn by ``seed`` and its task's number.

    Args:
        directory: a student's, with a head for the first task or without one.
        heads: of all tasks.
        scratch: an empty directory to write the bare body to for a moment.
        seed: of new weights.
    """
    first, *others = heads
    models = {first.name: first.load(directory, seed)}
    body = cast(PreTrainedModel, models[first.name].base_model)
    body.save_pretrained(scratch)
    for number, head in enumerate(others, 1):
        models[head.name] = head.load(scratch, seed + number)
    return SharedBody(models)


def load_shared(directory: Path, heads: Sequence[HeadSpec]) -> PreTrainedModel:
    """What :meth:`SharedBody.save_pretrained` wrote."""
    shared = SharedBody({head.name: head.load(directory / head.name) for head in heads})
    return cast(PreTrainedModel, shared)  # has all of it that a stage asks for


def fit_outputs(
    shared: SharedBody,
    teachers: Sequence[Teacher],
    rows: Sequence[Sequence[Mapping[str, torch.Tensor]]],
    *,
    first: int = 0,
    seed: int = 0,
) -> None:
    """Start the output maps of the tasks from ``first`` on at their teachers' answers.

    The body stays as it is: it is shared. Each map is the ridge regression of the teacher's
    logits, in the data's order of labels, on what the student's head feeds it while it trains,
    with the dropout that the student has now.

    Args:
        shared: changed in place.
        teachers: one a task.
        rows: of each task batches of model inputs.
        first: the first task whose head is fitted.
        seed: of the dropout.
    """
    request = TapRequest(logits=True)
    for task in range(first, len(shared)):
        device = shared.device
        batches = [{k: v.to(device) for k, v in batch.items()} for batch in rows[task]]
        found = [teachers[task].taps(batch, request).logits for batch in batches]
        wanted = torch.cat([each.float() for each in found if each is not None])
        fit_output(shared.of(task), batches, wanted, seed)
