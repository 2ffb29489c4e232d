"""The feature map loss: states compared after each is normalised on its own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses._shapes import check_states
from tinybert.losses.ratio import Ratio

__all__ = ["feature_map_loss"]

_EPSILON = 1e-12  # as in BERT's LayerNorm


def feature_map_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Ratio:
    r"""Squared distance of layer-normalised hidden states.

    .. math::
        \mathrm{total} = \sum_{b,i\,\text{real}} \lVert \mathrm{LN}(h^S_{bi})
            - \mathrm{LN}(h^T_{bi}) \rVert^2
        \qquad \mathrm{count} = d \cdot \#\text{real tokens}

    LN takes away a state's mean and divides by its standard deviation, both over the width
    (√(variance + 10⁻¹²), no weights). (MobileBERT, arXiv 2004.02984, section 3.5, feature map
    transfer: the MSE of feature maps, which in practice is split into normalised maps and their
    statistics. This is the first part; means and deviations are left free.)

    Args:
        student: (B, L, d), of the teacher's width d, projected to it if need be.
        teacher: (B, L, d); no gradient flows into it.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.

    Returns:
        Total in float32 (float64 if an input is), count as a scalar tensor.

    Raises:
        TinybertError: The shapes of the two differ, or the mask does not fit.

    >>> import torch
    >>> student, teacher = torch.tensor([[[1.0, 3.0]] * 2]), torch.tensor([[[9.0, 5.0]] * 2])
    >>> loss = feature_map_loss(student, teacher, torch.tensor([[1, 0]]))  # (-1, 1) and (1, -1)
    >>> loss.total, loss.count, loss.mean()
    (tensor(8.), tensor(2), tensor(4.))
    """
    check_states(student, teacher, mask)
    dtype, width = loss_dtype(student, teacher), student.shape[-1]
    real = mask.bool()
    padding = ~real.unsqueeze(-1)
    with full_precision(student.device):
        s, t = (
            F.layer_norm(states.to(dtype).masked_fill(padding, 0.0), (width,), eps=_EPSILON)
            for states in (student, teacher.detach())
        )
        total = (s - t).square().sum()
    return Ratio(total, real.sum() * width)
