"""Task heads of a started student: kept from its teacher's and fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinybert.students.fits import ridge
from tinybert.students.layouts import getattr_path
from tinybert.students.pca import corrected, strongest

__all__ = ["reorder_outputs", "start_at_mean", "start_heads"]

# Dense map on the first token's state, activation, output map (None: no output map).
_FIRST_TOKEN: tuple[tuple[str, Callable[[Tensor], Tensor], str], ...] = (
    ("base_model.pooler.dense", torch.tanh, "classifier"),  # BERT
    ("classifier.dense", torch.tanh, "classifier.out_proj"),  # RoBERTa and kin
    ("pre_classifier", torch.relu, "classifier"),  # DistilBERT
)
# Output maps on every token's state: token classification, question answering.
_EVERY_TOKEN = ("classifier", "qa_outputs")


def start_heads(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    axes: Tensor,
    student_top: Tensor,
    teacher_top: Tensor,
    first: Tensor,
) -> None:
    """Start the heads that both models have; other heads keep their fresh values.

    Of a pooler (or a classifier's dense layer) the neurons that move the logits most are kept,
    std(activation)·‖w_out‖; their inputs and then the output map start at the teacher's and are
    ridge-corrected to the teacher's values on the calibration rows.

    Args:
        axes: P, (d, d').
        student_top: (tokens, d'), the student's last states at calibration tokens.
        teacher_top: (tokens, d), the teacher's at its last mapped layer.
        first: (tokens,) bool, the first token of each row.
    """
    for dense_path, activation, out_path in _FIRST_TOKEN:
        theirs, ours = _linear(teacher, dense_path), _linear(student, dense_path)
        if theirs is None or ours is None:
            continue
        their_act, our_act = _activation(teacher, activation), _activation(student, activation)
        source, target = teacher_top[first], student_top[first]
        outs = _linear(teacher, out_path), _linear(student, out_path)
        wanted = theirs(source)
        spread = their_act(wanted).std(0) if len(source) > 1 else torch.ones_like(wanted[0])
        both = outs[0] is not None and outs[1] is not None
        if both:
            spread = spread * cast(nn.Linear, outs[0]).weight.norm(dim=0)
        kept = strongest(spread, ours.out_features)
        weight, bias = corrected(theirs, axes, target, wanted)
        ours.weight[: len(kept)], ours.bias[: len(kept)] = weight[kept], bias[kept]
        if both:
            their_out, our_out = cast(nn.Linear, outs[0]), cast(nn.Linear, outs[1])
            _start_output(
                our_out,
                their_out.weight[:, kept],
                their_out.bias,
                our_act(ours(target)),
                their_out(their_act(wanted)),
            )
        return
    for path in _EVERY_TOKEN:
        theirs, ours = _linear(teacher, path), _linear(student, path)
        if theirs is not None and ours is not None:
            weight = (theirs.weight.double() @ axes).float()
            _start_output(ours, weight, theirs.bias, student_top, theirs(teacher_top))
            return


def _activation(
    model: PreTrainedModel, usual: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """What stands between a model's dense map and its output map."""
    if model.config.model_type == "electra":
        return nn.functional.gelu
    own = getattr(getattr(model.base_model, "pooler", None), "activation", None)
    return own if isinstance(own, nn.Module) else usual


def reorder_outputs(student: PreTrainedModel, order: Sequence[int]) -> None:
    """Let output i be what output ``order[i]`` was."""
    for path in [out for _, _, out in _FIRST_TOKEN]:
        linear = _linear(student, path)
        if linear is not None:
            linear.weight.copy_(linear.weight[list(order)])
            linear.bias.copy_(linear.bias[list(order)])
            return


@torch.no_grad()
def start_at_mean(student: PreTrainedModel, mean: float) -> None:
    """Let a fresh regression head begin at that value."""
    for path in [out for _, _, out in _FIRST_TOKEN]:
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
