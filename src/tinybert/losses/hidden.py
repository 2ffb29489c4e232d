"""Losses on states: hidden states of mapped layers, and the embedding output."""

from __future__ import annotations

from torch import Tensor

from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses._shapes import check_states
from tinybert.losses.ratio import Ratio

__all__ = ["embedding_loss", "hidden_loss"]


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Ratio:
    r"""Squared distance of the projected student's hidden states to the teacher's.

    .. math::
        \mathrm{total} = \sum_{b,i\,\text{real}} \lVert h^S_{bi} W_h - h^T_{bi} \rVert^2
        \qquad \mathrm{count} = d \cdot \#\text{real tokens}

    so that the mean is the MSE per real number (arXiv 1909.10351, section 3.1, hidden states).

    Args:
        student: (B, L, d), already projected to the teacher's width d.
        teacher: (B, L, d); no gradient flows into it.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.

    Returns:
        Total in float32 (float64 if an input is), count as a scalar tensor.

    Raises:
        TinybertError: The shapes of the two differ.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    >>> loss = hidden_loss(student, teacher, torch.tensor([[1, 1, 0]]))
    >>> loss.total, loss.count, loss.mean()
    (tensor(4.), tensor(4), tensor(1.))
    """
    check_states(student, teacher, mask)
    dtype = loss_dtype(student, teacher)
    real = mask.bool()
    with full_precision(student.device):
        difference = student.to(dtype) - teacher.detach().to(dtype)
        total = difference.masked_fill(~real.unsqueeze(-1), 0.0).square().sum()
    return Ratio(total, real.sum() * student.shape[-1])


def embedding_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Ratio:
    """:func:`hidden_loss` on embedding outputs (after the embedding block's LayerNorm).

    The student's output is projected by W_e first (arXiv 1909.10351, section 3.1, embedding
    layer). Shapes, units and errors are those of :func:`hidden_loss`.

    >>> import torch
    >>> same = torch.randn(2, 3, 4)
    >>> embedding_loss(same, same, torch.ones(2, 3)).mean()
    tensor(0.)
    """
    return hidden_loss(student, teacher, mask)
