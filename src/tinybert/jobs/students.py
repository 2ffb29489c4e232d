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
from tinybert.attention_transfer import attention_transfer, chosen_transfer, shared_windows
from tinybert.batching import TrainingRows
from tinybert.ensemble import Ensemble
from tinybert.errors import TinybertError
from tinybert.jobs.rows import calibration
from tinybert.mapping import layer_mapping, shown
from tinybert.measure.latency import check_length, longest_input
from tinybert.objectives import Objective, Weight, intermediate_objective
from tinybert.projections import PROJECTIONS_FILE, Projections
from tinybert.settings import LossSettings, StudentSettings
from tinybert.stages import Run, save_student
from tinybert.student_tokenizer import with_vocabulary
from tinybert.students import check_start, parse_shape, shape_of, start_student
from tinybert.students.encoders import limits
from tinybert.students.heads import reorder_outputs
from tinybert.students.shapes import Shape, attention_width, attention_windows
from tinybert.taps import shows_attention
from tinybert.task_heads import Answering
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
    load_with_own_head,
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
    length: int | None = None,
) -> str:
    """Fail before the run on a student that fits neither teacher nor objective; returns its shape.

    ``settings`` has the fields of :class:`StudentSettings` and :class:`LossSettings`; ``own`` is
    the student's tokenizer where it is another one; ``length`` is that of the longest row, in
    tokens, which a given student has to take.
    """
    weights = loss_weights(settings)
    given = Path(settings.student)
    student = teacher
    if given.is_dir():
        student = load_encoder(given)
        config = student.config
        _check_given(given, config, teacher, tokenizer, own)
        if length is not None:
            check_length(student, length, f"the student {given}")
        shape = shape_of(config)
        mapping = _mapping(settings, shape, teacher)
    else:
        if "/" in settings.student or settings.student.startswith("."):
            raise TinybertError(f"there is no student directory {settings.student}.")
        shape = parse_shape(settings.student, teacher.config)
        check_start(resolve_start(settings.start, teacher, shape)[0], teacher, shape)
        mapping = _mapping(settings, shape, teacher)
        config = shape.config(teacher.config, mapping)
    objective, _ = _objective(settings, weights, mapping, teacher, student, config)
    if own is not None and objective.windows:
        raise TinybertError(
            f"attention in sliding windows ({config.model_type}) cannot be compared between two "
            "tokenizers, whose windows hold other text: leave it out with --attention-weight 0."
        )
    return str(shape)


def _mapping(settings: Any, shape: Shape, teacher: PreTrainedModel) -> tuple[int, ...]:
    return layer_mapping(settings.layer_mapping, shape.layers, teacher.config.num_hidden_layers)


def longest_of_both(student: str, teacher: PreTrainedModel) -> int | None:
    """Tokens that the teacher and a given student (a directory) both have positions for; None where
    nothing bounds them."""
    models = [teacher, *([load_encoder(student)] if Path(student).is_dir() else [])]
    return min(filter(None, map(longest_input, models)), default=None)


def _objective(
    settings: LossSettings,
    weights: dict[str, Any],
    mapping: Sequence[int],
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    config: Any,
) -> tuple[Objective, str]:
    """What the intermediate stages minimise; and a sentence where that is not the paper's whole.

    ``student`` is a model of the student's kind, ``config`` the student's own configuration.
    """
    if not uses_attention(weights):
        return intermediate_objective(mapping, **weights), ""
    if hidden := [m.config.model_type for m in (teacher, student) if not shows_attention(m)]:
        return _without_attention(settings, weights, mapping, hidden[0])
    heads = shape_of(teacher.config).heads, shape_of(config).heads
    widths = attention_width(teacher.config), attention_width(config)
    theirs, ours = attention_windows(teacher.config), attention_windows(config)
    windows = shared_windows(ours, theirs, mapping)
    chosen, why = chosen_transfer(settings.attention_transfer, *heads, widths, bool(windows))
    said = [] if chosen == "heads" else [f"attention is compared by {chosen} ({why})"]
    if windows and chosen != "relations":
        layers = ", ".join(map(str, windows))
        said.append(f"student layers {layers}: scores are compared within their sliding windows")
    transfer = attention_transfer(chosen, widths, windows)
    return intermediate_objective(mapping, transfer=transfer, **weights), "; ".join(said)


def _without_attention(
    settings: LossSettings, weights: dict[str, Any], mapping: Sequence[int], kind: str
) -> tuple[Objective, str]:
    """The other losses, of an encoder whose attention cannot be read."""
    own = f"{kind} computes attention in its own way"
    if settings.attention_transfer != "auto":
        raise TinybertError(
            f"{own}, so its scores cannot be read and --attention-transfer "
            f"{settings.attention_transfer} cannot be had: leave it out, hidden states, embedding "
            "output and logits are distilled without it."
        )
    hidden = weights["hidden"]
    if getattr(settings, "intermediate_epochs", None) == 0:  # nothing reads the objective
        return intermediate_objective(mapping, attention=0.0), ""
    if not (any(hidden) if isinstance(hidden, list) else hidden) and not weights["embedding"]:
        raise TinybertError(
            f"{own}, so its scores cannot be read, and the weights of all other losses are 0: give "
            "--hidden-weight or --embedding-weight, or leave the intermediate stage out "
            "(--intermediate-epochs 0) and distil the logits alone."
        )
    objective = intermediate_objective(mapping, **weights | {"attention": 0.0})
    return objective, (
        f"{own}: attention scores are not distilled, hidden states and embedding output are"
    )


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
    model = load_with_own_head(given)
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
    answering: Answering = "rows",
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
        return _given_student(
            run, given, settings, weights, teacher, tokenizer, labels, answering, own
        )
    shape = parse_shape(student.student, teacher.config)
    start, why = resolve_start(student.start, teacher, shape)
    mapping = _mapping(student, shape, teacher)
    config = shape.config(teacher.config, mapping)
    objective, said = _objective(settings, weights, mapping, teacher, teacher, config)
    check_fits(teacher.config, config)
    run.reporter.say(f"student {shape} ({start} start: {why}), layer mapping {shown(mapping)}")
    sees_all = [m not in attention_windows(config) for m in range(1, shape.layers + 1)]
    for sentence in [said, *limits(teacher, sees_all)]:
        if sentence:
            run.reporter.say(sentence)

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
    answering: Answering = "rows",
    own: PreTrainedTokenizerBase | None = None,
) -> Begun:
    body = load_encoder(given)
    config = body.config
    _check_given(given, config, teacher, tokenizer, own)
    carried = load_tokenizer(given)
    moved = own is not None and not tokenizers_agree(carried, own)
    layers = config.num_hidden_layers
    mapping = layer_mapping(settings.layer_mapping, layers, teacher.config.num_hidden_layers)
    objective, said = _objective(settings, weights, mapping, teacher, body, config)
    if said:
        run.reporter.say(said)
    projected = (given / PROJECTIONS_FILE).is_file()
    if not projected:
        run.reporter.say(f"{given} has no projections: they start at random")
    names = head_labels(given) if has_head(given, answering) else None
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
            regression=answering == "rows" and names is not None and fits and len(names) == 1,
            answering=answering,
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
    others: Sequence[PreTrainedModel] = (),
    temperature: float = 1.0,
    answering: Answering = "rows",
) -> Teacher:
    """``model`` as this run's teacher, in the precision that the run chose; ``others`` answer with
    it, see :class:`~tinybert.ensemble.Ensemble`."""
    probe = load_encoder(student)
    cast(torch.nn.Module, probe).to(run.device)
    choices = run.choices(probe, rows, batch_size, (model, *others))
    dtype = getattr(torch, choices.teacher_precision)
    first, *further = (
        Teacher(each, tokenizer, dtype=dtype, device=run.device) for each in (model, *others)
    )
    if not further:
        return first
    values = answering == "rows" and model.config.num_labels == 1
    return Ensemble(
        first, further, answering="values" if values else answering, temperature=temperature
    )
