"""Student shapes: from a dial such as ``4x312`` to a model configuration."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from tinybert.errors import TinybertError

__all__ = ["PRESETS", "Shape", "nearest_widths", "parse_shape", "shape_of"]

# Ours → the names that configurations use; the first one a configuration has is its own.
_FIELDS = {
    "layers": ("num_hidden_layers", "n_layers"),
    "hidden": ("hidden_size", "dim"),
    "intermediate": ("intermediate_size", "hidden_dim"),
    "heads": ("num_attention_heads", "n_heads"),
}


@dataclass(frozen=True)
class Shape:
    """Size of a Transformer encoder.

    Attributes:
        layers: number of Transformer layers M.
        hidden: width of the hidden states d'.
        intermediate: width of the feed-forward network.
        heads: attention heads a layer; ``hidden`` is a multiple of it.

    >>> print(Shape(4, 312, 1200, 12))
    4x312x1200x12
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int

    def __post_init__(self) -> None:
        if min(self.layers, self.hidden, self.intermediate, self.heads) < 1:
            raise TinybertError(f"the shape {self} has a size below 1: give positive sizes.")
        if self.hidden % self.heads:
            fitting = " or ".join(map(str, nearest_widths(self.hidden, self.heads)))
            raise TinybertError(
                f"width {self.hidden} cannot be divided among {self.heads} attention heads: take "
                f"{fitting}."
            )

    def __str__(self) -> str:
        return f"{self.layers}x{self.hidden}x{self.intermediate}x{self.heads}"

    def config(self, teacher_config: PretrainedConfig) -> PretrainedConfig:
        """The student's configuration: the teacher's, labels included, with these sizes.

        Returns:
            A configuration of the teacher's class; ``teacher_config`` stays as it is. Stored
            numbers are float32 (students train so), and the list of layer types is cut to the
            student's layers.

        Raises:
            TinybertError: the configuration has none of the size fields that we know.
        """
        names = {ours: _field(teacher_config, ours) for ours in _FIELDS}
        config = copy.deepcopy(teacher_config)
        teacher_width = getattr(teacher_config, names["hidden"])
        for ours, name in names.items():
            setattr(config, name, getattr(self, ours))
        if getattr(config, "embedding_size", None) == teacher_width:  # ELECTRA
            config.embedding_size = self.hidden
        if getattr(config, "pooler_hidden_size", None) == teacher_width:  # DeBERTa
            config.pooler_hidden_size = self.hidden
        if getattr(config, "layer_types", None):  # ModernBERT: one entry a layer
            config.layer_types = list(config.layer_types)[: self.layers]
        if hasattr(config, "dtype"):
            config.dtype = "float32"
        return config


PRESETS = {
    "tinybert-4": Shape(4, 312, 1200, 12),
    "tinybert-6": Shape(6, 768, 3072, 12),
    "bert-tiny": Shape(4, 312, 1200, 12),
    "bert-small": Shape(4, 512, 2048, 8),
    "bert-base": Shape(12, 768, 3072, 12),
}
_FRACTIONS = {"half": 2, "third": 3}


def _field(config: PretrainedConfig, ours: str) -> str:
    attribute_map = getattr(config, "attribute_map", {})
    for name in _FIELDS[ours]:
        if hasattr(config, name):
            return str(attribute_map.get(name, name))
    raise TinybertError(
        f"the configuration of {config.model_type or 'this model'} has no {_FIELDS[ours][0]}: only "
        "encoders with BERT-like or DistilBERT sizes can be given a student shape."
    )


def shape_of(config: PretrainedConfig) -> Shape:
    """The shape of a model's configuration.

    >>> from transformers import BertConfig
    >>> print(shape_of(BertConfig()))
    12x768x3072x12
    """
    sizes: dict[str, Any] = {ours: getattr(config, _field(config, ours)) for ours in _FIELDS}
    return Shape(**sizes)


def nearest_widths(hidden: int, heads: int) -> tuple[int, ...]:
    """The widths next to ``hidden`` that ``heads`` divides.

    >>> nearest_widths(310, 12)
    (300, 312)
    """
    below = hidden // heads * heads
    return tuple(w for w in (below, below + heads) if w > 0)


def parse_shape(text: str, teacher_config: PretrainedConfig) -> Shape:
    """The shape that ``text`` names.

    Args:
        text: ``layers x hidden`` (``4x312``: the teacher's heads, and a feed-forward network in
            the teacher's ratio), ``layers x hidden x intermediate x heads``
            (``4x312x1200x12``), a preset (:data:`PRESETS`), or ``half`` or ``third`` (of the
            teacher's depth, at its width).
        teacher_config: the teacher's configuration.

    Raises:
        TinybertError: not a shape; heads do not divide the width. The message names shapes that
            fit.

    >>> from transformers import BertConfig
    >>> print(parse_shape("4x312", BertConfig()))
    4x312x1200x12
    >>> print(parse_shape("half", BertConfig()))
    6x768x3072x12
    """
    teacher = shape_of(teacher_config)
    name = text.strip().lower()
    if name in PRESETS:
        return PRESETS[name]
    if name in _FRACTIONS:
        layers = max(1, teacher.layers // _FRACTIONS[name])
        return Shape(layers, teacher.hidden, teacher.intermediate, teacher.heads)
    return _dialled(text, teacher)


def _dialled(text: str, teacher: Shape) -> Shape:
    match = re.fullmatch(r"(\d+)[x×](\d+)(?:[x×](\d+)[x×](\d+))?", text.strip().lower())
    if not match:
        raise TinybertError(
            f"{text!r} is no student shape: give layers x width such as 4x312, "
            "4x312x1200x12 (with feed-forward width and heads), half, third, or one of "
            f"{', '.join(PRESETS)}."
        )
    layers, hidden = int(match[1]), int(match[2])
    if match[3]:
        return Shape(layers, hidden, int(match[3]), int(match[4]))
    intermediate = round(hidden * teacher.intermediate / teacher.hidden)
    if hidden == 312 and teacher.intermediate == 4 * teacher.hidden:
        intermediate = 1200  # TinyBERT_4's own, not four times its width
    return Shape(layers, hidden, max(1, intermediate), teacher.heads)
