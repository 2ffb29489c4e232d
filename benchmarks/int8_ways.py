"""The ways to int8 side by side: size, difference from PyTorch, batch mates, score, milliseconds.

One model is exported once and rounded in every way that `tinybert export --int8` has. Differences
are those of logits (states of an encoder): the largest and the mean from float32, and the largest
between a row alone and in a batch of 96. With ``--task`` also the score and the share of rows with
the class that PyTorch gives. Times are those of the processor, of one thread, without padding, all
forms in turns: median and least.

    python benchmarks/int8_ways.py --model student --task sst-2 --data glue --json int8_ways.json

Without a model: the demo's encoder, on sentences of our own.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from common import describe_machine, write_json
from tinybert.batching import TokenRows, tokenize
from tinybert.demo_teacher import demo_teacher_path
from tinybert.evaluation import predict
from tinybert.forms import (
    REASONS,
    alone_and_together,
    answers,
    largest_difference,
    make_probes,
    write_graph,
    write_int8,
)
from tinybert.forms.sentences import SENTENCES
from tinybert.jobs.predict import glue_outputs
from tinybert.measure.latency import longest_input
from tinybert.runtimes import FORMS, Runtime, open_runtime
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.glue.reader import read_glue, read_glue_dev
from tinybert.tasks.metrics import compute
from tinybert.teachers import has_head, head_labels, load_encoder, load_tokenizer

SHAPES = ((1, 32), (1, 128), (8, 64), (1, 512))


def figures(
    runtime: Runtime, rows: TokenRows, wanted: Any, probes: Any, metric: str, order: list[int]
) -> Any:
    found = {
        "mb": runtime.size / 1e6,
        "largest": largest_difference(runtime, probes),
        "alone_and_together": alone_and_together(runtime, rows, 96),
    }
    if wanted is not None:
        logits = answers(runtime, rows)
        apart = np.abs(logits - wanted)
        found |= {"largest": float(apart.max()), "mean": float(apart.mean())}
        found["agreement"] = float((logits.argmax(1) == wanted.argmax(1)).mean())
        found["score"] = compute(metric, logits[:, order], rows.labels)[metric]
    return found


def times(runtimes: dict[str, Runtime], longest: int, pieces: int, repeats: int) -> dict[str, Any]:
    """Shape → form → median and least milliseconds of processor time."""
    rng = np.random.default_rng(0)
    taken: dict[str, Any] = {}
    for batch, length in SHAPES:
        if length > longest:
            continue
        # Past a vocabulary's special pieces, and no further than a small one goes.
        low, high = min(1000, pieces // 2), min(20_000, pieces)
        ids = {"input_ids": rng.integers(low, high, (batch, length))}
        found: dict[str, list[float]] = {name: [] for name in runtimes}
        for turn in range(repeats + 2):
            for name, runtime in runtimes.items():
                start = time.process_time()
                runtime(ids)
                if turn >= 2:
                    found[name].append(1e3 * (time.process_time() - start))
        taken[f"{batch}x{length}"] = {
            name: {"median": statistics.median(each), "least": min(each)}
            for name, each in found.items()
        }
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    parser.add_argument("--model", default=None, help="directory; a classifier of the task")
    parser.add_argument("--task", help="GLUE task whose dev set is answered")
    parser.add_argument("--data", help="directory of GLUE's files")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    path = arguments.model or str(demo_teacher_path())
    machine = describe_machine()
    tokenizer = load_tokenizer(path)
    labels = head_labels(path) if has_head(path) else None
    model = load_encoder(path, labels=labels, regression=labels is not None and len(labels) == 1)
    model.eval()
    rows = calibration = tokenize(tokenizer, [(text,) for text in SENTENCES], arguments.max_length)
    wanted, metric, order = None, "", [0]
    if arguments.task:
        task, parts = read_glue_dev(arguments.task, arguments.data)
        metric = task.metric
        order = glue_outputs(find_glue_task(arguments.task), labels or ())
        rows = tokenize(tokenizer, parts["test"].texts, arguments.max_length, parts["test"].labels)
        texts = read_glue(arguments.task, arguments.data).train.texts
        calibration = tokenize(tokenizer, [texts[i] for i in range(256)], arguments.max_length)
        wanted = predict(model, rows)
    longest = longest_input(model) or 512
    results: dict[str, Any] = {}
    runtimes: dict[str, Runtime] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float32"
        (source / "onnx").mkdir(parents=True)
        model.config.save_pretrained(source)
        graph = source / FORMS["onnx-float32"]
        write_graph(model, graph, longest=longest)
        runtimes["float32"] = open_runtime(source, "onnx-float32", threads=1)
        for way in REASONS:
            place = Path(folder) / way
            (place / "onnx").mkdir(parents=True)
            shutil.copy(source / "config.json", place)
            write_int8(graph, place / FORMS["onnx-int8"], way, calibration=calibration)
            runtimes[way] = open_runtime(place, "onnx-int8", threads=1)
        probes = make_probes(model, rows, runtimes["float32"].inputs, longest)
        for name, runtime in runtimes.items():
            results[name] = figures(runtime, rows, wanted, probes, metric, order)
        taken = times(runtimes, longest, model.config.vocab_size, arguments.repeats)
    table = Table(title=f"{Path(path).name}: ways to int8")
    names = list(results["rows"])
    for column in ("form", *names, *(f"ms {shape}" for shape in taken)):
        table.add_column(column, justify="left" if column == "form" else "right")
    for name, found in results.items():
        cells = [f"{found[key]:.4f}" for key in names]
        both = (each[name] for each in taken.values())
        table.add_row(name, *cells, *(f"{b['median']:.1f} / {b['least']:.1f}" for b in both))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if arguments.json:
        summary = {name: found | {} for name, found in results.items()}
        write_json(
            arguments.json,
            {"benchmark": "int8_ways", "machine": machine, "summary": summary, "times": taken},
        )


if __name__ == "__main__":
    main()
