"""What the jobs share: opening a run, reading task rows, making the student's first directory."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from tinybert import __version__
from tinybert.batching import TokenRows, length_batches, tokenize
from tinybert.errors import TinybertError
from tinybert.mapping import layer_mapping, shown
from tinybert.measure import flops, parameters
from tinybert.objectives import Objective, Weight, intermediate_objective
from tinybert.progress import Reporter
from tinybert.projections import PROJECTIONS_FILE, Projections
from tinybert.settings import DataSettings, LossSettings, RunSettings, StudentSettings
from tinybert.stages import Run, save_student
from tinybert.students import check_start, parse_shape, shape_of, start_student
from tinybert.students.heads import reorder_outputs
from tinybert.students.shapes import Shape
from tinybert.tasks.files import read_task
from tinybert.tasks.task import Rows, Task
from tinybert.teachers import (
    Teacher,
    aligned_labels,
    check_fits,
    fingerprint,
    label_names,
    load_encoder,
    load_tokenizer,
    tokenizers_agree,
)

CALIBRATION_TOKENS = 16384


def required(value: Any, flag: str, what: str) -> Any:
    """The value of a setting that has no default."""
    if value is None or value == [] or value == "":
        raise TinybertError(f"{what} is missing: give it with {flag}.")
    return value


def open_run(
    settings: RunSettings,
    reporter: Reporter,
    inputs: Mapping[str, str] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """The run of these settings; what only says how to run is no part of its identity.

    ``inputs`` are fingerprints of what is read: a file changed under the same name is another run.
    """
    plain = asdict(settings)
    for name in ("resume", "overwrite", "dry_run", "output", "log_every", "tensorboard"):
        plain.pop(name, None)
    plain |= inputs or {}
    return Run(
        Path(required(settings.output, "--output", "the output directory")),
        plain,
        reporter,
        seed=settings.seed,
        resume=settings.resume,
        overwrite=settings.overwrite,
        precision=settings.precision,
        teacher_precision=settings.teacher_precision,
        attention=settings.attention,
        tensorboard=settings.tensorboard,
        callbacks=callbacks,
    )


@dataclass
class TaskRows:
    """A task's rows as tokens: trained on, chosen on, reported on."""

    task: Task
    train: TokenRows
    dev: TokenRows
    test: TokenRows
    raw: dict[str, Rows]

    def fingerprint(self) -> str:
        """Of all three parts."""
        return " ".join(part.fingerprint() for part in (self.train, self.dev, self.test))


def halves(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Two seeded halves: the model is chosen on one and reported on the other."""
    if len(rows) < 2:
        raise TinybertError(
            "only one row is left to choose and to report on: give more rows, or a larger --dev."
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    middle = len(rows) // 2
    return rows.take(np.sort(order[:middle])), rows.take(np.sort(order[middle:]))


def task_rows(
    settings: DataSettings, tokenizer: PreTrainedTokenizerBase, reporter: Reporter, seed: int
) -> TaskRows:
    """Read, check and tokenize the rows that the settings name."""
    data = read_task(
        required(settings.data, "--data", "the training file"),
        settings.dev,
        text=settings.text,
        label=settings.label,
        kind=None if settings.task == "auto" else settings.task,
        metric=settings.metric,
        seed=seed,
    )
    for note in data.notes:
        reporter.say(note)
    test = data.test
    dev = data.dev
    if test is None:
        dev, test = halves(dev, seed)
        reporter.say(
            f"the model is chosen on {len(dev)} of the dev rows and reported on the other "
            f"{len(test)}"
        )
    return tokenized(data.task, data.train, dev, test, tokenizer, settings.max_length)


def tokenized(
    task: Task,
    train: Rows,
    dev: Rows,
    test: Rows,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> TaskRows:
    """Token rows of a task's three parts."""
    parts = {
        name: tokenize(tokenizer, rows.texts, max_length, rows.labels)
        for name, rows in (("train", train), ("dev", dev), ("test", test))
    }
    return TaskRows(task, raw={"train": train, "dev": dev, "test": test}, **parts)


def calibration(rows: TokenRows, seed: int) -> list[dict[str, Tensor]]:
    """A few thousand tokens of the training rows, for the PCA start."""
    order = np.random.default_rng(seed).permutation(len(rows))
    count = int(np.searchsorted(np.cumsum(rows.lengths[order]), CALIBRATION_TOKENS)) + 1
    few = rows.take(order[:count])
    few.labels = few.targets = None
    return [few.batch(indices) for indices in length_batches(few)]


def resolve_start(start: str, teacher: PreTrainedModel, shape: Shape) -> tuple[str, str]:
    """The start that ``auto`` means for this teacher and shape, and why."""
    if start != "auto":
        return start, "as asked"
    if shape.hidden > teacher.config.hidden_size:
        return "pca", "no start serves a student wider than its teacher"  # and pca says so
    try:
        check_start("pca", teacher, shape)
    except TinybertError:
        if shape.hidden == teacher.config.hidden_size:
            return "layers", "the student is as wide as its teacher"
        return "random", "pca does not serve this architecture, and layers no narrower student"
    return "pca", "the nearest to the teacher's states before any training"


def loss_weights(settings: LossSettings) -> dict[str, Any]:
    """Weights as numbers, for :func:`tinybert.objectives.intermediate_objective`."""

    def parse(text: str, flag: str) -> Weight:
        try:
            numbers = [float(part) for part in str(text).split(",")]
        except ValueError:
            raise TinybertError(
                f"{flag} {text}: give one number, or one a layer with commas."
            ) from None
        return numbers[0] if len(numbers) == 1 else numbers

    return {
        "attention": parse(settings.attention_weight, "--attention-weight"),
        "hidden": parse(settings.hidden_weight, "--hidden-weight"),
        "embedding": settings.embedding_weight,
    }


def check_student(
    settings: Any, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> str:
    """Fail before the run on a student that fits neither teacher nor objective; returns its shape.

    ``settings`` has the fields of :class:`StudentSettings` and :class:`LossSettings`.
    """
    weights = loss_weights(settings)
    given = Path(settings.student)
    if given.is_dir():
        config = load_encoder(given).config
        _check_given(given, config, weights, teacher, tokenizer)
        shape = shape_of(config)
    else:
        if "/" in settings.student or settings.student.startswith("."):
            raise TinybertError(f"there is no student directory {settings.student}.")
        attention = uses_attention(weights)
        shape = parse_shape(settings.student, teacher.config, equal_heads=attention)
        check_start(resolve_start(settings.start, teacher, shape)[0], teacher, shape)
    mapping = layer_mapping(settings.layer_mapping, shape.layers, teacher.config.num_hidden_layers)
    intermediate_objective(mapping, **weights)
    return str(shape)


def speak_labels(model: PreTrainedModel, labels: Sequence[str]) -> None:
    """Put a classifier's outputs into the order of ``labels``."""
    own = label_names(model.config)
    with torch.no_grad():
        reorder_outputs(model, aligned_labels(own, labels))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {name: i for i, name in enumerate(labels)}


def uses_attention(weights: dict[str, Any]) -> bool:
    """Whether any layer's attention scores are compared."""
    attention = weights["attention"]
    return any(attention) if isinstance(attention, list) else attention != 0


def student_print(settings: StudentSettings) -> dict[str, str]:
    """The fingerprint of a given student; nothing for a shape."""
    given = Path(settings.student)
    return {"student weights": fingerprint(load_encoder(given))} if given.is_dir() else {}


@dataclass
class Begun:
    """A student's first directory, its mapping and the objective of its intermediate stages."""

    directory: Path
    mapping: tuple[int, ...]
    objective: Objective
    config: Any


def begin_student(
    run: Run,
    settings: Any,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    name: str = "start",
    labels: Sequence[str] | None = None,
) -> Begun:
    """The directory that the first stage takes: a given student, or one started from the teacher.

    ``settings`` has the fields of :class:`StudentSettings` and :class:`LossSettings`. ``labels``
    are the data's: a head that starts from the teacher's is put into their order.
    """
    student: StudentSettings = settings
    weights = loss_weights(settings)
    given = Path(student.student)
    if given.is_dir():
        if student.start != "auto":
            raise TinybertError(
                f"{given} is a student already: leave out --start, or name a shape instead."
            )
        return _given_student(run, given, student, weights, teacher, tokenizer)
    attention = uses_attention(weights)
    shape = parse_shape(student.student, teacher.config, equal_heads=attention)
    start, why = resolve_start(student.start, teacher, shape)
    mapping = layer_mapping(student.layer_mapping, shape.layers, teacher.config.num_hidden_layers)
    objective = intermediate_objective(mapping, **weights)
    config = shape.config(teacher.config)
    check_fits(teacher.config, config, attention=attention)
    run.reporter.say(f"student {shape} ({start} start: {why}), layer mapping {shown(mapping)}")

    def make(directory: Path) -> None:
        torch.manual_seed(run.seed)
        projections = Projections(
            shape.hidden,
            teacher.config.hidden_size,
            shape.layers,
            shared=student.shared_projection,
        )
        model = start_student(
            teacher,
            shape,
            start=start,
            mapping=mapping,
            projections=projections,
            calibration=calibration(rows, run.seed),
            seed=run.seed,
        )
        if labels:
            speak_labels(model, labels)
        save_student(directory, model, tokenizer, projections)

    return Begun(run.made(name, make), mapping, objective, config)


def _given_student(
    run: Run,
    given: Path,
    settings: StudentSettings,
    weights: dict[str, Any],
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Begun:
    model = load_encoder(given)
    config = model.config
    _check_given(given, config, weights, teacher, tokenizer)
    layers = config.num_hidden_layers
    mapping = layer_mapping(settings.layer_mapping, layers, teacher.config.num_hidden_layers)
    objective = intermediate_objective(mapping, **weights)
    if (given / PROJECTIONS_FILE).is_file():
        return Begun(given, mapping, objective, config)
    run.reporter.say(f"{given} has no projections: they start at random")

    def make(directory: Path) -> None:
        torch.manual_seed(run.seed)
        projections = Projections(
            config.hidden_size,
            teacher.config.hidden_size,
            layers,
            shared=settings.shared_projection,
        )
        save_student(directory, model, tokenizer, projections)

    return Begun(run.made("start", make), mapping, objective, config)


def _check_given(
    given: Path,
    config: Any,
    weights: dict[str, Any],
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    check_fits(teacher.config, config, attention=uses_attention(weights))
    if not tokenizers_agree(load_tokenizer(given), tokenizer):
        raise TinybertError(
            f"{given} and the teacher have tokenizers that differ: their tokens cannot be "
            "compared; start the student from this teacher."
        )
    if (given / PROJECTIONS_FILE).is_file():
        held = Projections.load(given)
        if held.teacher_width != teacher.config.hidden_size:
            raise TinybertError(
                f"the projections of {given} lead to width {held.teacher_width}, but the teacher "
                f"has {teacher.config.hidden_size}: it was distilled from another teacher."
            )


def frozen(
    run: Run,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    student: Path,
    rows: TokenRows,
    batch_size: int,
) -> Teacher:
    """``model`` as this run's teacher, in the precision that the run chose."""
    probe = load_encoder(student)
    cast(torch.nn.Module, probe).to(run.device)
    choices = run.choices(probe, rows, batch_size)
    dtype = getattr(torch, choices.teacher_precision)
    return Teacher(model, tokenizer, dtype=dtype, device=run.device)


def described(model: PreTrainedModel, score: float | None) -> dict[str, Any]:
    """A model's figures for ``results.json``."""
    longest = getattr(model.config, "max_position_embeddings", 128)
    return {
        "score": score,
        "parameters": parameters(model),
        "flops_128": flops(model, length=128) if longest >= 128 else None,
        "layers": model.config.num_hidden_layers,
        "hidden": model.config.hidden_size,
    }


def retention(student: float | None, teacher: float | None) -> float | None:
    """The share of the teacher's score that the student keeps; None where that means nothing."""
    if student is None or teacher is None or teacher <= 0 or not np.isfinite(student):
        return None
    return student / teacher


def versions() -> dict[str, str]:
    """Of everything that numbers depend on."""
    return {
        "tinybert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def short_stages(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stage records without their logs."""
    return [{k: v for k, v in record.items() if k != "log"} for record in records]


def plain_settings(settings: Any) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
