"""Of ``tinybert general``."""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.settings.base import setting
from tinybert.settings.shared import LossSettings, RunSettings, StudentSettings

__all__ = ["GeneralSettings"]


@dataclass
class GeneralSettings(LossSettings, StudentSettings, RunSettings):
    """General distillation: a student learns the teacher's states on raw text, without labels."""

    teacher: str | None = setting(None, "encoder to learn from: directory or Hub name")
    corpus: list[str] = setting([], "text files (.txt, .gz, .xz), one paragraph a line")
    max_length: int = setting(128, "tokens a block, specials included", "training", least=4)
    epochs: float = setting(3.0, "passes over the corpus", "training", above=0)
    steps: int | None = setting(None, "optimiser steps, instead of epochs", "training", least=1)
    batch_size: int = setting(256, "blocks an optimiser step", "training", least=1)
    learning_rate: float = setting(1e-4, "peak learning rate", "training", above=0)
    warmup: float = setting(
        0.1, "share of the steps with rising learning rate", "training", least=0, most=1
    )
    held_out: int = setting(256, "blocks kept back to watch the loss", "training", least=1)
