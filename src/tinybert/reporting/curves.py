"""Curves of a run: what its log says, stage by stage, thinned where it says much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinybert.export.figures import number
from tinybert.export.stages import made_the_student

__all__ = ["Curve", "StageCurves", "stage_curves"]

MOST_POINTS = 240
_NAMES = {"loss": "all terms", "mlm": "masked tokens"}


@dataclass(frozen=True)
class Curve:
    """Figures over steps, as logged.

    Attributes:
        key: of the log's entries.
        name: for people.
        points: (step, figure), in the order of the log.
    """

    key: str
    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class StageCurves:
    """The curves of one stage.

    Attributes:
        name: the stage's.
        losses: the loss and its terms, unweighted, on the rows learned from.
        layers: kind of term → its curves, layer by layer, where there are several.
        held_out: losses on rows that were not learned from.
        scores: metrics on rows that were not learned from.
        thinned: of so many entries one is shown; 1: all.
    """

    name: str
    losses: tuple[Curve, ...]
    layers: Mapping[str, tuple[Curve, ...]]
    held_out: tuple[Curve, ...]
    scores: tuple[Curve, ...]
    thinned: int = 1


def stage_curves(log: Sequence[Mapping[str, Any]], metrics: Iterable[str]) -> list[StageCurves]:
    """Curves of all stages that made the student; controls and further seeds are left out.

    Args:
        log: entries with ``stage`` and ``step``.
        metrics: names that stand for scores; all other held-out figures are losses.
    """
    scores = {f"eval_{name}" for name in metrics}
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for entry in log:
        if made_the_student(str(entry["stage"])):
            stages.setdefault(str(entry["stage"]), []).append(entry)
    return [_stage(name, entries, scores) for name, entries in stages.items()]


def _stage(name: str, entries: list[Mapping[str, Any]], scores: set[str]) -> StageCurves:
    trained = [entry for entry in entries if "loss" in entry]
    held_out = [entry for entry in entries if any(key.startswith("eval_") for key in entry)]
    thinned = max(1, -(-len(trained) // MOST_POINTS))
    keys = _keys(trained)
    terms = [key for key in keys if key.startswith("terms/")]
    kinds = [key for key in terms if "." not in key]
    layers = {
        kind.removeprefix("terms/"): tuple(
            _curve(key, trained, thinned) for key in terms if key.startswith(f"{kind}.")
        )
        for kind in kinds
    }
    # One term alone is the loss.
    shown = ["loss", *kinds] if len(kinds) != 1 else kinds
    evaluated = [key for key in _keys(held_out) if key.startswith("eval_")]
    losses = [key for key in evaluated if key not in scores]
    if len(losses) == 2 and "eval_loss" in losses:
        losses.remove("eval_loss")
    return StageCurves(
        name=name,
        losses=_known(_curve(key, trained, thinned) for key in shown),
        layers={kind: found for kind, found in layers.items() if len(found) > 1},
        held_out=_known(_curve(key, held_out, 1) for key in losses),
        scores=_known(_curve(key, held_out, 1) for key in evaluated if key in scores),
        thinned=thinned,
    )


def _keys(entries: list[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for entry in entries for key in entry))


def _known(curves: Iterable[Curve]) -> tuple[Curve, ...]:
    return tuple(curve for curve in curves if curve.points)


def _curve(key: str, entries: list[Mapping[str, Any]], thinned: int) -> Curve:
    found = [(int(e["step"]), number(e.get(key))) for e in entries]
    points = [(step, value) for step, value in found if value is not None]
    kept = points[::thinned]
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    plain = key.removeprefix("terms/").removeprefix("eval_")
    layer = plain.partition(".")[2]
    part = f"layer {layer}" if layer.isdigit() else layer  # or a task's name
    name = part if layer else _NAMES.get(plain, plain.replace("_", " "))
    return Curve(key, name, tuple(kept))
