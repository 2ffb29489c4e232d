"""The page itself: what was gathered, through the template, to one text of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tinybert import __version__
from tinybert.export.figures import number, part
from tinybert.reporting import drawn, views
from tinybert.reporting.answers import Answers
from tinybert.reporting.attention import AttentionMaps
from tinybert.reporting.classes import (
    class_rows,
    confusions,
    differing_rows,
    disagreement,
    value_figures,
)
from tinybert.reporting.run import FinishedRun
from tinybert.reporting.words import HEADINGS, word_classes, word_differing

__all__ = ["Contents", "render"]

MOST_IN_MATRIX = 20
MOST_CONFUSED = 8
TEXT_CHARACTERS = 500
_HERE = Path(__file__).parent


@dataclass
class Contents:
    """All that a page is made of.

    Attributes:
        run: the finished run.
        answers: to the reported rows; ``None`` where they are not to be had.
        texts: of the same rows, in the same order; ``None`` likewise.
        maps: attention in one sentence; ``None`` likewise.
        latency: input → ``teacher`` and ``student`` → ``median`` in milliseconds and what it was
            measured under, as ``results.json`` has it.
        rows: rows shown where teacher and student differ, at most.
        told: of answers in words, what :meth:`tinybert.batching.Reading.told` says.
        missing: part of the page (``answers``, ``texts``, ``differ``, ``attention``, ``latency``,
            ``log``) → one sentence on why it is not there.
    """

    run: FinishedRun
    answers: Answers | None = None
    texts: Sequence[tuple[str, ...]] | None = None
    maps: AttentionMaps | None = None
    latency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: int = 50
    told: Mapping[str, Any] | None = None
    missing: dict[str, str] = field(default_factory=dict)


def render(contents: Contents) -> str:
    """The page: one file, without scripts, that asks nothing of any network.

    Everything that comes from data, models or settings is escaped, and the page's own policy lets
    no script run and nothing be fetched.
    """
    run = contents.run
    style = (_HERE / "style.css").read_text("utf-8")
    notes = dict(contents.missing)
    if contents.answers is not None and contents.answers.teacher is None:
        notes.setdefault("differ", "The teacher's answers are not known.")
    if not run.log:
        notes["log"] = "The run's log, log.jsonl, is not there: no curves can be drawn."
    said = {
        **_overview(contents),
        **drawn.learning(run),
        **_classes(contents),
        **_differing(contents),
        **drawn.attention(contents.maps),
    }
    text = _template().render(
        run=run,
        version=__version__,
        style=drawn.safe_style(style),
        notes=notes,
        has_head=run.has_head,
        parts=_parts(run, said),
        **said,
    )
    return text.rstrip() + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = _cut
    return environment.get_template("page.html.jinja")


def _parts(run: FinishedRun, said: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchors and names of the parts there are."""
    found = [("made", "How it was made")]
    found += [("scores", "Scores")] if said["scores"] else []
    found += [("size", "Size and speed"), ("learning", "How it learned")]
    if run.has_head:
        found.append(("classes", _heading(run)))
        found.append(("differ", "Where they differ"))
    return [*found, ("attention", "Where they look"), ("settings", "Settings")]


def _heading(run: FinishedRun) -> str:
    usual = "Value by value" if run.regression else "Class by class"
    return HEADINGS.get("ranking" if run.ranked else run.answering, usual)


def _overview(contents: Contents) -> dict[str, Any]:
    run, latency = contents.run, contents.latency
    scores = views.score_rows(run)
    error = views.standard_error(run)
    rows = number(part(run.results, "rows").get("test"))
    told = "Bars begin at 0."
    if rows is not None:
        told = f"On {rows:,.0f} rows that neither trained nor chose the student. {told}"
    if error is not None:
        told += f" One standard error of the student's accuracy is {100 * error:.1f} points."
    highest = max([1e-9, *(row.score for row in scores)])
    return {
        "lead": views.lead(run),
        "tiles": views.tiles(run, latency),
        "facts": views.facts(run),
        "stages": views.stage_rows(run),
        "scores": scores,
        "scores_told": told,
        "metric": views.metric(run),
        # Most metrics end at 1; a scale of one's own keeps its own end.
        "top": max(highest, 1.0),
        "columns": views.score_columns(run),
        "sizes": views.compared(run, latency),
        "conditions": _conditions(latency),
        "settings": views.settings_rows(run),
        "versions": ", ".join(f"{n} {v}" for n, v in part(run.results, "versions").items()) + ".",
        **drawn.mapping(run),
    }


def _conditions(latency: Mapping[str, Any]) -> str:
    taken: Mapping[str, Any] = next((part(t, "student") for t in latency.values()), {})
    if not taken:
        return ""
    threads = number(taken.get("threads"))
    known = [str(taken[key]) for key in ("device", "precision") if taken.get(key)]
    known += [f"{threads:.0f} thread{'s' * (threads != 1)}"] if threads is not None else []
    both = ", both in turns" if any(part(t, "teacher") for t in latency.values()) else ""
    return f"Latency: the median of one pass in PyTorch ({', '.join(known)}){both}."


def _classes(contents: Contents) -> dict[str, Any]:
    """Tables and pictures of the answers, against labels or, without any, the teacher's."""
    run, answers = contents.run, contents.answers
    said: dict[str, Any] = dict.fromkeys(("classes_told",), "")
    said |= {name: [] for name in ("classes", "teacher_f1", "matrices", "confused")}
    said |= {"values": [], "scatters": []}
    said["class_heads"] = ["class", "rows", "precision", "recall", "F1"]
    said["classes_heading"] = _heading(run)
    if contents.told is not None:
        return said | word_classes(contents.told)
    if answers is None:
        return said
    if run.regression:
        return said | _values(answers)
    truth, wanted = answers.labels, "the label"
    if truth is None:
        if answers.teacher is None:
            return said
        truth, wanted = answers.teacher.argmax(axis=1), "the teacher's answer"
    rows = class_rows(answers.student, truth, run.labels)
    told = f"The student's answers to {len(answers):,} rows, held against {wanted}s."
    said |= {"classes": rows, "classes_told": told}
    outputs = {"The student’s answers.": answers.student}
    if answers.labels is not None and answers.teacher is not None:
        of_teacher = class_rows(answers.teacher, truth, run.labels)
        said["teacher_f1"] = [row.f1 for row in of_teacher]
        outputs["The teacher’s answers."] = answers.teacher
    tables = {title: confusions(logits, truth, run.labels) for title, logits in outputs.items()}
    if len(run.labels) <= MOST_IN_MATRIX:
        said["matrices"] = [
            {
                "title": title,
                "rows": wanted,
                "names": table.names,
                "counts": table.counts.tolist(),
                "shares": table.shares.tolist(),
            }
            for title, table in tables.items()
        ]
    if len(run.labels) > 4:
        said["confused"] = tables["The student’s answers."].commonest(MOST_CONFUSED)
    return said


def _values(answers: Answers) -> dict[str, Any]:
    """Of one value a row: figures and scatters against the labels, or the teacher's values."""
    teacher, labels = answers.teacher, answers.labels
    if labels is None and teacher is None:
        return {}
    truth = labels if labels is not None else teacher[:, 0]  # type: ignore[index]
    both = [("student", answers.student)]
    if labels is not None and teacher is not None:
        both.insert(0, ("teacher", teacher))
    told = "the label" if labels is not None else "the teacher's value"
    return {
        "values": [(name, value_figures(outputs, truth)) for name, outputs in both],
        "scatters": drawn.scatters(both, truth, told),
    }


def _differing(contents: Contents) -> dict[str, Any]:
    run, answers = contents.run, contents.answers
    said: dict[str, Any] = {"differing": [], "differ_told": "", "split": [], "split_told": ""}
    said["labelled"] = answers is not None and answers.labels is not None
    if contents.told is not None:
        return said | word_differing(contents.told, contents.rows)
    if answers is None or answers.teacher is None:
        return said
    found = differing_rows(answers, run.labels, contents.texts, contents.rows)
    said["differing"] = found
    if run.regression:
        said["differ_told"] = f"The {len(found)} rows where the two are furthest apart."
        return said
    differ = int((answers.student.argmax(axis=1) != answers.teacher.argmax(axis=1)).sum())
    share = 100 * differ / len(answers)
    said["differ_told"] = (
        f"They answer {differ:,} of {len(answers):,} rows ({share:.1f} %) differently."
    )
    if found:
        which = "All of them" if len(found) == differ else f"The first {len(found)}"
        said["differ_told"] += f" {which}, those first where both are surest:"
    who = disagreement(answers)
    if who is not None:
        kinds = (
            ("both right", who.both_right, "both-right"),
            ("teacher alone right", who.teacher_alone, "teacher"),
            ("student alone right", who.student_alone, "student"),
            ("both wrong", who.both_wrong, "both-wrong"),
        )
        said["split"] = [
            {"name": name, "rows": rows, "share": rows / who.rows, "style": style}
            for name, rows, style in kinds
        ]
        said["split_told"] = ", ".join(f"{name}: {rows} rows" for name, rows, _ in kinds)
    return said


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS].rstrip() + " …"
