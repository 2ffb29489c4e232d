"""The shape and the configuration of a system for the teacher at hand.

With a teacher of BERT_BASE's shape a system has the paper's own. With another one a system of four
layers has a third of its depth and one of six layers half; a width below BERT_BASE's keeps its
ratio to the teacher's as far as heads of 16 allow, and heads are as many as the teacher's, so that
attention can be compared head with head.
"""

from __future__ import annotations

from transformers import MobileBertConfig, PretrainedConfig

from tinybert.students.shapes import Shape, shape_of
from tinybert.systems.catalogue import MobileShape, System

__all__ = ["LEAST_HEAD", "student_config", "system_shape"]

LEAST_HEAD = 16
"""Width of an attention head at least."""

_BASE = Shape(12, 768, 3072, 12)


def system_shape(system: System, teacher: Shape | None = None) -> Shape | MobileShape:
    """The system's shape beside that teacher; the paper's where none is given.

    >>> from tinybert.systems.catalogue import find_system
    >>> print(system_shape(find_system("TinyBERT_4"), Shape(6, 384, 1536, 12)))
    2x192x738x12
    """
    own = system.shape
    if teacher is None or (teacher == _BASE and isinstance(own, Shape)):
        return own
    if system.is_teacher:
        return teacher
    if isinstance(own, MobileShape):
        bottleneck = _width(own.bottleneck / own.hidden, teacher)
        return MobileShape(
            layers=teacher.layers,
            hidden=teacher.hidden,
            bottleneck=bottleneck,
            intermediate=bottleneck * own.intermediate // own.bottleneck,
            networks=own.networks,
            heads=teacher.heads,
        )
    layers = max(1, round(own.layers / _BASE.layers * teacher.layers))
    if own.hidden == _BASE.hidden:
        return Shape(layers, teacher.hidden, teacher.intermediate, teacher.heads)
    hidden = _width(own.hidden / _BASE.hidden, teacher)
    return Shape(layers, hidden, round(hidden * own.intermediate / own.hidden), teacher.heads)


def _width(share: float, teacher: Shape) -> int:
    """That share of the teacher's width, a multiple of its heads; none is narrower than
    :data:`LEAST_HEAD` unless the teacher's own are."""
    own = teacher.hidden // teacher.heads
    return teacher.heads * min(own, max(LEAST_HEAD, round(share * own)))


def student_config(
    system: System, teacher: PretrainedConfig, *, paper: bool = False
) -> PretrainedConfig:
    """The student's configuration: the teacher's, labels included, with the system's sizes.

    Args:
        system: which.
        teacher: the teacher's configuration.
        paper: the paper's sizes, whatever the teacher's.

    Raises:
        TinybertError: the teacher's configuration has no sizes that are known.
    """
    shape = system_shape(system, None if paper else shape_of(teacher))
    if isinstance(shape, Shape):
        return shape.config(teacher)
    return MobileBertConfig(
        vocab_size=teacher.vocab_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        intra_bottleneck_size=shape.bottleneck,
        embedding_size=shape.bottleneck,
        num_feedforward_networks=shape.networks,
        use_bottleneck_attention=True,
        key_query_shared_bottleneck=False,
        max_position_embeddings=teacher.max_position_embeddings,
        type_vocab_size=getattr(teacher, "type_vocab_size", 2),  # DistilBERT has none
        pad_token_id=teacher.pad_token_id,
        id2label=teacher.id2label,
        label2id=teacher.label2id,
        problem_type=teacher.problem_type,
        classifier_activation=True,
    )
