"""What every verb can be told: one typed dataclass a verb, from which flags, YAML and help follow.

Nothing here imports torch, so that ``--help`` answers at once. Defaults are the paper's (TinyBERT,
section 4.2) unless the help text says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tinybert.errors import TinybertError

__all__ = [
    "ConvertSettings",
    "DemoSettings",
    "DistillSettings",
    "EvaluateSettings",
    "FinetuneSettings",
    "GeneralSettings",
    "PredictSettings",
]

Start = Literal["auto", "pca", "layers", "random"]
Precision = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "direct", "fused"]


def setting(default: Any, help: str, group: str = "main") -> Any:
    """A field with its help text and the group it is listed under."""
    metadata = {"help": help, "group": group}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


# The least value that makes sense; (least, True) excludes it.
_LEAST: dict[str, tuple[float, bool]] = {
    "seed": (0, False),
    "token_budget": (1, False),
    "log_every": (1, False),
    "gradient_norms_every": (0, False),
    "max_length": (4, False),
    "steps": (1, False),
    "batch_size": (1, False),
    "held_out": (1, False),
    "evaluations": (0, False),
    "epochs": (0, True),
    "intermediate_epochs": (0, False),
    "prediction_epochs": (0, False),
    "learning_rate": (0, True),
    "intermediate_learning_rate": (0, True),
    "prediction_learning_rate": (0, True),
    "warmup": (0, False),
    "dropout": (0, False),
    "temperature": (0, True),
    "embedding_weight": (0, False),
    "teacher_epochs": (0, True),
    "teacher_learning_rate": (0, True),
    "rows": (10, False),
    "dev_share": (0, True),
    "latency_length": (4, False),
    "latency_batch": (1, False),
    "seeds": (1, False),
    "scale": (0, True),
}
_MOST = {"warmup": 1.0, "dropout": 0.99, "dev_share": 0.5}


@dataclass
class Checked:
    """Settings whose numbers are checked before anything else is done."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in _LEAST or value is None:
                continue
            least, excluded = _LEAST[item.name]
            most = _MOST.get(item.name, float("inf"))
            if not (least < value if excluded else least <= value) or not value <= most:
                wanted = f"more than {least:g}" if excluded else f"{least:g} or more"
                if most != float("inf"):
                    wanted = f"between {least:g} and {most:g}"
                    if excluded:
                        wanted = f"more than {least:g} and at most {most:g}"
                flag = f"--{item.name.replace('_', '-')}"
                raise TinybertError(f"{flag} {value} makes no sense: it has to be {wanted}.")


@dataclass
class RunSettings(Checked):
    """What every run shares."""

    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    overwrite: bool = setting(
        False,
        "replace the output directory (distill: and OUTPUT-teacher) and any unfinished run",
        "run",
    )
    resume: bool = setting(False, "go on with the unfinished run of this output directory", "run")
    dry_run: bool = setting(False, "check everything, print the plan, train nothing", "run")
    seed: int = setting(42, "seed of splits, starts, data order and dropout", "run")
    precision: Precision = setting(
        "auto", "of the student's training; auto: the faster one here, measured once a run", "speed"
    )
    teacher_precision: Precision = setting(
        "auto", "of the teacher; auto: bfloat16 where this machine is fast at it", "speed"
    )
    attention: Attention = setting(
        "auto", "how the student runs attention; auto: the faster one here, measured once", "speed"
    )
    token_budget: int = setting(4096, "padded tokens a micro-batch; bounds memory", "speed")
    tensorboard: bool = setting(False, "also log for TensorBoard, in OUTPUT/tensorboard", "run")
    log_every: int = setting(50, "steps between log lines", "run")
    gradient_norms_every: int = setting(
        0, "steps between gradient norms per term in the log; 0: never", "run"
    )


@dataclass
class StudentSettings(Checked):
    """Which student, and what it starts from."""

    student: str = setting(
        "auto",
        "layers x width (4x312), full form layers x width x feed-forward x heads "
        "(4x312x1200x12), a name (tinybert-4), or a student's directory; auto: follows from the "
        "teacher and the data, and says why",
        "student",
    )
    start: Start = setting(
        "auto",
        "pca, layers or random (the paper's); auto: pca where the architecture allows it, else "
        "layers at the teacher's width, else random",
        "student",
    )
    layer_mapping: str = setting(
        "uniform", "g(m): uniform (the paper's), top, bottom, or a list such as 2,4,6", "student"
    )
    dropout: float | None = setting(
        None, "dropout of the student while it trains; default: the teacher's", "student"
    )
    shared_projection: bool = setting(
        True, "one W_h for all layers (the paper's formula) or one a layer", "student"
    )


@dataclass
class LossSettings(Checked):
    """Weights of the intermediate terms."""

    attention_weight: str = setting(
        "1", "λ of attention scores: one number, or one a layer (1,1,0.5,0)", "losses"
    )
    hidden_weight: str = setting("1", "λ of hidden states: one number, or one a layer", "losses")
    embedding_weight: float = setting(1.0, "λ of the embedding output", "losses")


@dataclass
class RowSettings(Checked):
    """How rows are read."""

    text: str | None = setting(
        None, "text column, or two with a comma; default: guessed and told", "data"
    )
    label: str | None = setting(None, "label column; default: guessed and told", "data")
    metric: str | None = setting(
        None, "accuracy, f1, macro_f1, mcc, pearson, spearman, pearson_spearman", "data"
    )
    max_length: int = setting(128, "tokens a row, specials included (paper: 64, pairs 128)", "data")


@dataclass
class DataSettings(RowSettings):
    """Task rows to learn from."""

    data: str | None = setting(
        None,
        "training rows: a file (CSV, TSV, JSONL, Parquet; .gz, .zst, .xz, .bz2), a directory of "
        "them, or a Hub dataset (owner/name, owner/name:config); for a GLUE task the directory of "
        "its files",
        "data",
    )
    dev: str | None = setting(
        None, "rows to choose the model on; default: the data's own, or split off", "data"
    )
    test: str | None = setting(
        None, "rows to report on; default: the data's own, or a half of the dev rows", "data"
    )
    dev_share: float = setting(
        0.1, "share of the training rows to split off where there are no dev rows", "data"
    )
    task: str = setting(
        "auto",
        "classification or regression (auto: read from the labels), or a GLUE task: cola, sst-2, "
        "mrpc, sts-b, qqp, mnli, qnli, rte, wnli",
        "data",
    )
    labels: str | None = setting(
        None, "names of the classes, in the order of their numbers: negative,positive", "data"
    )
    rows: int | None = setting(None, "train on so many rows at most, drawn by the seed", "data")


@dataclass
class GeneralSettings(LossSettings, StudentSettings, RunSettings):
    """General distillation: a student learns the teacher's states on raw text, without labels."""

    teacher: str | None = setting(None, "encoder to learn from: directory or Hub name")
    corpus: list[str] = setting([], "text files (.txt, .gz, .xz), one paragraph a line")
    max_length: int = setting(128, "tokens a block, specials included", "training")
    epochs: float = setting(3.0, "passes over the corpus", "training")
    steps: int | None = setting(None, "optimiser steps, instead of epochs", "training")
    batch_size: int = setting(256, "blocks an optimiser step", "training")
    learning_rate: float = setting(1e-4, "peak learning rate", "training")
    warmup: float = setting(0.1, "share of the steps with rising learning rate", "training")
    held_out: int = setting(256, "blocks kept back to watch the loss", "training")


@dataclass
class FinetuneSettings(DataSettings, RunSettings):
    """Plain fine-tuning of an encoder on labels: makes teachers, and is the control."""

    model: str | None = setting(
        None, "encoder (a classifier's head is made anew): directory or Hub name"
    )
    epochs: float = setting(3.0, "passes over the rows", "training")
    steps: int | None = setting(None, "optimiser steps, instead of epochs", "training")
    batch_size: int = setting(32, "rows an optimiser step", "training")
    learning_rate: float = setting(3e-5, "peak learning rate", "training")
    warmup: float = setting(0.1, "share of the steps with rising learning rate", "training")
    evaluations: int = setting(1, "evaluations an epoch", "training")


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
    latency_length: int = setting(128, "tokens a row where latency is measured", "size")
    latency_batch: int = setting(1, "rows where latency is measured", "size")


@dataclass
class DistillSettings(SizeSettings, LossSettings, StudentSettings, DataSettings, RunSettings):
    """Task distillation: intermediate layers first, then the prediction layer."""

    teacher: str | None = setting(
        None,
        "model to learn from: directory or Hub name; a plain encoder is fine-tuned on the data "
        "first, and kept in OUTPUT-teacher",
    )
    teacher_labels: str | None = setting(
        None,
        "what the teacher's outputs stand for, in their order, where its names say "
        "nothing or lie: c,a,b",
        "data",
    )
    teacher_epochs: float = setting(3.0, "passes to fine-tune a plain encoder", "training")
    teacher_learning_rate: float = setting(3e-5, "to fine-tune a plain encoder", "training")
    controls: bool = setting(
        False,
        "also train the same start on labels alone and on logits alone, for as many steps at the "
        "prediction stage's learning rate",
        "training",
    )
    intermediate_epochs: float | None = setting(
        None,
        "passes of the intermediate stage; default: 20, the paper's, fewer for more than 50,000 "
        "rows; in a GLUE task what the paper takes for it",
        "training",
    )
    prediction_epochs: float = setting(3.0, "passes of the prediction stage", "training")
    intermediate_learning_rate: float = setting(5e-5, "of the intermediate stage", "training")
    prediction_learning_rate: float = setting(3e-5, "of the prediction stage", "training")
    batch_size: int = setting(32, "rows an optimiser step", "training")
    warmup: float = setting(0.1, "share of the steps with rising learning rate", "training")
    temperature: float = setting(1.0, "of the prediction loss", "losses")
    head: Literal["teacher", "random"] = setting(
        "random",
        "the head that the prediction stage starts from: random, the one the student carries (the "
        "paper's), or the teacher's, read through W_h",
        "student",
    )
    evaluations: int = setting(1, "evaluations an epoch of the prediction stage", "training")


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
    tasks: list[str] = setting([], "GLUE tasks; default: those whose files are there", "data")
    seeds: int = setting(3, "runs a task, seeded from --seed on", "run")
    controls: bool = setting(
        True,
        "also train the same start on labels alone and on logits alone, for as many steps at the "
        "prediction stage's learning rate",
        "training",
    )


@dataclass
class EvaluateSettings(RowSettings):
    """Score a classifier or regressor on labelled rows."""

    model: str | None = setting(None, "model directory")
    data: str | None = setting(
        None,
        "rows to score: a file, directory or Hub dataset; with --task the directory of GLUE's "
        "files, or a Hub dataset (default: nyu-mll/glue)",
        "main",
    )
    task: str | None = setting(
        None, "GLUE task whose official dev set is scored, MNLI's two parts apart", "main"
    )
    teacher: str | None = setting(None, "also report agreement with this model", "main")
    json: Path | None = setting(None, "write the figures to this file", "main")


@dataclass
class DemoSettings(RunSettings):
    """The embedded default: which part of the standard library does this sentence come from?"""

    output: Path | None = setting(
        Path("tinybert-demo"), "directory to write; appears only when it is whole"
    )
    student: str = setting("4x192", "shape of the student", "student")
    controls: bool = setting(True, "also train the controls of the table", "training")
    seeds: int = setting(
        1, "train student and controls with that many seeds; the table shows mean and spread"
    )
    scale: float = setting(
        1.0, "share of all training steps; 0.05 is a quick look, not a result", "training"
    )


@dataclass
class ConvertSettings(Checked):
    """Turn a checkpoint of the TinyBERT authors' code into a Hugging Face directory."""

    model: Path | None = setting(
        None, "directory with pytorch_model.bin, config.json or bert_config.json, and vocab.txt"
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    labels: str | None = setting(
        None,
        "names of the classifier's outputs, in their order: negative,positive; default: the "
        "configuration's own, else LABEL_0, LABEL_1, …",
    )
    head: Literal["auto", "relu", "tanh"] = setting(
        "auto",
        "what the classifier reads: relu of the pooler's output (the authors' task models), or the "
        "output itself (tanh, the standard head); auto: relu, unless the configuration names the "
        "standard class",
    )
    vocab: Path | None = setting(None, "vocabulary, one piece a line; default: MODEL/vocab.txt")
    lower_case: bool | None = setting(
        None, "lower-case all text; default: if no piece of the vocabulary has a capital"
    )
    overwrite: bool = setting(False, "replace the output directory", "run")
    dry_run: bool = setting(False, "read and check everything, write nothing", "run")


@dataclass
class PredictSettings(RowSettings):
    """Answer rows, which need no labels, or GLUE's official test sets."""

    model: str | None = setting(None, "classifier or regressor: directory or Hub name", "main")
    data: str | None = setting(
        None,
        "rows to answer: a file, directory or Hub dataset; with --task the directory of GLUE's "
        "files, or a Hub dataset (default: nyu-mll/glue)",
        "main",
    )
    output: Path | None = setting(
        None,
        "file of predictions (.jsonl, .csv, .parquet); with --task a directory, which may hold the "
        "files of other tasks",
        "main",
    )
    task: str | None = setting(
        None,
        "GLUE task whose test sets are answered, in the leaderboard's format: cola, sst-2, mrpc, "
        "sts-b, qqp, mnli, qnli, rte, wnli",
        "main",
    )
    label: str | None = setting(
        None, "label column, to score the predictions as well; default: none", "data"
    )
    overwrite: bool = setting(False, "replace what is at OUTPUT", "run")
