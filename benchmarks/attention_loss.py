"""Attention loss: the L × L form against the linear form, in time, memory and precision.

Three ways of the same loss and the same gradients, forward and backward:

- plain: the formula as written. The student's and the teacher's L × L scores of all heads, their
  masked difference squared, gradients by autograd; the teacher's part without gradients.
- direct: ``attention_loss(form="direct")``. L × L too, but a block of heads at a time, with its
  gradients in the same pass.
- linear: ``attention_loss(form="linear")``. Never L × L.

Time: the ways take turns; medians. Memory: one fresh process for each way and length; the rise of
its peak resident memory (VmHWM, reset before) over one forward and backward pass, inputs not
counted, after the same at length 32 has loaded the libraries.

    python benchmarks/attention_loss.py --json attention_loss.json
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from common import available_memory, describe_machine, interleaved_medians, medians, write_json
from tinybert.losses import DEFAULT_CROSSOVER, attention_loss
from tinybert.losses import attention as attention_module

WAYS = ["plain", "direct", "linear"]
LENGTHS = [32, 64, 96, 128, 160, 192, 256, 512, 1024, 2048, 4096, 8192]
HEADS, SIZE_S, SIZE_T = 12, 26, 64  # TinyBERT_4 under BERT_BASE
NOISE = [1.0, 0.1, 0.03, 0.01, 0.003, 0.001]
MATRICES = 5  # L × L matrices of all heads that the plain way holds at its peak


def make(batch: int, length: int, size_s: int = SIZE_S, size_t: int = SIZE_T) -> tuple[Any, ...]:
    """Queries and keys laid out as a model leaves them; rows of 3/4 to the full length."""
    torch.manual_seed(0)
    q_s, k_s, q_t, k_t = (
        torch.randn(batch, length, HEADS, size).transpose(1, 2)
        for size in (size_s, size_s, size_t, size_t)
    )
    lengths = torch.randint(3 * length // 4, length + 1, (batch, 1))
    lengths[0] = length
    mask = torch.arange(length) < lengths
    if batch == 1:
        mask[:, 7 * length // 8 :] = False
    return (
        q_s.requires_grad_(), k_s.requires_grad_(), size_s**-0.5, q_t, k_t, size_t**-0.5, mask
    )  # fmt: skip


def plain(
    q_s: Tensor, k_s: Tensor, a: float, q_t: Tensor, k_t: Tensor, b: float, mask: Tensor
) -> Tensor:
    with torch.no_grad():
        teacher = (q_t * b) @ k_t.mT
    student = (q_s * a) @ k_s.mT
    pairs = mask[:, None, :, None] & mask[:, None, None, :]
    return (student - teacher).masked_fill(~pairs, 0.0).square().sum()


def step(way: str, taps: tuple[Any, ...]) -> Callable[[], None]:
    def run() -> None:
        taps[0].grad = taps[1].grad = None
        total = plain(*taps) if way == "plain" else attention_loss(*taps, form=way).total
        total.backward()

    return run


def batch_for(length: int) -> int:
    return max(1, min(32, 4096 // length))


def fits(way: str, batch: int, length: int) -> bool:
    need = MATRICES * 4 * batch * HEADS * length**2
    return way != "plain" or need < 0.5 * (available_memory() or 8e9)


def peak_mb(way: str, batch: int, length: int) -> float:
    """Of a fresh process: this file again, with --cell."""
    cell = f"{way},{batch},{length},{torch.get_num_threads()}"
    command = [sys.executable, __file__, "--cell", cell]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout))


def run_cell(cell: str) -> None:
    way, *numbers = cell.split(",")
    batch, length, threads = map(int, numbers)
    torch.set_num_threads(threads)
    step(way, make(batch, 32))()
    taps = make(batch, length)
    before = peak_memory(reset=True)
    step(way, taps)()
    print(json.dumps((peak_memory() - before) / 1e6))


def peak_memory(reset: bool = False) -> int:
    """Peak resident bytes of this process, on Linux since the last reset.

    ``ru_maxrss`` alone will not do there: a child starts with its parent's.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(length: int, seconds: float, memory: bool, console: Console) -> dict[str, Any]:
    batch = batch_for(length)
    ways = [way for way in WAYS if fits(way, batch, length)]
    for way in set(WAYS) - set(ways):
        console.print(f"length {length}: {way} left out, its scores do not fit into free memory")
    taps = make(batch, length)
    steps = {way: step(way, taps) for way in ways}
    start = time.perf_counter()
    for run in steps.values():
        run()
    repeats = max(3, min(40, int(seconds / (time.perf_counter() - start))))
    all_seconds = interleaved_medians(steps, repeats)
    middle = medians(all_seconds)
    return {
        "length": length,
        "batch": batch,
        "repeats": repeats,
        "seconds": middle,
        "fastest_seconds": {way: min(values) for way, values in all_seconds.items()},
        "memory_mb": {way: peak_mb(way, batch, length) for way in ways} if memory else {},
    }


def precision(length: int) -> list[dict[str, float]]:
    """Errors in float32 against the direct form in float64, a student ever nearer its teacher."""
    rows = []
    for noise in NOISE:
        _, _, scaling, q_t, k_t, _, mask = make(1, length, 64, 64)
        q_s = (q_t + noise * torch.randn_like(q_t)).requires_grad_()
        k_s = (k_t + noise * torch.randn_like(k_t)).requires_grad_()
        taps = (q_s, k_s, scaling, q_t, k_t, scaling)
        wide = [
            x.detach().double().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
            for x in taps
        ]
        truth = attention_loss(*wide, mask, form="direct").total
        true_grad = torch.autograd.grad(truth, wide[0])[0]
        teacher = attention_loss(0 * q_t, k_t, scaling, q_t, k_t, scaling, mask, form="direct")
        row = {"loss_over_teacher": float(truth.detach() / teacher.total)}
        safe = attention_module.SAFE_RATIO
        for name, ratio in (("float32", -math.inf), ("guarded", safe)):
            attention_module.SAFE_RATIO = ratio
            loss = attention_loss(*taps, mask, form="linear").total
            grad = torch.autograd.grad(loss, q_s)[0].double()
            row[f"{name}_loss"] = float((loss.detach() - truth.detach()).abs() / truth.detach())
            row[f"{name}_gradient"] = float((grad - true_grad).norm() / true_grad.norm())
        attention_module.SAFE_RATIO = safe
        rows.append(row)
    return rows


def crossover(cells: list[dict[str, Any]]) -> int | None:
    """Smallest length from which the linear form beats our direct form at every length."""
    wins = [cell["seconds"]["linear"] < cell["seconds"]["direct"] for cell in cells]
    lengths = [c["length"] for i, c in enumerate(cells) if all(wins[i:])]
    return lengths[0] if lengths else None


def ratios(cells: list[dict[str, Any]], what: str, way: str) -> dict[str, float]:
    return {
        str(cell["length"]): round(cell[what][way] / max(cell[what]["linear"], 1e-9), 2)
        for cell in cells
        if way in cell[what]
    }


def show(cells: list[dict[str, Any]], rows: list[dict[str, float]], console: Console) -> None:
    table = Table(title="Attention loss, forward and backward, float32")
    for name in ("length", "batch", "plain ms", "direct ms", "linear ms", "plain/linear"):
        table.add_column(name, justify="right")
    for name in ("direct/linear", "plain MB", "direct MB", "linear MB"):
        table.add_column(name, justify="right")
    for cell in cells:
        seconds, memory = cell["seconds"], cell["memory_mb"]
        over = [f"{seconds[w] / seconds['linear']:.2f}" if w in seconds else "–" for w in WAYS[:2]]
        table.add_row(
            str(cell["length"]),
            str(cell["batch"]),
            *(f"{1e3 * seconds[way]:.2f}" if way in seconds else "–" for way in WAYS),
            *over,
            *(f"{memory[way]:,.1f}" if way in memory else "–" for way in WAYS),
        )
    console.print(table)
    table = Table(title="Linear form in float32: relative error, without and with the fallback")
    for name in ("loss/‖T‖²", "loss", "gradient", "loss, guarded", "gradient, guarded"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.1e}" for value in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    parser.add_argument("--quick", action="store_true", help="few short lengths, for tests")
    parser.add_argument("--lengths", type=int, nargs="+", help="lengths instead of the usual")
    parser.add_argument("--seconds", type=float, default=12.0, help="timing budget a length")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        run_cell(arguments.cell)
        return
    torch.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    machine = describe_machine()
    lengths = arguments.lengths or ([32, 64, 256] if arguments.quick else LENGTHS)
    seconds = 0.2 if arguments.quick else arguments.seconds
    cells = [measure(n, seconds, not arguments.quick or n == lengths[-1], console) for n in lengths]
    rows = precision(64 if arguments.quick else 512)
    show(cells, rows, console)
    summary = {
        "crossover": crossover(cells),
        "default_crossover": DEFAULT_CROSSOVER,
        "ratio": ratios(cells, "seconds", "plain"),
        "ratio_direct": ratios(cells, "seconds", "direct"),
        "memory_ratio": ratios(cells, "memory_mb", "plain"),
        "memory_ratio_direct": ratios(cells, "memory_mb", "direct"),
        "meaning": {
            "ratio": "plain L x L form with autograd / linear form, by length",
            "ratio_direct": "our direct form (blocks, gradients in the same pass) / linear form",
            "crossover": "smallest length from which linear beats our direct form",
        },
    }
    console.print(f"linear wins over direct from length {summary['crossover']}")
    if arguments.json:
        write_json(
            arguments.json,
            {
                "benchmark": "attention_loss",
                "machine": machine,
                "shape": {"heads": HEADS, "head_size_student": SIZE_S, "head_size_teacher": SIZE_T},
                "summary": summary,
                "cells": cells,
                "precision": rows,
            },
        )


if __name__ == "__main__":
    main()
