"""What attention transfer adds, by length: time and memory of a training step, per token.

A 6x384 encoder and a 4x312 student with random weights and 4,096 positions, the same number of
tokens a step at every length, float32, fused attention in both. Three objectives:

* ``states``: embeddings and hidden states: what the encoders' own passes cost;
* ``+ attention``: and attention scores, as the package computes them;
* ``+ written out``: and attention scores as L x L matrices under autograd; left out where they
  would not fit.

Memory is the peak of a process of its own, less what it had before the step.

    python benchmarks/context.py [--tokens 8192] [--lengths 128 ... 4096] [--plot FILE.svg]
        [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import BertConfig, BertModel

from common import available_memory, describe_machine, write_json
from tinybert.batching import TokenRows
from tinybert.distiller import Distiller
from tinybert.objectives import AttentionTerm, intermediate_objective
from tinybert.projections import Projections
from tinybert.taps import AttentionTap, use_attention
from tinybert.teachers import Teacher

MAPPING = (1, 3, 5, 6)
KINDS = ("states", "+ attention", "+ written out")
HEADS = 12


def bert(layers: int, width: int, feed_forward: int, positions: int) -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=2000,  # embeddings are no part of the question
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            intermediate_size=feed_forward,
            max_position_embeddings=positions,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def written_out(student: AttentionTap, teacher: AttentionTap) -> Tensor:
    """Mean squared difference of all scores of full rows, as the formula says it."""
    one, other = (torch.matmul(t.query, t.key.mT) * t.scaling for t in (student, teacher))
    return (one - other).pow(2).mean()


class WrittenOut(AttentionTerm):
    """The attention term of rows without padding, L x L matrices and all."""

    def __call__(self, seen: Any) -> Any:
        value = written_out(seen.student.attention[self.m], seen.teacher.attention[self.n])
        return _Mean(value)


class _Mean:
    def __init__(self, value: Tensor) -> None:
        self.value = value

    def mean(self) -> Tensor:
        return self.value


def one_case(kind: str, length: int, tokens: int, repeats: int) -> dict[str, float]:
    """Seconds of a step and its peak memory, in this process."""
    import resource

    student = bert(4, 312, 1200, length).train()
    use_attention(student, "fused")
    teacher = Teacher(bert(6, 384, 1536, length), None)
    weight = 0.0 if kind == "states" else 0.1
    objective = intermediate_objective(MAPPING, attention=weight)
    if kind == "+ written out":
        terms = [
            WrittenOut(t.weight, t.m, t.n) if isinstance(t, AttentionTerm) else t
            for t in objective.terms
        ]
        object.__setattr__(objective, "terms", tuple(terms))
    distiller = Distiller(student, Projections(312, 384, 4), objective)
    rows = max(1, tokens // length)
    ids = np.random.default_rng(0).integers(100, 2000, rows * length).astype(np.uint16)
    offsets = np.arange(0, rows * length + 1, length, dtype=np.int64)
    batch = TokenRows(ids, offsets, takes_types=True).batch(np.arange(rows))

    def step() -> None:
        taps = teacher.taps(batch, objective.teacher_taps)
        distiller(batch, taps)["loss"].backward()
        distiller.zero_grad(set_to_none=True)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()  # warm
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return {
        "microseconds_a_token": 1e6 * median(seconds) / (rows * length),
        "megabytes": (peak - before) * 1024 / 1e6,
    }


def fits(kind: str, length: int, tokens: int) -> bool:
    """Whether the scores of all mapped layers, kept for the backward pass, fit into memory."""
    pairs = tokens * length * HEADS * 4
    return kind != "+ written out" or 4 * 4 * pairs < 0.7 * available_memory()


def measure(lengths: list[int], tokens: int, repeats: int) -> list[dict[str, Any]]:
    found = []
    for length in lengths:
        for kind in KINDS:
            if not fits(kind, length, tokens):
                continue
            case = json.dumps([kind, length, tokens, repeats])
            done = subprocess.run(
                [sys.executable, __file__, "--case", case],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{kind} at length {length} failed: {done.stderr[-2000:]}")
            found.append({"kind": kind, "length": length, **json.loads(done.stdout)})
            print(found[-1], file=sys.stderr)
    return found


def plot(found: list[dict[str, Any]], tokens: int, file: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("the plot needs matplotlib: pip install 'tinybert[plots]'")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "tinybert"
    figure, axes = pyplot.subplots(1, 2, figsize=(9.2, 3.4), layout="constrained")
    told = {"microseconds_a_token": "µs a token", "megabytes": f"MB a step of {tokens:,} tokens"}
    for axis, (name, title) in zip(axes, told.items(), strict=True):
        for kind in KINDS:
            points = [(c["length"], c[name]) for c in found if c["kind"] == kind]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=kind)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("tokens a row")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--tokens", type=int, default=8192, help="a step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two short lengths: does it run?")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(one_case(*json.loads(given.case))))
        return
    lengths, tokens = ([64, 128], 512) if given.quick else (given.lengths, given.tokens)
    found = measure(lengths, tokens, given.repeats)
    table = Table("length", *(f"{k}: {u}" for k in KINDS for u in ("µs/token", "MB")))
    for length in lengths:
        cells = []
        for kind in KINDS:
            case = next((c for c in found if (c["kind"], c["length"]) == (kind, length)), None)
            cells += (
                ["–", "–"]
                if case is None
                else [
                    f"{case['microseconds_a_token']:.0f}",
                    f"{case['megabytes']:,.0f}",
                ]
            )
        table.add_row(str(length), *cells)
    Console().print(table)
    if given.plot:
        plot(found, tokens, given.plot)
    if given.json:
        write_json(given.json, {"machine": describe_machine(), "tokens": tokens, "cases": found})


if __name__ == "__main__":
    main()
