"""What a product gains: TinyBERT_4 against BERT_BASE, as PyTorch, ONNX and int8, on this machine.

One sequence of 128 and of 32 tokens, random weights of both shapes (only time, memory and size are
measured), every model and form in a process of its own, equal threads, in turns. Ratios are like
for like, the same form of both, and end to end: from BERT_BASE in PyTorch to the student in int8.
The shape of MiniLM-L6 (6x384) stands beside them as a peer.

    python benchmarks/product.py [--repeats 50] [--threads N] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tinybert
from common import describe_machine, write_json

FORMS = ("pytorch-float32", "onnx-float32", "onnx-int8")
LENGTHS = (128, 32)
TEACHER, STUDENT, PEER = "BERT_BASE:random", "TinyBERT_4:random", "6x384:random"
QUICK = ("2x48:random", "1x24:random", "1x36:random")


def cell(results: Sequence[dict[str, Any]], model: str, form: str, length: int) -> dict[str, Any]:
    """The figures of one model in one form at one length."""
    one = next(each for each in results if (each["model"], each["form"]) == (model, form))
    return next(each for each in one["workloads"] if each["length"] == length)


def size(results: Sequence[dict[str, Any]], model: str, form: str) -> int:
    """Bytes on disk."""
    return next(r["size"] for r in results if (r["model"], r["form"]) == (model, form))


def measure(
    names: Sequence[str], repeats: int, threads: int | None, quiet: bool = False
) -> dict[str, Any]:
    """All figures, and the ratios that matter."""
    forms = [*FORMS]
    found = tinybert.bench(
        models=[*names], forms=forms, batch=[1], length=[*LENGTHS], traffic=False,
        repeats=repeats, threads=threads, quiet=quiet,
    )  # fmt: skip
    results = found["results"]
    teacher, student, peer = dict.fromkeys(each["model"] for each in results)
    plain, *_, int8 = FORMS

    def ratio(one: tuple[str, str], other: tuple[str, str], length: int) -> float:
        return float(
            cell(results, *one, length)["median_ms"] / cell(results, *other, length)["median_ms"]
        )

    summary: dict[str, Any] = {}
    for length in LENGTHS:
        for form in forms:
            name = f"{form}_{length}".replace("-", "_")
            summary[f"like_{name}"] = ratio((teacher, form), (student, form), length)
        summary[f"end_to_end_{length}"] = ratio((teacher, plain), (student, int8), length)
        summary[f"int8_over_onnx_{length}"] = ratio(
            (student, int8), (student, "onnx-float32"), length
        )
        summary[f"student_ms_{length}"] = cell(results, student, int8, length)["median_ms"]
        summary[f"over_peer_{length}"] = ratio((peer, int8), (student, int8), length)
    summary["size_ratio"] = size(results, teacher, plain) / size(results, student, int8)
    summary["student_megabytes"] = size(results, student, int8) / 1e6
    return {"machine": describe_machine(), **found, "summary": summary}


def show(found: dict[str, Any], console: Console) -> None:
    """One table: a row a form, like for like, and one end to end."""
    results, summary = found["results"], found["summary"]
    teacher, student, peer = dict.fromkeys(each["model"] for each in results)
    threads = found["measured"]["threads"]
    table = Table(title=f"one sequence, milliseconds (median), threads: {threads}")
    columns = ["form", *(f"{what} {n}" for n in LENGTHS for what in (teacher, student, "ratio"))]
    for column in columns:
        table.add_column(column, justify="left" if column == "form" else "right")
    for form in FORMS:
        row = [form]
        for length in LENGTHS:
            both = [cell(results, model, form, length)["median_ms"] for model in (teacher, student)]
            row += [*(f"{ms:.2f}" for ms in both), f"{both[0] / both[1]:.1f}x"]
        table.add_row(*row)
    row = ["PyTorch → int8"]
    for length in LENGTHS:
        before = cell(results, teacher, FORMS[0], length)["median_ms"]
        after = cell(results, student, FORMS[-1], length)["median_ms"]
        row += [f"{before:.2f}", f"{after:.2f}", f"{summary[f'end_to_end_{length}']:.1f}x"]
    table.add_row(*row)
    console.print(table)
    for model in (teacher, student, peer):
        sizes = ", ".join(f"{form} {size(results, model, form) / 1e6:.1f} MB" for form in FORMS)
        console.print(f"{model}: {sizes}")
    for length in LENGTHS:
        peers = cell(results, peer, FORMS[-1], length)["median_ms"]
        console.print(f"{peer} int8, {length} tokens: {peers:.2f} ms")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50, help="timed passes of each")
    parser.add_argument("--threads", type=int, help="of every engine; default: all cores")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="tiny models: checks the script")
    options = parser.parse_args(arguments)
    names = QUICK if options.quick else (TEACHER, STUDENT, PEER)
    found = measure(names, options.repeats, options.threads)
    show(found, Console(width=160))
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
