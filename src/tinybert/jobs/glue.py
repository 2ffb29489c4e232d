"""GLUE with several seeds: one distillation a task and seed, and one table of all of them.

The output directory grows: a run that is finished is kept and never made again, the tables are
written anew after each, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tinybert.errors import TinybertError
from tinybert.jobs.common import required, retention, versions
from tinybert.jobs.distill import run_distill
from tinybert.outputs import whole_file, write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, GlueSettings
from tinybert.tasks.glue.facts import GLUE, find_glue_task
from tinybert.tasks.glue.sources import HUB_NAME, open_source

__all__ = ["run_glue"]

# What only says how to run; a finished run made with another of these is the same run.
_NOT_ITS_OWN = ("output", "resume", "overwrite", "dry_run", "log_every", "tensorboard")


def run_glue(settings: GlueSettings, reporter: Reporter) -> dict[str, Any]:
    """Run what is not there yet; returns what ``results.json`` holds."""
    required(settings.teacher, "--teacher", "the teacher")
    output = Path(required(settings.output, "--output", "the output directory"))
    where = settings.data or HUB_NAME
    if settings.task != "auto":
        raise TinybertError("--task is for one task: name those of GLUE with --tasks.")
    tasks = [find_glue_task(name).name for name in settings.tasks] or _tasks_in(where)
    if len(set(tasks)) < len(tasks):
        raise TinybertError(f"--tasks {' '.join(settings.tasks)} names a task twice.")
    if output.is_file():
        raise TinybertError(f"{output} is a file: give a directory.")
    cells = [
        (task, settings.seed + i) for i in range(settings.seeds) for task in tasks
    ]  # whole comparisons first: all tasks with one seed, then with the next
    seeds = f"{settings.seeds} seed{'s' if settings.seeds > 1 else ''}"
    reporter.say(f"{len(cells)} runs: {', '.join(tasks)}, {seeds} each")
    done: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
    for number, (task, seed) in enumerate(cells, 1):
        reporter.heading(f"{find_glue_task(task).title}, seed {seed} ({number} of {len(cells)})")
        done[task].append(_cell(settings, task, seed, output, where, reporter))
        if not settings.dry_run:
            results = _summary(settings, done)
            _write(results, output)
    if settings.dry_run:
        return {"runs": done}
    for line in _notes(results):
        reporter.say(line)
    head, lines = _table(results)
    reporter.table("GLUE dev sets, scores x 100", head, [list(line) for line in lines])
    reporter.say(f"tables and runs are in {output}")
    return results


def _tasks_in(where: str) -> list[str]:
    """Names of the tasks whose files are in a directory; all nine on the Hub."""
    if not Path(where).is_dir():
        return list(GLUE)
    found = []
    for name, task in GLUE.items():
        try:
            open_source(task, where)
        except TinybertError:
            continue
        found.append(name)
    if not found:
        raise TinybertError(
            f"{where} holds no GLUE task: give the directory that holds CoLA, MRPC and so on."
        )
    return found


def _cell(
    settings: GlueSettings, task: str, seed: int, output: Path, where: str, reporter: Reporter
) -> dict[str, Any]:
    """One task with one seed: made, gone on with, or read."""
    directory = output / task / f"seed-{seed}"
    values = {f.name: getattr(settings, f.name) for f in fields(DistillSettings)}
    values |= {
        "teacher": str(settings.teacher).replace("{task}", task),
        "data": where,
        "task": task,
        "seed": seed,
        "output": directory,
        "resume": not settings.overwrite,
    }
    own = DistillSettings(**values)
    if settings.dry_run or settings.overwrite or not directory.exists():
        return run_distill(own, reporter)
    try:
        kept: dict[str, Any] = json.loads((directory / "results.json").read_text("utf-8"))
        before = kept["settings"]
    except (OSError, ValueError, KeyError):
        raise TinybertError(
            f"{directory} is in the way and is no finished run: move it elsewhere."
        ) from None
    now = json.loads(json.dumps(asdict(own), default=str))
    changed = sorted(
        name for name in now if name not in _NOT_ITS_OWN and now[name] != before.get(name)
    )
    if changed:
        raise TinybertError(
            f"{directory} was made with other settings ({', '.join(changed)}): give another "
            "--output, or replace it with --overwrite."
        )
    reporter.say("already finished")
    return kept


def _columns(task: str, run: dict[str, Any]) -> dict[str, str]:
    """Part → heading; MNLI's matched and mismatched rows are two columns."""
    parts = list(run["student"]["scores"])
    title = find_glue_task(task).title
    return {part: title if part == "test" else f"{title} {part}" for part in parts}


def _scores(run: dict[str, Any], part: str) -> dict[str, float]:
    """System → main score on a part."""
    metric = run["metric"]
    systems = {"teacher": run["teacher"]["scores"], "student": run["student"]["scores"]}
    systems |= run["control_scores"]
    return {name: found[part][metric] for name, found in systems.items()}


def _summary(settings: GlueSettings, done: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Per column and system all scores, mean and spread; averages and retention over columns."""
    columns: dict[str, Any] = {}
    for task, runs in done.items():
        for part, heading in _columns(task, runs[0]).items() if runs else ():
            found = [_scores(run, part) for run in runs]
            columns[heading] = {
                "metric": runs[0]["metric"],
                "rows": runs[0]["rows"][part],
                "scores": {
                    name: {
                        "seeds": [each[name] for each in found],
                        "mean": mean(each[name] for each in found),
                        "spread": stdev(e[name] for e in found) if len(found) > 1 else None,
                    }
                    for name in found[0]
                },
            }
    first = next(run for runs in done.values() for run in runs)
    names = list(_scores(first, "test"))
    average = {
        name: mean(column["scores"][name]["mean"] for column in columns.values()) for name in names
    }
    figures = ("parameters", "flops_128", "layers", "hidden")
    return {
        "columns": columns,
        "average": average,
        "retention": {name: retention(average[name], average["teacher"]) for name in names},
        "teacher": {name: first["teacher"][name] for name in figures},
        "student": {name: first["student"][name] for name in figures},
        "seconds": round(sum(run["seconds"] for runs in done.values() for run in runs), 1),
        "settings": json.loads(json.dumps(asdict(settings), default=str)),
        "versions": versions(),
    }


def _table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    columns = results["columns"]
    metrics = [f"{title} ({column['metric']})" for title, column in columns.items()]
    lines = []
    for name, average in results["average"].items():
        cells = []
        for column in columns.values():
            found = column["scores"][name]
            spread = "" if found["spread"] is None else f" ± {100 * found['spread']:.1f}"
            cells.append(f"{100 * found['mean']:.1f}{spread}")
        kept = results["retention"][name]
        cells += [f"{100 * average:.1f}", "–" if kept is None else f"{100 * kept:.1f} %"]
        lines.append([name, *cells])
    return ["system", *metrics, "average", "kept"], lines


def _notes(results: dict[str, Any]) -> list[str]:
    """Where the student is ahead of each control, and where it is not."""
    notes = []
    for control in [name for name in results["average"] if name not in ("teacher", "student")]:
        ahead = [
            title
            for title, column in results["columns"].items()
            if column["scores"]["student"]["mean"] > column["scores"][control]["mean"]
        ]
        behind = [title for title in results["columns"] if title not in ahead]
        notes.append(
            f"the student is ahead of '{control}' on {len(ahead)} of {len(results['columns'])}"
            + (f" (not on {', '.join(behind)})" if behind else "")
        )
    return notes


def _write(results: dict[str, Any], output: Path) -> None:
    """``results.json``, ``results.md`` and ``results.csv``, each whole or absent."""
    head, lines = _table(results)
    output.mkdir(parents=True, exist_ok=True)
    write_json_whole(output / "results.json", results)
    rule = ["---", *("---:" for _ in head[1:])]
    _text(output / "results.md", "".join(f"| {' | '.join(r)} |\n" for r in [head, rule, *lines]))
    _text(output / "results.csv", _comma_separated(results))


def _comma_separated(results: dict[str, Any]) -> str:
    """One line a column, system and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "metric", "system", "seed", "score"])
    first = results["settings"]["seed"]
    for title, column in results["columns"].items():
        for name, found in column["scores"].items():
            for number, score in enumerate(found["seeds"]):
                writer.writerow([title, column["metric"], name, first + number, score])
    return text.getvalue()


def _text(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
