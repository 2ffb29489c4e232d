"""The averages of the original TinyBERT code, padding included, to compare protocols.

They are not what this package trains with: a row's padding counts, so the same row weighs less in a
longer batch. :func:`~tinybert.losses.attention_loss` and :func:`~tinybert.losses.hidden_loss` are
the losses over real tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.attention import _check
from tinybert.losses.ratio import Ratio

__all__ = ["reference_attention_loss", "reference_hidden_loss"]

_HIDDEN, _CUT = -10_000.0, -100.0  # what the original adds at padded keys; what it sets to zero


def reference_attention_loss(
    query_s: Tensor,
    key_s: Tensor,
    scaling_s: float,
    query_t: Tensor,
    key_t: Tensor,
    scaling_t: float,
    mask: Tensor,
) -> Ratio:
    r"""Squared distance of attention scores as the original code averages it.

    .. math::
        \mathrm{total} = \sum_{b,h,i,j} \bigl(c(a\,q^S_{bhi}\!\cdot k^S_{bhj} + m_{bj})
            - c(b\,q^T_{bhi}\!\cdot k^T_{bhj} + m_{bj})\bigr)^2
        \qquad \mathrm{count} = B\,H\,L^2

    with m = 0 at real keys and −10,000 at padded ones, and c(x) = x above −100, else 0. So padded
    keys add 0 but count, and padded queries add whatever they hold. (Code of arXiv 1909.10351:
    scores with the additive mask, ``torch.where(scores <= -1e2, 0, scores)``, ``MSELoss``.)

    Args:
        query_s: (B, H, L, d_S) of the student.
        key_s: (B, H, L, d_S).
        scaling_s: What attention multiplies the student's scores by, usually 1/√d_S.
        query_t: (B, H, L, d_T) of the teacher; no gradient flows into it.
        key_t: (B, H, L, d_T).
        scaling_t: The teacher's scaling.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: Head counts differ, or shapes do not fit.

    >>> import torch
    >>> q, k = torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> loss = reference_attention_loss(q, k, 0.5, 2 * q, k, 0.5, mask)  # 6 scores of 9 differ
    >>> loss.total, loss.count
    (tensor(24.), 9)
    """
    _check(query_s, key_s, query_t, key_t, mask, "direct")
    dtype = loss_dtype(query_s, key_s, query_t, key_t)
    added = (~mask.bool()).to(dtype)[:, None, None, :] * _HIDDEN
    with full_precision(query_s.device):
        s = _scores(query_s.to(dtype), key_s.to(dtype), scaling_s, added)
        t = _scores(query_t.detach().to(dtype), key_t.detach().to(dtype), scaling_t, added)
        total = (s - t).square().sum()
    return Ratio(total, s.numel())


def _scores(query: Tensor, key: Tensor, scaling: float, added: Tensor) -> Tensor:
    scores = scaling * (query @ key.mT) + added
    return torch.where(scores <= _CUT, 0.0, scores)


def reference_hidden_loss(student: Tensor, teacher: Tensor) -> Ratio:
    r"""Squared distance of hidden states as the original code averages it.

    .. math::
        \mathrm{total} = \sum_{b,i} \lVert h^S_{bi} W - h^T_{bi} \rVert^2
        \qquad \mathrm{count} = B\,L\,d

    over all tokens, padding included. (Code of arXiv 1909.10351: ``MSELoss``.)

    Args:
        student: (B, L, d), already projected to the teacher's width d.
        teacher: (B, L, d); no gradient flows into it.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: The shapes of the two differ.

    >>> import torch
    >>> loss = reference_hidden_loss(torch.zeros(1, 3, 2), torch.ones(1, 3, 2))
    >>> loss.total, loss.count
    (tensor(6.), 6)
    """
    if student.shape != teacher.shape:
        raise TinybertError(
            f"student states {tuple(student.shape)} and teacher states {tuple(teacher.shape)} "
            "differ in shape: project the student to the teacher's width first"
        )
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        total = (student.to(dtype) - teacher.detach().to(dtype)).square().sum()
    return Ratio(total, student.numel())
