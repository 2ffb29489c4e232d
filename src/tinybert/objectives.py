"""Objectives: what a stage minimises, a weighted sum of named terms.

TinyBERT's total (section 3.1, equation 11) is Σ λ_m · L_layer(S_m, T_g(m)) over the embedding layer
(m = 0), the Transformer layers (attention and hidden loss) and the prediction layer. Each summand
is one :class:`Term`: it says which taps of student and teacher it reads, what its mean is taken
over, and how it is computed from the losses in :mod:`tinybert.losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses import (
    Ratio,
    attention_loss,
    embedding_loss,
    hidden_loss,
    label_loss,
    masked_loss,
    regression_loss,
    set_cross_entropy,
    set_label_loss,
    soft_cross_entropy,
    span_cross_entropy,
    span_label_loss,
    window_attention_loss,
)
from tinybert.projections import Projections
from tinybert.taps import AttentionTap, TapRequest, Taps
from tinybert.task_heads import Answering

__all__ = [
    "AttentionTerm",
    "AttentionTransfer",
    "EmbeddingTerm",
    "HiddenTerm",
    "LabelTerm",
    "MaskedTokenTerm",
    "Objective",
    "PredictionTerm",
    "Seen",
    "SetLabelTerm",
    "SetPredictionTerm",
    "SpanLabelTerm",
    "SpanPredictionTerm",
    "Term",
    "TokenLabelTerm",
    "TokenPredictionTerm",
    "head_by_head",
    "intermediate_objective",
    "label_objective",
    "mlm_objective",
    "prediction_objective",
]

Unit = Literal["rows", "tokens", "pairs", "masked", "asked"]
"""What a term's mean is taken over: rows, real tokens, pairs of real tokens of one row, masked
tokens, or tokens that the task is answered at."""

Weight = float | Sequence[float] | Mapping[int, float]
"""One weight for all student layers, a list (one a layer), or {student layer: weight}."""


@dataclass
class Seen:
    """All that a term may look at: one micro-batch of taps, the mask and the labels."""

    student: Taps
    teacher: Taps
    mask: Tensor  # (batch, length), 1 = real token
    projections: Projections | None
    labels: Tensor | None = None
    crossover: int | None = None  # length from which attention loss takes the linear form
    low_precision: bool = False  # whether the student computes in bfloat16
    masked_labels: Tensor | None = None  # (batch, length), -100 where nothing is masked
    asked: Tensor | None = None  # (batch, length) bool, tokens that the task is answered at
    task: int | None = None  # of several tasks the number of that which all rows are of

    def project(self, m: int, states: Tensor) -> Tensor:
        """Student states in the teacher's space: a layer of the student's, in its precision.

        The result, from which the teacher's states are taken off, is float32 again.
        """
        assert self.projections is not None
        if not self.low_precision:
            return self.projections.project(m, states)
        with torch.autocast(states.device.type, dtype=torch.bfloat16):
            return self.projections.project(m, states).float()


@dataclass(frozen=True)
class Term:
    """One summand of an objective; subclasses say what it reads and how it is computed."""

    weight: float
    unit: ClassVar[Unit] = "rows"
    projects: ClassVar[bool] = False  # whether it reads states through the projections

    @property
    def name(self) -> str:
        """Name in the log, ``kind`` or ``kind.student_layer``."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        return self.name.split(".")[0]

    @property
    def counted(self) -> str:
        """Its unit among the counts of a batch: :func:`tinybert.distiller.count_units`."""
        return self.unit

    def student_taps(self) -> TapRequest:
        return TapRequest()

    def teacher_taps(self) -> TapRequest:
        return TapRequest()

    def __call__(self, seen: Seen) -> Ratio:
        raise NotImplementedError


@dataclass(frozen=True)
class EmbeddingTerm(Term):
    """MSE(E_S W_e, E_T): embedding outputs (TinyBERT, equation 9)."""

    unit: ClassVar[Unit] = "tokens"
    projects: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "embedding"

    def student_taps(self) -> TapRequest:
        return TapRequest(embedding=True)

    teacher_taps = student_taps

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.embedding is not None
        assert seen.teacher.embedding is not None
        projected = seen.project(0, seen.student.embedding)
        return embedding_loss(projected, seen.teacher.embedding, seen.mask)


@dataclass(frozen=True)
class HiddenTerm(Term):
    """MSE(H_S W_h, H_T) of student layer ``m`` and teacher layer ``n`` (TinyBERT, equation 8)."""

    m: int = 1
    n: int = 1
    unit: ClassVar[Unit] = "tokens"
    projects: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"hidden.{self.m}"

    def student_taps(self) -> TapRequest:
        return TapRequest(hidden=frozenset({self.m}))

    def teacher_taps(self) -> TapRequest:
        return TapRequest(hidden=frozenset({self.n}))

    def __call__(self, seen: Seen) -> Ratio:
        projected = seen.project(self.m, seen.student.hidden[self.m])
        return hidden_loss(projected, seen.teacher.hidden[self.n], seen.mask)


@dataclass(frozen=True)
class AttentionTerm(Term):
    """MSE of attention scores before softmax, student layer ``m``, teacher ``n`` (equation 7).

    With a ``window`` over pairs of tokens at most so far apart: others the layer never looks at.
    """

    m: int = 1
    n: int = 1
    window: int | None = None
    unit: ClassVar[Unit] = "pairs"

    @property
    def counted(self) -> str:
        return self.unit if self.window is None else f"{self.unit}@{self.window}"

    @property
    def name(self) -> str:
        return f"attention.{self.m}"

    def student_taps(self) -> TapRequest:
        return TapRequest(attention=frozenset({self.m}))

    def teacher_taps(self) -> TapRequest:
        return TapRequest(attention=frozenset({self.n}))

    def read(self, tap: AttentionTap) -> AttentionTap:
        """What of a layer's attention is compared, on both sides alike."""
        return tap

    def __call__(self, seen: Seen) -> Ratio:
        student = self.read(seen.student.attention[self.m])
        teacher = self.read(seen.teacher.attention[self.n])
        chosen: dict[str, Any] = {} if seen.crossover is None else {"crossover": seen.crossover}
        inputs = (
            student.query,
            student.key,
            student.scaling,
            teacher.query,
            teacher.key,
            teacher.scaling,
            seen.mask,
        )
        if self.window is not None:
            return window_attention_loss(*inputs, self.window, **chosen)
        return attention_loss(*inputs, **chosen)


@dataclass(frozen=True)
class PredictionTerm(Term):
    """Soft cross-entropy with temperature (equation 10); regression: MSE to the teacher's."""

    temperature: float = 1.0
    regression: bool = False

    @property
    def name(self) -> str:
        return "prediction"

    def student_taps(self) -> TapRequest:
        return TapRequest(logits=True)

    teacher_taps = student_taps

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = seen.student.logits, seen.teacher.logits
        assert student is not None
        assert teacher is not None
        if self.regression:
            return regression_loss(student, teacher)
        return soft_cross_entropy(student, teacher, self.temperature)


@dataclass(frozen=True)
class LabelTerm(Term):
    """Cross-entropy (or MSE if regression) against the labels: plain fine-tuning."""

    regression: bool = False

    @property
    def name(self) -> str:
        return "labels"

    def student_taps(self) -> TapRequest:
        return TapRequest(logits=True)

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.logits is not None
        if seen.labels is None:
            raise TinybertError("training on labels needs labels, and these rows have none.")
        return label_loss(seen.student.logits, seen.labels, self.regression)


def _at_asked(seen: Seen, values: Tensor | None) -> Tensor:
    """What (batch, length, …) holds at the tokens that the task is answered at, row by row."""
    assert values is not None
    if seen.asked is None:
        raise TinybertError("this objective is for rows that are answered token by token.")
    return values[seen.asked]


@dataclass(frozen=True)
class TokenPredictionTerm(PredictionTerm):
    """Soft cross-entropy at the labelled token of every word: its mean over these tokens.

    The other pieces of a word and special tokens are left out: the teacher never learned what to
    say there, and nobody asks.
    """

    unit: ClassVar[Unit] = "asked"

    def __call__(self, seen: Seen) -> Ratio:
        student = _at_asked(seen, seen.student.logits)
        return soft_cross_entropy(student, _at_asked(seen, seen.teacher.logits), self.temperature)


@dataclass(frozen=True)
class TokenLabelTerm(LabelTerm):
    """Cross-entropy at the labelled token of every word: its mean over these tokens."""

    unit: ClassVar[Unit] = "asked"

    def __call__(self, seen: Seen) -> Ratio:
        return label_loss(_at_asked(seen, seen.student.logits), _at_asked(seen, seen.labels), False)


@dataclass(frozen=True)
class SetPredictionTerm(PredictionTerm):
    """Soft binary cross-entropy of every label, its mean over labels; over rows."""

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = seen.student.logits, seen.teacher.logits
        assert student is not None
        assert teacher is not None
        return set_cross_entropy(student, teacher, self.temperature)


@dataclass(frozen=True)
class SetLabelTerm(LabelTerm):
    """Binary cross-entropy of every label, its mean over labels; over rows."""

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.logits is not None
        if seen.labels is None:
            raise TinybertError("training on labels needs labels, and these rows have none.")
        return set_label_loss(seen.student.logits, seen.labels)


@dataclass(frozen=True)
class SpanPredictionTerm(PredictionTerm):
    """Soft cross-entropy of where an answer starts and of where it ends, their mean; over rows."""

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = seen.student.logits, seen.teacher.logits
        assert student is not None
        assert teacher is not None
        assert seen.asked is not None
        return span_cross_entropy(student, teacher, seen.asked, self.temperature)


@dataclass(frozen=True)
class SpanLabelTerm(LabelTerm):
    """Cross-entropy of the answer's start and end among its passage's tokens; over rows."""

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.logits is not None
        assert seen.labels is not None
        assert seen.asked is not None
        return span_label_loss(seen.student.logits, seen.labels, seen.asked)


@dataclass(frozen=True)
class MaskedTokenTerm(Term):
    """Cross-entropy of the masked tokens (BERT, section 3.1): a masked language model."""

    unit: ClassVar[Unit] = "masked"

    @property
    def name(self) -> str:
        return "mlm"

    def student_taps(self) -> TapRequest:
        return TapRequest(masked=True)

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.masked is not None
        assert seen.masked_labels is not None
        return masked_loss(seen.student.masked, seen.masked_labels)


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; terms of weight 0 are left out and cost nothing."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(t for t in self.terms if t.weight != 0))
        if not self.terms:
            raise TinybertError("every term has weight 0: give at least one term a weight.")
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise ValueError(f"terms named twice: {names}")

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    @property
    def student_taps(self) -> TapRequest:
        request = TapRequest()
        for term in self.terms:
            request |= term.student_taps()
        return request

    @property
    def teacher_taps(self) -> TapRequest:
        request = TapRequest()
        for term in self.terms:
            request |= term.teacher_taps()
        return request

    @property
    def windows(self) -> tuple[int, ...]:
        """Windows within which pairs are to be counted."""
        found: set[int | None] = {getattr(term, "window", None) for term in self.terms}
        return tuple(sorted(window for window in found if window is not None))

    @property
    def needs_labels(self) -> bool:
        return any(isinstance(term, LabelTerm) for term in self.terms)

    @property
    def needs_projections(self) -> bool:
        return any(term.projects for term in self.terms)

    def described(self) -> list[dict[str, Any]]:
        """Terms as plain data, for the run's record."""
        return [{"term": term.name, **asdict(term)} for term in self.terms]


def _per_layer(weight: Weight, layers: int, name: str) -> list[float]:
    if isinstance(weight, (int, float)):
        return [float(weight)] * layers
    if isinstance(weight, Mapping):
        if outside := [m for m in weight if not 1 <= int(m) <= layers]:
            raise TinybertError(
                f"{name} weights name student layers {outside}, but the student has 1 … {layers}."
            )
        return [float(weight.get(m, 0.0)) for m in range(1, layers + 1)]
    if len(weight) != layers:
        raise TinybertError(
            f"{name} has {len(weight)} weights for a student of {layers} layers: give one number "
            "for all or one a layer."
        )
    return [float(w) for w in weight]


AttentionTransfer = Callable[[float, int, int], Sequence[Term]]
"""The attention terms of weight λ between student layer m and teacher layer n."""


def head_by_head(weight: float, m: int, n: int) -> Sequence[Term]:
    """TinyBERT's own: scores before softmax, each head with its twin."""
    return [AttentionTerm(weight, m, n)]


def intermediate_objective(
    mapping: Sequence[int],
    *,
    attention: Weight = 1.0,
    hidden: Weight = 1.0,
    embedding: float = 1.0,
    transfer: AttentionTransfer = head_by_head,
) -> Objective:
    """Embedding, attention and hidden terms under the layer mapping g (general and task stages).

    Args:
        mapping: g(1) … g(M), teacher layers counted from 1.
        attention, hidden: λ for all layers, one a layer, or {student layer: λ}. The paper's is 1.
        embedding: λ_0 of the embedding term.
        transfer: how attention is compared (:mod:`tinybert.attention_transfer` has others).
    """
    layers = len(mapping)
    terms: list[Term] = [EmbeddingTerm(embedding)]
    weights = zip(
        mapping,
        _per_layer(attention, layers, "attention"),
        _per_layer(hidden, layers, "hidden"),
        strict=True,
    )
    for m, (n, attention_weight, hidden_weight) in enumerate(weights, 1):
        terms.extend(transfer(attention_weight, m, n))
        terms.append(HiddenTerm(hidden_weight, m, n))
    return Objective(tuple(terms))


_PREDICTION: Mapping[Answering, type[PredictionTerm]] = {
    "rows": PredictionTerm,
    "sets": SetPredictionTerm,
    "tokens": TokenPredictionTerm,
    "spans": SpanPredictionTerm,
}
_LABELS: Mapping[Answering, type[LabelTerm]] = {
    "rows": LabelTerm,
    "sets": SetLabelTerm,
    "tokens": TokenLabelTerm,
    "spans": SpanLabelTerm,
}


def prediction_objective(
    temperature: float = 1.0,
    regression: bool = False,
    weight: float = 1.0,
    answering: Answering = "rows",
) -> Objective:
    """The teacher's outputs as targets (prediction-layer distillation)."""
    return Objective((_PREDICTION[answering](weight, temperature, regression),))


def label_objective(
    regression: bool = False, weight: float = 1.0, answering: Answering = "rows"
) -> Objective:
    """The labels as targets: plain fine-tuning, a stage without a teacher."""
    return Objective((_LABELS[answering](weight, regression),))


def mlm_objective(weight: float = 1.0) -> Objective:
    """The masked tokens as targets: a stage without a teacher, on masked rows."""
    return Objective((MaskedTokenTerm(weight),))
