"""Losses on where a span starts and ends: distributions over the tokens of a passage."""

from __future__ import annotations

import torch
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.ratio import Ratio

__all__ = ["ENDS", "STARTS", "span_cross_entropy", "span_label_loss"]

STARTS, ENDS = 1, 2
"""Bits of a token's label: the answer starts here, it ends here (3: one token is all of it)."""


def span_label_loss(logits: Tensor, labels: Tensor, asked: Tensor) -> Ratio:
    r"""Cross-entropy of the answer's first and last token among those that may be one.

    .. math::
        \mathrm{total} = -\tfrac{1}{2} \sum_{\text{rows}}
            \log \mathrm{softmax}_{i\ \text{asked}}(z^{start})_s
            + \log \mathrm{softmax}_{i\ \text{asked}}(z^{end})_e
        \qquad \mathrm{count} = \#\text{rows}

    (BERT, arXiv 1810.04805, section 4.2, where the softmax runs over all tokens; here over the
    passage's and the one that stands for no answer, so that padding and the question's tokens
    change nothing.) Natural logarithm.

    Args:
        logits: (rows, length, 2), start and end.
        labels: (rows, length) integers: :data:`STARTS` and :data:`ENDS` as bits, one start and one
            end a row; anything where nothing is asked.
        asked: (rows, length) bool, tokens that may start or end the answer.

    Returns:
        Total in float32 (float64 if logits are), count as a Python int.

    Raises:
        TinybertError: shapes differ, or a row has not one start and one end among the asked.

    >>> import torch
    >>> asked = torch.tensor([[False, True, True, True]])
    >>> labels = torch.tensor([[-100, 1, 2, 0]])
    >>> loss = span_label_loss(torch.zeros(1, 4, 2), labels, asked)
    >>> loss.total, loss.count
    (tensor(1.0986), 1)
    """
    _check(logits, labels, asked)
    bits = torch.where(asked, labels, torch.zeros_like(labels)).long()
    wanted = torch.stack([bits & STARTS, bits & ENDS], dim=-1) != 0
    # On a GPU this look would wait for the device at every step.
    if labels.device.type == "cpu" and not bool((wanted.sum(dim=1) == 1).all()):
        raise TinybertError(
            "every row needs one token where the answer starts and one where it ends, among those "
            "that are asked"
        )
    with full_precision(logits.device):
        total = -_log_shares(logits, asked, 1.0)[wanted].sum() / 2
    return Ratio(total, logits.shape[0])


def span_cross_entropy(
    student: Tensor, teacher: Tensor, asked: Tensor, temperature: float = 1.0
) -> Ratio:
    r"""Cross-entropy of the student's starts and ends under the teacher's.

    .. math::
        \mathrm{total} = -\tfrac{1}{2} \sum_{\text{rows}} \sum_{b \in \{start, end\}}
            \sum_{i\ \text{asked}} p^T_{b,i} \log p^S_{b,i}
        \qquad \mathrm{count} = \#\text{rows}

    p is the softmax of z / t over the asked tokens of a row. It is the prediction loss of TinyBERT
    (arXiv 1909.10351, section 3.1) with positions for classes. Natural logarithm.

    Args:
        student: (rows, length, 2) logits, start and end.
        teacher: the same shape; no gradient flows into it.
        asked: (rows, length) bool.
        temperature: t > 0, divides both.

    Returns:
        Total in float32 (float64 if an input is), count as a Python int.

    Raises:
        TinybertError: shapes differ, a row has nothing asked, or the temperature is not above 0.

    >>> import torch
    >>> asked = torch.tensor([[False, True, True]])
    >>> span_cross_entropy(torch.zeros(1, 3, 2), torch.ones(1, 3, 2), asked).mean()
    tensor(0.6931)
    """
    if student.shape != teacher.shape:
        raise TinybertError(
            f"student outputs {tuple(student.shape)} and teacher outputs {tuple(teacher.shape)} do "
            "not match: both must be (rows, length, 2)"
        )
    _check(student, asked, asked)
    if not temperature > 0:
        raise TinybertError(f"temperature {temperature} is not above 0: use 1, the paper's value")
    dtype = loss_dtype(student, teacher)
    with full_precision(student.device):
        target = _log_shares(teacher.detach().to(dtype), asked, temperature).exp()
        shares = _log_shares(student.to(dtype), asked, temperature)
        # Where nothing is asked a share is 0 and its logarithm no number that counts.
        total = -(target * shares.masked_fill(~asked.unsqueeze(-1), 0.0)).sum() / 2
    return Ratio(total, student.shape[0])


def _log_shares(logits: Tensor, asked: Tensor, temperature: float) -> Tensor:
    """log softmax over the asked tokens of each row, (rows, length, 2)."""
    scores = logits.to(loss_dtype(logits)) / temperature
    lowest = torch.finfo(scores.dtype).min
    return torch.log_softmax(scores.masked_fill(~asked.unsqueeze(-1), lowest), dim=1)


def _check(logits: Tensor, labels: Tensor, asked: Tensor) -> None:
    shape = tuple(logits.shape)
    if logits.dim() != 3 or shape[2] != 2 or labels.shape != shape[:2] or asked.shape != shape[:2]:
        raise TinybertError(
            f"outputs {shape}, labels {tuple(labels.shape)} and asked tokens {tuple(asked.shape)} "
            "do not match: give (rows, length, 2) and twice (rows, length)"
        )
    if asked.device.type == "cpu" and not bool(asked.any(dim=1).all()):
        raise TinybertError("a row has no token that may start an answer: give it some passage")
