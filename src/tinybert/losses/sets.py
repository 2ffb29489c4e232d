"""Losses on sets of labels: every label a yes or no of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["set_cross_entropy", "set_label_loss"]


def set_label_loss(logits: Tensor, labels: Tensor) -> Ratio:
    r"""Binary cross-entropy of every label, its mean over labels.

    .. math::
        \mathrm{total} = -\sum_{\text{rows}} \frac{1}{C} \sum_c
            y_c \log \sigma(z_c) + (1 - y_c) \log (1 - \sigma(z_c))
        \qquad \mathrm{count} = \#\text{rows}

    Natural logarithm; computed from the logits, so that no sure answer costs infinity.

    Args:
        logits: (rows, C).
        labels: (rows, C), true or 1 where the row has the label.

    Returns:
        Total in float32 (float64 if logits are), count as a Python int.

    Raises:
        TinybertError: the shapes differ.

    >>> import torch
    >>> loss = set_label_loss(torch.zeros(2, 3), torch.tensor([[1, 0, 1], [0, 0, 0]]))
    >>> loss.total, loss.count
    (tensor(1.3863), 2)
    """
    if logits.dim() != 2 or labels.shape != logits.shape:
        raise TinybertError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not match: both "
            "must be (rows, labels)"
        )
    dtype = loss_dtype(logits)
    with full_precision(logits.device):
        total = F.binary_cross_entropy_with_logits(
            logits.to(dtype), labels.to(dtype), reduction="sum"
        )
    return Ratio(total / logits.shape[1], logits.shape[0])


def set_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Ratio:
    r"""Binary cross-entropy of the student's probabilities under the teacher's, label by label.

    .. math::
        \mathrm{total} = -\sum_{\text{rows}} \frac{1}{C} \sum_c
            p_c \log \sigma(z^S_c / t) + (1 - p_c) \log (1 - \sigma(z^S_c / t)),
        \quad p_c = \sigma(z^T_c / t)
        \qquad \mathrm{count} = \#\text{rows}

    It is the prediction loss of TinyBERT (arXiv 1909.10351, section 3.1) with a distribution over
    two answers for each label. Its least value is the teacher's entropy, not 0. Natural logarithm.

    Args:
        student_logits: (rows, C).
        teacher_logits: (rows, C); no gradient flows into it.
        temperature: t > 0, divides both.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: the shapes differ, or the temperature is not above 0.

    >>> import torch
    >>> set_cross_entropy(torch.zeros(2, 3), torch.ones(2, 3)).mean()
    tensor(0.6931)
    """
    if student_logits.dim() != 2 or student_logits.shape != teacher_logits.shape:
        raise TinybertError(
            f"student logits {tuple(student_logits.shape)} and teacher logits "
            f"{tuple(teacher_logits.shape)} do not match: both must be (rows, labels)"
        )
    if not temperature > 0:
        raise TinybertError(f"temperature {temperature} is not above 0: use 1, the paper's value")
    dtype = loss_dtype(student_logits, teacher_logits)
    with full_precision(student_logits.device):
        target = torch.sigmoid(teacher_logits.detach().to(dtype) / temperature)
        total = F.binary_cross_entropy_with_logits(
            student_logits.to(dtype) / temperature, target, reduction="sum"
        )
    return Ratio(total / student_logits.shape[1], student_logits.shape[0])
