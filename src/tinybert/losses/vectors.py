"""Losses on vectors of rows: one vector a row, such as a sentence embedding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["vector_cosine_loss", "vector_loss"]


def vector_cosine_loss(student: Tensor, teacher: Tensor) -> Ratio:
    r"""One minus the cosine between the student's and the teacher's vector of the same row.

    .. math::
        \mathrm{total} = \sum_b 1 - \cos(s_b, t_b)
            = \sum_b \tfrac12 \lVert \hat s_b - \hat t_b \rVert^2
        \qquad \mathrm{count} = \#\text{rows}

    The loss of :func:`tinybert.losses.cosine_loss` (DistilBERT, arXiv 1910.01108, section 2) on
    sentence embeddings. Where it is small for all rows, cosines between rows are the teacher's:
    they are off by no more than the lengths of the two rows' differences together.

    Args:
        student: (B, d).
        teacher: (B, d); no gradient flows into it. A vector of zeros points nowhere: its distance
            to any other counts as 1/2.

    Returns:
        Total in float32 (float64 if an input is), count of rows.

    Raises:
        TinybertError: The shapes of the two differ.

    >>> import torch
    >>> loss = vector_cosine_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    >>> loss.total, loss.count
    (tensor(1.), 1)
    """
    _check(student, teacher)
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        s = F.normalize(student.to(dtype), dim=-1)
        t = F.normalize(teacher.detach().to(dtype), dim=-1)
        # The same number as 1 - cos, which would lose its digits where the two agree.
        total = (s - t).square().sum() / 2
    return Ratio(total, student.shape[0])


def vector_loss(student: Tensor, teacher: Tensor) -> Ratio:
    r"""Squared distance between the student's and the teacher's vector of the same row.

    .. math::
        \mathrm{total} = \sum_b \lVert s_b - t_b \rVert^2 \qquad \mathrm{count} = \#\text{rows}

    (Reimers and Gurevych, arXiv 2004.09813, section 2, there as a mean over numbers too.) Unlike
    the cosine it teaches lengths.

    Shapes, units and errors are those of :func:`vector_cosine_loss`.

    >>> import torch
    >>> loss = vector_loss(torch.zeros(2, 3), torch.ones(2, 3))
    >>> loss.total, loss.count
    (tensor(6.), 2)
    """
    _check(student, teacher)
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        total = (student.to(dtype) - teacher.detach().to(dtype)).square().sum()
    return Ratio(total, student.shape[0])


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.dim() != 2 or student.shape != teacher.shape:
        raise TinybertError(
            f"student vectors {tuple(student.shape)} and teacher vectors {tuple(teacher.shape)} "
            "do not match: both must be (rows, width), so project the student to the teacher's "
            "width first."
        )
