"""Student shapes: from a dial such as ``4x312`` to a model configuration."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from tinybert.errors import TinybertError
from tinybert.mapping import layer_mapping

__all__ = [
    "PRESETS",
    "Shape",
    "attention_width",
    "attention_windows",
    "nearest_widths",
    "parse_shape",
    "shape_of",
]

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

    def config(
        self, teacher_config: PretrainedConfig, mapping: Sequence[int] | None = None
    ) -> PretrainedConfig:
        """The student's configuration: the teacher's, labels included, with these sizes.

        Sizes that hang on others follow: the head size, shared keys (in the teacher's ratio to
        queries, as near as the heads allow), MobileBERT's bottleneck, embeddings as wide as the
        body. A student layer is of the kind of the teacher layer that it learns from: global
        attention, or a sliding window.

        Args:
            teacher_config: stays as it is.
            mapping: g(1) … g(M); uniform if None. Read where layers are of several kinds.

        Returns:
            A configuration of the teacher's class. Stored numbers are float32 (students train
            so).

        Raises:
            TinybertError: the configuration has none of the size fields that we know, or its
                kind of encoder takes no such heads.
        """
        names = {ours: _field(teacher_config, ours) for ours in _FIELDS}
        config = copy.deepcopy(teacher_config)
        theirs = shape_of(teacher_config)
        for ours, name in names.items():
            setattr(config, name, getattr(self, ours))
        if getattr(config, "embedding_size", None) == theirs.hidden:  # ELECTRA
            config.embedding_size = self.hidden
        if getattr(config, "pooler_hidden_size", None) == theirs.hidden:  # DeBERTa
            config.pooler_hidden_size = self.hidden
        if getattr(config, "head_dim", None) is not None:  # NomicBERT, EuroBERT
            own = config.head_dim != theirs.hidden // theirs.heads
            config.head_dim = config.head_dim if own else self.hidden // self.heads
        if getattr(config, "num_key_value_heads", None):  # EuroBERT
            config.num_key_value_heads = _shared_keys(
                self.heads, theirs.heads // config.num_key_value_heads
            )
        if getattr(config, "true_hidden_size", None):
            _set_bottleneck(config, self, theirs)
        if getattr(config, "num_hidden_groups", None):  # ALBERT
            config.num_hidden_groups = min(config.num_hidden_groups, self.layers)
        if getattr(config, "layer_types", None):  # ModernBERT: one entry a layer
            kinds = list(config.layer_types)
            if mapping is None and self.layers <= len(kinds):
                mapping = layer_mapping("uniform", self.layers, len(kinds))
            places = mapping or range(1, self.layers + 1)
            config.layer_types = [kinds[(place - 1) % len(kinds)] for place in places]
        if hasattr(config, "dtype"):
            config.dtype = "float32"
        _check_rotary(config, self)
        return config


def _shared_keys(heads: int, queries: int) -> int:
    """How many heads of keys serve ``heads`` of queries, about ``queries`` each.

    >>> _shared_keys(12, 3), _shared_keys(8, 1), _shared_keys(6, 4)
    (4, 8, 1)
    """
    return next(n for n in range(max(1, heads // queries), 0, -1) if heads % n == 0)


def _set_bottleneck(config: PretrainedConfig, shape: Shape, theirs: Shape) -> None:
    """MobileBERT: attention runs in the bottleneck, in the teacher's ratio to the width."""
    if not config.use_bottleneck:
        config.true_hidden_size = shape.hidden
        return
    wide = config.intra_bottleneck_size * shape.hidden / theirs.hidden
    size = max(1, round(wide / shape.heads)) * shape.heads
    config.intra_bottleneck_size = config.true_hidden_size = size


def _check_rotary(config: PretrainedConfig, shape: Shape) -> None:
    rotary = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    size = getattr(config, "head_dim", None) or shape.hidden // shape.heads
    if rotary and size % 2:
        fitting = " or ".join(
            str(width)
            for width in ((size - 1) * shape.heads, (size + 1) * shape.heads)
            if width > 0
        )
        raise TinybertError(
            f"{config.model_type} turns pairs of numbers by their position, so its heads are of "
            f"even size, and width {shape.hidden} among {shape.heads} heads gives {size}: take "
            f"width {fitting}."
        )


def attention_width(config: PretrainedConfig) -> int:
    """Width of a layer's queries, all heads side by side: not the states' in every encoder.

    >>> from transformers import BertConfig, MobileBertConfig
    >>> attention_width(BertConfig()), attention_width(MobileBertConfig())
    (768, 128)
    """
    if bottleneck := getattr(config, "true_hidden_size", None):
        return int(bottleneck)
    shape = shape_of(config)
    return shape.heads * (getattr(config, "head_dim", None) or shape.hidden // shape.heads)


def attention_windows(config: PretrainedConfig) -> dict[int, int]:
    """{layer, from 1: w} of the layers whose tokens i attend to tokens j with |i - j| ≤ w alone.

    >>> from transformers import ModernBertConfig
    >>> attention_windows(ModernBertConfig(num_hidden_layers=4))
    {2: 64, 3: 64}
    """
    kinds = getattr(config, "layer_types", None) or []
    window = getattr(config, "sliding_window", None)
    if not window:
        return {}
    return {m: int(window) for m, kind in enumerate(kinds, 1) if kind == "sliding_attention"}


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
        "encoders with BERT-like or DistilBERT sizes can be given a student shape; a student of "
        "another kind (--student DIRECTORY) can learn the hidden states, the embedding output and "
        "the logits (--attention-weight 0)."
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
