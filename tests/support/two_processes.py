"""Train a tiny distiller for a few steps, alone or under torchrun, and save what came out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from support import tiny
from tinybert.cli import leave
from tinybert.distiller import Distiller
from tinybert.objectives import (
    intermediate_objective,
    label_objective,
    mlm_objective,
    prediction_objective,
)
from tinybert.projections import Projections
from tinybert.several_tasks import HeadSpec, MixedRows, tasks_objective
from tinybert.shared_body import SharedBody
from tinybert.taps import use_attention
from tinybert.teachers import Teacher
from tinybert.training import DistillationTrainer, Schedule

TWO = tiny.LABELS[:2]


class Gradients(TrainerCallback):
    """Keeps the gradients of the first step, as the optimiser sees them."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        if not self.first:
            self.first = {
                n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
            }


def several_tasks() -> tuple[MixedRows, Distiller, None]:
    heads = [HeadSpec("three", tiny.LABELS[:3]), HeadSpec("value", (), True), HeadSpec("few", TWO)]
    parts, models = [], {}
    for seed, (head, count) in enumerate(zip(heads, (20, 14, 3), strict=True)):
        width = len(head.labels) or 1
        kept = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
        parts.append(replace(tiny.rows(count, seed=seed, labels=None), targets=kept))
        models[head.name] = tiny.classifier(seed, labels=head.labels or ("score",))
    shared: Any = SharedBody(models)
    use_attention(shared, "direct")
    distiller = Distiller(shared, None, tasks_objective(heads, (1.0, 0.5, 1.0), 1.0))
    return MixedRows(parts, 0.5), distiller, None


def main(directory: Path, objective: str) -> None:
    # 37 rows: last batches of 1 row, of which one process of two has none.
    if objective == "mlm":
        rows = tiny.masked_rows(37, seed=5)
        student = tiny.masked_lm(seed=2)
        use_attention(student, "direct")
        distiller = Distiller(student, None, mlm_objective())
        teacher = None
    elif objective == "tasks":  # steps without any row of a task, and processes without one
        rows, distiller, teacher = several_tasks()
    else:
        rows = tiny.rows(37, seed=5)
        student = tiny.classifier(seed=2)
        use_attention(student, "direct")
        torch.manual_seed(3)
        terms = (
            intermediate_objective((2, 4)) + prediction_objective() + label_objective(weight=0.3)
        )
        distiller = Distiller(student, Projections(16, 32, 2), terms)
        teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32))
    gradients = Gradients()
    trainer = DistillationTrainer(
        distiller,
        rows,
        Schedule(steps=50, batch_size=9, learning_rate=1e-3, token_budget=64, log_every=1),
        directory,
        teacher=teacher,
        cpu=True,
        callbacks=[gradients],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    world = trainer.args.world_size
    if trainer.args.process_index == 0:
        directory.mkdir(parents=True, exist_ok=True)
        result = {
            "losses": losses,
            "first_gradients": gradients.first,
            "weights": trainer.accelerator.unwrap_model(trainer.model).state_dict(),
            "world": world,
        }
        torch.save(result, directory / "result.pt")


if __name__ == "__main__":
    for objective in ("distillation", "mlm", "tasks"):
        main(Path(sys.argv[1]) / objective, objective)
    leave()
