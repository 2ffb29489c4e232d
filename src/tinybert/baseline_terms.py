"""Terms of the methods beside TinyBERT: PKD, DistilBERT, MobileBERT, MiniLMv2; and the original
code's averages.

Each is a :class:`~tinybert.objectives.Term` as TinyBERT's own are: it says which taps it reads and
what its mean is taken over, and leaves the arithmetic to :mod:`tinybert.losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tinybert.losses import (
    Ratio,
    attention_distribution_loss,
    cosine_loss,
    divergence_loss,
    feature_map_loss,
    patience_loss,
    reference_attention_loss,
    reference_hidden_loss,
    regression_loss,
    relation_loss,
)
from tinybert.objectives import AttentionTerm, HiddenTerm, Seen, Term, Unit
from tinybert.taps import AttentionTap, TapRequest

__all__ = [
    "AttentionDistributionTerm",
    "CosineTerm",
    "DivergenceTerm",
    "FeatureMapTerm",
    "MaskedDivergenceTerm",
    "PatienceTerm",
    "ReferenceAttentionTerm",
    "ReferenceHiddenTerm",
    "RelationTerm",
]


@dataclass(frozen=True)
class DivergenceTerm(Term):
    """t² · KL(teacher ‖ student) of a row's classes (PKD, DistilBERT); regression: MSE."""

    temperature: float = 1.0
    regression: bool = False

    @property
    def name(self) -> str:
        return "divergence"

    def student_taps(self) -> TapRequest:
        return TapRequest(logits=True)

    teacher_taps = student_taps

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.logits is not None
        assert seen.teacher.logits is not None
        if self.regression:
            return regression_loss(seen.student.logits, seen.teacher.logits)
        return divergence_loss(seen.student.logits, seen.teacher.logits, self.temperature)


@dataclass(frozen=True)
class MaskedDivergenceTerm(Term):
    """t² · KL(teacher ‖ student) of the vocabulary at masked tokens (DistilBERT, MobileBERT).

    The DistilBERT authors' code compares all tokens by default, and masked ones by an option; the
    output head at all tokens would cost several times the rest of a small student.
    """

    temperature: float = 1.0
    unit: ClassVar[Unit] = "masked"

    @property
    def name(self) -> str:
        return "masked_divergence"

    def student_taps(self) -> TapRequest:
        return TapRequest(masked=True)

    teacher_taps = student_taps

    def __call__(self, seen: Seen) -> Ratio:
        assert seen.student.masked is not None
        assert seen.teacher.masked is not None
        return divergence_loss(seen.student.masked, seen.teacher.masked, self.temperature)


@dataclass(frozen=True)
class _LayerTerm(Term):
    """Compares student layer ``m`` with teacher layer ``n``."""

    m: int = 1
    n: int = 1
    called: ClassVar[str] = ""

    @property
    def name(self) -> str:
        return f"{self.called}.{self.m}"


@dataclass(frozen=True)
class _StatesTerm(_LayerTerm):
    """Reads hidden states, of equal width on both sides."""

    def student_taps(self) -> TapRequest:
        return TapRequest(hidden=frozenset({self.m}))

    def teacher_taps(self) -> TapRequest:
        return TapRequest(hidden=frozenset({self.n}))


@dataclass(frozen=True)
class PatienceTerm(_StatesTerm):
    """MSE of L2-normalised [CLS] states (PKD, section 3.2)."""

    called: ClassVar[str] = "patience"

    def __call__(self, seen: Seen) -> Ratio:
        return patience_loss(seen.student.hidden[self.m], seen.teacher.hidden[self.n])


@dataclass(frozen=True)
class CosineTerm(_StatesTerm):
    """1 - cosine of hidden states (DistilBERT, section 3: of the last layer)."""

    called: ClassVar[str] = "cosine"
    unit: ClassVar[Unit] = "tokens"

    def __call__(self, seen: Seen) -> Ratio:
        return cosine_loss(seen.student.hidden[self.m], seen.teacher.hidden[self.n], seen.mask)


@dataclass(frozen=True)
class FeatureMapTerm(_StatesTerm):
    """MSE of normalised feature maps (MobileBERT, section 3.5)."""

    called: ClassVar[str] = "feature_map"
    unit: ClassVar[Unit] = "tokens"

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = seen.student.hidden[self.m], seen.teacher.hidden[self.n]
        return feature_map_loss(student, teacher, seen.mask)


@dataclass(frozen=True)
class _AttentionTerm(_LayerTerm):
    """Reads what enters attention."""

    unit: ClassVar[Unit] = "tokens"

    def student_taps(self) -> TapRequest:
        return TapRequest(attention=frozenset({self.m}))

    def teacher_taps(self) -> TapRequest:
        return TapRequest(attention=frozenset({self.n}))

    def _taps(self, seen: Seen) -> tuple[AttentionTap, AttentionTap]:
        return seen.student.attention[self.m], seen.teacher.attention[self.n]


@dataclass(frozen=True)
class AttentionDistributionTerm(_AttentionTerm):
    """KL(teacher ‖ student) of attention probabilities (MobileBERT, section 3.5)."""

    called: ClassVar[str] = "attention_distribution"

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = self._taps(seen)
        return attention_distribution_loss(
            student.query,
            student.key,
            student.scaling,
            teacher.query,
            teacher.key,
            teacher.scaling,
            seen.mask,
        )


@dataclass(frozen=True)
class RelationTerm(_AttentionTerm):
    """KL of the relations among queries, keys or values (MiniLMv2, section 3.1)."""

    of: Literal["query", "key", "value"] = "query"
    relation_heads: int = 1

    @property
    def name(self) -> str:
        return f"{self.of}_relation.{self.m}"

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = self._taps(seen)
        return relation_loss(
            getattr(student, self.of), getattr(teacher, self.of), seen.mask, self.relation_heads
        )


@dataclass(frozen=True)
class ReferenceAttentionTerm(AttentionTerm):
    """Attention scores as the TinyBERT authors' code averages them: over padding too.

    Its value depends on how a batch is padded, so it is for comparison, not for training: a batch
    should be one micro-batch of one process.
    """

    def __call__(self, seen: Seen) -> Ratio:
        student, teacher = seen.student.attention[self.m], seen.teacher.attention[self.n]
        return reference_attention_loss(
            student.query,
            student.key,
            student.scaling,
            teacher.query,
            teacher.key,
            teacher.scaling,
            seen.mask,
        )


@dataclass(frozen=True)
class ReferenceHiddenTerm(HiddenTerm):
    """Hidden states as the TinyBERT authors' code averages them: over padding too."""

    def __call__(self, seen: Seen) -> Ratio:
        projected = seen.project(self.m, seen.student.hidden[self.m])
        return reference_hidden_loss(projected, seen.teacher.hidden[self.n])
