"""The pictures of the page: which layer learned from which, curves, scatters, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tinybert.export.figures import part
from tinybert.reporting.attention import AttentionMaps, LayerMaps
from tinybert.reporting.charts import Line, line_chart, scatter
from tinybert.reporting.curves import Curve, StageCurves, stage_curves
from tinybert.reporting.png import picture
from tinybert.reporting.run import FinishedRun
from tinybert.reporting.scales import Scale, fitted, shown
from tinybert.tasks.metrics import METRICS

__all__ = ["attention", "learning", "mapping", "safe_style", "scatters"]

MOST_DOTS = 1500
_STAGES = {
    "general": "General stage: embeddings, attention and hidden states, on raw text",
    "intermediate": "Intermediate stage: embeddings, attention and hidden states",
    "prediction": "Prediction stage: the teacher's outputs",
    "finetune": "Fine-tuning: labels",
    "teacher": "The teacher's fine-tuning: labels",
}
_STYLES = {
    "loss": "s-loss",
    "attention": "s-attention",
    "hidden": "s-hidden",
    "embedding": "s-embedding",
    "prediction": "s-student",
}


def safe_style(style: str) -> Markup:
    """The page's own style sheet, which nothing of the user's goes into."""
    return Markup(style.rstrip())


def mapping(run: FinishedRun) -> dict[str, Any]:
    """Columns of the picture of layers: the teacher's, and where one learned from it, the
    student's."""
    told = run.mapping
    layers = part(run.results, "teacher").get("layers")
    if not told or not isinstance(layers, int) or max(told) > layers:
        return {"mapping": [], "mapping_told": ""}
    learned = {n: m for m, n in enumerate(told, start=1)}
    ends = [{"teacher": "emb.", "student": "emb.", "end": True}]
    columns = ends + [
        {"teacher": str(n), "student": str(learned.get(n, "")), "end": False}
        for n in range(1, layers + 1)
    ]
    if run.has_head:
        columns.append({"teacher": "out", "student": "out", "end": True})
    pairs = ", ".join(f"{m} from {n}" for n, m in learned.items())
    return {
        "mapping": columns,
        "mapping_told": f"Student layers and the teacher layers they learned from: {pairs}.",
    }


def learning(run: FinishedRun) -> dict[str, Any]:
    """Charts of every stage."""
    return {"curves": [_stage(stage) for stage in stage_curves(run.log, METRICS_SHOWN)]}


METRICS_SHOWN = (*METRICS, "masked_accuracy", "similarity_spearman", "similarity_pearson")


def _stage(stage: StageCurves) -> dict[str, Any]:
    thinned = f"One log line of {stage.thinned} is shown. " if stage.thinned > 1 else ""
    charts = [
        _chart("Training rows", f"{thinned}{_of_terms(stage.losses)}", stage.losses),
        _chart("Held-out rows, losses", "Rows that were not learned from.", stage.held_out),
        _chart("Held-out rows, scores", "Rows that were not learned from.", stage.scores),
    ]
    charts += [
        _chart(f"{kind.capitalize()}, {_by(found)}", thinned, found, by_layer=True)
        for kind, found in stage.layers.items()
    ]
    return {
        "name": stage.name,
        "title": _STAGES.get(stage.name, stage.name.replace("-", " ").capitalize()),
        "charts": [chart for chart in charts if chart is not None],
    }


def _by(curves: Sequence[Curve]) -> str:
    layered = all(curve.name.startswith("layer ") for curve in curves)
    return "layer by layer" if layered else "task by task"


def _of_terms(curves: Sequence[Curve]) -> str:
    if len(curves) < 2:
        return "Means since the line of the log before."
    return "Each term without its weight; all terms together with theirs."


def _chart(
    title: str, note: str, curves: Sequence[Curve], *, by_layer: bool = False
) -> dict[str, Any] | None:
    if not curves:
        return None
    lines = []
    for place, curve in enumerate(curves):
        plain = curve.key.removeprefix("terms/").removeprefix("eval_")
        style = f"shade-{place % 5}" if by_layer else _STYLES.get(plain, _further(place))
        lines.append(Line(curve.name, curve.points, style))
    last = "; ".join(f"{c.name} ends at {shown(c.points[-1][1])}" for c in curves)
    steps = sorted({step for curve in curves for step, _ in curve.points})
    values = [dict(curve.points) for curve in curves]
    return {
        "title": f"{title}." if len(curves) > 1 else f"{title.split(',')[0]}: {curves[0].name}.",
        "note": note,
        "drawn": line_chart(lines, f"{title}. {last}"),
        "curves": curves,
        "rows": [(step, [found.get(step) for found in values]) for step in steps],
    }


def _further(place: int) -> str:
    return ("s-student", "s-teacher", "s-attention", "s-hidden", "s-embedding", "s-control")[
        place % 6
    ]


def scatters(
    both: Sequence[tuple[str, NDArray[np.floating[Any]]]], truth: NDArray[Any], told: str
) -> list[tuple[str, str, Markup]]:
    """(title, note, chart) of values against labels, all on one scale."""
    everything = np.concatenate([truth.astype(np.float64), *(o[:, 0] for _, o in both)])
    room = fitted(everything.tolist())
    scale = Scale(room.low, room.high)  # values may be negative: never logarithmic
    places = np.arange(len(truth))
    note = f"Across {told}, upwards the {{}}’s value; on the line they are equal."
    if len(truth) > MOST_DOTS:
        places = np.sort(np.random.default_rng(0).permutation(len(truth))[:MOST_DOTS])
        note += f" {MOST_DOTS:,} of {len(truth):,} rows, drawn at random."
    found = []
    for name, outputs in both:
        points = [(float(truth[i]), float(outputs[i, 0])) for i in places]
        label = f"The {name}'s values against {told}, {len(points)} rows"
        drawn = scatter(points, f"s-{name}", label, scale)
        found.append((f"The {name}.", note.format(name), drawn))
    return found


def attention(maps: AttentionMaps | None) -> dict[str, Any]:
    """Pictures of every layer: the mean of its heads, and each head where they can be compared."""
    if maps is None:
        return {"maps": None, "layers": [], "heads": 0}
    heads = maps.heads if maps.heads > 1 else 0
    views: list[int | None] = [None, *range(heads)]
    return {
        "maps": maps,
        "heads": heads,
        "layers": [
            {
                "teacher_layer": layer.teacher_layer,
                "student_layer": layer.student_layer,
                "views": [_view(maps, layer, head) for head in views],
            }
            for layer in maps.layers
        ],
    }


def _view(maps: AttentionMaps, layer: LayerMaps, head: int | None) -> dict[str, str]:
    teacher, student = layer.pair(head)
    which = "mean of heads" if head is None else f"head {head + 1}"
    return {
        "style": "of-all" if head is None else f"of-{head}",
        "elsewhere": f"{100 * layer.elsewhere(head):.0f}",
        "teacher": picture(teacher),
        "student": picture(student),
        "teacher_told": f"Teacher layer {layer.teacher_layer}, {which}: {_most(maps, teacher)}",
        "student_told": f"Student layer {layer.student_layer}, {which}: {_most(maps, student)}",
    }


def _most(maps: AttentionMaps, values: NDArray[np.float32]) -> str:
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return (
        f"the most attention is {values[row, column]:.2f}, from {maps.tokens[row]} to "
        f"{maps.tokens[column]}"
    )
