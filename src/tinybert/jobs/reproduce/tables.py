"""Results of all cells as one table: mean and spread, average, what is kept of the teacher's score,
sizes, and differences seed by seed; beside them what the paper says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy import stats

from tinybert.jobs.common import retention
from tinybert.jobs.reproduce.cells import Cell
from tinybert.outputs import whole_file, write_json_whole
from tinybert.systems import SYSTEMS, System
from tinybert.tasks.glue.facts import find_glue_task

__all__ = ["compared", "paired", "summary", "table", "write_tables"]

BASE = "BERT_BASE"


def scores_of(cell: Cell, results: Mapping[str, Any]) -> dict[str, float]:
    """Part → main score of a cell; the part ``test`` is the main one."""
    scores = results["student"]["scores"] if cell.kind == "teacher" else results["scores"]
    return {part: found[results["metric"]] for part, found in scores.items()}


def summary(
    systems: Mapping[str, System],
    found: Mapping[Cell, dict[str, Any]],
    failures: Mapping[Cell, str],
    speed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that ``results.json`` holds besides settings.

    ``systems``: name → ``scores`` by column and seed, ``mean``, ``spread``, ``average`` and
    ``retention`` over all columns (on the seeds that teacher and system both have), sizes,
    ``speedup`` over the teacher where ``speed`` has it, and the paper's figures. ``measured``:
    what speed-ups hold for.
    """
    columns: dict[str, dict[str, Any]] = {}
    table: dict[str, dict[str, Any]] = {name: {} for name in systems}
    sizes: dict[str, dict[str, Any]] = {}
    spent: dict[str, dict[str, float]] = {}
    for cell, results in found.items():
        if cell.kind == "pretrained":
            spent.setdefault(cell.system, {})["corpus_flops"] = results["flops"]
            continue
        if cell.kind == "student":
            spent.setdefault(cell.system, {})["task_flops"] = results["flops"]
        sizes.setdefault(cell.system, {k: v for k, v in results["student"].items() if k in _SIZES})
        for part, score in scores_of(cell, results).items():
            title = find_glue_task(cell.task).title
            column = title if part == "test" else f"{title} {part}"
            columns[column] = {
                "metric": results["metric"],
                "rows": results["rows"][part],
                "task": cell.task,
            }
            table[cell.system].setdefault(column, {})[cell.seed] = score
    told = {
        name: _told(system, table[name], sizes.get(name), spent.get(name))
        for name, system in systems.items()
    }
    for name, each in told.items():
        own, base = (_average(table[s], table[name], table[BASE], columns) for s in (name, BASE))
        each["average"], each["retention"] = own, retention(own, base)
    for name, each in told.items():
        each["failed"] = sorted({text for cell, text in failures.items() if cell.system == name})
        each["speedup"] = None if speed is None else speed["speedups"][name]
    return {
        "columns": columns,
        "systems": told,
        "paired": paired(table),
        "measured": None if speed is None else speed["measured"],
    }


def _average(
    scores: Mapping[str, Mapping[int, float]],
    one: Mapping[str, Mapping[int, float]],
    other: Mapping[str, Mapping[int, float]],
    columns: Iterable[str],
) -> float | None:
    """Over all columns, each over the seeds that ``one`` and ``other`` both have; None where a
    column has none."""
    means = []
    for column in columns:
        seeds = one.get(column, {}).keys() & other.get(column, {}).keys()
        if not seeds:
            return None
        means.append(mean(scores[column][seed] for seed in sorted(seeds)))
    return mean(means) if means else None


_SIZES = ("parameters", "flops_128", "layers", "hidden")


def _told(
    system: System,
    scores: Mapping[str, Mapping[int, float]],
    sizes: Mapping[str, Any] | None,
    spent: Mapping[str, float] | None,
) -> dict[str, Any]:
    paper = system.paper
    return {
        "scores": {c: {str(s): v for s, v in seeds.items()} for c, seeds in scores.items()},
        "mean": {column: mean(seeds.values()) for column, seeds in scores.items()},
        "spread": {
            column: stdev(seeds.values()) if len(seeds) > 1 else None
            for column, seeds in scores.items()
        },
        "start": system.start,
        "mapping": system.mapping,
        **(sizes or dict.fromkeys(_SIZES)),
        **(spent or {}),
        "paper": None
        if paper is None
        else {
            "parameters": paper.parameters,
            "flops": paper.flops,
            "speedup": paper.speedup,
            "scores": dict(paper.scores),
            "retention": _paper_retention(system),
        },
    }


def _paper_retention(system: System) -> float | None:
    """The paper's average over its BERT_BASE's, 79.5."""
    average = None if system.paper is None else system.paper.scores.get("average")
    return None if average is None else average / 79.5


def compared(name: str, names: Sequence[str]) -> str | None:
    """The system that ``name`` is held against: the whole method of its size, of those that start
    from their teacher the one that does so too; None for itself.

    >>> compared("BERT_TINY-PCA", ["TinyBERT_4", "TinyBERT_4-PCA", "BERT_TINY-PCA"])
    'TinyBERT_4-PCA'
    >>> compared("DistilBERT_4", ["TinyBERT_4-PCA", "DistilBERT_4"])  # starts from copied layers
    'TinyBERT_4-PCA'
    """
    half = "_6" in name or name.split("-")[0] == "PD"
    whole = "TinyBERT_6" if half else "TinyBERT_4"
    same_start = [f"{whole}-PCA", f"{whole}-layers"]
    wanted = whole
    if _from_teacher(name) and name not in same_start:
        wanted = next((each for each in same_start if each in names), whole)
    return wanted if wanted in names and wanted != name and name != BASE else None


def _from_teacher(name: str) -> bool:
    """Whether a system starts on its teacher: by its name's ending, or as its source has it."""
    known = SYSTEMS.get(name)
    own = known is not None and known.start != "random"
    return own or re.search(r"-(PCA|layers)\b", name) is not None


def paired(
    table: Mapping[str, Mapping[str, Mapping[int, float]]], level: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Differences to the whole method, on the same seeds and rows.

    For each system the mean over seeds of (average over columns of the whole method - its own),
    and the interval of Student's t; None with one seed. Columns too.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, scores in table.items():
        other = compared(name, list(table))
        if other is None:
            continue
        columns = [c for c in scores if c in table[other]]
        if not columns:
            continue
        seeds = set.intersection(*({*scores[c]} & {*table[other][c]} for c in columns))
        if not seeds:
            continue
        by_column = {c: [table[other][c][s] - scores[c][s] for s in sorted(seeds)] for c in columns}
        averages = [mean(values) for values in zip(*by_column.values(), strict=True)]
        found[name] = {
            "against": other,
            "seeds": len(seeds),
            **_interval(averages, level),
            "columns": {c: _interval(values, level) for c, values in by_column.items()},
        }
    return found


def _interval(values: Sequence[float], level: float) -> dict[str, Any]:
    middle = mean(values)
    if len(values) < 2:
        return {"difference": middle, "low": None, "high": None}
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return {"difference": middle, "low": middle - half, "high": middle + half}


def table(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines, for a terminal and for Markdown; scores times 100."""
    columns, lines = results["columns"], []
    for name, each in results["systems"].items():
        cells = []
        for column in columns:
            score, spread = each["mean"].get(column), each["spread"].get(column)
            text = "–" if score is None else f"{100 * score:.1f}"
            cells.append(text if spread is None else f"{text} ± {100 * spread:.1f}")
        paper = each["paper"] or {}
        kept = each["retention"]
        pair = results["paired"].get(name)
        lines.append(
            [
                name + (" (failed)" if each["failed"] else ""),
                *cells,
                "–" if each["average"] is None else f"{100 * each['average']:.1f}",
                "–" if kept is None else f"{100 * kept:.1f} %",
                _shown(paper.get("retention"), 100, " %"),
                _difference(pair),
                _shown(each["parameters"], 1e-6, "M"),
                _shown(each["flops_128"], 1e-9, "G", 2),
                _shown(each["speedup"], 1, "x"),
                _shown(paper.get("speedup"), 1, "x"),
            ]
        )
    head = [f"{column} ({found['metric']})" for column, found in columns.items()]
    kept_columns = ["average", "kept", "kept (paper)", "behind TinyBERT", "parameters", "FLOPs"]
    return ["system", *head, *kept_columns, "speed-up", "speed-up (paper)"], lines


def _shown(value: float | None, factor: float, unit: str, digits: int = 1) -> str:
    return "–" if value is None else f"{factor * value:.{digits}f}{unit}"


def _difference(pair: Mapping[str, Any] | None) -> str:
    if pair is None:
        return "–"
    text = f"{100 * pair['difference']:+.1f}"
    if pair["low"] is None:
        return text
    return f"{text} [{100 * pair['low']:+.1f}, {100 * pair['high']:+.1f}]"


def write_tables(results: Mapping[str, Any], output: Path, name: str = "results") -> None:
    """``results.json``, ``results.md`` and ``results.csv``, each whole or absent."""
    output.mkdir(parents=True, exist_ok=True)
    write_json_whole(output / f"{name}.json", dict(results))
    head, lines = table(results)
    rule = ["---", *("---:" for _ in head[1:])]
    text = "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *lines])
    notes = "".join(f"\nNote: {note}\n" for note in results.get("notes", []))
    _write(output / f"{name}.md", text + notes)
    _write(output / f"{name}.csv", _comma_separated(results))


def _comma_separated(results: Mapping[str, Any]) -> str:
    """One line a column, system and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "task", "metric", "seed", "score"])
    for name, each in results["systems"].items():
        for column, seeds in each["scores"].items():
            for seed, score in seeds.items():
                metric = results["columns"][column]["metric"]
                writer.writerow([name, column, metric, seed, score])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
