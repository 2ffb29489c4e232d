"""Tokens a second of general distillation, 6x384 encoder → 4x312: ours and a plain loop.

Random weights and tokens in blocks of 128, since only time is measured. The loops take turns on the
same blocks:

* ``ours``: the trainer's own step, precision and attention as it measures them here;
* ``plain``: what one writes first on this processor: teacher in bfloat16 without gradients, student
  under bfloat16 autocast with attention written out, scores of both models in full and compared
  under autograd, AdamW (fused), one batch of 32 blocks a step;
* ``plain, float32``: the same with the student in float32.

The roofline: floating-point operations a token (teacher forward, student forward and backward),
and the share of the speed that this processor reaches in a large bfloat16 matrix product.

    python benchmarks/general.py [--steps 8] [--profile] [--json FILE] [--quick]
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
from tinybert.measure import flops
from tinybert.objectives import intermediate_objective
from tinybert.projections import Projections
from tinybert.taps import TapRequest, run_with_taps, use_attention
from tinybert.teachers import Teacher
from tinybert.training import DistillationTrainer, Schedule

MAPPING = (1, 3, 5, 6)
VOCABULARY = 30522
LENGTH = 128
ATTENTION_WEIGHT = 0.1


def bert(layers: int, width: int, feed_forward: int) -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=12,
            intermediate_size=feed_forward,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def random_blocks(count: int, seed: int = 0) -> TokenRows:
    ids = np.random.default_rng(seed).integers(1000, VOCABULARY, count * LENGTH)
    offsets = np.arange(0, count * LENGTH + 1, LENGTH)
    return TokenRows(ids.astype(np.uint16), offsets.astype(np.int64), takes_types=True)


class Plain:
    """A loop of one's own: no trainer, no shares, scores written out."""

    BATCH = 32

    def __init__(self, rows: TokenRows, precision: str) -> None:
        self.rows, self.place = rows, 0
        self.autocast = precision == "bfloat16"
        self.teacher = bert(6, 384, 1536).eval().bfloat16()
        use_attention(self.teacher, "fused")
        self.student = bert(4, 312, 1200).train()
        use_attention(self.student, "direct")
        self.maps = nn.ModuleList([nn.Linear(312, 384), nn.Linear(312, 384)])
        parameters = [*self.student.parameters(), *self.maps.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
        layers = frozenset(range(1, 5))
        self.student_taps = TapRequest(attention=layers, hidden=layers, embedding=True)
        mapped = frozenset(MAPPING)
        self.teacher_taps = TapRequest(attention=mapped, hidden=mapped, embedding=True)

    def step(self) -> int:
        """One optimiser step; returns the tokens it took."""
        batch = self.rows.batch(np.arange(self.place, self.place + self.BATCH) % len(self.rows))
        self.place += self.BATCH
        with torch.no_grad():
            theirs = run_with_taps(self.teacher, batch, self.teacher_taps)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            ours = run_with_taps(self.student, batch, self.student_taps)
        assert ours.embedding is not None
        assert theirs.embedding is not None
        loss = (self.maps[0](ours.embedding.float()) - theirs.embedding.float()).pow(2).mean()
        for m, n in enumerate(MAPPING, 1):
            hidden = self.maps[1](ours.hidden[m].float()) - theirs.hidden[n].float()
            loss = loss + hidden.pow(2).mean()
            scores = [self._scores(taps.attention[i]) for taps, i in ((ours, m), (theirs, n))]
            loss = loss + ATTENTION_WEIGHT * (scores[0] - scores[1]).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        return self.BATCH * LENGTH

    @staticmethod
    def _scores(tap: Any) -> Tensor:
        return torch.matmul(tap.query.float(), tap.key.float().transpose(-1, -2)) * tap.scaling


class Ours:
    """The trainer, which hands its step over one at a time."""

    def __init__(self, rows: TokenRows, place: Path, batch: int, steps: int) -> None:
        student = bert(4, 312, 1200)
        self.choices = choose(place / "choices.json", student, rows, batch_size=batch)
        use_attention(student, self.choices.attention)
        objective = intermediate_objective(MAPPING, attention=ATTENTION_WEIGHT)
        teacher = Teacher(
            bert(6, 384, 1536), None, dtype=getattr(torch, self.choices.teacher_precision)
        )
        self.batch = batch
        self.turns: Callable[[], None] = lambda: None
        trainer = DistillationTrainer(
            Distiller(student, Projections(312, 384, 4), objective),
            rows,
            Schedule(steps=steps, batch_size=batch, checkpoints=0, log_every=1000),
            place / "run",
            teacher=teacher,
            precision=self.choices.precision,
            cpu=True,
            callbacks=[_Turns(self)],
        )
        self.seconds: list[float] = []
        self.train = trainer.train


class _Turns(TrainerCallback):
    """Times our steps, reading included, and lets the others have their turn in between."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        self.begun = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ours.seconds.append(time.perf_counter() - self.begun)
        self.ours.turns()
        self.begun = time.perf_counter()


def peak_flops(repeats: int = 7) -> float:
    """Operations a second of a large bfloat16 matrix product."""
    n = 2048
    one = torch.randn(n, n).bfloat16()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - begun)
    return 2 * n**3 / median(seconds)


def operations_a_token() -> float:
    """Teacher forward, student forward and backward; embeddings are looked up, not multiplied."""
    return (flops(bert(6, 384, 1536), LENGTH) + 3 * flops(bert(4, 312, 1200), LENGTH)) / LENGTH


def measure(steps: int, batch: int, profile: bool) -> dict[str, Any]:
    rows = random_blocks(1024)
    plain = {"plain": Plain(rows, "bfloat16"), "plain, float32": Plain(rows, "float32")}
    seconds: dict[str, list[float]] = {name: [] for name in plain}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        ours = Ours(rows, Path(place), batch, steps + 2)

        def turns() -> None:
            for name, loop in plain.items():
                begun = time.perf_counter()
                for _ in range(batch // Plain.BATCH):
                    loop.step()
                seconds[name].append(time.perf_counter() - begun)
            peaks.append(peak_flops(3))

        ours.turns = turns
        ours.train()
        if profile:
            (Path(place) / "again").mkdir()
            _profile(Ours(rows, Path(place) / "again", batch, 4))
    seconds = {"ours": ours.seconds} | seconds
    speed = {name: batch * LENGTH / median(s[2:]) for name, s in seconds.items()}
    return {
        "machine": describe_machine(),
        "choices": ours.choices.reason,
        "precision": ours.choices.precision,
        "attention": ours.choices.attention,
        "batch": batch,
        "seconds": seconds,
        "tokens_per_second": speed,
        "ratio": speed["ours"] / speed["plain"],
        "mflop_a_token": operations_a_token() / 1e6,
        "peak_gflops": median(peaks) / 1e9,
        "share_of_peak": {n: v * operations_a_token() / median(peaks) for n, v in speed.items()},
    }


def _profile(ours: Ours) -> None:
    """Where our time goes, by operation."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        ours.train()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each loop")
    parser.add_argument("--batch", type=int, default=64, help="blocks an optimiser step of ours")
    parser.add_argument("--profile", action="store_true", help="also where our time goes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two steps: does it run?")
    given = parser.parse_args()
    found = measure(2 if given.quick else given.steps, given.batch, given.profile)
    table = Table("loop", "tokens/s", "ours / it", "share of peak", title="general distillation")
    for name, speed in found["tokens_per_second"].items():
        ratio = found["tokens_per_second"]["ours"] / speed
        share = found["share_of_peak"][name]
        table.add_row(name, f"{speed:,.0f}", f"{ratio:.2f}", f"{share:.0%}")
    Console().print(table)
    print(
        f"{found['mflop_a_token']:.1f} MFLOP a token; a large bfloat16 product runs at "
        f"{found['peak_gflops']:.0f} GFLOP/s; {found['precision']}, {found['attention']} attention"
    )
    if given.json:
        write_json(given.json, found)


if __name__ == "__main__":
    main()
