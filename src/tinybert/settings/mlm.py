"""Of ``tinybert mlm``."""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.settings.base import setting
from tinybert.settings.shared import RunSettings

__all__ = ["MlmSettings"]


@dataclass
class MlmSettings(RunSettings):
    """Masked language modelling: an encoder gets an output head, or goes on learning from text."""

    model: str | None = setting(
        None, "encoder or masked language model to train: directory or Hub name"
    )
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
    head_steps: int | None = setting(
        None,
        "optimiser steps of the output head alone, the encoder as it is; default: 500, or 0 where "
        "the model has a head already",
        "training",
        least=0,
    )
    head_learning_rate: float = setting(
        1e-3, "peak learning rate of those steps", "training", above=0
    )
    steps: int | None = setting(
        None,
        "optimiser steps of all weights after that; default: none, the encoder stays as it is",
        "training",
        least=1,
    )
    tokens: str | None = setting(
        None, "tokens that all weights learn from, instead of steps: 500M, 3.3G", "training"
    )
    epochs: float | None = setting(
        None, "passes of all weights over the corpus, instead of steps", "training", above=0
    )
    learning_rate: float = setting(1e-4, "peak learning rate of all weights", "training", above=0)
    batch_size: int = setting(64, "blocks an optimiser step", "training", least=1)
    warmup: float = setting(
        0.1, "share of the steps with rising learning rate", "training", least=0, most=1
    )
    mask_share: float = setting(
        0.15, "share of a block's tokens that are masked (BERT's)", "training", above=0, most=1
    )
    random_share: float = setting(
        0.1,
        "share of the masked tokens that become a random token (BERT's)",
        "training",
        least=0,
        most=1,
    )
    kept_share: float = setting(
        0.1,
        "share of the masked tokens that stay as they are and are guessed all the same (BERT's)",
        "training",
        least=0,
        most=1,
    )
    whole_words: bool = setting(
        True, "mask all pieces of a word together, or single tokens (BERT's first way)", "training"
    )
    held_out: int = setting(
        256, "blocks kept back, whole documents, to watch the loss", "training", least=1
    )
    evaluations: int = setting(
        10,
        "times masked tokens of the blocks kept back are guessed in a stage, besides at its start",
        "training",
        least=1,
    )
    checkpoint_minutes: float = setting(
        10.0, "minutes between checkpoints, at most", "run", above=0
    )
