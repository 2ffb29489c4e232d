"""BERT with the head of the TinyBERT authors' task models: logits = W·relu(tanh(z)) + b.

z is the pooler's linear map of the first token's last state. The stock head reads tanh(z) and its
tensors have the same names and shapes, so that a stock class would load such weights without an
error and predict wrongly. Hence a model type of its own: without this module transformers' Auto
classes and pipelines refuse the directory. Importing it registers the classes with them.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)

__all__ = ["ReluBertConfig", "ReluBertForSequenceClassification", "ReluBertModel"]


class ReluBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """A BERT configuration with a model type that stock transformers does not know."""

    model_type = "tinybert_relu_bert"


class ReluBertModel(BertModel):  # type: ignore[no-untyped-call]
    """The encoder; its pooler gives relu(tanh(z)), (batch, width)."""

    config_class = ReluBertConfig

    def __init__(self, config: ReluBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        _rectify(self)


class ReluBertForSequenceClassification(BertForSequenceClassification):  # type: ignore[no-untyped-call]
    """The encoder with the authors' classifier; logits (batch, labels)."""

    config_class = ReluBertConfig

    def __init__(self, config: ReluBertConfig) -> None:
        super().__init__(config)
        _rectify(self.bert)


def _rectify(encoder: Any) -> None:
    # In the pooler rather than before the classifier: that stays a plain linear map, which tools
    # that look for one (quantisation, export) may replace without losing the relu.
    if encoder.pooler is not None:
        encoder.pooler.activation = nn.Sequential(nn.Tanh(), nn.ReLU())


AutoConfig.register(ReluBertConfig.model_type, ReluBertConfig)
AutoModel.register(ReluBertConfig, ReluBertModel)
AutoModelForSequenceClassification.register(ReluBertConfig, ReluBertForSequenceClassification)
AutoTokenizer.register(ReluBertConfig, BertTokenizer)  # type: ignore[no-untyped-call]
