"""What distillation minimises: pure, masked functions of tensors.

Every loss returns a :class:`Ratio`: the sum over real things (rows, tokens, token pairs, masked
tokens) and their number. All compute in float32, or in float64 if given float64, whatever
autocast says.
"""

from __future__ import annotations

from tinybert.losses.attention import DEFAULT_CROSSOVER, attention_loss
from tinybert.losses.hidden import embedding_loss, hidden_loss
from tinybert.losses.masked import IGNORED, masked_loss
from tinybert.losses.prediction import label_loss, regression_loss, soft_cross_entropy
from tinybert.losses.ratio import Ratio

__all__ = [
    "DEFAULT_CROSSOVER",
    "IGNORED",
    "Ratio",
    "attention_loss",
    "embedding_loss",
    "hidden_loss",
    "label_loss",
    "masked_loss",
    "regression_loss",
    "soft_cross_entropy",
]
