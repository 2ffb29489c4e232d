"""Of ``tinybert embedder``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinybert.settings.base import setting
from tinybert.settings.shared import LossSettings, RunSettings, StudentSettings

__all__ = ["EmbedderSettings"]


@dataclass
class EmbedderSettings(LossSettings, StudentSettings, RunSettings):
    """Distil a sentence encoder on raw text, without labels: general stage, then its vectors."""

    teacher: str | None = setting(
        None, "sentence encoder (sentence-transformers' layout) to learn from, or a plain encoder"
    )
    corpus: list[str] = setting(
        [],
        "raw text: files (text, JSONL, Parquet; .gz, .xz, .zst, .bz2), globs, directories, Hub "
        "datasets; or what `tinybert corpus build` wrote. The general stage reads its blocks, the "
        "embedding stage its sentences",
    )
    sentences: list[str] = setting(
        [],
        "sentences of the embedding stage, instead of those of the corpus: text files of one a "
        "line, or rows with one or two text columns (files, directories, Hub datasets)",
    )
    text: str | None = setting(
        None, "text column, or two with a comma; default: guessed and told", "data"
    )
    rows: int = setting(500_000, "different sentences at most, drawn by the seed", "data", least=10)
    pooling: Literal["auto", "mean", "cls"] = setting(
        "auto",
        "of states to a vector; auto: the teacher's own modules, or mean where it has none",
        "vectors",
    )
    dimensions: int | None = setting(
        None,
        "numbers of the student's vector; fewer than the teacher's: its vectors' principal ones; "
        "default: the teacher's, whose vectors it then shares a space with",
        "vectors",
        least=2,
    )
    matryoshka: str | None = setting(
        None,
        "sizes to which the student's vector can be cut, descending: 256,128,64; the teacher's "
        "space is turned so that its first numbers say most",
        "vectors",
    )
    sentence_loss: Literal["cosine", "mse"] = setting(
        "cosine",
        "between vectors of student and teacher: 1 - cosine, or the squared distance, which "
        "teaches lengths too",
        "vectors",
    )
    budget: str | None = setting(
        None,
        "wall clock of both stages' training and of the teacher's pass over the sentences: 30m, "
        "8h; speeds are measured once, turned into steps, and kept in the run",
        "training",
    )
    general_share: float = setting(
        0.25, "share of the budget that the general stage gets", "training", least=0, most=0.95
    )
    general_steps: int | None = setting(
        None,
        "optimiser steps of the general stage; 0: none; default without --budget: three passes "
        "over the corpus, or none where --student is a student already",
        "training",
        least=0,
    )
    steps: int | None = setting(None, "optimiser steps of the embedding stage", "training", least=1)
    epochs: float = setting(
        3.0,
        "passes of the embedding stage over its sentences, where nothing else says how long",
        "training",
        above=0,
    )
    max_length: int | None = setting(
        None,
        "tokens a block and a sentence, specials included; default: 128, or what the corpus was "
        "built with",
        "training",
        least=4,
    )
    general_batch_size: int = setting(
        64, "blocks an optimiser step of the general stage", "training", least=1
    )
    general_learning_rate: float = setting(
        5e-4, "peak learning rate of the general stage", "training", above=0
    )
    batch_size: int = setting(
        128, "sentences an optimiser step of the embedding stage", "training", least=1
    )
    learning_rate: float = setting(
        5e-4, "peak learning rate of the embedding stage", "training", above=0
    )
    warmup: float = setting(
        0.1, "share of a stage's steps with rising learning rate", "training", least=0, most=1
    )
    dropout: float | None = setting(
        0.0, "dropout of the student while it trains", "student", least=0, most=0.99
    )
    attention_weight: str = setting(
        "0.1",
        "λ of attention scores in the general stage (of each of three relations): one number, or "
        "one a layer (1,1,0.5,0)",
        "losses",
    )
    held_out: int = setting(
        256,
        "blocks (whole documents) kept back, and as many sentences, to watch the losses",
        "training",
        least=1,
    )
    evaluations: int = setting(
        5, "times a stage's figures are measured, besides at its start", "training", least=1
    )
    watch: str | None = setting(
        None,
        "sentence pairs (STS-B's layout; scores are not needed) on which the student's "
        "similarities are held against the scores and the teacher's, at every evaluation and in "
        "the results",
        "training",
    )
    checkpoint_minutes: float = setting(
        10.0, "minutes between checkpoints, at most", "run", above=0
    )
