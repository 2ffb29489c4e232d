"""How much arithmetic a model is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tinybert.measure.latency import check_length

__all__ = ["flops"]

# Searches and plans ask for the same few shapes again and again, and a count is tenths of a second.
# A model's place and its labels' names are no part of its structure.
_NAMES = ("_name_or_path", "id2label", "label2id")
_counted: dict[tuple[Any, ...], int] = {}


def flops(model: nn.Module, length: int = 128, batch: int = 1) -> int:
    """Floating-point operations of one forward pass, a multiply-add counting as two.

    Counted by torch on the real module with ``batch`` sequences of ``length`` tokens, no padding:
    all matrix products, attention's included. The pass runs on torch's ``meta`` device (shapes
    without numbers: milliseconds, no memory), or on the model's own where a model reads its
    numbers. Element-wise work (LayerNorm, softmax, GELU) and look-ups are not counted, as is the
    custom. Attention is taken through its plain form, because torch does not count the fused one
    on a CPU; both do the same products. An outer product (positions times frequencies in rotary
    embeddings) sums nothing up and is element-wise work, whichever operator computes it.

    Args:
        model: takes ``input_ids``; a transformers encoder, with or without a head.
        length: tokens a sequence.
        batch: sequences.

    Raises:
        TinybertError: the model takes no sequence that long.

    >>> from transformers import BertConfig, BertModel
    >>> small = BertConfig(
    ...     hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    ... )
    >>> products = 4 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 4 * 4 * 8 + 8 * 8  # layer, attention, pooler
    >>> flops(BertModel(small), length=4) == 2 * products
    True
    """
    check_length(model, length)
    key = _structure(model, length, batch)
    if key is None or key not in _counted:
        found = _on_a_device(model, length, batch)
        if key is None:
            return found
        _counted[key] = found
    return _counted[key]


def _structure(model: nn.Module, length: int, batch: int) -> tuple[Any, ...] | None:
    """What a count depends on: modules, configuration, sizes. ``None`` where none tells it."""
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "to_json_string"):
        return None
    sizes = tuple((name, tuple(each.shape)) for name, each in model.named_parameters())
    kinds = tuple(type(each) for each in model.modules())
    attention = getattr(config, "_attn_implementation", None)
    try:
        told = json.loads(config.to_json_string(use_diff=False))
    except TypeError:  # something in it that JSON cannot hold
        return None
    for name in _NAMES:
        told.pop(name, None)
    return kinds, json.dumps(told, sort_keys=True), attention, sizes, length, batch


def _on_a_device(model: nn.Module, length: int, batch: int) -> int:
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        try:
            return _count(model, length, batch, on_meta=True)
        except (RuntimeError, NotImplementedError):
            return _count(model, length, batch, on_meta=False)
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]


def _count(model: nn.Module, length: int, batch: int, *, on_meta: bool) -> int:
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    device = next(iter(tensors.values())).device
    if on_meta:
        device = torch.device("meta")
        tensors = {name: tensor.detach().to(device) for name, tensor in tensors.items()}
    # No attention mask: looking whether it is all ones would read numbers.
    ids = torch.zeros(batch, length, dtype=torch.long, device=device)
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.bmm: _batched})
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        functional_call(model, tensors, (), {"input_ids": ids})
    return int(counter.get_total_flops())


def _batched(one: Sequence[int], other: Sequence[int], *_: Any, **__: Any) -> int:
    """Of a batched product (b, m, k) x (b, k, n)."""
    b, m, k = one
    n = other[-1]
    # An attention's product of length 1 sums nothing up either, but has one row.
    outer = k == 1 and m > 1
    return 0 if outer else 2 * b * m * k * n
