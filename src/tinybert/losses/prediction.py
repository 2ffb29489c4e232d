"""Losses on outputs: the teacher's distribution, the teacher's number, the label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["divergence_loss", "label_loss", "regression_loss", "soft_cross_entropy"]


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Ratio:
    r"""Cross-entropy of the student's distribution under the teacher's.

    .. math::
        \mathrm{total} = -\sum_{\text{rows}} \sum_c
            \mathrm{softmax}(z^T / t)_c \, \log \mathrm{softmax}(z^S / t)_c
        \qquad \mathrm{count} = \#\text{rows}

    (arXiv 1909.10351, section 3.1, prediction layer; t = 1 worked best there. No factor t² as in
    other distillation methods.) Its least value is the teacher's entropy, not 0. Natural
    logarithm.

    Args:
        student_logits: (rows, C).
        teacher_logits: (rows, C); no gradient flows into it.
        temperature: t > 0, divides both.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: The shapes differ, or the temperature is not above 0.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    >>> loss = soft_cross_entropy(logits, logits)
    >>> loss.total, loss.count
    (tensor(1.3863), 2)
    """
    _check_logits(student_logits, teacher_logits, temperature)
    dtype = loss_dtype(student_logits, teacher_logits)
    with full_precision(student_logits.device):
        target = torch.softmax(teacher_logits.detach().to(dtype) / temperature, dim=-1)
        log_probabilities = torch.log_softmax(student_logits.to(dtype) / temperature, dim=-1)
        total = -(target * log_probabilities).sum()
    return Ratio(total, student_logits.shape[0])


def divergence_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Ratio:
    r"""Divergence of the student's distribution from the teacher's, times t².

    .. math::
        \mathrm{total} = t^2 \sum_{\text{rows}}
            \mathrm{KL}\bigl(\mathrm{softmax}(z^T / t) \,\Vert\, \mathrm{softmax}(z^S / t)\bigr)
        \qquad \mathrm{count} = \#\text{rows}

    (Hinton et al., arXiv 1503.02531, section 2: the factor t² keeps the size of the gradients at
    any temperature; so in the code of DistilBERT, arXiv 1910.01108, and PKD, arXiv 1908.09355.)
    It is t² times what :func:`soft_cross_entropy` has above the teacher's entropy, so its least
    value is 0. Natural logarithm.

    Args:
        student_logits: (rows, C).
        teacher_logits: (rows, C); no gradient flows into it.
        temperature: t > 0, divides both.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: The shapes differ, or the temperature is not above 0.

    >>> import torch
    >>> teacher = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    >>> divergence_loss(torch.zeros(2, 2), teacher, temperature=2.0).mean()
    tensor(0.2219)
    """
    _check_logits(student_logits, teacher_logits, temperature)
    dtype = loss_dtype(student_logits, teacher_logits)
    with full_precision(student_logits.device):
        log_s = torch.log_softmax(student_logits.to(dtype) / temperature, dim=-1)
        log_t = torch.log_softmax(teacher_logits.detach().to(dtype) / temperature, dim=-1)
        total = temperature**2 * F.kl_div(log_s, log_t, reduction="sum", log_target=True)
    return Ratio(total, student_logits.shape[0])


def _check_logits(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> None:
    if student_logits.dim() != 2 or student_logits.shape != teacher_logits.shape:
        raise TinybertError(
            f"student logits {tuple(student_logits.shape)} and teacher logits "
            f"{tuple(teacher_logits.shape)} do not match: both must be (rows, classes), so give "
            "the student the teacher's classes"
        )
    if not temperature > 0:
        raise TinybertError(f"temperature {temperature} is not above 0: use 1, the paper's value")


def regression_loss(student: Tensor, teacher: Tensor) -> Ratio:
    """Squared distance to the teacher's number, the prediction loss of a regression task.

    total = sum over rows of the squared difference (its mean over outputs where a row has
    several), count = rows, so the mean is the MSE.

    Args:
        student: (rows,) or (rows, outputs).
        teacher: The same number of outputs a row; no gradient flows into it.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: The numbers of rows or outputs differ.

    >>> import torch
    >>> regression_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 5.0])).mean()
    tensor(4.5000)
    """
    rows = student.shape[0]
    if student.numel() != teacher.numel() or teacher.shape[0] != rows:
        raise TinybertError(
            f"outputs {tuple(student.shape)} and targets {tuple(teacher.shape)} do not match: "
            "give as many numbers a row on both sides"
        )
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        difference = student.to(dtype).flatten() - teacher.detach().to(dtype).flatten()
        total = difference.square().sum() * (rows / max(student.numel(), 1))
    return Ratio(total, rows)


def label_loss(logits: Tensor, labels: Tensor, regression: bool) -> Ratio:
    """The loss on true labels: what fine-tuning minimises.

    Classes: -log softmax(z)[label], summed over rows. Regression: :func:`regression_loss` against
    the labels.

    Args:
        logits: (rows, C), or for regression (rows,) or (rows, outputs).
        labels: (rows,) integers, or for regression numbers, as many a row as outputs.
        regression: Whether the label is a number.

    Returns:
        Total in float32 (float64 if logits are), count as a Python int.

    Raises:
        TinybertError: Shapes do not match, or a label is no class of the model.

    >>> import torch
    >>> loss = label_loss(torch.zeros(2, 2), torch.tensor([0, 1]), regression=False)
    >>> loss.total, loss.count
    (tensor(1.3863), 2)
    """
    if regression:
        # Labels are float64 when they come from numpy; the model's precision decides here.
        return regression_loss(logits, labels.to(loss_dtype(logits)))
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise TinybertError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not match: "
            "give (rows, classes) and one label a row"
        )
    if labels.is_floating_point():
        raise TinybertError(
            "labels of a classification are class numbers, not fractions: "
            "give integers, or say that the task is a regression"
        )
    classes = logits.shape[1]
    # On a GPU this look would wait for the device at every step.
    if labels.device.type == "cpu":
        strange = labels[(labels < 0) | (labels >= classes)]
        if strange.numel():
            raise TinybertError(
                f"label {int(strange[0])} is no class of a model with {classes} classes "
                f"(0 to {classes - 1}): give the model as many labels as the task has"
            )
    with full_precision(logits.device):
        total = F.cross_entropy(logits.to(loss_dtype(logits)), labels.long(), reduction="sum")
    return Ratio(total, logits.shape[0])
