"""Losses on distributions over tokens: attention after softmax, and relations of one kind of state.

Both build probabilities of all token pairs, L × L a head: time and memory grow with L².
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses._precision import full_precision, loss_dtype
from tinybert.losses.attention import _check
from tinybert.losses.ratio import Ratio

__all__ = ["attention_distribution_loss", "relation_loss"]


def attention_distribution_loss(
    student_query: Tensor,
    student_key: Tensor,
    student_scaling: float,
    teacher_query: Tensor,
    teacher_key: Tensor,
    teacher_scaling: float,
    mask: Tensor,
) -> Ratio:
    r"""Divergence of the student's attention probabilities from the teacher's.

    .. math::
        \mathrm{total} = \sum_{b,h} \sum_{i\,\text{real}}
            \mathrm{KL}\bigl(p^T_{bhi} \,\Vert\, p^S_{bhi}\bigr), \quad
        p_{bhi} = \mathrm{softmax}_{j\,\text{real}}(a\, q_{bhi} \cdot k_{bhj})
        \qquad \mathrm{count} = H \cdot \#\text{real tokens}

    (MobileBERT, arXiv 2004.02984, section 3.5, attention transfer.) Natural logarithm. The
    probabilities are those before dropout.

    Args:
        student_query: (B, H, L, d_S), as attention sees it (after rotary embedding).
        student_key: (B, H, L, d_S).
        student_scaling: What attention multiplies the student's scores by, usually 1/√d_S.
        teacher_query: (B, H, L, d_T); no gradient flows into it. d_T may differ from d_S.
        teacher_key: (B, H, L, d_T).
        teacher_scaling: The teacher's scaling.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.

    Returns:
        Total in float32 (float64 if an input is), count as a scalar tensor.

    Raises:
        TinybertError: Head counts differ, or shapes do not fit.

    >>> import torch
    >>> q, k = torch.ones(1, 1, 3, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0], [9.0, 9.0]]]])
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> loss = attention_distribution_loss(q, 0 * k, 1.0, q, k, 1.0, mask)
    >>> loss.count, loss.mean()  # (1/2, 1/2) under (0.731, 0.269)
    (tensor(2), tensor(0.1109))
    """
    _check(student_query, student_key, teacher_query, teacher_key, mask, "direct")
    return _divergence(
        (student_query, student_key, student_scaling),
        (teacher_query, teacher_key, teacher_scaling),
        mask.bool(),
    )


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Ratio:
    r"""Divergence of the student's relations among queries, keys or values from the teacher's.

    The heads are laid side by side and split anew into R relation heads, of size
    :math:`d_r = H d / R` on each side. With x the states of relation head r,

    .. math::
        \mathrm{total} = \sum_{b,r} \sum_{i\,\text{real}}
            \mathrm{KL}\bigl(p^T_{bri} \,\Vert\, p^S_{bri}\bigr), \quad
        p_{bri} = \mathrm{softmax}_{j\,\text{real}}(x_{bri} \cdot x_{brj} / \sqrt{d_r})
        \qquad \mathrm{count} = R \cdot \#\text{real tokens}

    (MiniLMv2, arXiv 2012.15828, section 3.1; there one such loss each for queries, keys and
    values.) Natural logarithm.

    Args:
        student: (B, H_S, L, d_S), queries, keys or values.
        teacher: (B, H_T, L, d_T), the same kind; no gradient flows into it. Head counts and sizes
            may differ from the student's.
        mask: (B, L), bool or integer, 1 = real token. Values at padding must be finite.
        relation_heads: R ≥ 1, divides H_S·d_S and H_T·d_T.

    Returns:
        Total in float32 (float64 if an input is), count as a scalar tensor.

    Raises:
        TinybertError: Shapes do not fit, or the heads cannot be split so.

    >>> import torch
    >>> teacher, mask = torch.ones(1, 3, 2, 4), torch.ones(1, 2)  # all tokens alike
    >>> student = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    >>> loss = relation_loss(student, teacher, mask, relation_heads=2)
    >>> loss.count, loss.mean()
    (tensor(4), tensor(0.0601))
    """
    if student.dim() != 4 or teacher.dim() != 4:
        raise TinybertError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be "
            "(batch, heads, length, head size): give queries, keys or values by head"
        )
    batch, heads_s, length, size_s = student.shape
    heads_t, size_t = teacher.shape[1], teacher.shape[3]
    if (teacher.shape[0], teacher.shape[2]) != (batch, length) or mask.shape != (batch, length):
        raise TinybertError(
            f"shapes do not fit: student {tuple(student.shape)}, teacher {tuple(teacher.shape)}, "
            f"mask {tuple(mask.shape)}: both models must read the same batch"
        )
    width_s, width_t = heads_s * size_s, heads_t * size_t
    if relation_heads < 1 or width_s % relation_heads or width_t % relation_heads:
        common = math.gcd(width_s, width_t)
        fitting = ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
        raise TinybertError(
            f"widths {width_s} (student) and {width_t} (teacher) cannot both be split into "
            f"{relation_heads} relation heads: use one of {fitting}"
        )
    s, t = _split(student, relation_heads), _split(teacher, relation_heads)
    return _divergence(
        (s, s, s.shape[-1] ** -0.5),
        (t, t, t.shape[-1] ** -0.5),
        mask.bool(),
    )


def _split(states: Tensor, heads: int) -> Tensor:
    """(B, H, L, d) to (B, heads, L, H·d / heads)."""
    batch, _, length, _ = states.shape
    size = states.shape[1] * states.shape[3] // heads
    return states.transpose(1, 2).reshape(batch, length, heads, size).transpose(1, 2)


def _divergence(
    student: tuple[Tensor, Tensor, float], teacher: tuple[Tensor, Tensor, float], real: Tensor
) -> Ratio:
    """KL(teacher ‖ student) of softmax(scaling · query · keyᵀ) over real keys."""
    query, key, scaling = student
    query_t, key_t, scaling_t = teacher
    dtype = loss_dtype(query, key, query_t, key_t)
    with full_precision(query.device):
        log_s = _log_probabilities(query, key, scaling, real, dtype)
        log_t = _log_probabilities(query_t.detach(), key_t.detach(), scaling_t, real, dtype)
        total = F.kl_div(log_s, log_t, reduction="sum", log_target=True)
    return Ratio(total, query.shape[1] * real.sum())


def _log_probabilities(
    query: Tensor, key: Tensor, scaling: float, real: Tensor, dtype: torch.dtype
) -> Tensor:
    # Queries of padding become zero on both sides: equal distributions, so no divergence.
    padding = ~real[:, None, :, None]
    query, key = (x.to(dtype).masked_fill(padding, 0.0) for x in (query, key))
    # The least number rather than -inf, which would turn 0 · (inf - inf) and rows without real
    # tokens into not-a-number.
    scores = (scaling * query) @ key.mT
    return scores.masked_fill(padding.mT, torch.finfo(dtype).min).log_softmax(dim=-1)
