"""The ablations of the paper (arXiv 1909.10351, section 4.4) as systems: TinyBERT_4 but for one
thing; and the start, which the paper does not vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from tinybert.systems.catalogue import SYSTEMS, MobileShape, System
from tinybert.systems.steps import (
    FineTuning,
    GeneralDistillation,
    IntermediateDistillation,
    PredictionDistillation,
    Step,
)

__all__ = ["Ablation", "ablation_systems", "from_teacher", "without_copies"]

Ablation = Literal["losses", "stages", "mapping", "start"]


def from_teacher(system: System) -> System | None:
    """The system with a start on its teacher: copied layers where it is as wide, principal axes
    where it is narrower. None where its own start is there already, and for MobileBERT, whose
    layers are built otherwise.

    >>> from_teacher(SYSTEMS["BERT_TINY"]).name, from_teacher(SYSTEMS["TinyBERT_6"]).name
    ('BERT_TINY-PCA', 'TinyBERT_6-layers')
    """
    if system.start != "random" or isinstance(system.shape, MobileShape):
        return None
    if system.shape.hidden == SYSTEMS["BERT_BASE"].shape.hidden:
        return _started(system, "layers")
    return _started(system, "pca")


def _started(system: System, start: Literal["layers", "pca"]) -> System:
    name = f"{system.name}-{'PCA' if start == 'pca' else start}"
    if name in SYSTEMS:
        return SYSTEMS[name]
    how = "copies layers of its teacher" if start == "layers" else "has its teacher's main axes"
    what = f"Not of the paper: {system.name} that {how} at the start."
    return replace(system, name=name, start=start, paper=None, what=what)


def ablation_systems(name: Ablation, start: Literal["own", "teacher"] = "own") -> list[System]:
    """The systems of one ablation, the whole method first.

    With ``start="teacher"`` the whole method is TinyBERT_4 on its teacher's principal axes.

    ========== ==============================================================================
    losses     without the embedding, the attention, the hidden loss, both of the last two (the
               Transformer layers'), the prediction loss (labels take its place)
    stages     without general distillation (the student stays as it starts), without task
               distillation (labels alone), and where copies of the rows are given, without them
    mapping    uniform, top, bottom
    start      random, and the principal axes of the teacher; for the student of half the depth
               copied layers too
    ========== ==============================================================================
    """
    four, six = SYSTEMS["TinyBERT_4"], SYSTEMS["TinyBERT_6"]
    if start == "teacher" and name != "start":
        four = _started(four, "pca")
    if name == "mapping":
        return [four, *(_but(four, f"{kind} mapping", mapping=kind) for kind in ("top", "bottom"))]
    if name == "start":
        return [
            four,
            _started(four, "pca"),
            six,
            _started(six, "layers"),
            _started(six, "pca"),
        ]
    fine = FineTuning(source="the labels in place of the teacher's predictions")
    if name == "stages":
        task = tuple(step for step in four.steps if step.part == "task")
        corpus = tuple(step for step in four.steps if step.part == "corpus")
        return [
            four,
            _but(four, "without general distillation", steps=task),
            _but(four, "without task distillation", steps=(*corpus, fine)),
        ]
    return [
        four,
        _without(four, "embedding", lambda step: replace(step, embedding=0.0)),
        _without(four, "attention", _no_attention),
        _without(four, "hidden", lambda step: replace(step, hidden=0.0)),
        _without(four, "Transformer layers", lambda step: _no_attention(replace(step, hidden=0.0))),
        _but(
            four,
            "without prediction",
            steps=tuple(
                replace(fine, share=step.share)
                if isinstance(step, PredictionDistillation)
                else step
                for step in four.steps
            ),
        ),
    ]


def without_copies(system: System) -> System:
    """TinyBERT_4 on the task's own rows, where others have augmented ones too."""
    return _but(system, "without copies", augmented=False)


_States = GeneralDistillation | IntermediateDistillation


def _no_attention(step: _States) -> _States:
    return replace(step, attention=0.0, small_attention=0.0)


def _without(system: System, what: str, change: Callable[[_States], _States]) -> System:
    def changed(step: Step) -> Step:
        if isinstance(step, (GeneralDistillation, IntermediateDistillation)):
            return change(step)
        return step

    return _but(system, f"without {what}", steps=tuple(changed(step) for step in system.steps))


def _but(system: System, how: str, **changes: object) -> System:
    """``system`` with changes; the paper's figures are not of it."""
    told = {"name": f"{system.name} {how}", "paper": None, "whole": system}
    return replace(system, **(told | changes))  # type: ignore[arg-type]
