"""Size, speed and scores in a card, from what ``results.json`` holds.

Every table and sentence is Markdown, "" where there is nothing to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from statistics import stdev
from typing import Any

from tinybert.export.markdown import escaped, table

__all__ = [
    "Results",
    "controls_note",
    "number",
    "own_scores",
    "part",
    "rows_told",
    "scored",
    "scores_table",
    "seeds",
    "shape",
    "sizes_table",
]

Results = Mapping[str, Any]
Column = tuple[str | None, str]  # part of the rows (None: it has no name), metric


def part(results: Results, *names: str) -> Mapping[str, Any]:
    """The mapping under these keys; empty where there is none."""
    found: Any = results
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def number(value: Any) -> float | None:
    """``value`` as a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy's numbers are Real too
        return None
    return float(value) if math.isfinite(value) else None


def sizes_table(results: Results) -> str:
    """Size, arithmetic and latency of the student, beside the teacher's where there is one."""
    models = {n: part(results, n) for n in ("teacher", "student") if part(results, n)}
    if "student" not in models:
        return ""
    called = [_called(name, results) for name in models]
    rows = []

    def add(what: str, values: Sequence[float | None], shown: Any) -> None:
        if values[-1] is None:
            return
        cells = ["–" if v is None else shown(v) for v in values]
        if len(values) == 2:
            one, other = values
            cells.append(f"{one / other:.1f}×" if one and other else "–")
        rows.append([what, *cells])

    for key, what, giant in (
        ("parameters", "parameters", "B"),
        ("flops_128", "FLOPs, one text of 128 tokens", "G"),
    ):
        add(
            what,
            [number(m.get(key)) for m in models.values()],
            lambda value, giant=giant: _counted(value, giant),
        )
    for read, taken in part(results, "latency").items():
        medians = [number(part(taken, name).get("median")) for name in models]
        add(f"latency, {escaped(read)} (median)", medians, lambda ms: f"{ms:.2f} ms")
    head = ["", *called, *["ratio"] * (len(models) - 1)]
    asked = [_bound(results, name) for name in part(results, "size")]
    note = [_conditions(results), *[line for line in asked if line]]
    return "\n\n".join(block for block in (table(head, rows), *note) if block)


def shape(model: Mapping[str, Any]) -> str:
    """Layers and width of a model described in ``results.json``."""
    layers, hidden = number(model.get("layers")), number(model.get("hidden"))
    if layers is None or hidden is None:
        return ""
    return f"{layers:.0f} layers × {hidden:.0f}"


def _called(model: str, results: Results) -> str:
    """What was fine-tuned alone is nobody's student."""
    return model if part(results, "teacher") else "model"


def _counted(value: float, giant: str) -> str:
    for scale, unit in ((1e9, giant), (1e6, "M")):
        if value >= scale:
            return f"{value / scale:.2f}{unit}"
    return f"{value:,.0f}"


def _conditions(results: Results) -> str:
    """What the latencies were measured under."""
    taken = next((part(t, "student") for t in part(results, "latency").values()), {})
    known = [str(taken[key]) for key in ("device", "precision") if taken.get(key)]
    threads = number(taken.get("threads"))
    known += [f"{threads:.0f} threads"] if threads is not None else []
    told = ", ".join(escaped(word) for word in known)
    return f"Latency was measured in PyTorch ({told})." if told else ""


def _bound(results: Results, name: str) -> str:
    """A bound that the student's size had to keep, and what it reached."""
    entry = results["size"][name]
    asked, reached = part(results, "settings").get(name), entry
    if isinstance(entry, Mapping):
        asked, reached = entry.get("bound", asked), entry.get("reached")
    if reached is None:
        return ""
    told = f"asked for {_plainly(asked)}, " if asked is not None else ""
    return f"Bound {escaped(str(name).replace('_', ' '))}: {told}reached {_plainly(reached)}."


def _plainly(value: Any) -> str:
    return f"{value:.4g}" if number(value) is not None else escaped(str(value))


_ALIKE = {
    "entity_f1": "the teacher's tag to {} of those rows' words",
    "token_accuracy": "the teacher's tag to {} of those rows' words",
    "answer_f1": "the teacher's answer to {} of those questions",
    "exact_match": "the teacher's answer to {} of those questions",
}


def own_scores(results: Results) -> dict[Column, float]:
    """Scores of the very model here, where the student's main score is a mean over seeds."""
    spread = _spread(results, "student")
    first = {_main(results): spread[0]} if len(spread) > 1 else {}
    return scored(results, "student") | first


def scored(results: Results, model: str) -> dict[Column, float]:
    """Scores of ``"teacher"`` or ``"student"``, the main one first, by part and metric."""
    described = part(results, model)
    return _scores(part(described, "scores"), _main(results), described.get("score"))


def _scores(found: Mapping[str, Any], main: Column, score: Any) -> dict[Column, float]:
    """Part → metric → score by column, with the one score that is always told."""
    columns = {
        (str(name), str(metric)): number(value)
        for name in found
        for metric, value in part(found, name).items()
    }
    return {
        column: value
        for column, value in ({main: number(score)} | columns).items()
        if value is not None
    }


def _main(results: Results) -> Column:
    """The column of the score that controls and retention are told in."""
    metric = str(results.get("metric") or "score")
    for model in ("student", "teacher"):
        for name in part(results, model, "scores"):
            if metric in part(results, model, "scores", name):
                return str(name), metric
    return None, metric


def scores_table(results: Results) -> str:
    """Teacher, student, controls: scores of every part reported, and what is kept of the main."""
    main = _main(results)
    lines: list[tuple[str, dict[Column, float], list[float]]] = []
    for model in ("teacher", "student"):
        scores = scored(results, model)
        name = _called(model, results)
        name = f"**{name}**" if model == "student" else name
        lines.append((name, scores, _spread(results, model)))
    for name in part(results, "controls"):
        scores = _scores(part(results, "control_scores", name), main, results["controls"][name])
        lines.append((escaped(str(name)), scores, _spread(results, str(name))))
    words = number(results.get("bag_of_words"))
    if words is not None:
        lines.append(("bag of words, logistic regression", {main: words}, []))
    lines = [line for line in lines if line[1]]
    columns = list(dict.fromkeys(column for _, scores, _ in lines for column in scores))
    teacher = scored(results, "teacher").get(main)
    kept = teacher is not None and teacher > 0 and len(lines) > 1
    rows = []
    for name, scores, spread in lines:
        cells = [f"{scores[c]:.4f}" if c in scores else "–" for c in columns]
        if main in scores and len(spread) > 1:
            cells[columns.index(main)] += f" ± {stdev(spread):.4f}"
        if kept:
            share = 100 * scores[main] / teacher if main in scores and teacher else None
            cells.append("–" if share is None else f"{share:.1f} %")
        rows.append([name, *cells])
    several = len({name for name, _ in columns}) > 1
    head = ["model", *[_heading(c, several) for c in columns], *["kept"] * kept]
    count, note = seeds(results), ""
    if count > 1:
        note = f"Means over {count} seeds, ± their standard deviation."
        own = _spread(results, "student")
        note += f" The model here is the first seed's, which has {own[0]:.4f}." if own else ""
    return "\n\n".join(block for block in (table(head, rows), note) if block)


def seeds(results: Results) -> int:
    """How many seeds the scores are means over."""
    return max((len(_spread(results, name)) for name in part(results, "seeds")), default=1)


def _spread(results: Results, name: str) -> list[float]:
    """The score of each seed."""
    values = part(results, "seeds").get(name)
    found = [number(v) for v in values] if isinstance(values, list | tuple) else []
    return [v for v in found if v is not None]


def _heading(column: Column, several: bool) -> str:
    name, metric = column
    metric = metric.replace("_", " ")
    return escaped(f"{name}: {metric}" if several and name else metric)


def rows_told(results: Results, *, regression: bool, sets: bool = False) -> str:
    """How many rows it learnt from, was chosen on and is reported on; how far it agrees."""
    counts = {str(k): number(v) for k, v in part(results, "rows").items()}
    known = {k: int(v) for k, v in counts.items() if v is not None}
    told = []
    if "train" in known:
        told.append(f"It learnt from {known.pop('train'):,} rows.")
    if "dev" in known:
        told.append(
            f"Its weights were chosen on {known.pop('dev'):,} rows that it did not learn from."
        )
    if known:
        counted = ", ".join(f"{n:,} ({escaped(name)})" for name, n in known.items())
        told.append(f"The figures are from rows that neither trained nor chose it: {counted}.")
    score, rows = scored(results, "student").get(_main(results)), known.get("test")
    several = seeds(results) > 1
    if results.get("metric") == "accuracy" and score and score < 1 and rows and not several:
        error = math.sqrt(score * (1 - score) / rows)
        told.append(f"One standard error of its accuracy is {100 * error:.1f} points.")
    agreement = number(results.get("agreement"))
    if agreement is not None:
        if counts_of := part(results, "ranking"):
            told.append(_ranking_told(counts_of, agreement))
        elif sets:
            told.append(
                f"It gives the teacher's very labels to {100 * agreement:.1f} % of those rows."
            )
        elif regression:
            told.append(f"Its values correlate with the teacher's (Pearson, {agreement:.4f}).")
        else:
            which = _ALIKE.get(
                str(results.get("metric")), "the teacher's label to {} of those rows"
            )
            told.append(f"It gives {which.format(f'{100 * agreement:.1f} %')}.")
    losses = part(results, "held_out")
    shown = [
        f"{escaped(str(k).removeprefix('eval_'))} {v:.4g}"
        for k, v in ((k, number(v)) for k, v in losses.items())
        if v is not None and k != f"eval_{results.get('metric')}"  # that one is in the table
    ]
    if shown:
        told.append(f"Losses on text that was kept back: {', '.join(shown)}.")
    return " ".join(told)


def _ranking_told(counts: Mapping[str, Any], kendall: float) -> str:
    told = f"Within a query its order goes with the teacher's (Kendall's tau, {kendall:.4f}"
    spearman, queries = number(counts.get("spearman")), number(counts.get("queries"))
    told += "" if spearman is None else f"; Spearman, {spearman:.4f}"
    return f"{told}; means over queries, of which there are {queries or 0:,.0f})."


def controls_note(results: Results) -> str:
    """What the controls are, where there are any."""
    if not part(results, "controls"):
        return ""
    return "Controls are models of the student's size, trained for comparison."
