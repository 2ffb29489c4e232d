"""Models of several tasks that are one body: a student with a head of its own for each task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

__all__ = ["SharedBody", "model_of"]


class SharedBody(nn.Module):
    """Task → model, where the body of each is one and the same module.

    What lies in the body is shared, BERT's pooler too; what stands behind it is each model's own.

    Args:
        models: of one architecture and size; each gets the first one's body.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    >>> one, two = (BertForSequenceClassification(BertConfig(**sizes)) for _ in range(2))
    >>> both = SharedBody({"one": one, "two": two})
    >>> both.models[0].bert is both.models[1].bert
    True
    """

    def __init__(self, models: Mapping[str, PreTrainedModel]) -> None:
        super().__init__()
        first, *others = models.values()
        for model in others:
            setattr(model, model.base_model_prefix, first.base_model)
        self.names = tuple(models)
        self.models = nn.ModuleList(models.values())  # names may have dots, which modules may not

    def __len__(self) -> int:
        return len(self.names)

    def of(self, task: int) -> PreTrainedModel:
        """The model of the task of that number."""
        model = self.models[task]
        assert isinstance(model, PreTrainedModel)
        return model

    @property
    def config(self) -> Any:
        """The first task's, whose body it describes."""
        return self.of(0).config

    @property
    def base_model(self) -> nn.Module:
        """The body."""
        found: nn.Module = self.of(0).base_model
        return found

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def _can_set_attn_implementation(self) -> bool:
        return bool(self.of(0)._can_set_attn_implementation())

    def set_attn_implementation(self, form: str) -> None:
        """As of transformers' models, for all tasks."""
        for task in range(len(self)):
            self.of(task).set_attn_implementation(form)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write a model directory for each task, all with the same body."""
        for task, name in enumerate(self.names):
            self.of(task).save_pretrained(Path(directory) / name)


def model_of(model: nn.Module, task: int | None) -> PreTrainedModel:
    """The model that answers a task: of several that share a body, or the one there is."""
    if task is not None and isinstance(model, SharedBody):
        return model.of(task)
    return cast(PreTrainedModel, model)
