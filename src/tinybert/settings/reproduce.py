"""Of ``tinybert reproduce``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import Checked, setting
from tinybert.settings.shared import Attention, Precision

__all__ = ["ReproduceSettings"]


@dataclass
class ReproduceSettings(Checked):
    """Systems x GLUE tasks x seeds: one table of results beside the paper's."""

    teacher: str | None = setting(
        None,
        "pre-trained encoder that all systems learn from: directory or Hub name; DistilBERT and "
        "MobileBERT need one with an output head (`tinybert mlm` makes it)",
    )
    corpus: list[str] = setting(
        [], "text for pre-training: what `tinybert corpus build` wrote, or raw text"
    )
    data: str | None = setting(
        None, "directory of GLUE's files, or a Hub dataset (default: nyu-mll/glue)"
    )
    output: Path | None = setting(
        None, "directory of the tables and of every cell; finished cells are kept"
    )
    systems: list[str] = setting([], "which; default: the eleven of the paper", "what")
    ablation: Literal["none", "losses", "stages", "mapping", "start"] = setting(
        "none", "an ablation of TinyBERT_4 instead of the systems", "what"
    )
    starts: Literal["own", "teacher", "both"] = setting(
        "own",
        "own: as each system's source starts it; teacher: those that start at random start from "
        "their teacher instead (axes by PCA, or copied layers where as wide), so that objectives "
        "are compared rather than starts; both: one beside the other",
        "what",
    )
    tasks: list[str] = setting([], "GLUE tasks; default: those whose files are there", "what")
    seeds: int = setting(5, "runs a task, seeded from --seed on", "what", least=1)
    seed: int = setting(42, "the first seed", "what", least=0)
    pretraining_seed: int = setting(
        42,
        "of starts, data order and masks in pre-training, which all seeds of a table share",
        "what",
        least=0,
    )
    rows: int | None = setting(
        None, "train on so many rows of a task at most, drawn by the seed", "what", least=10
    )
    augment: str | None = setting(
        None,
        "TinyBERT's systems also learn from copies of the rows: directories that `tinybert "
        "augment` wrote, with {task} and {seed} where these stand in their names",
        "what",
    )
    scale: Literal["small", "paper"] = setting(
        "small",
        "small: every system gets the same training operations; paper: the epochs, batches and "
        "learning rates of each system's source",
        "scale",
    )
    corpus_flops: str = setting(
        "100T",
        "operations of pre-training, for each system that has any, at small scale (100T: some 15 "
        "minutes of one core)",
        "scale",
    )
    task_flops: str = setting(
        "20T", "operations of a system on a task, with one seed, at small scale", "scale"
    )
    corpus_batch: int | None = setting(
        None,
        "blocks an optimiser step of pre-training, at small scale; fewer make more steps of the "
        "same operations (default: 64)",
        "scale",
        least=1,
    )
    task_batch: int | None = setting(
        None, "rows an optimiser step on a task, at small scale (default: 32)", "scale", least=1
    )
    head: Literal["random", "teacher"] = setting(
        "random",
        "where task heads start; random: as in the systems' sources; teacher: those that learn the "
        "teacher's answers, on states that come from it, start from its head, fitted to these "
        "answers, and a regression's others at the mean of the labels: few steps are worth more",
        "scale",
    )
    teacher_epochs: float = setting(3.0, "passes to fine-tune the teacher", "scale", above=0)
    teacher_learning_rate: float = setting(3e-5, "to fine-tune the teacher", "scale", above=0)
    grid: bool = setting(
        False,
        "with --scale paper: try batches of 16 and 32 with learning rates of 1e-5, 2e-5 and 3e-5 "
        "in the last stage of every student, and take the best on the dev rows (the paper's grid; "
        "teachers are fine-tuned as asked)",
        "scale",
    )
    max_length: int = setting(128, "tokens a row or block, specials included", "scale", least=8)
    held_out: int = setting(256, "blocks of text kept back to watch the losses", "scale", least=1)
    dropout: float = setting(
        0.0,
        "of students while they learn from a teacher; on labels it is their configuration's",
        "scale",
        least=0,
        most=0.99,
    )
    jobs: int = setting(
        1, "cells at a time, each a process with its share of the cores", "run", least=1
    )
    keep_models: bool = setting(False, "keep the students' weights, not only scores", "run")
    dry_run: bool = setting(False, "print the plan with its times, train nothing", "run")
    precision: Precision = setting(
        "auto", "of the students' training; auto: the faster one here, measured once", "speed"
    )
    teacher_precision: Precision = setting(
        "auto", "of the teacher; auto: bfloat16 where this machine is fast at it", "speed"
    )
    attention: Attention = setting(
        "auto", "how students run attention; auto: the faster one here, measured once", "speed"
    )
    token_budget: int = setting(
        4096, "padded tokens a micro-batch; bounds memory", "speed", least=1
    )
