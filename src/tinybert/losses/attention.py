r"""The attention loss: how far the student's scores are from the teacher's.

With a = scaling_s, b = scaling_t and rows of padding set to zero,

.. math::
    X = [\,a Q_S,\; -b Q_T\,], \quad Y = [\,K_S,\; K_T\,], \qquad
    \Delta = a Q_S K_S^\top - b Q_T K_T^\top = X Y^\top .

*Direct* form: build :math:`\Delta` (L × L), sum its squares; gradients are
:math:`2a\,\Delta K_S` and :math:`2a\,\Delta^\top Q_S`.

*Linear* form: the same numbers without an L × L matrix, by associativity,

.. math::
    \lVert \Delta \rVert_F^2 = \langle X^\top X,\; Y^\top Y \rangle, \qquad
    \Delta K_S = X\,(Y^\top K_S), \qquad \Delta^\top a Q_S = Y\,(X^\top a Q_S),

with head matrices of size (d_S + d_T)² only: time and memory grow with L, not with L².

The inner product cancels: its rounding error is a small multiple of eps · ⟨\|XᵀX\|, \|YᵀY\|⟩,
however small the loss. Where the loss is a tiny part of that scale, late in training, it is
computed again in float64 (see :data:`SAFE_RATIO`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["DEFAULT_CROSSOVER", "SAFE_RATIO", "Form", "attention_loss"]

Form = Literal["auto", "direct", "linear"]

DEFAULT_CROSSOVER = 160
"""Length from which ``form="auto"`` takes the linear form."""

SAFE_RATIO = 2e-4
"""Least total / ⟨\\|XᵀX\\|, \\|YᵀY\\|⟩ at which the linear form is trusted in float32.

Measured on made-up and on real queries and keys, lengths 128 to 4,096: relative error of the loss
at most 3e-8 / ratio, of the gradients 2e-7 / √ratio, so 1.5e-4 and 1.5e-5 here. A block below it
is computed again in float64."""

_BLOCK_BYTES, _BLOCK_BYTES_GPU = 64 * 2**20, 512 * 2**20
# Work space of one block of heads, so that the direct form holds the scores of a few heads instead
# of all. Blocks of 4 MiB, which stay in cache, were 5 to 15% faster on one thread, but on two
# threads of a busy machine blocks of 8 MiB took three times as long: many small parallel regions.


def attention_loss(
    query_s: Tensor,
    key_s: Tensor,
    scaling_s: float,
    query_t: Tensor,
    key_t: Tensor,
    scaling_t: float,
    mask: Tensor,
    *,
    form: Form = "auto",
    crossover: int = DEFAULT_CROSSOVER,
) -> Ratio:
    r"""Squared distance of attention scores before softmax, over heads and real token pairs.

    .. math::
        \mathrm{total} = \sum_{b,h} \sum_{i,j\,\text{real}}
            \bigl(a\,q^S_{bhi}\!\cdot k^S_{bhj} - b\,q^T_{bhi}\!\cdot k^T_{bhj}\bigr)^2
        \qquad \mathrm{count} = H \sum_b L_b^2

    (arXiv 1909.10351, section 3.1: (1/h) Σ MSE(Aᵢˢ, Aᵢᵗ) on unnormalised scores.) Both forms give
    the same numbers; the module says how.

    Args:
        query_s: (B, H, L, d_S) of the student, as attention sees it (after rotary embedding).
        key_s: (B, H, L, d_S).
        scaling_s: What attention multiplies the student's scores by, usually 1/√d_S.
        query_t: (B, H, L, d_T) of the teacher; no gradient flows into it. d_T may differ from d_S.
        key_t: (B, H, L, d_T).
        scaling_t: The teacher's scaling.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.
        form: "direct" (time and memory L²), "linear" (L), or "auto": by length.
        crossover: Length from which "auto" takes the linear form.

    Returns:
        Total in float32 (float64 if an input is), differentiable once with respect to ``query_s``
        and ``key_s``; count as a scalar tensor.

    Raises:
        TinybertError: Head counts differ, shapes do not fit, or the form is unknown.

    >>> import torch
    >>> q, k = torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> loss = attention_loss(q, k, 0.5, 2 * q, k, 0.5, mask)  # scores 2 against 4
    >>> loss.count, round(loss.mean().item(), 4)
    (tensor(4), 4.0)
    """
    _check(query_s, key_s, query_t, key_t, mask, form)
    if form == "auto":
        form = "linear" if query_s.shape[2] >= crossover else "direct"
    real = mask.bool()
    wanted = torch.is_grad_enabled() and (query_s.requires_grad or key_s.requires_grad)
    taps = _Taps(query_s, key_s, scaling_s, query_t.detach(), key_t.detach(), scaling_t, real)
    with full_precision(query_s.device):
        total: Tensor = _ScoreDistance.apply(  # type: ignore[no-untyped-call]
            query_s, key_s, taps, form, wanted
        )
    return Ratio(total, query_s.shape[1] * real.sum(dim=-1).square().sum())


def _check(
    query_s: Tensor, key_s: Tensor, query_t: Tensor, key_t: Tensor, mask: Tensor, form: str
) -> None:
    if form not in get_args(Form):
        raise TinybertError(f"attention form {form!r} is unknown: use auto, direct or linear")
    tensors = (query_s, key_s, query_t, key_t)
    if any(tensor.dim() != 4 for tensor in tensors):
        raise TinybertError("queries and keys must be (batch, heads, length, head size)")
    heads = [tensor.shape[1] for tensor in tensors]
    if heads[0] != heads[2]:
        raise TinybertError(
            f"student has {heads[0]} attention heads and teacher {heads[2]}, but attention "
            f"transfer compares head with head: give the student {heads[2]} heads (a width that "
            f"{heads[2]} divides) or set the attention weight to 0"
        )
    if heads[0] != heads[1] or heads[2] != heads[3]:
        raise TinybertError(
            f"queries have {heads[0]} heads and keys {heads[1]} (student) and {heads[3]} "
            "(teacher): repeat shared keys to one a query head, or set the attention weight to 0"
        )
    if (
        query_s.shape != key_s.shape
        or query_t.shape != key_t.shape
        or query_s.shape[:3] != query_t.shape[:3]
        or mask.shape != (query_s.shape[0], query_s.shape[2])
    ):
        raise TinybertError(
            f"shapes do not fit: student {tuple(query_s.shape)} and {tuple(key_s.shape)}, teacher "
            f"{tuple(query_t.shape)} and {tuple(key_t.shape)}, mask {tuple(mask.shape)}: both "
            "models must read the same batch"
        )


class _Taps(NamedTuple):
    """The inputs of one loss, or of one block of its rows and heads."""

    query_s: Tensor
    key_s: Tensor
    scaling_s: float
    query_t: Tensor
    key_t: Tensor
    scaling_t: float
    real: Tensor | None  # (B, L); None: nothing is padding

    def block(self, rows: slice, heads: slice, padded: bool) -> _Taps:
        return _Taps(
            self.query_s[rows, heads],
            self.key_s[rows, heads],
            self.scaling_s,
            self.query_t[rows, heads],
            self.key_t[rows, heads],
            self.scaling_t,
            self.real[rows] if padded and self.real is not None else None,
        )

    def joined(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """X = [a Q_S, -b Q_T] and Y = [K_S, K_T], rows of padding zero."""
        keep = None if self.real is None else self.real[:, None, :, None].to(dtype)
        return (
            _join(self.query_s, self.scaling_s, self.query_t, -self.scaling_t, keep, dtype),
            _join(self.key_s, 1.0, self.key_t, 1.0, keep, dtype),
        )


def _join(
    left: Tensor, a: float, right: Tensor, b: float, keep: Tensor | None, dtype: torch.dtype
) -> Tensor:
    size = left.shape[-1]
    joined = left.new_empty((*left.shape[:-1], size + right.shape[-1]), dtype=dtype)
    # One pass that copies, scales and masks; a masked fill afterwards doubles the time.
    torch.mul(left.to(dtype), a if keep is None else keep * a, out=joined[..., :size])
    torch.mul(right.to(dtype), b if keep is None else keep * b, out=joined[..., size:])
    return joined


class _ScoreDistance(torch.autograd.Function):
    """The total and, in the same pass, its gradients.

    They share their factors, and what is kept for the backward pass is then no larger than the
    student's queries and keys.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query_s: Tensor,
        key_s: Tensor,
        taps: _Taps,
        form: Form,
        wanted: bool,
    ) -> Tensor:
        dtype = loss_dtype(query_s, key_s, taps.query_t, taps.key_t)
        batch, heads, length, size = query_s.shape
        columns = 2 * (size + taps.query_t.shape[3]) + (length if form == "direct" else 0)
        # Looking costs little on a processor and stops a GPU.
        padded = query_s.device.type != "cpu" or not bool(taps.real is None or taps.real.all())
        grads = [torch.empty_like(x, dtype=dtype) for x in (query_s, key_s)] if wanted else []
        total = query_s.new_zeros((), dtype=dtype)
        for place in _blocks(batch, heads, dtype.itemsize * length * columns, query_s.device):
            part, *part_grads = _block(taps.block(*place, padded), dtype, form, wanted)
            total += part
            for grad, part_grad in zip(grads, part_grads, strict=True):
                grad[place] = part_grad
        ctx.save_for_backward(*grads)
        ctx.dtypes = query_s.dtype, key_s.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        # Scale before rounding to the student's dtype: unscaled sums can pass float16's range.
        scaled = [
            (outer[0] * grad).to(dtype)
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None)


def _blocks(
    batch: int, heads: int, bytes_a_head: int, device: torch.device
) -> Iterator[tuple[slice, slice]]:
    """Slices of rows, or of one row's heads, whose work space keeps to the budget."""
    budget = _BLOCK_BYTES if device.type == "cpu" else _BLOCK_BYTES_GPU
    fits = max(1, budget // max(1, bytes_a_head))
    rows, part = max(1, fits // max(1, heads)), max(1, min(heads, fits))
    for row in range(0, batch, rows):
        for head in range(0, heads, part):
            yield slice(row, row + rows), slice(head, head + part)


def _block(taps: _Taps, dtype: torch.dtype, form: Form, wanted: bool) -> tuple[Tensor, ...]:
    """Total of a block, and its two gradients if wanted."""
    size, a = taps.query_s.shape[3], taps.scaling_s
    if form == "direct":
        return _direct(*taps.joined(dtype), size, a, wanted)
    total, scale, *grads = _linear(*taps.joined(dtype), size, a, wanted)
    # "Not above" rather than "below": not-a-number goes the careful way too.
    if dtype == torch.float32 and not bool(total > SAFE_RATIO * scale):
        if taps.query_s.device.type == "mps":  # which has no float64
            return _direct(*taps.joined(dtype), size, a, wanted)
        total, scale, *grads = _linear(*taps.joined(torch.float64), size, a, wanted)
    return (total.clamp(min=0), *grads)


def _direct(X: Tensor, Y: Tensor, size: int, a: float, wanted: bool) -> tuple[Tensor, ...]:
    difference = X @ Y.mT
    total = torch.linalg.vector_norm(difference, dim=-1).square().sum()
    if not wanted:
        return (total,)
    grad_query = difference @ (2 * a * Y[..., :size])
    grad_key = difference.mT @ (2 * X[..., :size])
    return total, grad_query, grad_key


def _linear(X: Tensor, Y: Tensor, size: int, a: float, wanted: bool) -> tuple[Tensor, ...]:
    # XᵀX is symmetric: its columns of the student and its teacher block say all of it.
    X_t, Y_t = X[..., size:], Y[..., size:]
    XX_s, YY_s = X.mT @ X[..., :size], Y.mT @ Y[..., :size]
    student, teacher = XX_s * YY_s, (X_t.mT @ X_t) * (Y_t.mT @ Y_t)
    student[..., size:, :] *= 2  # stands for both triangles
    total = student.sum() + teacher.sum()
    scale = student.abs_().sum() + teacher.abs_().sum()
    if not wanted:
        return total, scale
    return total, scale, X @ (2 * a * YY_s), Y @ (2 * XX_s)
