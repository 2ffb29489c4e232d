"""The stages that systems are made of, as data: what is minimised, and by which hyper-parameters.

A step says what its source says (epochs or steps, batch, learning rate), and what it takes of a
fixed amount of arithmetic when systems are compared at small scale. It knows no rows, no model and
no schedule's clock: :mod:`tinybert.jobs.reproduce` makes stages of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from tinybert.baseline_terms import (
    AttentionDistributionTerm,
    CosineTerm,
    DivergenceTerm,
    FeatureMapTerm,
    MaskedDivergenceTerm,
    PatienceTerm,
    RelationTerm,
)
from tinybert.errors import TinybertError
from tinybert.objectives import (
    LabelTerm,
    MaskedTokenTerm,
    Objective,
    Term,
    intermediate_objective,
    label_objective,
    mlm_objective,
    prediction_objective,
)

__all__ = [
    "FineTuning",
    "GeneralDistillation",
    "Given",
    "IntermediateDistillation",
    "MaskedDistillation",
    "MaskedLanguageModelling",
    "PatientDistillation",
    "PredictionDistillation",
    "ProgressiveTransfer",
    "RelationTransfer",
    "SoftLabels",
    "Step",
    "TripleLoss",
    "check_shares",
]


@dataclass(frozen=True)
class Given:
    """What an objective depends on besides its step.

    Attributes:
        mapping: g(1) … g(M), teacher layers counted from 1.
        teacher_layers: N.
        regression: whether the task's label is a value.
        relation_heads: of relation distillation.
    """

    mapping: Sequence[int]
    teacher_layers: int
    regression: bool = False
    relation_heads: int = 1

    @property
    def layers(self) -> int:
        """M, the student's layers."""
        return len(self.mapping)


@dataclass(frozen=True)
class Step:
    """One stage of a system; subclasses say what is minimised.

    Attributes:
        epochs: passes over its rows, where its source says so.
        steps: optimiser steps, where its source says that instead.
        batch_size: rows an optimiser step.
        learning_rate: the peak.
        small_batch_size, small_learning_rate: at small scale, where a thousand steps are many.
        share: of the arithmetic that a system has for its corpus or its task, at small scale.
        source: of the numbers.
    """

    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 5e-5
    small_batch_size: int = 32
    small_learning_rate: float = 3e-4
    share: float = 1.0
    source: str = ""
    name: ClassVar[str] = ""
    part: ClassVar[Literal["corpus", "task"]] = "task"
    masked: ClassVar[bool] = False
    """Whether its rows have masked tokens, and the student an output head for them."""

    def objectives(self, given: Given) -> list[Objective]:
        """What is minimised; several are stages one after the other, one for each layer."""
        raise NotImplementedError

    @property
    def reads_teacher(self) -> bool:
        """Whether anything of the teacher is compared."""
        return True

    def weights(self) -> dict[str, Any]:
        """The hyper-parameters of its own, for people."""
        common = {field.name for field in fields(Step)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in common}


# --- on a corpus ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskedLanguageModelling(Step):
    """Masked tokens as targets: BERT's pre-training, without its next-sentence task."""

    batch_size: int = 256
    learning_rate: float = 1e-4
    small_batch_size: int = 64
    small_learning_rate: float = 6e-4
    name: ClassVar[str] = "masked-lm"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"
    masked: ClassVar[bool] = True

    def objectives(self, given: Given) -> list[Objective]:
        return [mlm_objective()]

    @property
    def reads_teacher(self) -> bool:
        return False


@dataclass(frozen=True)
class GeneralDistillation(Step):
    """TinyBERT's first stage: states of the pre-trained teacher on raw text (section 3.2)."""

    attention: float = 1.0
    hidden: float = 1.0
    embedding: float = 1.0
    small_attention: float = 0.1
    """λ of attention at small scale: with 1 its gradient outweighs that of all other terms."""
    batch_size: int = 256
    learning_rate: float = 1e-4
    small_batch_size: int = 64
    small_learning_rate: float = 6e-4
    name: ClassVar[str] = "general"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"

    def objectives(self, given: Given) -> list[Objective]:
        return [
            intermediate_objective(
                given.mapping,
                attention=self.attention,
                hidden=self.hidden,
                embedding=self.embedding,
            )
        ]


@dataclass(frozen=True)
class TripleLoss(Step):
    """DistilBERT's pre-training: the teacher's distribution, masked tokens, cosine of last states.

    The distribution is compared at masked tokens (the authors' code: at all, or by an option at
    masked ones).
    """

    divergence: float = 5.0
    masked_lm: float = 2.0
    cosine: float = 1.0
    temperature: float = 2.0
    batch_size: int = 4000
    learning_rate: float = 5e-4
    small_batch_size: int = 64
    small_learning_rate: float = 6e-4
    name: ClassVar[str] = "triple-loss"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"
    masked: ClassVar[bool] = True

    def objectives(self, given: Given) -> list[Objective]:
        terms: tuple[Term, ...] = (
            MaskedDivergenceTerm(self.divergence, self.temperature),
            MaskedTokenTerm(self.masked_lm),
            CosineTerm(self.cosine, given.layers, given.teacher_layers),
        )
        return [Objective(terms)]


@dataclass(frozen=True)
class ProgressiveTransfer(Step):
    """MobileBERT's knowledge transfer: one layer after the other, those below frozen."""

    feature_map: float = 1.0
    attention: float = 1.0
    batch_size: int = 2048
    learning_rate: float = 1e-3
    small_batch_size: int = 64
    small_learning_rate: float = 1e-3
    name: ClassVar[str] = "transfer"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"

    def objectives(self, given: Given) -> list[Objective]:
        return [
            Objective(
                (
                    FeatureMapTerm(self.feature_map, m, n),
                    AttentionDistributionTerm(self.attention, m, n),
                )
            )
            for m, n in enumerate(given.mapping, 1)
        ]


@dataclass(frozen=True)
class MaskedDistillation(Step):
    """MobileBERT's pre-training distillation: α masked tokens + (1 - α) the teacher's distribution
    (section 3.5)."""

    alpha: float = 0.5
    batch_size: int = 2048
    learning_rate: float = 1e-3
    small_batch_size: int = 64
    small_learning_rate: float = 6e-4
    name: ClassVar[str] = "masked-distillation"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"
    masked: ClassVar[bool] = True

    def objectives(self, given: Given) -> list[Objective]:
        terms = (MaskedTokenTerm(self.alpha), MaskedDivergenceTerm(1 - self.alpha))
        return [Objective(terms)]


@dataclass(frozen=True)
class RelationTransfer(Step):
    """MiniLMv2's relations among queries, among keys and among values of one layer.

    Its last layer learns from the teacher's last (BERT_BASE and its size: section 4.1).
    """

    query: float = 1.0
    key: float = 1.0
    value: float = 1.0
    relation_heads: int = 48
    batch_size: int = 256
    learning_rate: float = 6e-4
    small_batch_size: int = 64
    small_learning_rate: float = 6e-4
    name: ClassVar[str] = "relations"
    part: ClassVar[Literal["corpus", "task"]] = "corpus"

    def objectives(self, given: Given) -> list[Objective]:
        m, n, heads = given.layers, given.teacher_layers, given.relation_heads
        terms = (
            RelationTerm(self.query, m, n, "query", heads),
            RelationTerm(self.key, m, n, "key", heads),
            RelationTerm(self.value, m, n, "value", heads),
        )
        return [Objective(terms)]


# --- on a task ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FineTuning(Step):
    """The task's labels as targets."""

    epochs: float | None = 3.0
    learning_rate: float = 3e-5
    name: ClassVar[str] = "labels"

    def objectives(self, given: Given) -> list[Objective]:
        return [label_objective(given.regression)]

    @property
    def reads_teacher(self) -> bool:
        return False


@dataclass(frozen=True)
class PatientDistillation(Step):
    """PKD: labels, the teacher's distribution, and [CLS] states of every k-th layer ("skip")."""

    alpha: float = 0.7
    beta: float = 100.0
    temperature: float = 10.0
    epochs: float | None = 4.0
    learning_rate: float = 5e-5
    name: ClassVar[str] = "patience"

    def objectives(self, given: Given) -> list[Objective]:
        terms: list[Term] = [
            LabelTerm(1 - self.alpha, given.regression),
            DivergenceTerm(self.alpha, self.temperature, given.regression),
        ]
        # The last layer is left out: its [CLS] state is what the prediction is made of.
        pairs = list(enumerate(given.mapping, 1))[:-1]
        terms += [PatienceTerm(self.beta / len(pairs), m, n) for m, n in pairs]
        return [Objective(tuple(terms))]


@dataclass(frozen=True)
class SoftLabels(Step):
    """The teacher's distribution alone, on a transfer set without labels (PD)."""

    epochs: float | None = 4.0
    learning_rate: float = 1e-4
    name: ClassVar[str] = "soft-labels"

    def objectives(self, given: Given) -> list[Objective]:
        return [prediction_objective(1.0, given.regression)]


@dataclass(frozen=True)
class IntermediateDistillation(Step):
    """TinyBERT's task stage on embeddings, attention scores and states (section 3.2)."""

    attention: float = 1.0
    hidden: float = 1.0
    embedding: float = 1.0
    small_attention: float = 0.1
    epochs: float | None = 20.0
    learning_rate: float = 5e-5
    small_learning_rate: float = 5e-4
    name: ClassVar[str] = "intermediate"

    def objectives(self, given: Given) -> list[Objective]:
        return [
            intermediate_objective(
                given.mapping,
                attention=self.attention,
                hidden=self.hidden,
                embedding=self.embedding,
            )
        ]


@dataclass(frozen=True)
class PredictionDistillation(Step):
    """TinyBERT's task stage on the teacher's outputs (section 3.2)."""

    temperature: float = 1.0
    epochs: float | None = 3.0
    learning_rate: float = 3e-5
    name: ClassVar[str] = "prediction"

    def objectives(self, given: Given) -> list[Objective]:
        return [prediction_objective(self.temperature, given.regression)]


def check_shares(steps: Sequence[Step]) -> None:
    """Refuse steps whose shares of a part's arithmetic are not all of it."""
    for part in ("corpus", "task"):
        shares = [step.share for step in steps if step.part == part]
        if shares and abs(sum(shares) - 1) > 1e-9:
            raise TinybertError(f"the {part}'s steps share {sum(shares):g} of its arithmetic.")
