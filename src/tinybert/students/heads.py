"""Task heads of a started student: kept from its teacher's and fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from tinybert.students.calibration import model_inputs
from tinybert.students.fits import ridge
from tinybert.students.layouts import getattr_path
from tinybert.students.pca import corrected, strongest

__all__ = ["fit_output", "reorder_outputs", "start_at_mean", "start_heads"]


@dataclass(frozen=True)
class _Head:
    """A dense map, an activation, perhaps a LayerNorm, and an output map."""

    dense: str
    activation: Callable[[Tensor], Tensor]
    out: str = "classifier"
    norm: str = ""


# The first whose dense map both models have (no output map: the bare encoder).
_HEADS = (
    _Head("base_model.pooler.dense", torch.tanh),  # BERT, MobileBERT, NomicBERT
    _Head("base_model.pooler", torch.tanh),  # ALBERT
    _Head("classifier.dense", torch.tanh, "classifier.out_proj"),  # RoBERTa and kin
    _Head("pre_classifier", torch.relu),  # DistilBERT
    _Head("pooler.dense", nn.functional.gelu),  # DeBERTa
    _Head("head.dense", nn.functional.gelu, norm="head.norm"),  # ModernBERT
    _Head("dense", nn.functional.gelu),  # EuroBERT
)
_DROPOUT_PASSES = 4
# Output maps on every token's state: token classification, question answering.
_EVERY_TOKEN = ("classifier", "qa_outputs")
_ANSWERS_EVERY_TOKEN = ("TokenClassification", "QuestionAnswering")


def start_heads(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    axes: Tensor,
    student_top: Tensor,
    teacher_top: Tensor,
    first: Tensor,
) -> None:
    """Start the heads that both models have; other heads keep the values that they have.

    Rows are pooled as the model's own head does it: the first token, or the mean of all. Of a
    pooler (or a classifier's dense layer) the neurons that move the logits most are kept,
    std(activation)·‖w_out‖; their inputs and then the output map start at the teacher's and are
    ridge-corrected to the teacher's values on the calibration rows.

    Args:
        axes: P, (d, d').
        student_top: (tokens, d'), the student's last states at calibration tokens.
        teacher_top: (tokens, d), the teacher's at its last mapped layer.
        first: (tokens,) bool, the first token of each row.
    """
    for head in _HEADS:
        theirs, ours = _linear(teacher, head.dense), _linear(student, head.dense)
        if theirs is not None and ours is not None:
            _start_head(head, student, teacher, axes, student_top, teacher_top, first)
            return
    if any(_linear(model, head.dense) for head in _HEADS for model in (teacher, student)):
        return  # heads of different kinds
    one_a_row = "SequenceClassification" in type(student).__name__
    for path in _EVERY_TOKEN:
        theirs, ours = _linear(teacher, path), _linear(student, path)
        if theirs is not None and ours is not None:
            weight = (theirs.weight.double() @ axes).float()
            if one_a_row:  # MobileBERT without a pooler
                student_top, teacher_top = student_top[first], teacher_top[first]
            _start_output(ours, weight, theirs.bias, student_top, theirs(teacher_top))
            return


def _start_head(
    head: _Head,
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    axes: Tensor,
    student_top: Tensor,
    teacher_top: Tensor,
    first: Tensor,
) -> None:
    theirs, ours = (cast(nn.Linear, _linear(m, head.dense)) for m in (teacher, student))
    their_act, our_act = (_activation(m, head.activation) for m in (teacher, student))
    outs = _linear(teacher, head.out), _linear(student, head.out)
    # A pooler of the body reads the first token always; a head of its own may say otherwise.
    pooling = getattr(teacher.config, "classifier_pooling", "cls")
    late = pooling == "late"  # rows are averaged behind the activation

    def rows(tokens: Tensor) -> Tensor:
        if any(kind in type(student).__name__ for kind in _ANSWERS_EVERY_TOKEN):
            return tokens
        return _means(tokens, first) if pooling in ("mean", "late") else tokens[first]

    source, target = (x if late else rows(x) for x in (teacher_top, student_top))
    wanted = theirs(source)
    spread = their_act(wanted).std(0) if len(source) > 1 else torch.ones_like(wanted[0])
    both = outs[0] is not None and outs[1] is not None
    their_norm, our_norm = (_norm(model, head.norm) for model in (teacher, student))
    if both:
        scale = cast(nn.Linear, outs[0]).weight.norm(dim=0)
        spread = spread * (scale if their_norm is None else scale * their_norm.weight.abs())
    kept = strongest(spread, ours.out_features)
    weight, bias = corrected(theirs, axes, target, wanted)
    ours.weight[: len(kept)] = weight[kept]
    if ours.bias is not None:
        ours.bias[: len(kept)] = bias[kept]
    if their_norm is not None and our_norm is not None:
        our_norm.weight[: len(kept)] = their_norm.weight[kept]
        if our_norm.bias is not None and their_norm.bias is not None:
            our_norm.bias[: len(kept)] = their_norm.bias[kept]
    if not both:
        return

    def features(model: nn.Linear, act: Callable[[Tensor], Tensor], norm: Any, x: Tensor) -> Tensor:
        found = act(model(x))
        found = found if norm is None else norm(found)
        return rows(found) if late else found

    their_out, our_out = cast(nn.Linear, outs[0]), cast(nn.Linear, outs[1])
    _start_output(
        our_out,
        their_out.weight[:, kept],
        their_out.bias,
        features(ours, our_act, our_norm, target),
        their_out(features(theirs, their_act, their_norm, source)),
    )


def _means(tokens: Tensor, first: Tensor) -> Tensor:
    """(rows, width): the mean of each row's tokens; ``first`` marks where rows begin."""
    row = first.long().cumsum(0) - 1
    sums = tokens.new_zeros(int(first.sum()), tokens.shape[1]).index_add_(0, row, tokens)
    return sums / torch.bincount(row).to(sums).unsqueeze(1)


def _norm(model: PreTrainedModel, path: str) -> nn.LayerNorm | None:
    found = getattr_path(model, path) if path else None
    return found if isinstance(found, nn.LayerNorm) else None


def _activation(
    model: PreTrainedModel, usual: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """What stands between a model's dense map and its output map."""
    config = model.config
    if config.model_type == "electra":
        return nn.functional.gelu
    if getattr(config, "pooler_hidden_act", None):  # DeBERTa
        return cast(Callable[[Tensor], Tensor], ACT2FN[config.pooler_hidden_act])
    head = getattr(getattr(model, "head", None), "act", None)  # ModernBERT
    if isinstance(head, nn.Module):
        return head
    own = getattr(getattr(model.base_model, "pooler", None), "activation", None)
    return own if isinstance(own, nn.Module) else usual


def reorder_outputs(student: PreTrainedModel, order: Sequence[int]) -> None:
    """Let output i be what output ``order[i]`` was."""
    for path in (head.out for head in _HEADS):
        linear = _linear(student, path)
        if linear is not None:
            linear.weight.copy_(linear.weight[list(order)])
            linear.bias.copy_(linear.bias[list(order)])
            return


@torch.no_grad()
def fit_output(
    student: PreTrainedModel,
    batches: Sequence[Mapping[str, Tensor]],
    wanted: Tensor,
    seed: int = 0,
) -> None:
    """Start the output map of a student's head at given answers; nothing else is changed.

    The ridge regression of the answers on what reaches the map while it trains, dropout included:
    fitted without, the map leans on directions that dropout fills with noise (on a 4x312 student
    an error of 0.27 of the values' variance became 3.8 in the first training steps). A head
    without a map that is known keeps the values that it has.

    Args:
        batches: rows as model inputs.
        wanted: (rows, outputs), in the order of the batches' rows.
        seed: of the dropout; the global random state stays.
    """
    linear = next(filter(None, (_linear(student, head.out) for head in _HEADS)), None)
    if linear is None:
        return
    features: list[Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].float()))
    was_training = student.training
    student.train(True)
    devices = [student.device] if student.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for _ in range(_DROPOUT_PASSES):
                for batch in batches:
                    student(**model_inputs(batch, student.device))
    finally:
        hook.remove()
        student.train(was_training)
    # Passes of a row side by side: what is held out to choose the ridge by is other rows.
    seen = torch.cat(features).reshape(_DROPOUT_PASSES, len(wanted), -1).transpose(0, 1)
    wanted = wanted.repeat_interleave(_DROPOUT_PASSES, dim=0)
    zero = torch.zeros_like(linear.weight)
    _start_output(linear, zero, torch.zeros_like(linear.bias), seen.flatten(0, 1), wanted)


@torch.no_grad()
def start_at_mean(student: PreTrainedModel, mean: float) -> None:
    """Let a fresh regression head begin at that value."""
    for path in (head.out for head in _HEADS):
        linear = _linear(student, path)
        if linear is not None:
            linear.bias.fill_(mean)
            return


def _start_output(
    linear: nn.Linear, weight: Tensor, bias: Tensor, features: Tensor, wanted: Tensor
) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    correction, shift = ridge(features, wanted - linear(features))
    linear.weight.add_(correction)
    linear.bias.add_(shift)


def _linear(model: PreTrainedModel, path: str) -> nn.Linear | None:
    try:
        found: Any = getattr_path(model, path)
    except AttributeError:
        return None
    return found if isinstance(found, nn.Linear) else None
