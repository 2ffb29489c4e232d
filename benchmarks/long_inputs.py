"""Long inputs with ModernBERT: memory and time of a step, by form of the attention loss.

A teacher of 7 layers and a student of 4, width 256, 4 heads, random weights: of the student's
layers two see whole rows and two a window of 64 tokens to each side. One row a step, float32, fused
attention in both models. The objectives:

* ``states``: embeddings and hidden states: what the encoders' own passes cost;
* ``linear``: and attention scores, as the package computes them at such lengths;
* ``direct``: and attention scores, the L x L scores of whole rows in blocks of heads;
* ``written out``: and all attention scores as L x L matrices under autograd; left out where they
  would not fit.

Memory is the peak of a process of its own, less what it had before the step.

    python benchmarks/long_inputs.py [--lengths 512 2048 4096 8192] [--json FILE] [--quick]
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

import torch
from rich.console import Console
from rich.table import Table
from transformers import ModernBertConfig, ModernBertModel

from common import available_memory, describe_machine, write_json
from context import WrittenOut
from tinybert.attention_transfer import attention_transfer, shared_windows
from tinybert.distiller import Distiller
from tinybert.mapping import layer_mapping
from tinybert.objectives import AttentionTerm, Objective, intermediate_objective
from tinybert.projections import Projections
from tinybert.students import Shape, start_student
from tinybert.students.shapes import attention_windows
from tinybert.taps import use_attention
from tinybert.teachers import Teacher

KINDS = ("states", "linear", "direct", "written out")
LAYERS, STUDENT, WIDTH, HEADS = 7, 4, 256, 4
VOCABULARY = 2000  # embeddings are no part of the question


def teacher_model(length: int) -> ModernBertModel:
    """Layers 1, 4 and 7 see whole rows."""
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=384,
        max_position_embeddings=length,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    return ModernBertModel(config).eval()


def one_case(kind: str, length: int, repeats: int) -> dict[str, float]:
    """Seconds of a step and its peak memory, in this process."""
    import resource

    teacher = Teacher(teacher_model(length), None)
    mapping = layer_mapping("uniform", STUDENT, LAYERS)
    shape = Shape(STUDENT, WIDTH, 384, HEADS)
    student = start_student(teacher.model, shape, start="layers", mapping=mapping).train()
    use_attention(student, "fused")
    windows = shared_windows(
        attention_windows(student.config), attention_windows(teacher.config), mapping
    )
    objective = intermediate_objective(
        mapping,
        attention=0.0 if kind == "states" else 1.0,
        transfer=attention_transfer("heads", (WIDTH, WIDTH), windows),
    )
    if kind == "written out":
        objective = Objective(
            tuple(
                WrittenOut(t.weight, t.m, t.n) if isinstance(t, AttentionTerm) else t
                for t in objective.terms
            )
        )
    crossover = length + 1 if kind == "direct" else None
    distiller = Distiller(
        student, Projections(WIDTH, WIDTH, STUDENT), objective, crossover=crossover
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, VOCABULARY, (1, length), generator=generator)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def step() -> None:
        taps = teacher.taps(batch, objective.teacher_taps)
        distiller(batch, taps)["loss"].backward()
        distiller.zero_grad(set_to_none=True)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": median(seconds[1:]), "megabytes": (peak - before) * 1024 / 1e6}


def fits(kind: str, length: int) -> bool:
    """Whether all scores, with what autograd keeps of them, fit into memory."""
    scores = STUDENT * HEADS * length**2 * 4
    return kind != "written out" or 5 * scores < 0.6 * available_memory()


def measure(lengths: list[int], repeats: int) -> list[dict[str, Any]]:
    found = []
    for length in lengths:
        for kind in KINDS:
            if not fits(kind, length):
                continue
            done = subprocess.run(
                [sys.executable, __file__, "--case", json.dumps([kind, length, repeats])],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{kind} at length {length} failed: {done.stderr[-2000:]}")
            found.append({"kind": kind, "length": length, **json.loads(done.stdout)})
            print(found[-1], file=sys.stderr)
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, float]:
    """At the longest length: what each form adds to the states' memory, in MB."""
    longest = max(case["length"] for case in found)
    at = {case["kind"]: case["megabytes"] for case in found if case["length"] == longest}
    return {
        f"{kind} adds MB at {longest}": round(at[kind] - at["states"], 1)
        for kind in KINDS[1:]
        if kind in at
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 2048, 4096, 8192])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two short lengths: does it run?")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(one_case(*json.loads(given.case))))
        return
    lengths, repeats = ([128, 256], 1) if given.quick else (given.lengths, given.repeats)
    found = measure(lengths, repeats)
    table = Table("length", *(f"{k}: {u}" for k in KINDS for u in ("MB", "s")))
    for length in lengths:
        cells = []
        for kind in KINDS:
            case = next((c for c in found if (c["kind"], c["length"]) == (kind, length)), None)
            shown = None if case is None else (case["megabytes"], case["seconds"])
            cells += ["–", "–"] if shown is None else [f"{shown[0]:,.0f}", f"{shown[1]:.2f}"]
        table.add_row(str(length), *cells)
    Console(width=140).print(table)
    if given.json:
        write_json(
            given.json,
            {"machine": describe_machine(), "summary": summary(found), "cases": found},
        )


if __name__ == "__main__":
    main()
