"""Of ``tinybert general``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinybert.settings.base import setting
from tinybert.settings.shared import LossSettings, RunSettings, StudentSettings

__all__ = ["GeneralSettings"]


@dataclass
class GeneralSettings(LossSettings, StudentSettings, RunSettings):
    """General distillation: a student learns the teacher's states on raw text, without labels."""

    teacher: str | None = setting(None, "encoder to learn from: directory or Hub name")
    corpus: list[str] = setting(
        [],
        "what `tinybert corpus build` wrote; or raw text, which is tokenized first: files "
        "(text, JSONL, Parquet; .gz, .xz, .zst, .bz2), globs, directories, Hub datasets",
    )
    text: str | None = setting(
        None, "text column of JSONL, Parquet and Hub datasets; default: guessed and told", "data"
    )
    max_length: int | None = setting(
        None,
        "tokens a block, specials included; default: 128, or what the corpus was built with",
        "training",
        least=4,
    )
    epochs: float | None = setting(
        None, "passes over the corpus; default: 3, the paper's", "training", above=0
    )
    tokens: str | None = setting(
        None, "tokens to learn from, instead of epochs: 500M, 3.3G", "training"
    )
    budget: str | None = setting(
        None,
        "wall clock of the training itself, instead of epochs: 30m, 8h; the speed is measured "
        "once, turned into a number of steps, and kept in the run",
        "training",
    )
    steps: int | None = setting(None, "optimiser steps, instead of epochs", "training", least=1)
    batch_size: int = setting(256, "blocks an optimiser step", "training", least=1)
    learning_rate: float = setting(1e-4, "peak learning rate", "training", above=0)
    warmup: float = setting(
        0.1, "share of the steps with rising learning rate", "training", least=0, most=1
    )
    held_out: int = setting(
        256, "blocks kept back, whole documents, to watch the loss", "training", least=1
    )
    evaluations: int = setting(
        10, "times the held-out losses are measured, besides at the start", "training", least=1
    )
    keep: Literal["last", "best"] = setting(
        "last", "weights to keep: the last, or those of the least held-out loss", "training"
    )
    watch: str | None = setting(
        None,
        "sentence pairs (STS-B's layout; scores are not needed) on which the student's "
        "similarities are held against the scores and the teacher's, at every evaluation",
        "training",
    )
    checkpoint_minutes: float = setting(
        10.0, "minutes between checkpoints, at most", "run", above=0
    )
