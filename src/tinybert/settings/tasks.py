"""Of the verbs that train on a task: ``finetune``, ``distill``, ``glue``, ``demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.settings.base import Checked, setting
from tinybert.settings.shared import (
    DataSettings,
    LossSettings,
    QuestionSettings,
    RunSettings,
    StageSettings,
    StudentSettings,
)

__all__ = ["DemoSettings", "DistillSettings", "FinetuneSettings", "GlueSettings", "SizeSettings"]


@dataclass
class FinetuneSettings(QuestionSettings, DataSettings, RunSettings):
    """Plain fine-tuning of an encoder on labels: makes teachers, and is the control."""

    model: str | None = setting(
        None, "encoder (a classifier's head is made anew): directory or Hub name"
    )
    epochs: float = setting(3.0, "passes over the rows", "training", above=0)
    steps: int | None = setting(None, "optimiser steps, instead of epochs", "training", least=1)
    batch_size: int = setting(32, "rows an optimiser step", "training", least=1)
    learning_rate: float = setting(3e-5, "peak learning rate", "training", above=0)
    warmup: float = setting(
        0.1, "share of the steps with rising learning rate", "training", least=0, most=1
    )
    evaluations: int = setting(1, "evaluations an epoch", "training", least=0)


@dataclass
class SizeSettings(Checked):
    """How large the student may be, instead of a shape: measured on this machine."""

    max_latency: str | None = setting(
        None, "largest student whose pass takes no longer on this machine: 5ms", "size"
    )
    max_size: str | None = setting(
        None, "largest student whose weights (float32) take no more: 20MB", "size"
    )
    speedup: str | None = setting(
        None, "largest student that many times as fast as its teacher: 8", "size"
    )
    latency_length: int = setting(128, "tokens a row where latency is measured", "size", least=4)
    latency_batch: int = setting(1, "rows where latency is measured", "size", least=1)


@dataclass
class TeacherSettings(Checked):
    """How a teacher is fine-tuned that is a plain encoder."""

    teacher_epochs: float = setting(3.0, "passes to fine-tune a plain encoder", "training", above=0)
    teacher_learning_rate: float = setting(
        3e-5, "to fine-tune a plain encoder", "training", above=0
    )


@dataclass
class DistillSettings(
    QuestionSettings,
    SizeSettings,
    StageSettings,
    TeacherSettings,
    LossSettings,
    StudentSettings,
    DataSettings,
    RunSettings,
):
    """Task distillation: intermediate layers first, then the prediction layer."""

    teacher: str | None = setting(
        None,
        "model to learn from: directory or Hub name; a plain encoder is fine-tuned on the data "
        "first, and kept in OUTPUT-teacher",
    )
    ensemble: list[str] = setting(
        [],
        "further teachers, fine-tuned on the same labels and with the same tokenizer: the student "
        "learns the mean of all their answers, and the states of --teacher alone",
    )
    teacher_labels: str | None = setting(
        None,
        "what the teacher's outputs stand for, in their order, where its names say "
        "nothing or lie: c,a,b",
        "data",
    )
    augment: Path | None = setting(
        None,
        "also learn from these copies of the training rows: directory that `tinybert augment` "
        "wrote from the same data (both stages; dev and test rows stay as they are)",
        "data",
    )
    tokenizer: str | None = setting(
        None,
        "the student's tokenizer, where it is to be another one than the teacher's: a directory, a "
        "tokenizer.json, or a Hub name",
        "student",
    )
    vocabulary_size: int | None = setting(
        None,
        "instead: train a WordPiece tokenizer of so many pieces on the training rows",
        "student",
        least=50,
    )
    corpus: list[str] = setting(
        [],
        "more text to train that tokenizer on: files (text, JSONL, Parquet), globs, directories, "
        "Hub datasets",
        "student",
    )
    controls: bool = setting(
        False,
        "also train the same start on labels alone and on logits alone, for as many steps at the "
        "prediction stage's learning rate",
        "training",
    )
    report: bool = setting(
        True, "also write report.html, a page on the finished run, into OUTPUT", "run"
    )
    push_to_hub: str | None = setting(
        None,
        "also upload the student to this repository of the Hugging Face Hub, owner/name: weights, "
        "config, tokenizer, card; not results, answers, log and report, which name local paths and "
        "hold texts of the rows",
        "hub",
    )
    private: bool = setting(False, "make that repository private where it is new", "hub")


@dataclass
class GlueSettings(DistillSettings):
    """GLUE tasks, several seeds: teacher, student and controls in one table."""

    output: Path | None = setting(
        None, "directory of the tables and of a run a task and seed; finished runs are kept"
    )
    teacher: str | None = setting(
        None,
        "plain encoder, fine-tuned for each task and seed; or fine-tuned models, with {task} where "
        "the task's name stands in theirs",
    )
    ensemble: list[str] = setting(
        [],
        "further teachers for each task, with {task} where its name stands in theirs: the student "
        "learns the mean of all their answers, and the states of --teacher alone",
    )
    tasks: list[str] = setting([], "GLUE tasks; default: those whose files are there", "data")
    seeds: int = setting(3, "runs a task, seeded from --seed on", "run", least=1)
    controls: bool = setting(
        True,
        "also train the same start on labels alone and on logits alone, for as many steps at the "
        "prediction stage's learning rate",
        "training",
    )


@dataclass
class DemoSettings(RunSettings):
    """The embedded default: which part of the standard library does this sentence come from?"""

    output: Path | None = setting(
        Path("tinybert-demo"), "directory to write; appears only when it is whole"
    )
    student: str = setting("4x192", "shape of the student", "student")
    controls: bool = setting(True, "also train the controls of the table", "training")
    seeds: int = setting(
        1,
        "train student and controls with that many seeds; the table shows mean and spread",
        least=1,
    )
    report: bool = setting(
        True, "also write report.html, a page on the finished run, into OUTPUT", "run"
    )
    scale: float = setting(
        1.0,
        "share of all training steps; 0.05 is a quick look, not a result",
        "training",
        above=0,
    )
