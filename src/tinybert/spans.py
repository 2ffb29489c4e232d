"""Spans of text that two tokenizations share: tensors over tokens become means over spans."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["NO_SPAN", "TEACHER", "pool_heads", "pool_states", "span_mask", "teacher_inputs"]

NO_SPAN = -1
"""Span number of padding, and of a token that the other tokenization has nothing for."""

TEACHER = "teacher_"
"""Prefix of the teacher's own inputs in a batch of two tokenizations."""

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def teacher_inputs(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The inputs that the teacher reads: its own tokens where a batch has them, else the same."""
    if f"{TEACHER}input_ids" not in batch:
        return batch
    return {name: batch[TEACHER + name] for name in _INPUTS if TEACHER + name in batch}


def span_mask(spans: Tensor, count: int | None = None) -> Tensor:
    """Which spans a row has, (batch, spans) bool.

    Args:
        spans: (batch, length) span number of each token, counted from 0 without gaps.
        count: spans to make room for; default: the most of any row.
    """
    number = spans.max(dim=1).values + 1
    width = int(number.max()) if count is None else count
    return torch.arange(width, device=spans.device)[None, :] < number[:, None]


def pool_states(states: Tensor, spans: Tensor, count: int) -> Tensor:
    r"""The mean state of each span.

    .. math::
        \bar h_{bs} = \frac{1}{\#\{i : z_{bi} = s\}} \sum_{i : z_{bi} = s} h_{bi}

    Args:
        states: (batch, length, width); gradients flow.
        spans: (batch, length) int64, z; tokens of :data:`NO_SPAN` count nowhere.
        count: spans of a row, S.

    Returns:
        (batch, S, width) in the dtype of ``states``, summed in float32 or finer; zero where a row
        has no such span.

    >>> states = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]])
    >>> pool_states(states, torch.tensor([[0, 1, 1, -1]]), 2)
    tensor([[[1.],
             [3.]]])
    """
    batch, _, width = states.shape
    kept = spans != NO_SPAN
    rows = torch.arange(batch, device=spans.device)[:, None].expand_as(spans)
    places = (rows * count + spans)[kept]
    wide = states if states.dtype == torch.float64 else states.float()
    sums = wide.new_zeros(batch * count, width)
    sums = sums.scatter_add(0, places[:, None].expand(-1, width), wide[kept])
    sizes = torch.bincount(places, minlength=batch * count).clamp(min=1)
    return (sums / sizes[:, None]).view(batch, count, width).to(states.dtype)


def pool_heads(states: Tensor, spans: Tensor, count: int) -> Tensor:
    """:func:`pool_states` of each attention head: (batch, heads, length, size) to (…, S, size).

    The mean score of two spans, over all pairs of their tokens, is the score of their mean query
    and mean key: what attention's losses say of pooled queries and keys is exact.
    """
    batch, heads, length, size = states.shape
    flat = states.transpose(1, 2).reshape(batch, length, heads * size)
    return pool_states(flat, spans, count).view(batch, count, heads, size).transpose(1, 2)
