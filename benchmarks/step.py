"""One intermediate distillation step, BERT_BASE shape → TinyBERT_4, three ways on the same rows.

Rows are like SST-2's (13 tokens on average, cap 64), 32 a step; weights are random, since only time
is measured. The three ways take turns inside one training run:

* ``ours``: the trainer's own step: micro-batches of like lengths, teacher and student in the
  precision and form of attention that were measured to be fastest here, fused optimiser;
* ``original``: as the method's published code runs: padded to the cap, float32, attention scores
  materialised in both models, optimiser tensor by tensor;
* ``plain``: a fair simple loop: padded to the batch, float32, no gradients in the teacher.

    python benchmarks/step.py [--steps 12] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import BertConfig, BertModel, TrainerCallback

from common import describe_machine, write_json
from tinybert.batching import TokenRows
from tinybert.choices import choose
from tinybert.distiller import Distiller
from tinybert.objectives import intermediate_objective
from tinybert.projections import Projections
from tinybert.taps import TapRequest, Taps, run_with_taps, use_attention
from tinybert.teachers import Teacher
from tinybert.training import DistillationTrainer, Schedule

CAP, BATCH = 64, 32
MAPPING = (3, 6, 9, 12)


def sst2_like_rows(count: int, vocabulary: int, seed: int = 0) -> TokenRows:
    """Random tokens with the lengths of SST-2's training phrases: mean 13, sd 9, cap 64."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.rint(rng.gamma(2.0, 5.0, count) + 3), 3, CAP).astype(np.int64)
    return TokenRows(
        ids=rng.integers(1000, vocabulary, lengths.sum()).astype(np.uint16),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        takes_types=True,
    )


def bert(layers: int, width: int, feed_forward: int, vocabulary: int) -> BertModel:
    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=12,
            intermediate_size=feed_forward,
        )
    )


def scores(taps: Taps, layer: int) -> Tensor:
    """The L x L scores that the other two ways compare."""
    tap = taps.attention[layer]
    return tap.scaling * tap.query @ tap.key.transpose(-1, -2)


class Loop:
    """A hand-written distillation loop, as people write it."""

    def __init__(self, vocabulary: int, shapes: list[tuple[int, int, int]], padded_to_cap: bool):
        self.padded_to_cap = padded_to_cap
        self.teacher = bert(*shapes[0], vocabulary)
        self.student = bert(*shapes[1], vocabulary)
        # The published code leaves the teacher in train mode; a fair loop does not.
        self.teacher.train(padded_to_cap)
        for model in (self.teacher, self.student):
            use_attention(model, "direct")  # both compare scores, so both write them out
        self.fit_dense = nn.Linear(shapes[1][1], shapes[0][1])
        parameters = [*self.student.parameters(), *self.fit_dense.parameters()]
        form: dict[str, Any] = {"foreach": False, "fused": False} if padded_to_cap else {}
        self.optimizer = torch.optim.AdamW(parameters, lr=5e-5, **form)
        layers = len(MAPPING)
        self.student_taps = TapRequest(
            frozenset(range(1, layers + 1)), frozenset(range(1, layers + 1)), embedding=True
        )
        self.teacher_taps = TapRequest(frozenset(MAPPING), frozenset(MAPPING), embedding=True)

    def step(self, rows: TokenRows, indices: list[int]) -> None:
        batch = rows.batch(indices)
        if self.padded_to_cap:
            missing = CAP - batch["input_ids"].shape[1]
            batch = {name: nn.functional.pad(t, (0, missing)) for name, t in batch.items()}
        with torch.no_grad():
            teacher = run_with_taps(self.teacher, batch, self.teacher_taps)
        self.student.train()
        student = run_with_taps(self.student, batch, self.student_taps)
        loss = nn.functional.mse_loss(self.fit_dense(student.embedding), teacher.embedding)
        for m, n in enumerate(MAPPING, 1):
            one, other = scores(student, m), scores(teacher, n)
            if self.padded_to_cap:
                zero = torch.zeros_like(one)
                one = torch.where(one <= -1e2, zero, one)
                other = torch.where(other <= -1e2, zero, other)
            loss = loss + nn.functional.mse_loss(one, other)
            projected = self.fit_dense(student.hidden[m])
            loss = loss + nn.functional.mse_loss(projected, teacher.hidden[n])
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class Turns(TrainerCallback):
    """Lets the other ways step on the same rows, and takes the time of all three."""

    def __init__(self, others: dict[str, Callable[[list[int]], None]], steps: list[list[int]]):
        self.others, self.steps = others, steps
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        self.mark = 0.0
        self.own = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.mark = time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.own = time.perf_counter() - self.mark  # collating the rows
        for name, step in self.others.items():
            start = time.perf_counter()
            step(self.steps[state.global_step])
            self.seconds[name].append(time.perf_counter() - start)
        self.mark = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        self.seconds["ours"].append(self.own + now - self.mark)
        self.mark = now


def measure(steps: int, quick: bool) -> dict[str, Any]:
    """Seconds a step of each way, the first step of each left out."""
    vocabulary = 2000 if quick else 30522
    shapes = [(12, 48, 96), (4, 24, 48)] if quick else [(12, 768, 3072), (4, 312, 1200)]
    torch.manual_seed(0)
    rows = sst2_like_rows(BATCH * (steps + 1), vocabulary)
    student = bert(*shapes[1], vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        choices = choose(Path(folder) / "choices.json", student, rows)
        use_attention(student, choices.attention)
        teacher = Teacher(
            bert(*shapes[0], vocabulary), dtype=getattr(torch, choices.teacher_precision)
        )
        distiller = Distiller(
            student, Projections(shapes[1][1], shapes[0][1], 4), intermediate_objective(MAPPING)
        )
        loops = {
            "original": Loop(vocabulary, shapes, padded_to_cap=True),
            "plain": Loop(vocabulary, shapes, padded_to_cap=False),
        }
        schedule = Schedule(steps=steps + 1, batch_size=BATCH, log_every=10**6, checkpoints=0)
        turns = Turns({}, [])
        trainer = DistillationTrainer(
            distiller, rows, schedule, folder, teacher=teacher, precision=choices.precision,
            cpu=True, callbacks=[turns],
        )  # fmt: skip
        turns.steps = list(trainer.get_train_dataloader().batch_sampler)
        for name, loop in loops.items():
            turns.others[name] = lambda indices, loop=loop: loop.step(rows, indices)
            turns.seconds[name] = []
        trainer.train()
    seconds = {name: taken[1:] for name, taken in turns.seconds.items()}
    middle = {name: median(taken) for name, taken in seconds.items()}

    def ratio(name: str) -> float:
        return median(o / u for o, u in zip(seconds[name], seconds["ours"], strict=True))

    return {
        "machine": describe_machine(),
        "choices": choices.reason,
        "mean_tokens": float(rows.lengths.mean()),
        "seconds": seconds,
        "median_seconds": middle,
        "summary": {
            "ratio": ratio("original"),
            "ratio_plain": ratio("plain"),
            "ours_seconds": middle["ours"],
        },
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12, help="counted steps of each way")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="tiny models: checks the script")
    options = parser.parse_args(arguments)
    result = measure(options.steps, options.quick)
    table = Table(title="one distillation step, BERT_BASE → TinyBERT_4, 32 rows")
    for column in ("way", "median s", "times ours"):
        table.add_column(column, justify="left" if column == "way" else "right")
    ratios = {
        "ours": 1.0,
        "original": result["summary"]["ratio"],
        "plain": result["summary"]["ratio_plain"],
    }
    for name, seconds in result["median_seconds"].items():
        table.add_row(name, f"{seconds:.3f}", f"{ratios[name]:.2f}")
    console = Console()
    console.print(table)
    console.print(result["choices"])
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
