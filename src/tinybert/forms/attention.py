"""Attention as one operator of ONNX Runtime's own, written into the graph while it is exported.

Finding attention in a finished graph by its pattern depends on the version of whatever wrote it;
transformers has one place that all its encoders call, and there the operator is put in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function

__all__ = ["FUSED_ATTENTION"]

FUSED_ATTENTION = "tinybert_onnx"
"""Name of this form of attention for ``set_attn_implementation``; it can be exported, not run."""


def _fused_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """``com.microsoft.MultiHeadAttention``; query, key, value (batch, heads, length, head size)."""
    batch, heads, length, size = query.shape
    if key.shape[1] != heads or attention_mask is None or attention_mask.ndim != 2:
        raise NotImplementedError("attention with shared keys, or a mask that is no padding")

    def in_a_row(states: Tensor) -> Tensor:
        return states.transpose(1, 2).reshape(batch, -1, heads * size)

    context = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (in_a_row(query), in_a_row(key), in_a_row(value), None, attention_mask.to(torch.int32)),
        {
            "num_heads": int(heads),
            "scale": float(size**-0.5 if scaling is None else scaling),
        },
        dtype=query.dtype,
        shape=(batch, length, heads * size),
        version=1,
    )
    return context.reshape(batch, length, heads, size), None


def _padding_alone(**options: Any) -> Tensor | None:
    """The mask of padding as it came, (batch, length); windows and the like cannot be fused."""
    if options["mask_function"] is not bidirectional_mask_function:
        raise NotImplementedError("a mask that is no padding")
    mask: Tensor | None = options["attention_mask"]
    return mask


AttentionInterface.register(FUSED_ATTENTION, _fused_attention)
AttentionMaskInterface.register(FUSED_ATTENTION, _padding_alone)
