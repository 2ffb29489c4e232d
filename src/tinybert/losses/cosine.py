"""The cosine loss: whether the student's hidden states point where the teacher's do."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses._shapes import check_states
from tinybert.losses.ratio import Ratio

__all__ = ["cosine_loss"]


def cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Ratio:
    r"""One minus the cosine between the student's and the teacher's hidden states.

    .. math::
        \mathrm{total} = \sum_{b,i\,\text{real}} 1 - \cos(h^S_{bi}, h^T_{bi})
        \qquad \mathrm{count} = \#\text{real tokens}

    (DistilBERT, arXiv 1910.01108, section 2, training loss; there on the last hidden states.)
    Between 0 and 2 a token; the length of a state does not matter. A state of zeros points
    nowhere: its distance to any other counts as 1/2.

    Args:
        student: (B, L, d), of the teacher's width d, projected to it if need be.
        teacher: (B, L, d); no gradient flows into it.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.

    Returns:
        Total in float32 (float64 if an input is), count as a scalar tensor.

    Raises:
        TinybertError: The shapes of the two differ, or the mask does not fit.

    >>> import torch
    >>> student, teacher = torch.tensor([[[1.0, 0.0]] * 3]), torch.tensor([[[0.0, 2.0]] * 3])
    >>> loss = cosine_loss(student, teacher, torch.tensor([[1, 1, 0]]))  # right angles
    >>> loss.total, loss.count, loss.mean()
    (tensor(2.), tensor(2), tensor(1.))
    """
    check_states(student, teacher, mask)
    dtype = loss_dtype(student, teacher)
    real = mask.bool()
    padding = ~real.unsqueeze(-1)
    with full_precision(student.device):
        s = F.normalize(student.to(dtype).masked_fill(padding, 0.0), dim=-1)
        t = F.normalize(teacher.detach().to(dtype).masked_fill(padding, 0.0), dim=-1)
        # The same number as 1 - cos, which would lose its digits where the two agree.
        total = (s - t).square().sum() / 2
    return Ratio(total, real.sum())
