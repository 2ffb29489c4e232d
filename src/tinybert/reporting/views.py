"""What the page says in figures: plain rows and words, from what ``results.json`` holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from tinybert import settings as all_settings
from tinybert.export.figures import number, part, scored, shape
from tinybert.export.markdown import last_part
from tinybert.export.stages import made_the_student, terms_told
from tinybert.progress import duration
from tinybert.reporting.run import FinishedRun

__all__ = [
    "Compared",
    "ScoreRow",
    "Tile",
    "compared",
    "facts",
    "lead",
    "score_columns",
    "score_rows",
    "settings_rows",
    "stage_rows",
    "standard_error",
    "teacher_name",
    "tiles",
]

Latency = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Tile:
    """One figure at the top: what it is, the figure, and what stands beneath."""

    what: str
    figure: str
    beneath: str


@dataclass(frozen=True)
class ScoreRow:
    """A model's score; ``kind`` is teacher, student or control; ``kept`` is of the teacher's."""

    name: str
    kind: str
    score: float
    spread: float | None
    kept: float | None


@dataclass(frozen=True)
class Compared:
    """A figure of both; ``ratio`` says how many times less it is for the student."""

    what: str
    teacher: str
    student: str
    ratio: str


def teacher_name(run: FinishedRun) -> str:
    """The teacher as it was given, a local path by its last part; empty where nobody says."""
    asked = run.results.get("teacher_name") or run.settings.get("teacher")
    asked = asked or run.settings.get("model") or ""
    return str(last_part(str(asked)))


def lead(run: FinishedRun) -> str:
    """One sentence: what learned what from whom, and what came of it."""
    results = run.results
    student, teacher = part(results, "student"), part(results, "teacher")
    rows = last_part(str(results.get("data") or "")) or str(results.get("task") or "")
    kind = "student" if teacher else "model"
    who = f"A {kind} of {shape(student)}" if shape(student) else f"A {kind}"
    if not teacher:
        source = teacher_name(run)
        return f"{who}, trained on {rows}" + (f", from {source}." if source else ".")
    source = teacher_name(run) or "its teacher"
    its = f" ({shape(teacher)})" if shape(teacher) else ""
    what = "general text" if results.get("task") == "general" else rows
    told = f"{who}, distilled on {what} from {source}{its}."
    kept, fewer = number(results.get("retention")), _times(teacher, student, "parameters")
    less = _times(teacher, student, "flops_128")
    sizes = [f"{fewer:.1f}× fewer parameters"] if fewer else []
    sizes += [f"{less:.1f}× less arithmetic"] if less else []
    if kept is not None:
        with_sizes = f", with {' and '.join(sizes)}" if sizes else ""
        told += f" It keeps {100 * kept:.1f} % of its teacher's {metric(run)}{with_sizes}."
    elif sizes:
        told += f" It has {' and '.join(sizes)}."
    return told


def metric(run: FinishedRun) -> str:
    return str(run.results.get("metric") or "score").replace("_", " ")


def _times(teacher: Mapping[str, Any], student: Mapping[str, Any], key: str) -> float | None:
    one, other = number(teacher.get(key)), number(student.get(key))
    return one / other if one and other else None


def tiles(run: FinishedRun, latency: Latency) -> list[Tile]:
    """The figures that stand at the top."""
    results = run.results
    student, teacher = part(results, "student"), part(results, "teacher")
    found = []
    kept, score = number(results.get("retention")), number(student.get("score"))
    other = number(teacher.get("score"))
    if kept is not None:
        found.append(Tile("kept", f"{100 * kept:.1f} %", f"of the teacher's {metric(run)}"))
    if score is not None:
        beneath = "" if other is None else f"teacher {other:.4f}"
        found.append(Tile(metric(run), f"{score:.4f}", beneath))
    elif (same := number(results.get("agreement"))) is not None:
        told = "correlation with the teacher's values" if run.regression else "teacher's answers"
        if run.ranked:
            told = "Kendall's tau with the teacher's order, within queries"
        found.append(Tile("agreement", f"{same:.3f}" if run.regression else _share(same), told))
    for key, what, word in (
        ("parameters", "parameters", "fewer"),
        ("flops_128", "FLOPs, 128 tokens", "less"),
    ):
        value = number(student.get(key))
        if value is not None:
            times = _times(teacher, student, key)
            beneath = "" if not times else f"teacher {_counted(teacher[key])}"
            if times and times > 1:
                beneath = f"{times:.1f}× {word} than {_counted(teacher[key])}"
            found.append(Tile(what, _counted(value), beneath))
    for read, taken in latency.items():
        mine, its = (number(part(taken, name).get("median")) for name in ("student", "teacher"))
        if mine:
            beneath = f"teacher {its:.2f} ms" if its else ""
            if its and its > mine:
                beneath = f"{its / mine:.1f}× faster than {its:.1f}\u00a0ms"
            found.append(Tile(f"latency, {_short(read)}", f"{mine:.2f} ms", beneath))
            break
    return found


def _read(read: str) -> str:
    """``batch 1 x 32 tokens`` for people."""
    return read.replace("batch 1 x", "one text of").replace(" x ", " × ")


def _short(read: str) -> str:
    return _read(read).removeprefix("one text of ")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _counted(value: float) -> str:
    for scale, unit in ((1e9, "\u00a0G"), (1e6, "\u00a0M"), (1e3, "\u00a0k")):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.0f}"


def score_rows(run: FinishedRun) -> list[ScoreRow]:
    """Teacher, student and controls by the main score, the teacher first."""
    results = run.results
    of_teacher = number(part(results, "teacher").get("score"))
    named = [("teacher", "teacher", of_teacher)]
    named.append(("student", "student", number(part(results, "student").get("score"))))
    named += [(str(n), "control", number(v)) for n, v in part(results, "controls").items()]
    named.append(("bag of words", "control", number(results.get("bag_of_words"))))
    found = []
    for name, kind, score in named:
        if score is None:
            continue
        seeds = [number(v) for v in part(results, "seeds").get(name) or []]
        known = [v for v in seeds if v is not None]
        spread = stdev(known) if len(known) > 1 else None
        kept = score / of_teacher if of_teacher and of_teacher > 0 else None
        found.append(ScoreRow(name, kind, score, spread, kept))
    return found


def standard_error(run: FinishedRun) -> float | None:
    """Of the student's accuracy on the reported rows; ``None`` for other metrics."""
    score = number(part(run.results, "student").get("score"))
    rows = number(part(run.results, "rows").get("test"))
    if run.results.get("metric") != "accuracy" or score is None or not rows:
        return None
    return math.sqrt(max(0.0, score * (1 - score)) / rows)


def score_columns(run: FinishedRun) -> list[tuple[str, float | None, float | None]]:
    """(part and metric, teacher, student) of all scores, where there is more than one."""
    teacher, student = (scored(run.results, name) for name in ("teacher", "student"))
    columns = list(dict.fromkeys([*student, *teacher]))
    if len(columns) < 2:
        return []
    several = len({name for name, _ in columns}) > 1
    told = []
    for name, score in columns:
        words = score.replace("_", " ")
        words = f"{name}: {words}" if several and name else words
        told.append((words, teacher.get((name, score)), student.get((name, score))))
    return told


def compared(run: FinishedRun, latency: Latency) -> list[Compared]:
    """Size, arithmetic and time of both models."""
    both = [part(run.results, name) for name in ("teacher", "student")]
    found = []

    def add(what: str, values: list[float | None], form: Any) -> None:
        its, mine = ("–" if value is None else form(value) for value in values)
        ratio = f"{values[0] / values[1]:.1f}×" if values[0] and values[1] else "–"
        if (its, mine) != ("–", "–"):
            found.append(Compared(what, its, mine, ratio))

    for key, what in (("layers", "layers"), ("hidden", "width")):
        add(what, [number(model.get(key)) for model in both], lambda value: f"{value:.0f}")
    sizes = [number(model.get("parameters")) for model in both]
    add("parameters", sizes, _counted)
    weights = [None if size is None else 4 * size / 1e6 for size in sizes]
    add("weights, float32", weights, lambda value: f"{value:.1f} MB")
    counts = [number(model.get("flops_128")) for model in both]
    add("FLOPs, one text of 128 tokens", counts, _counted)
    for read, taken in latency.items():
        medians = [number(part(taken, name).get("median")) for name in ("teacher", "student")]
        add(f"latency, {_read(read)}", medians, lambda value: f"{value:.2f} ms")
    return found


def facts(run: FinishedRun) -> list[tuple[str, str]]:
    """What the run was made of, name and value."""
    results, asked = run.results, run.settings
    counts = part(results, "rows")
    told: list[tuple[str, str]] = []

    def add(name: str, value: object) -> None:
        if value not in (None, "", "–"):
            told.append((name, str(value)))

    source = teacher_name(run)
    tuned = ", fine-tuned on these rows first" if results.get("teacher_fine_tuned") else ""
    if part(results, "teacher"):
        add("teacher", f"{source or 'teacher'}, {shape(part(results, 'teacher'))}{tuned}")
    add("student", shape(part(results, "student")))
    start = results.get("start") or asked.get("start")
    add("start", {"auto": None, "given": "a student that was there"}.get(str(start), start))
    add("data", last_part(str(results.get("data") or results.get("task") or "")))
    columns = results.get("text_columns")
    if isinstance(columns, list | tuple):
        add("text columns" if len(columns) > 1 else "text column", " and ".join(map(str, columns)))
    rows = [f"{int(n):,} {name}" for name, n in counts.items() if number(n) is not None]
    add("rows", ", ".join(rows))
    if (more := number(results.get("augmented_rows"))) is not None:
        add("rows with copies", f"{more:,.0f}")
    add("seed", asked.get("seed"))
    seconds = number(results.get("seconds"))
    add("time", duration(seconds) if seconds is not None else None)
    return told


def stage_rows(run: FinishedRun) -> list[list[str]]:
    """Stage, rows, epochs, steps, batch, rate, what it learns, weights kept, time."""
    stages = run.results.get("stages")
    found = []
    for record in stages if isinstance(stages, list | tuple) else []:
        name, plan = str(record.get("name", "")), part(record, "schedule")
        if not made_the_student(name):
            continue
        steps, seconds = number(plan.get("steps")), number(record.get("seconds"))
        chosen = part(record, "best").get("metric")
        found.append(
            [
                name,
                _figure(record.get("rows"), ",.0f"),
                "–" if steps is not None else _figure(plan.get("epochs"), "g"),
                _figure(record.get("steps"), ",.0f"),
                _figure(plan.get("batch_size"), ",.0f"),
                _figure(plan.get("learning_rate"), "g"),
                terms_told(record.get("objective")),
                "the last" if not chosen else f"best {str(chosen).replace('_', ' ')}",
                "–" if seconds is None else duration(seconds),
            ]
        )
    return found


def _figure(value: Any, form: str) -> str:
    found = number(value)
    return "–" if found is None else format(found, form)


def settings_rows(run: FinishedRun) -> list[tuple[str, str, bool]]:
    """(name, value, whether it differs from the default); local paths by their last part."""
    asked = run.settings
    defaults: dict[str, Any] = {}
    for cls in vars(all_settings).values():
        if isinstance(cls, type) and dataclasses.is_dataclass(cls):
            fields = dataclasses.fields(cls)
            if {field.name for field in fields} == set(asked):
                defaults = {
                    field.name: field.metadata.get("usual")
                    if field.default is None
                    else field.default
                    for field in fields
                }
    rows = []
    for name, value in asked.items():
        shown = last_part(value)
        text = "–" if shown in (None, []) else str(shown)
        if isinstance(shown, bool):
            text = "yes" if shown else "no"
        plain = str(defaults.get(name)) if name in defaults else None
        changed = name in defaults and value not in (None, []) and str(value) != plain
        rows.append((name.replace("_", " "), text, changed))
    return rows
