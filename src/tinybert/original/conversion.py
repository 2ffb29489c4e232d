"""From the authors' tensors to a model and projections: each where it belongs, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.original.checkpoint import Checkpoint
from tinybert.projections import Projections
from tinybert.relu_bert import ReluBertConfig, ReluBertForSequenceClassification

__all__ = ["Converted", "convert_checkpoint"]

# Constants that some releases of transformers stored among the weights.
_CONSTANTS = {"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"}
_HEADS = "cls."


@dataclass(frozen=True)
class Converted:
    """A checkpoint as a transformers model.

    Attributes:
        model: in eval mode; with its head if the checkpoint has a classifier.
        projections: None where the checkpoint has none.
        head: ``relu`` or ``tanh``; None for an encoder without a classifier.
        labels: names of the outputs, in their order; empty for an encoder.
        left_out: names of tensors that have no place in the model.
        notes: sentences on what was found and decided.
    """

    model: PreTrainedModel
    projections: Projections | None
    head: str | None
    labels: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def convert_checkpoint(
    checkpoint: Checkpoint, *, head: str = "auto", labels: Sequence[str] | None = None
) -> Converted:
    """Put a checkpoint's tensors into a model, each where it belongs, or refuse.

    Args:
        head: what the classifier reads: ``relu`` (relu of the pooler's output, as the authors' task
            models), ``tanh`` (the pooler's output, as transformers' own class), or ``auto``: tanh
            where the configuration names transformers' class, else relu.
        labels: names of the classifier's outputs, in their order; by default those of the
            configuration, if it names as many, else ``LABEL_0``, ``LABEL_1``, …

    Raises:
        TinybertError: tensors are missing, have shapes that the configuration contradicts, or
            belong to an encoder of another depth; or ``head`` or ``labels`` do not fit.
    """
    tensors, notes = dict(checkpoint.tensors), []
    for name in _CONSTANTS:
        tensors.pop(name, None)
    projections = _take_projections(tensors, checkpoint.config)
    classifier = tensors.get("classifier.weight")
    names: tuple[str, ...] = ()
    chosen = None
    if classifier is None:
        if labels or head != "auto":
            flag = "--labels" if labels else "--head"
            raise TinybertError(
                f"{checkpoint.directory} is an encoder without a classifier: leave out {flag}."
            )
        model = _filled(BertModel, BertConfig(**checkpoint.config), tensors, "bert.")
    else:
        chosen, why = _head(head, checkpoint.architectures)
        own = checkpoint.labels if len(checkpoint.labels) == len(classifier) else None
        names = _label_names(len(classifier), own if labels is None else labels)
        options = checkpoint.config | {
            "id2label": dict(enumerate(names)),
            "label2id": {name: i for i, name in enumerate(names)},
            "problem_type": "regression" if len(names) == 1 else "single_label_classification",
        }
        if chosen == "relu":
            config = ReluBertConfig(**options)
            model = _filled(ReluBertForSequenceClassification, config, tensors)
        else:
            model = _filled(BertForSequenceClassification, BertConfig(**options), tensors)
        notes += [why]
        if len(names) > 1:
            kind = "name them with --labels"
            if labels is not None:
                kind = "their order is taken on trust"
            elif own is not None:
                kind = "as its configuration names them"
            notes.append(f"{len(names)} outputs, {', '.join(names)}: {kind}")
        else:
            notes.append(f"one output, {names[0]}: a regression model")
    notes.append(_told(projections))
    heads = sorted(name for name in tensors if name.startswith(_HEADS))
    others = sorted(tensors.keys() - set(heads))
    if heads:
        notes.append(
            f"left out: the pre-training heads ({len(heads)} tensors, {_HEADS}*), which "
            "distillation does not train"
        )
    if others:
        notes.append(f"left out, since unknown: {_few(others)}")
    return Converted(model, projections, chosen, names, tuple(heads + others), tuple(notes))


def _head(head: str, architectures: tuple[str, ...]) -> tuple[str, str]:
    """What the classifier reads, and a sentence on why."""
    if head == "auto" and BertForSequenceClassification.__name__ in architectures:
        return "tanh", (
            "the configuration was written by transformers' BertForSequenceClassification, so the "
            "classifier is taken to read the pooler's output: --head relu if the authors' code "
            "trained it"
        )
    if head in ("auto", "relu"):
        return "relu", (
            "the classifier is taken to read relu of the pooler's output, as in the authors' code: "
            "tinybert loads such a model, plain transformers refuses it (--head tanh for weights "
            "that were trained with the standard head)"
        )
    return "tanh", "the classifier reads the pooler's output, as asked: a standard BERT classifier"


def _label_names(outputs: int, labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is None:
        return ("score",) if outputs == 1 else tuple(f"LABEL_{i}" for i in range(outputs))
    if len(labels) != outputs:
        raise TinybertError(
            f"the classifier has {outputs} outputs and --labels names {len(labels)} "
            f"({', '.join(labels)}): name each output once, in its order."
        )
    if len(set(labels)) < len(labels) or not all(labels):
        raise TinybertError(f"--labels {','.join(labels)}: give different names, none empty.")
    return tuple(labels)


def _filled(
    kind: type[PreTrainedModel], config: BertConfig, tensors: dict[str, Tensor], prefix: str = ""
) -> PreTrainedModel:
    """A model of ``kind`` with its tensors, which are taken out of ``tensors``."""
    with torch.device("meta"):  # shapes without numbers: nothing big is made before the check
        wanted = {
            prefix + n: t.shape for n, t in cast(nn.Module, kind(config)).state_dict().items()
        }
    if missing := [name for name in wanted if name not in tensors]:
        raise TinybertError(
            f"{len(missing)} tensors that the configuration asks for are not among the weights: "
            f"{_few(missing)}; is it the configuration of other weights, or no BERT?"
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise TinybertError(
                f"{name} has the shape {_shown(tensors[name].shape)} and the configuration asks "
                f"for {_shown(shape)}: it is the configuration of other weights."
            )
    if surplus := [n for n in tensors if n.startswith("bert.") and n not in wanted]:
        raise TinybertError(
            f"the encoder has {len(surplus)} tensors more than its configuration says: "
            f"{_few(surplus)}; is it the configuration of other weights?"
        )
    with torch.random.fork_rng(devices=[]):
        model = kind(config)
    model.load_state_dict({n.removeprefix(prefix): tensors.pop(n) for n in wanted})
    cast(nn.Module, model).eval()
    return model


def _take_projections(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> Projections | None:
    """The learned projections, taken out of ``tensors``; later checkpoints' form goes first."""
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    shared = not any(name.startswith("fit_denses.") for name in tensors)
    if shared:
        if not any(name.startswith("fit_dense.") for name in tensors):
            return None
        sources = ["fit_dense"] * (layers + 1)
    else:
        sources = [f"fit_denses.{m}" for m in range(layers + 1)]
    wanted = {f"{source}.{kind}" for source in sources for kind in ("weight", "bias")}
    found = {n for n in tensors if n.startswith("fit_dense." if shared else "fit_denses.")}
    if found != wanted:
        differing = ", ".join(sorted(found ^ wanted)[:4])
        raise TinybertError(
            f"the projections do not fit {layers} layers (one for each and for the embeddings, "
            f"with weight and bias): see {differing}."
        )
    outputs = len(tensors[f"{sources[0]}.weight"])
    for name in wanted:
        shape = (outputs, width) if name.endswith("weight") else (outputs,)
        if tensors[name].shape != shape:
            raise TinybertError(
                f"{name} has the shape {_shown(tensors[name].shape)}, where {_shown(shape)} fits "
                "the configuration and the other projections: it belongs to other weights."
            )
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn and at once replaced
        projections = Projections(width, outputs, layers, shared=shared, bias=True)
    with torch.no_grad():
        for m, source in enumerate(sources):
            projections.module_for(m).weight.copy_(tensors[f"{source}.weight"])
            projections.module_for(m).bias.copy_(tensors[f"{source}.bias"])
    for name in wanted:
        del tensors[name]
    return projections


def _told(projections: Projections | None) -> str:
    if projections is None:
        return "no projections to a teacher's width: they start afresh in further distillation"
    kind = "one for all layers" if projections.shared else "one a layer"
    return f"projections {projections.student_width} to {projections.teacher_width}, {kind}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
