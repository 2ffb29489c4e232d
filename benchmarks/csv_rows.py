"""A large CSV file to token rows: seconds, rows a second, peak memory, first sign of progress.

The file has two columns: sentences of about 100 characters, a part of them quoted, made of the
whole words in the tokenizer's vocabulary by a fixed seed; and one of two labels. A process of its
own, with torch and transformers imported, reads it (``read_task``, a tenth held out) and tokenizes
it to 128 tokens at most. Its peak resident memory is that of the whole process, imports included;
what it maps from files and may drop at any time counts too. Progress is timed from the beginning of
reading to the first line on standard error.

    python benchmarks/csv_rows.py --rows 1000000 --json csv_rows.json
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from attention_loss import peak_memory
from common import describe_machine, write_json
from tinybert.batching import tokenize
from tinybert.demo_teacher import demo_teacher_path
from tinybert.progress import Reporter
from tinybert.tasks.files import read_task

CHARACTERS = 100
MAX_LENGTH = 128
START = "start of reading"


def write_rows(path: Path, count: int) -> None:
    """The same file for the same count and vocabulary."""
    vocabulary = AutoTokenizer.from_pretrained(demo_teacher_path()).get_vocab()
    words = sorted(word for word in vocabulary if word.isalpha() and len(word) > 2)
    rng = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(count):
            drawn = rng.choices(words, k=CHARACTERS // 7 + rng.randrange(-4, 5))
            comma = ", " if rng.random() < 0.3 else " "
            text = f"{' '.join(drawn[:6])}{comma}{' '.join(drawn[6:])}."
            writer.writerow([text, "good" if rng.random() < 0.5 else "bad"])


def run_cell(path: Path) -> None:
    """What is measured, in a process of its own."""
    reporter = Reporter()
    tokenizer = AutoTokenizer.from_pretrained(demo_teacher_path())
    imported = peak_memory()
    print(START, file=sys.stderr, flush=True)
    begin = time.perf_counter()
    data = read_task(path, reporter=reporter)
    read = time.perf_counter()
    tokens = 0
    parts = []
    with reporter.track(len(data.train) + len(data.dev), "tokenizing", unit="rows") as track:
        for part in (data.train, data.dev):
            parts.append(
                tokenize(tokenizer, part.texts, MAX_LENGTH, part.labels, advance=track.advance)
            )
            tokens += len(parts[-1].ids)
    end = time.perf_counter()
    result = {
        "rows": sum(map(len, parts)),
        "tokens": tokens,
        "read_seconds": read - begin,
        "tokenize_seconds": end - read,
        "peak_mb": peak_memory() / 1e6,
        "imports_mb": imported / 1e6,
    }
    print(json.dumps(result))


def measure(path: Path) -> dict[str, Any]:
    """Run this file again with --cell, and listen for its first line of progress."""
    command = [sys.executable, __file__, "--cell", str(path)]
    started = heard = None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.strip() == START:
                started = time.perf_counter()
                continue
            if started is not None and heard is None:
                heard = time.perf_counter()
            sys.stderr.write(line)
        result: dict[str, Any] = json.loads(process.stdout.read())
    if process.returncode:
        raise SystemExit(f"the measured process ended with {process.returncode}")
    seconds = result["read_seconds"] + result["tokenize_seconds"]
    result |= {
        "seconds": seconds,
        "rows_per_second": result["rows"] / seconds,
        "first_progress_seconds": None if started is None or heard is None else heard - started,
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        run_cell(Path(arguments.cell))
        return
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, arguments.rows)
        size = path.stat().st_size
        result = measure(path)
    table = Table(title=f"{arguments.rows:,} rows of CSV, {size / 1e6:,.0f} MB, to tokens")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in result.items():
        shown = f"{value:,.1f}" if isinstance(value, float) else f"{value}"
        table.add_row(name.replace("_", " "), shown)
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if arguments.json:
        write_json(
            arguments.json,
            {"benchmark": "csv_rows", "machine": machine, "file_mb": size / 1e6, "summary": result},
        )


if __name__ == "__main__":
    main()
