"""The loss of masked language modelling: which token stood where one was hidden."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["IGNORED", "masked_loss"]

IGNORED = -100
"""Label of a token that is not guessed, as in transformers."""


def masked_loss(logits: Tensor, labels: Tensor) -> Ratio:
    r"""Cross-entropy of the tokens that were masked.

    .. math::
        \mathrm{total} = -\sum_{i\ \text{masked}} \log \mathrm{softmax}(z_i)_{x_i}
        \qquad \mathrm{count} = \#\text{masked tokens}

    x is the token that stood there. (BERT, arXiv 1810.04805, section 3.1, task 1.) Natural
    logarithm.

    Args:
        logits: (n, vocabulary), of the masked tokens alone, row by row.
        labels: any shape, such as (batch, length): the token's id at n places, ``IGNORED`` (-100)
            elsewhere.

    Returns:
        Total in float32 (float64 if logits are), count as a Python int. Nothing masked: 0 of 0.

    Raises:
        TinybertError: not as many logits as masked tokens, or a label that is no token.

    >>> import torch
    >>> labels = torch.tensor([[-100, 2, -100], [0, -100, -100]])
    >>> loss = masked_loss(torch.zeros(2, 4), labels)
    >>> loss.total, loss.count
    (tensor(2.7726), 2)
    """
    wanted = labels[labels != IGNORED].long()
    if logits.dim() != 2 or logits.shape[0] != wanted.numel():
        raise TinybertError(
            f"logits {tuple(logits.shape)} and {wanted.numel()} masked tokens do not match: give "
            "(masked tokens, vocabulary), in the tokens' order"
        )
    # On a GPU this look would wait for the device at every step.
    if labels.device.type == "cpu":
        strange = wanted[(wanted < 0) | (wanted >= logits.shape[1])]
        if strange.numel():
            raise TinybertError(
                f"label {int(strange[0])} is no token of a vocabulary of {logits.shape[1]}: give "
                "the model's own tokens"
            )
    with full_precision(logits.device):
        total = F.cross_entropy(logits.to(loss_dtype(logits)), wanted, reduction="sum")
    return Ratio(total, wanted.numel())
