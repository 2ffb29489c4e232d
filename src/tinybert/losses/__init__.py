"""What distillation minimises: pure, masked functions of tensors.

Every loss returns a :class:`Ratio`: the sum over real things (rows, tokens, token pairs, masked
tokens) and their number. All compute in float32, or in float64 if given float64, whatever
autocast says. Only the two ``reference`` losses count padding, as the original code does.
"""

from __future__ import annotations

from tinybert.losses.attention import DEFAULT_CROSSOVER, attention_loss
from tinybert.losses.cosine import cosine_loss
from tinybert.losses.distribution import attention_distribution_loss, relation_loss
from tinybert.losses.feature_map import feature_map_loss
from tinybert.losses.hidden import embedding_loss, hidden_loss
from tinybert.losses.masked import IGNORED, masked_loss
from tinybert.losses.patience import patience_loss
from tinybert.losses.prediction import (
    divergence_loss,
    label_loss,
    regression_loss,
    soft_cross_entropy,
)
from tinybert.losses.ratio import Ratio
from tinybert.losses.reference import reference_attention_loss, reference_hidden_loss
from tinybert.losses.sets import set_cross_entropy, set_label_loss
from tinybert.losses.spans import ENDS, STARTS, span_cross_entropy, span_label_loss
from tinybert.losses.vectors import vector_cosine_loss, vector_loss
from tinybert.losses.window import pairs_within, window_attention_loss

__all__ = [
    "DEFAULT_CROSSOVER",
    "ENDS",
    "IGNORED",
    "STARTS",
    "Ratio",
    "attention_distribution_loss",
    "attention_loss",
    "cosine_loss",
    "divergence_loss",
    "embedding_loss",
    "feature_map_loss",
    "hidden_loss",
    "label_loss",
    "masked_loss",
    "pairs_within",
    "patience_loss",
    "reference_attention_loss",
    "reference_hidden_loss",
    "regression_loss",
    "relation_loss",
    "set_cross_entropy",
    "set_label_loss",
    "soft_cross_entropy",
    "span_cross_entropy",
    "span_label_loss",
    "vector_cosine_loss",
    "vector_loss",
    "window_attention_loss",
]
