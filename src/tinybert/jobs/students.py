"""The student of a job: its shape, its start, and the directory that the first stage takes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.alignment import teacher_rows
from tinybert.attention_transfer import attention_transfer, chosen_transfer
from tinybert.batching import TrainingRows
from tinybert.errors import TinybertError
from tinybert.jobs.rows import calibration
from tinybert.mapping import layer_mapping, shown
from tinybert.objectives import (
    AttentionTransfer,
    Objective,
    Weight,
    head_by_head,
    intermediate_objective,
)
from tinybert.projections import PROJECTIONS_FILE, Projections
from tinybert.settings import LossSettings, StudentSettings
from tinybert.stages import Run, save_student
from tinybert.student_tokenizer import with_vocabulary
from tinybert.students import check_start, parse_shape, shape_of, start_student
from tinybert.students.heads import reorder_outputs
from tinybert.students.shapes import Shape
from tinybert.teachers import (
    Teacher,
    aligned_labels,
    check_fits,
    fingerprint,
    has_head,
    head_labels,
    label_names,
    load_encoder,
    load_tokenizer,
    set_labels,
    tokenizers_agree,
)


def resolve_start(start: str, teacher: PreTrainedModel, shape: Shape) -> tuple[str, str]:
    """The start that ``auto`` means for this teacher and shape, and why."""
    if start != "auto":
        return start, "as asked"
    if shape.hidden > teacher.config.hidden_size:
        return "pca", "no start serves a student wider than its teacher"  # and pca says so
    for possible, why in (
        ("pca", "the nearest to the teacher's states before any training"),
        ("layers", "the student is as wide as its teacher"),
    ):
        try:
            check_start(possible, teacher, shape)
        except TinybertError:
            continue
        return possible, why
    return "random", "neither pca nor layers serves this architecture, width and number of heads"


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
    settings: Any,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    own: PreTrainedTokenizerBase | None = None,
) -> str:
    """Fail before the run on a student that fits neither teacher nor objective; returns its shape.

    ``settings`` has the fields of :class:`StudentSettings` and :class:`LossSettings`; ``own`` is
    the student's tokenizer where it is another one.
    """
    weights = loss_weights(settings)
    given = Path(settings.student)
    if given.is_dir():
        config = load_encoder(given).config
        _check_given(given, config, teacher, tokenizer, own)
        shape = shape_of(config)
    else:
        if "/" in settings.student or settings.student.startswith("."):
            raise TinybertError(f"there is no student directory {settings.student}.")
        shape = parse_shape(settings.student, teacher.config)
        check_start(resolve_start(settings.start, teacher, shape)[0], teacher, shape)
    mapping = layer_mapping(settings.layer_mapping, shape.layers, teacher.config.num_hidden_layers)
    transfer, _ = _transfer(settings, weights, teacher.config, shape)
    intermediate_objective(mapping, transfer=transfer, **weights)
    return str(shape)


def _transfer(
    settings: LossSettings, weights: dict[str, Any], teacher: Any, shape: Shape
) -> tuple[AttentionTransfer, str]:
    """How attention is compared, and a sentence on it where it is not the paper's way."""
    if not uses_attention(weights):
        return head_by_head, ""
    theirs = shape_of(teacher)
    widths = theirs.hidden, shape.hidden
    chosen, why = chosen_transfer(settings.attention_transfer, theirs.heads, shape.heads, widths)
    said = "" if chosen == "heads" else f"attention is compared by {chosen} ({why})"
    return attention_transfer(chosen, widths), said


def speak_labels(model: PreTrainedModel, labels: Sequence[str]) -> None:
    """Put a classifier's outputs into the order of ``labels``."""
    own = label_names(model.config)
    with torch.no_grad():
        reorder_outputs(model, aligned_labels(own, labels))
    set_labels(model, labels)


def uses_attention(weights: dict[str, Any]) -> bool:
    """Whether any layer's attention scores are compared."""
    attention = weights["attention"]
    return any(attention) if isinstance(attention, list) else attention != 0


def student_print(settings: StudentSettings) -> dict[str, str]:
    """The fingerprint of a given student, head and projections included; nothing for a shape."""
    given = Path(settings.student)
    if not given.is_dir():
        return {}
    names = head_labels(given) if has_head(given) else None
    model = load_encoder(given, labels=names, regression=names is not None and len(names) == 1)
    file = given / PROJECTIONS_FILE
    projections = hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""
    return {"student weights": f"{fingerprint(model)} {projections}".strip()}


@dataclass
class Begun:
    """A student's first directory, its mapping and the objective of its intermediate stages."""

    directory: Path
    mapping: tuple[int, ...]
    objective: Objective
    config: Any
    start: str = "given"  # or the start that it was made by


def begin_student(
    run: Run,
    settings: Any,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TrainingRows,
    name: str = "start",
    labels: Sequence[str] | None = None,
    own: PreTrainedTokenizerBase | None = None,
) -> Begun:
    """The directory that the first stage takes: a given student, or one started from the teacher.

    ``settings`` has the fields of :class:`StudentSettings` and :class:`LossSettings`. ``labels``
    are the data's (one for regression): a head that starts from the teacher's, or that a given
    student has, is put into their order; a head for others is made anew. ``own`` is the student's
    tokenizer where it is another one than the teacher's, ``tokenizer``: it is started with the
    teacher's vocabulary, on the teacher's tokens, and its embeddings are then carried over.
    """
    student: StudentSettings = settings
    weights = loss_weights(settings)
    given = Path(student.student)
    if given.is_dir():
        if student.start != "auto":
            raise TinybertError(
                f"{given} is a student already: leave out --start, or name a shape instead."
            )
        return _given_student(run, given, settings, weights, teacher, tokenizer, labels, own)
    shape = parse_shape(student.student, teacher.config)
    start, why = resolve_start(student.start, teacher, shape)
    mapping = layer_mapping(student.layer_mapping, shape.layers, teacher.config.num_hidden_layers)
    transfer, said = _transfer(settings, weights, teacher.config, shape)
    objective = intermediate_objective(mapping, transfer=transfer, **weights)
    config = shape.config(teacher.config)
    check_fits(teacher.config, config)
    run.reporter.say(f"student {shape} ({start} start: {why}), layer mapping {shown(mapping)}")
    if said:
        run.reporter.say(said)

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
            calibration=calibration(teacher_rows(rows), run.seed),
            seed=run.seed,
        )
        if labels and len(labels) > 1:
            speak_labels(model, labels)
        if own is not None:
            model, _ = with_vocabulary(model, tokenizer, own)
        save_student(directory, model, own or tokenizer, projections)

    if own is not None:
        config = copy.copy(config)
        config.vocab_size = len(own)
    return Begun(run.made(name, make), mapping, objective, config, start)


def _given_student(
    run: Run,
    given: Path,
    settings: Any,
    weights: dict[str, Any],
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str] | None,
    own: PreTrainedTokenizerBase | None,
) -> Begun:
    config = load_encoder(given).config
    _check_given(given, config, teacher, tokenizer, own)
    carried = load_tokenizer(given)
    moved = own is not None and not tokenizers_agree(carried, own)
    layers = config.num_hidden_layers
    mapping = layer_mapping(settings.layer_mapping, layers, teacher.config.num_hidden_layers)
    transfer, said = _transfer(settings, weights, teacher.config, shape_of(config))
    if said:
        run.reporter.say(said)
    objective = intermediate_objective(mapping, transfer=transfer, **weights)
    projected = (given / PROJECTIONS_FILE).is_file()
    if not projected:
        run.reporter.say(f"{given} has no projections: they start at random")
    names = head_labels(given) if has_head(given) else None
    ready = projected and (names is None or labels is None or tuple(names) == tuple(labels))
    if ready and not moved:
        return Begun(given, mapping, objective, config)
    fits = names is not None and (labels is None or _same_labels(names, labels))
    if names is not None and not fits:
        run.reporter.say(
            f"{given} has a head for other labels ({', '.join(names[:10])}): it gets a new one"
        )

    def make(directory: Path) -> None:
        model = load_encoder(
            given,
            labels=names if fits else None,
            regression=names is not None and fits and len(names) == 1,
        )
        if fits and labels and len(labels) > 1:
            speak_labels(model, labels)
        if projected:
            projections = Projections.load(given)
        else:
            torch.manual_seed(run.seed)
            projections = Projections(
                config.hidden_size,
                teacher.config.hidden_size,
                layers,
                shared=settings.shared_projection,
            )
        if moved and own is not None:
            model, _ = with_vocabulary(model, carried, own)
        save_student(directory, model, own or tokenizer, projections)

    if moved and own is not None:
        config = copy.copy(config)
        config.vocab_size = len(own)
    return Begun(run.made("start", make), mapping, objective, config)


def _same_labels(own: Sequence[str], labels: Sequence[str]) -> bool:
    if len(own) == len(labels) == 1:  # one value, whatever it is called
        return True
    try:
        aligned_labels(own, labels)
    except TinybertError:
        return False
    return True


def _check_given(
    given: Path,
    config: Any,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    own: PreTrainedTokenizerBase | None,
) -> None:
    carried = load_tokenizer(given)
    if own is None and not tokenizers_agree(carried, tokenizer):
        raise TinybertError(
            f"{given} and the teacher have tokenizers that differ, and here their tokens are "
            "compared one by one: start the student from this teacher, or go on with `tinybert "
            "distill`, which compares spans of text."
        )
    if own is None:
        check_fits(teacher.config, config)
    elif len(carried) > config.vocab_size:
        raise TinybertError(
            f"{given} has a tokenizer of {len(carried):,} pieces and embeddings for "
            f"{config.vocab_size:,}: put the tokenizer beside it that belongs to it."
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
    rows: TrainingRows,
    batch_size: int,
) -> Teacher:
    """``model`` as this run's teacher, in the precision that the run chose."""
    probe = load_encoder(student)
    cast(torch.nn.Module, probe).to(run.device)
    choices = run.choices(probe, rows, batch_size)
    dtype = getattr(torch, choices.teacher_precision)
    return Teacher(model, tokenizer, dtype=dtype, device=run.device)
