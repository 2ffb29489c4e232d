"""The patience loss: the first token's state after each layer, by direction only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["patience_loss"]


def patience_loss(student: Tensor, teacher: Tensor) -> Ratio:
    r"""Squared distance of the first token's normalised states.

    .. math::
        \mathrm{total} = \sum_{\text{rows}} \left\lVert
            \frac{h^S_0}{\lVert h^S_0 \rVert} - \frac{h^T_0}{\lVert h^T_0 \rVert} \right\rVert^2
        \qquad \mathrm{count} = d \cdot \#\text{rows}

    so that the mean is the MSE per number of the normalised [CLS] states. (PKD, arXiv 1908.09355,
    section 3.2. The formula there is the squared norm, d times this mean; the authors' code takes
    the mean over the width, and their weights β ∈ {10, 100, 500, 1000} belong to that.)

    Args:
        student: (rows, L, d), L ≥ 1, of the teacher's width d. Only the first token is read, so no
            mask is needed.
        teacher: (rows, L, d); no gradient flows into it.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: The shapes of the two differ, or rows have no token.

    >>> import torch
    >>> student, teacher = torch.tensor([[[3.0, 0.0], [5.0, 5.0]]]), torch.ones(1, 2, 2)
    >>> teacher[0, 0, 0] = 0.0
    >>> loss = patience_loss(student, teacher)  # directions (1, 0) and (0, 1)
    >>> loss.total, loss.count, loss.mean()
    (tensor(2.), 2, tensor(1.))
    """
    if student.dim() != 3 or student.shape != teacher.shape or not student.shape[1]:
        raise TinybertError(
            f"student states {tuple(student.shape)} and teacher states {tuple(teacher.shape)} "
            "do not match: both must be (rows, length, width) with at least one token, so give "
            "the student the teacher's width or project it first"
        )
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        s = F.normalize(student[:, 0].to(dtype), dim=-1)
        t = F.normalize(teacher[:, 0].detach().to(dtype), dim=-1)
        total = (s - t).square().sum()
    return Ratio(total, s.numel())
