"""One student for several tasks: one body, each task with a teacher and a head of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, cast

from tinybert.errors import TinybertError
from tinybert.evaluation import agreement_of, predict
from tinybert.export import model_card
from tinybert.jobs.common import (
    described,
    open_run,
    part_scores,
    plain_settings,
    retention,
    short_stages,
    versions,
)
from tinybert.jobs.multitask_plan import about, check_teachers, own_settings, task_names
from tinybert.jobs.multitask_stages import OneTask, begin_shared, multitask_stages
from tinybert.jobs.published import local_student
from tinybert.jobs.report import report_beside
from tinybert.jobs.rows import task_texts, task_tokens
from tinybert.jobs.sizes import default_student
from tinybert.jobs.students import check_student, student_print
from tinybert.jobs.task_stages import epochs_of
from tinybert.jobs.task_teacher import task_teacher
from tinybert.measure import parameters
from tinybert.measure.latency import check_length
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.projections import PROJECTIONS_FILE
from tinybert.reporting import kept_answers
from tinybert.settings import DistillSettings, MultitaskSettings
from tinybert.several_tasks import load_shared, rows_drawn
from tinybert.shared_body import SharedBody
from tinybert.stages import LOG_FILE, Run, StageResult, check_no_run, log_lines
from tinybert.teachers import Teacher, cached_logits, fingerprint, load_tokenizer
from tinybert.training import Schedule
from tinybert.work import check_apart

__all__ = ["run_multitask"]


def run_multitask(settings: MultitaskSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil one student of several tasks; returns what ``results.json`` holds."""
    begun_at = time.perf_counter()
    names = task_names(settings)
    own = own_settings(settings, names)
    output = check_output(cast(Path, settings.output), settings.overwrite)
    read = ("teacher", "data", "dev", "test")
    check_apart(output, **{n: [getattr(each, n) for each in own] for n in read})
    check_apart(output, student=settings.student)
    check_no_run(output, resume=settings.resume, overwrite=settings.overwrite)
    if settings.intermediate_epochs == settings.prediction_epochs == 0:
        raise TinybertError("both stages have 0 epochs: there is nothing to train.")
    check_teachers(own, names)
    asked = settings
    settings = replace(asked, student=local_student(asked.student, reporter))
    tokenizer = load_tokenizer(str(own[0].teacher))
    tasks = [_read(each, name, reporter) for each, name in zip(own, names, strict=True)]
    total = sum(len(each.rows.train) for each in tasks)
    settings = default_student(settings, tasks[0].model, total, reporter)
    shape = check_student(settings, tasks[0].model, tokenizer, None, settings.max_length)
    epochs, why = epochs_of(replace(own[0], task="auto"), total)
    if epochs:
        reporter.say(f"intermediate stage of {epochs:g} epoch{'s' * (epochs != 1)}: {why}")
    if settings.dry_run:
        return _dry_run(settings, tasks, epochs, shape, reporter)
    inputs = {f"rows of {each.name}": each.rows.fingerprint() for each in tasks}
    inputs |= {f"teacher of {each.name}": fingerprint(each.model) for each in tasks}
    inputs |= student_print(settings)
    run = open_run(_known_by(settings, asked), reporter, inputs)
    teacher_figures = [described(each.model, None) for each in tasks]
    begun, teachers = begin_shared(run, settings, tasks, tokenizer)
    stages = multitask_stages(run, settings, tasks, teachers, begun, epochs)
    result = run.run_all(stages, begun.directory)
    student = load_shared(result.directory, [each.head for each in tasks])
    student.to(run.device)
    shared = cast(SharedBody, student)
    common: dict[str, Any] = {
        "controls": {},
        "control_scores": {},
        "start": begun.start,
        "layer_mapping": list(begun.mapping),
        "vocabulary": None,
        "augmented_rows": None,
        "size": None,
        "teacher_fine_tuned": False,
        "inputs": inputs,
        "stages": short_stages(run.finished),
        "versions": versions(),
    }
    each_results: dict[str, dict[str, Any]] = {}
    files: dict[str, Any] = {}
    for number, task in enumerate(tasks):
        found, answers = _scored(run, task, teachers[number], shared, number)
        found["teacher"] = teacher_figures[number] | found["teacher"]
        each_results[task.name] = (
            found
            | common
            | {
                "shares_body_with": [name for name in names if name != task.name],
                "teacher_name": own[number].teacher,
                "data": own[number].data,
                "seconds": round(time.perf_counter() - begun_at, 1),
                "settings": plain_settings(own[number]),
            }
        )
        files |= {f"{task.name}/{name}": content for name, content in answers.items()}
    results = _together(each_results, shared) | {
        "start": begun.start,
        "layer_mapping": list(begun.mapping),
        "inputs": inputs,
        "seconds": round(time.perf_counter() - begun_at, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(asked),
        "versions": versions(),
    }
    _publish(run, result, results, each_results, files)
    _tell(results, reporter, run.output)
    if settings.report and run.is_main:
        for name in names:
            report_beside(run.output / name, reporter)
    return results


def _known_by(settings: MultitaskSettings, asked: MultitaskSettings) -> MultitaskSettings:
    """A student on the Hub is known by its name, wherever its files are kept."""
    hub = settings.student != asked.student and asked.student != "auto"
    return replace(settings, student=asked.student) if hub else settings


def _read(own: DistillSettings, name: str, reporter: Reporter) -> OneTask:
    """Rows and teacher of one task, its labels settled."""
    reporter.heading(f"Task {name}: teacher {own.teacher}")
    with about(name):
        data = task_texts(own, reporter)
        rows = task_tokens(own, data, load_tokenizer(str(own.teacher)), reporter)
        model, rows = task_teacher(own, rows, reporter)
        check_length(model, own.max_length)
    return OneTask(name, rows, model)


def _scored(
    run: Run, task: OneTask, teacher: Teacher, shared: SharedBody, number: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of one task on the rows that are reported; and the answers themselves."""
    rows, metric = task.rows, task.rows.task.metric
    with run.state.main_process_first():
        wanted = {
            part: cached_logits(teacher, each, run.work, run.reporter, f"teacher on {part} rows")
            for part, each in rows.reported.items()
        }
    model = shared.of(number)
    logits = {part: predict(model, each) for part, each in rows.reported.items()}
    teachers, students = (part_scores(metric, each, rows.reported) for each in (wanted, logits))
    score, best = (
        each["test"][metric] if "test" in each else None for each in (students, teachers)
    )
    return {
        "task": rows.task.name,
        "metric": metric if rows.test.labels is not None else None,
        "teacher": {"score": best, "scores": teachers},
        "student": described(model, None) | {"score": score, "scores": students},
        "retention": retention(score, best),
        "agreement": agreement_of(logits["test"], wanted["test"], rows.test),
        "rows": rows.counts(),
        "text_columns": list(rows.task.text_columns),
    }, kept_answers(logits["test"], wanted["test"], rows.test)


def _together(found: dict[str, dict[str, Any]], shared: SharedBody) -> dict[str, Any]:
    """One entry a task, means over tasks, and the sizes of the whole."""
    told = ("metric", "retention", "agreement", "rows")
    tasks = {
        name: {"teacher": each["teacher"]["score"], "student": each["student"]["score"]}
        | {key: each[key] for key in told}
        for name, each in found.items()
    }
    means = {
        side: mean(scores) if None not in scores else None
        for side, scores in ((s, [each[s] for each in tasks.values()]) for s in _SIDES)
    }
    first = next(iter(found.values()))
    body = parameters(shared.base_model)
    whole = parameters(shared)
    sizes = {name: first["student"][name] for name in ("flops_128", "layers", "hidden")}
    return {
        "tasks": tasks,
        "mean": means | {"retention": retention(means["student"], means["teacher"])},
        "student": {"parameters": whole, "body": body, "heads": whole - body, **sizes},
        "teacher": {
            "parameters": sum(each["teacher"]["parameters"] for each in found.values()),
            **{name: first["teacher"][name] for name in sizes},
        },
    }


_SIDES = ("teacher", "student")


def _publish(
    run: Run,
    result: StageResult,
    results: dict[str, Any],
    each: dict[str, dict[str, Any]],
    files: dict[str, Any],
) -> None:
    """A directory a task, which is a student like any other, below one that tells of all."""

    def make(directory: Path) -> None:
        tokenizer = load_tokenizer(result.directory)
        for name in each:
            shutil.copytree(result.directory / name, directory / name)
            tokenizer.save_pretrained(directory / name)
            held = result.directory / PROJECTIONS_FILE
            if held.is_file():
                shutil.copy(held, directory / name)

    published = run.made("published", make)
    files = files | {"results.json": results}
    if run.is_main:
        log = log_lines(run.finished)
        for name, found in each.items():
            files[f"{name}/results.json"] = found
            files[f"{name}/{LOG_FILE}"] = log
            files[f"{name}/README.md"] = model_card(published / name, found, name=name)
    run.finish(replace(result, directory=published), files)


def _dry_run(
    settings: MultitaskSettings,
    tasks: Sequence[OneTask],
    epochs: float,
    shape: str,
    reporter: Reporter,
) -> dict[str, Any]:
    sizes = [len(each.rows.train) for each in tasks]
    drawn = rows_drawn(sizes, settings.balance)

    def steps(epochs: float) -> int:
        if epochs <= 0:
            return 0
        return Schedule(epochs, batch_size=settings.batch_size).total_steps(sum(sizes))

    plan: dict[str, Any] = {
        "tasks": {
            each.name: {
                "training rows": len(each.rows.train),
                "drawn an epoch": int(count),
                "metric": each.rows.task.metric,
            }
            for each, count in zip(tasks, drawn, strict=True)
        },
        "training rows": sum(sizes),
        "intermediate steps": steps(epochs),
        "prediction steps": steps(settings.prediction_epochs),
        "student": shape,
    }
    lines = [[name, *map(str, told.values())] for name, told in plan["tasks"].items()]
    reporter.table("tasks", ["task", "training rows", "drawn an epoch", "metric"], lines)
    rest = [[key, str(value)] for key, value in plan.items() if key != "tasks"]
    reporter.table("plan", ["what", "value"], rest)
    return plan


def _tell(results: dict[str, Any], reporter: Reporter, output: Path) -> None:
    def line(name: str, metric: str, found: dict[str, Any]) -> list[str]:
        scores = ["–" if found[s] is None else f"{found[s]:.4f}" for s in _SIDES]
        kept = found["retention"]
        return [name, metric, *scores, "–" if kept is None else f"{100 * kept:.1f} %"]

    lines = [
        line(name, found["metric"] or "no labels", found)
        for name, found in results["tasks"].items()
    ]
    lines.append(line("mean", "", results["mean"]))
    reporter.table(
        f"{len(results['tasks'])} tasks, one student",
        ["task", "metric", "teacher", "student", "kept"],
        lines,
    )
    student, teachers = results["student"], results["teacher"]
    reporter.say(
        f"one body of {student['body'] / 1e6:.2f}M parameters and {student['heads']:,} in the "
        f"heads, for teachers of {teachers['parameters'] / 1e6:.2f}M together; written to {output}"
    )
