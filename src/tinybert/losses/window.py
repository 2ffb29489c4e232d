r"""The attention loss of layers whose tokens see a window of their neighbours alone.

Scores outside the window are never used, and nothing trained them: they are left out. What is left
is a band of the L × L matrix. It is computed in blocks: the queries of ``[s, e)`` meet the keys of
``[s - w, e + w)``, so that time and memory grow with L · w, not with L².
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.attention import DEFAULT_CROSSOVER, _check, _Taps, attention_loss
from tinybert.losses.ratio import Ratio

__all__ = ["pairs_within", "window_attention_loss"]

_LEAST_BLOCK = 64
"""Queries a block at least: below it the matrices are too small to be multiplied fast."""


def pairs_within(mask: Tensor, window: int) -> Tensor:
    r"""Pairs of real tokens i, j of one row with \|i - j\| ≤ ``window``.

    Args:
        mask: (B, L), bool or integer, 1 = real token.
        window: w ≥ 0.

    Returns:
        (B,) int64.

    >>> import torch
    >>> pairs_within(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), 1)
    tensor([ 7, 10])
    """
    real = mask.bool().long()
    length = real.shape[1]
    before = torch.nn.functional.pad(real.cumsum(1), (1, 0))
    place = torch.arange(length, device=mask.device)
    last, first = (place + window + 1).clamp(max=length), (place - window).clamp(min=0)
    return (real * (before[:, last] - before[:, first])).sum(1)


def window_attention_loss(
    query_s: Tensor,
    key_s: Tensor,
    scaling_s: float,
    query_t: Tensor,
    key_t: Tensor,
    scaling_t: float,
    mask: Tensor,
    window: int,
    *,
    crossover: int = DEFAULT_CROSSOVER,
) -> Ratio:
    r"""Squared distance of attention scores before softmax, over pairs of a sliding window.

    .. math::
        \mathrm{total} = \sum_{b,h} \sum_{\substack{i,j\,\text{real}\\ |i-j| \le w}}
            \bigl(a\,q^S_{bhi}\!\cdot k^S_{bhj} - b\,q^T_{bhi}\!\cdot k^T_{bhj}\bigr)^2
        \qquad \mathrm{count} = H \cdot \#\text{such pairs}

    Shapes, gradients and errors are those of :func:`tinybert.losses.attention_loss`, which this is
    where the window holds the whole row. Time and memory: L · w.

    Args:
        query_s: (B, H, L, d_S); and so on.
        window: w, tokens that a token sees to each side.
        crossover: of :func:`~tinybert.losses.attention_loss`.

    >>> import torch
    >>> q, k = torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    >>> mask = torch.ones(1, 3)
    >>> loss = window_attention_loss(q, k, 0.5, 2 * q, k, 0.5, mask, 1)  # scores 2 against 4
    >>> loss.count, round(loss.mean().item(), 4)
    (tensor(7), 4.0)
    """
    _check(query_s, key_s, query_t, key_t, mask, "direct")
    if query_s.shape[2] <= window + 1:
        return attention_loss(
            query_s, key_s, scaling_s, query_t, key_t, scaling_t, mask, crossover=crossover
        )
    wanted = torch.is_grad_enabled() and (query_s.requires_grad or key_s.requires_grad)
    real = mask.bool()
    taps = _Taps(query_s, key_s, scaling_s, query_t.detach(), key_t.detach(), scaling_t, real)
    with full_precision(query_s.device):
        total: Tensor = _BandDistance.apply(  # type: ignore[no-untyped-call]
            query_s, key_s, taps, window, wanted
        )
    return Ratio(total, query_s.shape[1] * pairs_within(mask, window).sum())


class _BandDistance(torch.autograd.Function):
    """The total and, in the same pass, its gradients: nothing of the band is kept."""

    @staticmethod
    def forward(
        ctx: Any, query_s: Tensor, key_s: Tensor, taps: _Taps, window: int, wanted: bool
    ) -> Tensor:
        dtype = loss_dtype(query_s, key_s, taps.query_t, taps.key_t)
        length, size, a = query_s.shape[2], query_s.shape[3], taps.scaling_s
        total = query_s.new_zeros((), dtype=dtype)
        grads = [torch.zeros_like(x, dtype=dtype) for x in (query_s, key_s)] if wanted else []
        place = torch.arange(length, device=query_s.device)
        step = max(window, _LEAST_BLOCK)
        for row in range(len(query_s)):
            X, Y = taps.block(slice(row, row + 1), slice(None), padded=True).joined(dtype)
            for start in range(0, length, step):
                here = slice(start, min(length, start + step))
                near = slice(max(0, start - window), min(length, here.stop + window))
                difference = X[..., here, :] @ Y[..., near, :].mT
                outside = (place[here, None] - place[None, near]).abs() > window
                difference.masked_fill_(outside, 0.0)
                total += torch.linalg.vector_norm(difference, dim=-1).square().sum()
                if wanted:
                    ours = slice(row, row + 1)
                    grads[0][ours, :, here] = difference @ (2 * a * Y[..., near, :size])
                    grads[1][ours, :, near] += difference.mT @ (2 * X[..., here, :size])
        ctx.save_for_backward(*grads)
        ctx.dtypes = query_s.dtype, key_s.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [
            (outer[0] * grad).to(dtype)
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None)
