"""GLUE with several seeds: one distillation a task and seed, and one table of all of them.

The output directory grows: a run that is finished is kept and never made again, the tables are
written anew after each, and the same command goes on where it was stopped. A finished run is known
by its settings: data or teachers that changed under the same name need another output directory.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tinybert.errors import TinybertError
from tinybert.export import check_private, upload_command
from tinybert.jobs.common import required, retention, versions
from tinybert.jobs.distill import run_distill
from tinybert.jobs.predict import check_outputs
from tinybert.outputs import whole_file, write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, GlueSettings
from tinybert.tasks.glue.facts import GLUE, find_glue_task
from tinybert.tasks.glue.reader import HUB_NAME, read_glue
from tinybert.tasks.glue.sources import tasks_below
from tinybert.tasks.metrics import metric_kind
from tinybert.teachers import has_head, head_labels, load_tokenizer
from tinybert.work import asked_for

__all__ = ["run_glue", "tasks_in"]

# What only says how to run; a finished run made with another of these is the same run.
_NOT_ITS_OWN = ("output", "resume", "overwrite", "dry_run", "log_every", "tensorboard", "report")


def run_glue(settings: GlueSettings, reporter: Reporter) -> dict[str, Any]:
    """Run what is not there yet; returns what ``results.json`` holds.

    Raises:
        TinybertError: what is asked makes no sense; or, before anything runs, rows or a teacher of
            a task still to be run cannot be read, or do not fit.
    """
    required(settings.teacher, "--teacher", "the teacher")
    output = Path(required(settings.output, "--output", "the output directory"))
    where = settings.data or HUB_NAME
    if settings.task != "auto":
        raise TinybertError("--task is for one task: name those of GLUE with --tasks.")
    _refuse_bounds(settings)
    tasks = [find_glue_task(name).name for name in settings.tasks] or tasks_in(where)
    if len(set(tasks)) < len(tasks):
        raise TinybertError(f"--tasks {' '.join(settings.tasks)} names a task twice.")
    if output.is_file():
        raise TinybertError(f"{output} is a file: give a directory.")
    cells = [
        (task, settings.seed + i) for i in range(settings.seeds) for task in tasks
    ]  # whole comparisons first: all tasks with one seed, then with the next
    seeds = f"{settings.seeds} seed{'s' if settings.seeds > 1 else ''}"
    reporter.say(f"{len(cells)} runs: {', '.join(tasks)}, {seeds} each")
    for task in tasks:
        _check_metric(settings, task)
    own = {cell: _own_settings(settings, *cell, output, where) for cell in cells}
    missing = dict.fromkeys(task for (task, _), each in own.items() if _kept(each) is None)
    for task in missing:
        _check_teacher(settings, task)
    for task in missing:  # read whole and dropped again: a broken file ends no run of hours
        read_glue(
            task,
            where,
            seed=settings.seed,
            dev_share=settings.dev_share,
            rows=settings.rows,
            reporter=reporter,
        )
    done: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
    told: list[str] = []
    for number, (task, seed) in enumerate(cells, 1):
        reporter.heading(f"{find_glue_task(task).title}, seed {seed} ({number} of {len(cells)})")
        done[task].append(_cell(own[task, seed], reporter))
        if not settings.dry_run:
            results = _summary(settings, done)
            _write(results, output)
            for line in results["notes"]:
                if line not in told:
                    reporter.say(f"NOTE: {line}")
            told = results["notes"]
    if settings.dry_run:
        return {"runs": done}
    for line in [f"NOTE: {note}" for note in results["notes"]] + _ahead(results):
        reporter.say(line)
    head, lines = _table(results)
    reporter.table("GLUE dev sets, scores x 100", head, [list(line) for line in lines])
    reporter.say(f"tables and runs are in {output}")
    return results


def tasks_in(where: str) -> list[str]:
    """Names of the tasks whose files are in a directory; all nine on the Hub."""
    path = Path(where).expanduser()
    if not path.is_dir():
        return list(GLUE)
    found = tasks_below(path)
    if not found:
        raise TinybertError(
            f"{where} holds no GLUE task: give the directory that holds CoLA, MRPC and so on, each "
            "with its train.tsv, or name the task with --tasks."
        )
    return found


def _refuse_bounds(settings: GlueSettings) -> None:
    if settings.push_to_hub is not None:
        chosen = Path(str(settings.output)) / "TASK" / "seed-N"
        command = upload_command(settings.push_to_hub, chosen, private=settings.private)
        raise TinybertError(
            "--push-to-hub uploads one student, and a table has many: leave it out, and upload the "
            f"one that you choose: `{command}`."
        )
    check_private(settings.private, None)
    for name in ("max_latency", "max_size", "speedup"):
        if getattr(settings, name) is not None:
            raise TinybertError(
                f"--{name.replace('_', '-')} would find another student for each run, and one "
                "table compares one: find the shape once with `tinybert distill`, and name it with "
                "--student."
            )


def _check_metric(settings: GlueSettings, name: str) -> None:
    """Fail on a metric that does not score this task."""
    if settings.metric is None:
        return
    task = find_glue_task(name)
    kind = metric_kind(settings.metric)
    if kind != task.task.kind:
        raise TinybertError(
            f"--metric {settings.metric} is for {kind} and {task.title} is {task.task.kind}: leave "
            "it out, or leave out such tasks with --tasks."
        )
    if settings.metric == "f1" and len(task.label_names) > 2:
        raise TinybertError(
            f"--metric f1 is for 2 classes and {task.title} has {len(task.label_names)}: take "
            "macro_f1, or leave it out."
        )


def _teacher(settings: GlueSettings, task: str) -> str:
    return str(settings.teacher).replace("{task}", task)


def _others(settings: GlueSettings, task: str) -> list[str]:
    return [path.replace("{task}", task) for path in settings.ensemble]


def _check_teacher(settings: GlueSettings, name: str) -> None:
    """Fail on a teacher that is not there, or answers something else than this task."""
    for path in (_teacher(settings, name), *_others(settings, name)):
        load_tokenizer(path)
        if has_head(path):
            check_outputs(find_glue_task(name), head_labels(path), f"the teacher {path}")


def _own_settings(
    settings: GlueSettings, task: str, seed: int, output: Path, where: str
) -> DistillSettings:
    """Of one task with one seed."""
    values = {f.name: getattr(settings, f.name) for f in fields(DistillSettings)}
    values |= {
        "teacher": _teacher(settings, task),
        "ensemble": _others(settings, task),
        "data": where,
        "task": task,
        "seed": seed,
        "output": output / task / f"seed-{seed}",
        "resume": not settings.overwrite,
    }
    return DistillSettings(**values)


def _cell(own: DistillSettings, reporter: Reporter) -> dict[str, Any]:
    """One task with one seed: made, gone on with, or read."""
    kept = _kept(own)
    if kept is None:
        return run_distill(own, reporter)
    reporter.say("already finished")
    return kept


def _kept(own: DistillSettings) -> dict[str, Any] | None:
    """What a finished run found; None where it is still to be made.

    It is taken for this one if its settings are equal. Reading and hashing all rows and weights
    again, to see whether these changed under the same name, would take minutes a run.
    """
    directory = own.output
    assert directory is not None
    if own.overwrite or not directory.exists():
        return None
    try:
        kept: dict[str, Any] = json.loads((directory / "results.json").read_text("utf-8"))
        before = kept["settings"]
    except (OSError, ValueError, KeyError):
        raise TinybertError(
            f"{directory} is in the way and is no finished run: move it elsewhere."
        ) from None
    now = json.loads(json.dumps(asdict(own), default=str))
    changed = sorted(
        name for name in now if name not in _NOT_ITS_OWN and now[name] != asked_for(before, name)
    )
    if changed:
        raise TinybertError(
            f"{directory} was made with other settings ({', '.join(changed)}): give another "
            "--output, or replace it with --overwrite."
        )
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
    """Per column and system all scores, mean and spread; averages and retention over columns.

    ``teachers`` and ``students`` of a column are sizes, one a seed; ``teacher`` and ``student`` of
    the whole are those of the first run, and None where runs differ in shape, which ``notes`` say.
    """
    columns: dict[str, Any] = {}
    for task, runs in done.items():
        for part, heading in _columns(task, runs[0]).items() if runs else ():
            found = [_scores(run, part) for run in runs]
            columns[heading] = {
                "metric": runs[0]["metric"],
                "rows": runs[0]["rows"][part],
                "teachers": [_sizes(run, "teacher") for run in runs],
                "students": [_sizes(run, "student") for run in runs],
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
    notes = {name: _shapes(name, done) for name in ("teacher", "student")}
    return {
        "columns": columns,
        "average": average,
        "retention": {name: retention(average[name], average["teacher"]) for name in names},
        **{
            system: {name: first[system][name] for name in figures} if note is None else None
            for system, note in notes.items()
        },
        "notes": [note for note in notes.values() if note is not None],
        "seconds": round(sum(run["seconds"] for runs in done.values() for run in runs), 1),
        "settings": json.loads(json.dumps(asdict(settings), default=str)),
        "versions": versions(),
    }


def _sizes(run: dict[str, Any], system: str) -> dict[str, int]:
    return {name: run[system][name] for name in ("layers", "hidden", "parameters")}


def _shapes(system: str, done: dict[str, list[dict[str, Any]]]) -> str | None:
    """What differs in shape among the runs of one system; None where nothing does."""
    found = {}
    for task, runs in done.items():
        shapes = {f"{run[system]['layers']}x{run[system]['hidden']}": None for run in runs}
        if shapes:
            found[find_glue_task(task).title] = " and ".join(shapes)
    usual = Counter(found.values()).most_common(1)[0][0]
    others = [f"{title} {shape}" for title, shape in found.items() if shape != usual]
    if not others and " and " not in usual:
        return None
    rest = f"others {usual}" if others else f"{usual}, by the seed"
    return f"{system}s differ in shape: {', '.join([*others, rest])}"


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


def _ahead(results: dict[str, Any]) -> list[str]:
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
    table = "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *lines])
    _text(output / "results.md", table + "".join(f"\nNote: {note}.\n" for note in results["notes"]))
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
