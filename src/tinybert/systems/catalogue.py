"""The eleven systems of TinyBERT's result table (arXiv 1909.10351, table 1), and two more.

Sizes and scores beside them are the paper's: parameters, FLOPs of one sequence of 128 tokens,
speed-up over BERT_BASE, and GLUE test scores. What a step's numbers are taken from stands in its
``source``; where its authors give a grid, the value here is one of it and the grid is told.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tinybert.errors import TinybertError
from tinybert.students.shapes import Shape
from tinybert.systems.steps import (
    FineTuning,
    GeneralDistillation,
    IntermediateDistillation,
    MaskedDistillation,
    MaskedLanguageModelling,
    PatientDistillation,
    PredictionDistillation,
    ProgressiveTransfer,
    RelationTransfer,
    SoftLabels,
    Step,
    TripleLoss,
    check_shares,
)

__all__ = ["SYSTEMS", "MobileShape", "PaperFigures", "Start", "System", "find_system"]

Start = Literal["teacher", "random", "layers", "first", "pca"]
"""``layers``: those of the uniform mapping, copied; ``first``: the lowest ones, copied."""


@dataclass(frozen=True)
class MobileShape:
    """A MobileBERT: as many layers as its teacher, each thin between wide ends.

    Attributes:
        layers: number of them.
        hidden: width between layers, the teacher's.
        bottleneck: width within a layer.
        intermediate: width of each feed-forward network.
        networks: feed-forward networks a layer.
        heads: attention heads.
    """

    layers: int
    hidden: int
    bottleneck: int
    intermediate: int
    networks: int
    heads: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.hidden}/{self.bottleneck}x{self.networks}x{self.heads}"


@dataclass(frozen=True)
class PaperFigures:
    """What the paper says of a system.

    Attributes:
        parameters: number of them.
        flops: of one sequence of 128 tokens.
        speedup: over BERT_BASE; None where it gives none.
        scores: task → GLUE test score; average of those it gives as ``average``.
    """

    parameters: float
    flops: float
    speedup: float | None
    scores: Mapping[str, float] = field(default_factory=dict)


_COLUMNS = (
    *("mnli", "mnli-mm", "qqp", "qnli", "sst-2", "cola", "sts-b", "mrpc", "rte", "average"),
)


def _paper(
    parameters: float, flops: float, speedup: float | None, *scores: float | None
) -> PaperFigures:
    """In millions and in billions; scores in the paper's order of columns."""
    named = {n: s for n, s in zip(_COLUMNS, scores, strict=True) if s is not None}
    return PaperFigures(parameters * 1e6, flops * 1e9, speedup, named)


@dataclass(frozen=True)
class System:
    """A student, how it starts, and the stages that make it.

    Attributes:
        name: as typed and in tables.
        shape: at the paper's scale.
        start: what its weights start from.
        steps: on the corpus, then on the task.
        what: one sentence.
        source: of the method.
        paper: the paper's figures; None for systems that are not of its table.
        note: what differs here from its source.
        mapping: g(m), which teacher layer a student layer learns from.
        augmented: whether its source trains it on augmented rows too.
        whole: of an ablation the method that it leaves something out of: where both have as many
            stages, these take as many optimiser steps, however much cheaper they became.
    """

    name: str
    shape: Shape | MobileShape
    start: Start
    steps: tuple[Step, ...]
    what: str
    source: str
    paper: PaperFigures | None = None
    note: str = ""
    mapping: str = "uniform"
    augmented: bool = False
    whole: System | None = None

    def __post_init__(self) -> None:
        check_shares(self.steps)

    @property
    def corpus_steps(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.part == "corpus")

    @property
    def task_steps(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.part == "task")

    @property
    def is_teacher(self) -> bool:
        return self.start == "teacher"

    @property
    def needs_output_head(self) -> bool:
        """Whether its teacher has to guess masked tokens."""
        return any(step.masked and step.reads_teacher for step in self.steps)


_BASE = Shape(12, 768, 3072, 12)
_TINY = Shape(4, 312, 1200, 12)
_FOUR, _SIX = Shape(4, 768, 3072, 12), Shape(6, 768, 3072, 12)

_BERT = "BERT, arXiv 1810.04805, appendix A.2 (batch 256, 1,000,000 steps, learning rate 1e-4)"
_READ_FINE = "TinyBERT, section 4.2 (batch 16 or 32; learning rate 1e-5, 2e-5 or 3e-5)"
_TURC = "Turc et al., arXiv 1908.08962, and its released models (learning rates 3e-5 to 3e-4)"
_PKD = "PKD, arXiv 1908.09355, section 4 (alpha 0.2 to 0.7, temperature 5 to 20, beta 10 to 1000)"
_DISTILBERT = "DistilBERT, arXiv 1910.01108, section 3, and its training code (5.0, 2.0, 1.0; T 2)"
_MOBILEBERT = "MobileBERT, arXiv 2004.02984, sections 3.5 and 4.2"
_TINYBERT = "TinyBERT, arXiv 1909.10351, sections 3.2 and 4.2"
_MINILM = "MiniLMv2, arXiv 2012.15828, sections 3 and 4.1"

_GENERAL = GeneralDistillation(epochs=3.0, source=_TINYBERT)
_TASK = (
    IntermediateDistillation(share=0.7, source=_TINYBERT),
    PredictionDistillation(share=0.3, source=_TINYBERT),
)
_PRETRAINING = MaskedLanguageModelling(steps=1_000_000, source=_BERT)
_FINE = FineTuning(source=_READ_FINE)
_TRIPLE = TripleLoss(epochs=3.0, source=_DISTILBERT)
_PATIENT = PatientDistillation(source=_PKD)

_ALL = (
    System(
        name="BERT_BASE",
        shape=_BASE,
        start="teacher",
        steps=(_FINE,),
        what="The teacher: the pre-trained encoder, fine-tuned on the labels.",
        source=_BERT,
        paper=_paper(109, 22.5, 1.0, 83.9, 83.4, 71.1, 90.9, 93.4, 52.8, 85.2, 87.5, 67.0, 79.5),
    ),
    System(
        name="BERT_TINY",
        shape=_TINY,
        start="random",
        steps=(_PRETRAINING, _FINE),
        what="TinyBERT_4's shape, pre-trained on masked tokens and fine-tuned: no teacher.",
        source=_TURC,
        paper=_paper(14.5, 1.2, 9.4, 75.4, 74.9, 66.5, 84.8, 87.6, 19.5, 77.1, 83.2, 62.6, 70.2),
    ),
    System(
        name="BERT_SMALL",
        shape=Shape(4, 512, 2048, 8),
        start="random",
        steps=(_PRETRAINING, _FINE),
        what="Four layers of width 512, pre-trained on masked tokens and fine-tuned: no teacher.",
        source=_TURC,
        paper=_paper(29.2, 3.4, 5.7, 77.6, 77.0, 68.1, 86.4, 89.7, 27.8, 77.0, 83.4, 61.8, 72.1),
    ),
    System(
        name="BERT_4-PKD",
        shape=_FOUR,
        start="first",
        steps=(_PATIENT,),
        what="The teacher's lowest layers, trained on labels, its distribution and [CLS] states.",
        source=_PKD,
        paper=_paper(52.2, 7.6, 3.0, 79.9, 79.3, 70.2, 85.1, 89.4, 24.8, 79.8, 82.6, 62.3, 72.6),
    ),
    System(
        name="DistilBERT_4",
        shape=_FOUR,
        start="layers",
        steps=(_TRIPLE, _FINE),
        what="Layers of the teacher, pre-trained on the triple loss and fine-tuned.",
        source=_DISTILBERT,
        paper=_paper(52.2, 7.6, 3.0, 78.9, 78.0, 68.5, 85.2, 91.4, 32.8, 76.1, 82.4, 54.1, 71.9),
        note="The distribution is compared at masked tokens, not at all.",
    ),
    System(
        name="MobileBERT_TINY",
        shape=MobileShape(24, 512, 128, 512, 2, 4),
        start="random",
        steps=(
            ProgressiveTransfer(steps=240_000, share=0.5, source=_MOBILEBERT),
            MaskedDistillation(steps=500_000, share=0.5, source=_MOBILEBERT),
            _FINE,
        ),
        what="As deep as its teacher, with bottlenecks: learns it layer by layer, then its guesses "
        "of masked tokens, and is fine-tuned.",
        source=_MOBILEBERT,
        paper=_paper(15.1, 3.1, None, 81.5, 81.6, 68.9, 89.5, 91.7, 46.7, 80.1, 87.9, 65.1, 77.0),
        note="Its authors' teacher is a BERT of 24 layers with inverted bottlenecks, which is not "
        "published: here it is the teacher of all other systems, and the student has its depth, "
        "width and heads.",
    ),
    System(
        name="TinyBERT_4",
        shape=_TINY,
        start="random",
        steps=(_GENERAL, *_TASK),
        augmented=True,
        what="General distillation, then task distillation of states and of predictions.",
        source=_TINYBERT,
        paper=_paper(14.5, 1.2, 9.4, 82.5, 81.8, 71.3, 87.7, 92.6, 44.1, 80.4, 86.4, 66.6, 77.0),
    ),
    System(
        name="BERT_6-PKD",
        shape=_SIX,
        start="first",
        steps=(_PATIENT,),
        what="The teacher's lowest layers, trained on labels, its distribution and [CLS] states.",
        source=_PKD,
        paper=_paper(67.0, 11.3, 2.0, 81.5, 81.0, 70.7, 89.0, 92.0, None, None, 85.0, 65.5, None),
    ),
    System(
        name="PD",
        shape=_SIX,
        start="random",
        steps=(_PRETRAINING, SoftLabels(source=_TURC)),
        what="Pre-trained on masked tokens, then taught by the teacher's outputs alone.",
        source=_TURC,
        paper=_paper(67.0, 11.3, 2.0, 82.8, 82.2, 70.4, 88.9, 91.8, None, None, 86.8, 65.3, None),
    ),
    System(
        name="DistilBERT_6",
        shape=_SIX,
        start="layers",
        steps=(_TRIPLE, _FINE),
        what="Layers of the teacher, pre-trained on the triple loss and fine-tuned.",
        source=_DISTILBERT,
        paper=_paper(67.0, 11.3, 2.0, 82.6, 81.3, 70.1, 88.9, 92.5, 49.0, 81.3, 86.9, 58.4, 76.8),
        note="The distribution is compared at masked tokens, not at all.",
    ),
    System(
        name="TinyBERT_6",
        shape=_SIX,
        start="random",
        steps=(_GENERAL, *_TASK),
        augmented=True,
        what="General distillation, then task distillation of states and of predictions.",
        source=_TINYBERT,
        paper=_paper(67.0, 11.3, 2.0, 84.6, 83.2, 71.6, 90.4, 93.1, 51.1, 83.7, 87.3, 70.0, 79.4),
    ),
    System(
        name="MiniLMv2_4",
        shape=_TINY,
        start="random",
        steps=(RelationTransfer(steps=400_000, source=_MINILM), _FINE),
        what="Not of the paper: relations among queries, keys and values of the last layer, then "
        "fine-tuned.",
        source=_MINILM,
        note="Relation heads are as many as divide both widths; the authors take 48.",
    ),
    System(
        name="TinyBERT_4-PCA",
        shape=_TINY,
        start="pca",
        steps=(_GENERAL, *_TASK),
        augmented=True,
        what="Not of the paper: TinyBERT_4 that starts on its teacher's principal axes.",
        source="this package: tinybert.students.pca",
    ),
)

SYSTEMS: Mapping[str, System] = {system.name: system for system in _ALL}
"""Name → system, in the order of the paper's table."""


def find_system(name: str) -> System:
    """The system that ``name`` means; case and punctuation do not matter.

    >>> find_system("tinybert4").name
    'TinyBERT_4'

    Raises:
        TinybertError: there is none of that name.
    """
    plain = {_plain(known): system for known, system in SYSTEMS.items()}
    found = plain.get(_plain(name))
    if found is None:
        near = difflib.get_close_matches(_plain(name), plain, n=1)
        hint = f"did you mean {plain[near[0]].name}?" if near else f"choose {', '.join(SYSTEMS)}."
        raise TinybertError(f"there is no system {name}: {hint}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"\W|_", "", name.casefold())
