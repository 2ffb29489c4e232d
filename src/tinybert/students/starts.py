"""Student starts: ``random``, ``layers`` (copied) and ``pca`` (projected and fitted)."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.projections import Projections
from tinybert.spans import TEACHER, pool_states, span_mask, teacher_inputs
from tinybert.students.calibration import Batches, model_inputs, real
from tinybert.students.heads import reorder_outputs, start_heads
from tinybert.students.layouts import encoder_of
from tinybert.students.pca import start_body, start_projections
from tinybert.students.shapes import Shape, shape_of

__all__ = ["STARTS", "check_start", "fit_heads", "start_student"]

STARTS = ("random", "layers", "pca")
_LAYER = re.compile(r"^(.*?\blayers?)\.(\d+)\.(.*)$")


def start_student(
    teacher_model: PreTrainedModel,
    shape: Shape,
    *,
    start: str,
    mapping: Sequence[int],
    projections: Projections | None = None,
    calibration: Batches | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """A student of ``shape``, started from its teacher.

    ========== ===============================================================================
    random     fresh weights (``initializer_range``), the paper's; projections stay as they are
    layers     embeddings, mapped layers and heads copied; the student is as wide as its teacher
    pca        the teacher's layers on their principal axes, fitted to its states on calibration
               text (:mod:`tinybert.students.pca`); for post-LayerNorm encoders with absolute
               positions
    ========== ===============================================================================

    Args:
        teacher_model: stays as it is: weights, mode and device.
        shape: the student's sizes.
        start: one of :data:`STARTS`.
        mapping: g(1) … g(M), from :func:`tinybert.mapping.layer_mapping`.
        projections: student width → teacher width. ``layers`` starts them at the identity;
            ``pca`` at P with a least-squares correction.
        calibration: for ``pca``: batches of model inputs, about 8,000 to 16,000 tokens (with
            8,192 and 16,384 tokens the relative state error at the top of a 4×312 student was 0.61
            and 0.59).
        seed: of the fresh weights. The caller's random state is left as it was.

    Returns:
        The student: float32, on the CPU, in eval mode.

    Raises:
        TinybertError: unknown start, or one that does not apply to this teacher and shape.
    """
    check_start(start, teacher_model, shape)
    if len(mapping) != shape.layers:
        raise TinybertError(
            f"the layer mapping has {len(mapping)} layers, the student {shape.layers}: give "
            "one for each."
        )
    if start == "pca" and not calibration:
        raise TinybertError("start=pca needs calibration text: give some, or take start=random.")
    config = shape.config(teacher_model.config, mapping)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student: PreTrainedModel = type(teacher_model)(config)
    student.to(torch.float32).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        if start == "layers":
            _copy_layers(student, teacher_model, mapping)
            if projections is not None:
                width = shape.hidden
                projections.set_all(torch.eye(width))
        elif start == "pca":
            _pca(student, teacher_model, mapping, calibration or [], projections)
    return student


@torch.no_grad()
def fit_heads(
    student: PreTrainedModel,
    teacher_model: PreTrainedModel,
    weight: Tensor,
    calibration: Batches,
    order: Sequence[int] | None = None,
) -> None:
    """Start the heads of a student whose states follow its teacher's already.

    After intermediate-layer distillation H_S·W_h is near H_T, so that the teacher's own head, read
    through W_h and ridge-corrected on calibration rows, answers nearly as the teacher does; the
    paper starts the prediction stage from a random head.

    Args:
        student: changed in place; its mode and random states stay as they are.
        weight: W_h of the student's top layer, (teacher width, student width).
        calibration: batches of model inputs; of rows under two tokenizers with their spans, whose
            mean states are then compared.
        order: the teacher's output for each of the student's, where their orders differ.
    """
    was_training, device = student.training, student.device
    student.train(False)
    source = copy.deepcopy(teacher_model)
    source.to(torch.float32).eval()  # type: ignore[arg-type]
    ours = [model_inputs(batch, device) for batch in calibration]
    theirs = [model_inputs(teacher_inputs(batch), device) for batch in calibration]
    spans = [_spans(batch, device) for batch in calibration]

    def top(model: PreTrainedModel, batches: Batches, side: int) -> Tensor:
        states = []
        for batch, pair in zip(batches, spans, strict=True):
            found = model.base_model(**batch).last_hidden_state
            if pair is None:
                states.append(found[real(batch)])
                continue
            mask = span_mask(pair[0])
            states.append(pool_states(found, pair[side], mask.shape[1])[mask])
        return torch.cat(states)

    places = [
        real(batch) if pair is None else span_mask(pair[0])
        for batch, pair in zip(ours, spans, strict=True)
    ]
    axes = weight.detach().to(device, torch.float64)
    start_heads(
        student, source, axes, top(student, ours, 0), top(source, theirs, 1), _first(places)
    )
    if order is not None:
        reorder_outputs(student, order)
    student.train(was_training)


def check_start(start: str, teacher: PreTrainedModel, shape: Shape) -> None:
    """Refuse a start that does not apply to this teacher and shape; names those that do."""
    if start not in STARTS:
        raise TinybertError(f"unknown start {start!r}: choose {', '.join(STARTS)}.")
    shape.config(teacher.config)  # refuses heads that this kind of encoder does not take
    if start == "layers":
        _check_layers(teacher, shape)
    if start == "pca":
        encoder_of(teacher)  # refuses teachers it does not apply to
        _check_pca(teacher, shape)


def _check_layers(teacher: PreTrainedModel, shape: Shape) -> None:
    theirs = shape_of(teacher.config)
    for what, name in (
        ("hidden", "width"),
        ("intermediate", "feed-forward width"),
        ("heads", "heads"),
    ):
        if getattr(theirs, what) != getattr(shape, what):
            raise TinybertError(
                f"start=layers copies whole layers, but the student's {name} is "
                f"{getattr(shape, what)} and the teacher's {getattr(theirs, what)}: take start=pca "
                f"or start=random, or the shape {shape.layers}x{theirs.hidden}."
            )
    groups = getattr(teacher.config, "num_hidden_groups", None) or 1
    if groups > 1:
        raise TinybertError(
            f"start=layers copies one layer for each of the student's, but this "
            f"{teacher.config.model_type} teacher shares {groups} layers among its "
            f"{theirs.layers}: take start=random."
        )


def _check_pca(teacher: PreTrainedModel, shape: Shape) -> None:
    theirs = shape_of(teacher.config)
    if shape.hidden > theirs.hidden:
        raise TinybertError(
            f"start=pca makes students at most as wide as their teacher ({theirs.hidden}), not "
            f"{shape.hidden}: take start=random or a narrower shape."
        )
    if shape.heads > theirs.heads:
        raise TinybertError(
            f"start=pca takes each attention head from one of the teacher's {theirs.heads}, but "
            f"the student has {shape.heads}: take start=random, or {theirs.heads} heads or fewer."
        )

    if teacher.config.model_type == "mpnet" and shape.heads != theirs.heads:
        raise TinybertError(
            "start=pca keeps the bias of relative positions that each of MPNet's heads has, so "
            f"the student needs the teacher's {theirs.heads} heads, not {shape.heads}: take "
            f"start=random, or {theirs.heads} heads."
        )


def _copy_layers(
    student: PreTrainedModel, teacher: PreTrainedModel, mapping: Sequence[int]
) -> None:
    """Copy what has the same name and shape; layer m of the body from layer g(m).

    Layers that share their weights (ALBERT) are copied as one: the student runs it fewer times.
    """
    _copy_state(student.base_model, teacher.base_model, mapping)
    fold_first_norm(student.base_model, teacher.base_model, mapping)
    if student.base_model is not student and teacher.base_model is not teacher:
        prefix = student.base_model_prefix + "."
        given = teacher.state_dict()
        for name, value in student.state_dict().items():
            if not name.startswith(prefix) and name in given and given[name].shape == value.shape:
                value.copy_(given[name])


def _copy_state(student: nn.Module, teacher: nn.Module, mapping: Sequence[int]) -> None:
    given = teacher.state_dict()
    for name, value in student.state_dict().items():
        match = _LAYER.match(name)
        if match:
            name = f"{match[1]}.{mapping[int(match[2])] - 1}.{match[3]}"
        if name in given and given[name].shape == value.shape:
            value.copy_(given[name])


def fold_first_norm(student: nn.Module, teacher: nn.Module, mapping: Sequence[int]) -> None:
    """ModernBERT's first layer has no LayerNorm before attention, since the embeddings end in one.

    A deeper layer that comes to stand there loses its own. Its γ goes into the weights that read
    it, less the scale that the embeddings' LayerNorm gives already: exact where that LayerNorm's γ
    is the same everywhere, and near it elsewhere.
    """
    if student.config.model_type != "modernbert" or mapping[0] == 1:  # type: ignore[union-attr]
        return
    source = teacher.get_submodule(f"layers.{mapping[0] - 1}.attn_norm")
    read = student.get_submodule("layers.0.attn.Wqkv")
    given = student.get_submodule("embeddings.norm")
    gamma = cast(Tensor, source.weight) / cast(Tensor, given.weight).square().mean().sqrt()
    weight = cast(Tensor, read.weight)
    if source.bias is not None and read.bias is not None:
        cast(Tensor, read.bias).add_(weight @ cast(Tensor, source.bias))
    weight.mul_(gamma.to(weight))


def _pca(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    mapping: Sequence[int],
    calibration: Batches,
    projections: Projections | None,
) -> None:
    device = teacher.device
    # A copy: calibration runs in float32 and eval mode, and the teacher keeps its own.
    source = copy.deepcopy(teacher)
    source.to(torch.float32).eval()  # type: ignore[arg-type]
    batches = [model_inputs(batch, device) for batch in calibration]
    student.to(device)  # type: ignore[arg-type]
    axes, ours, theirs = start_body(encoder_of(student), encoder_of(source), mapping, batches)
    if projections is not None:
        held = next(projections.parameters()).device
        projections.to(device)
        start_projections(projections, axes, ours, theirs)
        projections.to(held)
    start_heads(student, source, axes, ours[-1], theirs[-1], _first_tokens(batches))
    student.to("cpu")  # type: ignore[arg-type]


def _spans(batch: Mapping[str, Tensor], device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Spans of the student's and of the teacher's tokens, where a batch has both."""
    if "spans" not in batch:
        return None
    return batch["spans"].to(device), batch[f"{TEACHER}spans"].to(device)


def _first_tokens(batches: Batches) -> Tensor:
    """(tokens,) bool over the real tokens of all rows: the first of each row."""
    return _first([real(batch) for batch in batches])


def _first(masks: Sequence[Tensor]) -> Tensor:
    """(real places,) bool over all rows: the first real place of each row."""
    flags = []
    for mask in masks:
        first = torch.zeros_like(mask)
        first[torch.arange(len(mask), device=mask.device), mask.int().argmax(1)] = True
        flags.append(first[mask])
    return torch.cat(flags)
