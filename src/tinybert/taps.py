"""Taps: what a Transformer shows while it runs.

The only file that knows how transformers runs attention.
A tap records, for chosen layers, the queries and keys that enter attention (and so the scores
A = scaling · QKᵀ before softmax, without ever building them), the hidden states, the embedding
output and the logits. The attention functions below are registered with transformers'
``AttentionInterface`` together with their twins in ``AttentionMaskInterface``; without the twin a
model would silently attend to padding.

Layers are counted by calls of the attention function, not by ``layer_idx``: some encoders do not
set it and ALBERT calls one module N times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tinybert.errors import TinybertError

__all__ = [
    "AttentionTap",
    "TapRequest",
    "Taps",
    "logits_at",
    "logits_of",
    "run_with_taps",
    "shows_attention",
    "use_attention",
]

_NOT_MASKED = -100  # as transformers has it
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class AttentionTap(NamedTuple):
    """What one layer's attention saw. Scores before softmax are ``scaling * query @ key.mT``.

    Where heads of keys and values are fewer than those of queries (grouped-query attention), they
    are repeated here, one for each head of queries, as attention itself reads them.
    """

    query: Tensor  # (batch, heads, length, head size)
    key: Tensor  # (batch, heads, length, head size)
    scaling: float
    value: Tensor  # (batch, heads, length, head size)


@dataclass(frozen=True)
class TapRequest:
    """Which taps to keep; layers are counted from 1, as in the paper's g(m)."""

    attention: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    embedding: bool = False
    logits: bool = False
    masked: bool = False  # the head's outputs at masked tokens alone

    def __or__(self, other: TapRequest) -> TapRequest:
        return TapRequest(
            self.attention | other.attention,
            self.hidden | other.hidden,
            self.embedding or other.embedding,
            self.logits or other.logits,
            self.masked or other.masked,
        )

    def __bool__(self) -> bool:
        return bool(self.attention or self.hidden or self.embedding or self.logits or self.masked)

    @property
    def depth(self) -> int:
        """The deepest layer that is asked for (0: embeddings only)."""
        return max([0, *self.attention, *self.hidden])


@dataclass
class Taps:
    """What was recorded in one forward pass (see :class:`TapRequest`)."""

    attention: dict[int, AttentionTap] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)  # (batch, length, width)
    embedding: Tensor | None = None  # (batch, length, width), after its LayerNorm
    logits: Tensor | None = None  # (batch, labels), of tokens or spans (batch, length, labels)
    masked: Tensor | None = None  # (masked tokens, vocabulary), row by row


class _Collector:
    """Counts attention calls of one forward pass and keeps those that were asked for."""

    def __init__(self, layers: frozenset[int]) -> None:
        self.layers = layers
        self.calls = 0
        self.taken: dict[int, AttentionTap] = {}

    def see(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> None:
        self.calls += 1
        if self.calls in self.layers:
            scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
            key, value = (_one_for_each(x, query.shape[1]) for x in (key, value))
            self.taken[self.calls] = AttentionTap(query, key, scale, value)


def _one_for_each(shared: Tensor, heads: int) -> Tensor:
    """Keys or values (batch, their heads, length, size), repeated to one a head of queries."""
    times = heads // shared.shape[1]
    return shared if times == 1 else shared.repeat_interleave(times, dim=1)


_collector: ContextVar[_Collector | None] = ContextVar("tinybert_collector", default=None)


def _direct_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention written out. On CPUs its backward beats fused attention at small head sizes."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    key, value = (_one_for_each(x, query.shape[1]) for x in (key, value))
    scores = torch.matmul(query * scale, key.transpose(-1, -2))
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + attention_mask
    probabilities = torch.softmax(scores, dim=-1)
    if dropout:
        probabilities = nn.functional.dropout(probabilities, p=dropout, training=module.training)
    context = torch.matmul(probabilities.to(value.dtype), value)
    return context.transpose(1, 2).contiguous(), None


def _tapped(real: Callable[..., tuple[Tensor, Tensor | None]]) -> Callable[..., Any]:
    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        collector = _collector.get()
        if collector is not None:
            collector.see(query, key, value, kwargs.get("scaling"))
        return real(module, query, key, value, attention_mask, **kwargs)

    return attention


ATTENTION_FORMS: Mapping[str, str] = {"fused": "tinybert_fused", "direct": "tinybert_direct"}

AttentionInterface.register(ATTENTION_FORMS["fused"], _tapped(sdpa_attention_forward))
AttentionInterface.register(ATTENTION_FORMS["direct"], _tapped(_direct_attention))
for _name in ATTENTION_FORMS.values():
    AttentionMaskInterface.register(_name, sdpa_mask)


def shows_attention(model: PreTrainedModel) -> bool:
    """Whether the model's attention runs where it can be tapped, in a form that can be chosen.

    Not so in DeBERTa and MPNet, whose attention adds terms of relative positions within itself,
    nor where there are no heads (FNet).
    """
    has_heads = getattr(model.config, "num_attention_heads", None) is not None
    return has_heads and bool(model._can_set_attn_implementation())


def use_attention(model: PreTrainedModel, form: str = "fused") -> None:
    """Let ``model`` run attention in a form that can be tapped.

    Args:
        model: any encoder whose attention goes through transformers' ``AttentionInterface``.
        form: ``"fused"`` (scaled_dot_product_attention) or ``"direct"`` (written out).

    Raises:
        TinybertError: the architecture does not use the interface, so that its scores are hidden.
    """
    wanted = ATTENTION_FORMS[form]
    model.set_attn_implementation(wanted)
    if model.config._attn_implementation != wanted:
        raise TinybertError(
            f"{type(model).__name__} does not run its attention through transformers' "
            "AttentionInterface, so its attention scores cannot be read: distil its hidden states, "
            "embedding output and logits alone (--attention-weight 0), or take another encoder."
        )


_positions: ContextVar[Tensor | None] = ContextVar("tinybert_positions", default=None)


def _gather(module: nn.Module, inputs: Any, output: Any) -> Any:
    """A hook of a body: its head then reads the states of some positions alone."""
    positions = _positions.get()
    if positions is not None:
        output.last_hidden_state = output.last_hidden_state[positions].unsqueeze(0)
    return output


@contextmanager
def _head_reads(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    body: nn.Module = model.base_model
    if _gather not in body._forward_hooks.values():  # it stays: other threads may be inside
        body.register_forward_hook(_gather)
    token = _positions.set(positions)
    try:
        yield
    finally:
        _positions.reset(token)


def logits_at(model: PreTrainedModel, batch: Mapping[str, Tensor], positions: Tensor) -> Tensor:
    """Outputs of a masked language model at some positions; its head sees no others.

    A head costs width x vocabulary a position: three layers' worth in BERT_BASE, and there are
    six unmasked tokens to a masked one.

    Args:
        model: any ``…ForMaskedLM`` of transformers.
        batch: model inputs of shape (batch, length).
        positions: (batch, length) bool.

    Returns:
        (positions that are true, vocabulary), in the order of ``positions.nonzero()``.
    """
    inputs = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    with _head_reads(model, positions):
        logits: Tensor = model(**inputs, return_dict=True).logits
    return logits[0]


def _masked(model: PreTrainedModel, batch: Mapping[str, Tensor], request: TapRequest) -> Tensor:
    """Where ``batch`` is masked, (batch, length) bool."""
    if request.logits:
        raise ValueError("one head gives either logits of rows or those of masked tokens")
    if model.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise TinybertError(
            f"{type(model).__name__} has no output head for masked tokens: load the model as a "
            "masked language model."
        )
    if "masked_labels" not in batch:
        raise TinybertError("learning masked tokens needs rows that are masked: see MaskedRows.")
    return batch["masked_labels"] != _NOT_MASKED


def logits_of(output: Any) -> Tensor:
    """The logits of a model's output; of a head for spans start and end, (batch, length, 2)."""
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: Tensor = output.logits
    return logits


@contextmanager
def _collecting(layers: frozenset[int]) -> Iterator[_Collector]:
    collector = _Collector(layers)
    token = _collector.set(collector)
    try:
        yield collector
    finally:
        _collector.reset(token)


def run_with_taps(model: PreTrainedModel, batch: Mapping[str, Tensor], request: TapRequest) -> Taps:
    """Run ``model`` on ``batch`` once and return what ``request`` asks for.

    The head is run only when logits are wanted, and for ``masked`` on the masked tokens alone: a
    head of a vocabulary costs as much as several layers. All other taps stay those of all tokens.
    Gradients flow through the taps where autograd is on. Never uses ``output_attentions``: that
    gives probabilities and turns fused attention off.

    Args:
        model: an encoder prepared by :func:`use_attention` (needed for attention taps only).
        batch: ``input_ids`` and ``attention_mask`` of shape (batch, length), ``token_type_ids``
            where the model has them; for ``masked`` also ``masked_labels`` (batch, length), -100
            where nothing is masked; other entries are ignored.
        request: what to keep.

    Raises:
        TinybertError: attention was asked for and the model does not show it; masked tokens were
            asked for and the rows have none, or the model has no output head for them.
    """
    inputs = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    runner: nn.Module = model if request.logits or request.masked else model.base_model
    want_hidden = bool(request.hidden) or request.embedding
    head = _head_reads(model, _masked(model, batch, request)) if request.masked else nullcontext()
    with head, _collecting(request.attention) as collector:
        output = runner(**inputs, output_hidden_states=want_hidden, return_dict=True)
    if missing := request.attention - collector.taken.keys():
        raise TinybertError(
            f"no attention scores were seen in layers {sorted(missing)} of "
            f"{type(model).__name__} ({collector.calls} attention calls): its attention cannot be "
            "read; distil its hidden states, embedding output and logits alone "
            "(--attention-weight 0), or take another encoder."
        )
    if torch.is_grad_enabled() and model.training:
        for tap in collector.taken.values():
            if not tap.query.requires_grad and any(p.requires_grad for p in model.parameters()):
                raise TinybertError(
                    "the attention taps carry no gradient: gradient checkpointing with "
                    "use_reentrant=True hides them; use use_reentrant=False."
                )
            break
    taps = Taps(attention=collector.taken)
    if want_hidden:
        states = output.hidden_states
        taps.embedding = states[0] if request.embedding else None
        taps.hidden = {layer: states[layer] for layer in request.hidden}
    if request.logits:
        taps.logits = logits_of(output)
    if request.masked:
        taps.masked = output.logits[0]
    return taps
