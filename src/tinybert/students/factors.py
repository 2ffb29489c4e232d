"""Narrower attention heads: the factors that keep most of what a head computes."""

from __future__ import annotations

import torch
from torch import Tensor

from tinybert.students.fits import root_and_inverse

__all__ = ["score_factors", "value_factors"]


def score_factors(queries: Tensor, keys: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps A, B that keep a head's scores best at head size ``size``.

    They minimise E[(q·k − √(d_h/size)·(Aq)·(Bk))²] over all pairs of a query and a key drawn
    independently from ``queries`` and ``keys``: with second moments C_q, C_k, the best
    rank-``size`` factors (SVD) of C_q^½ C_k^½. The root is there because
    attention divides by the root of the head size. When ``size`` ≥ d_h the scores are kept
    exactly, and surplus rows are zero.

    Args:
        queries: (tokens, d_h), biases included.
        keys: (tokens, d_h).
        size: d'_h, the student's head size.

    Returns:
        A and B, each (size, d_h): query' = A·query, key' = B·key.
    """
    head_size = queries.shape[1]
    scale = (size / head_size) ** 0.25
    a, b = queries.new_zeros(2, size, head_size).double()
    if size >= head_size:
        a[:head_size] = b[:head_size] = scale * torch.eye(head_size).to(a)
        return a, b
    q, k = queries.double(), keys.double()
    q_root, q_inverse = root_and_inverse(q.T @ q / len(q))
    k_root, k_inverse = root_and_inverse(k.T @ k / len(k))
    u, values, vh = torch.linalg.svd(q_root @ k_root)
    gain = scale * values[:size].sqrt()[:, None]
    return gain * (u[:, :size].T @ q_inverse), gain * (vh[:size] @ k_inverse)


def value_factors(values: Tensor, out: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps V, O that keep a head's contribution to the stream best at head size ``size``.

    They minimise E‖W(v − E v) − O·V(v − E v)‖² over the tokens: the best rank-``size`` factors
    (SVD) of W·C^½, C the covariance of the values. (Attention weights sum to one, so E v belongs
    to the output's bias.) When ``size`` ≥ d_h nothing is lost, and surplus rows are zero.

    Args:
        values: (tokens, d_h), the head's values.
        out: W, (width, d_h): the output map of this head.
        size: d'_h.

    Returns:
        V (size, d_h) and O (width, size).
    """
    head_size = values.shape[1]
    w = out.double()
    if size >= head_size:
        keep = w.new_zeros(size, head_size)
        keep[:head_size] = torch.eye(head_size, device=w.device)
        return keep, w @ keep.T
    v = values.double()
    v = v - v.mean(0)
    root, inverse = root_and_inverse(v.T @ v / len(v))
    u, singular, vh = torch.linalg.svd(w @ root, full_matrices=False)
    scale = root.diagonal().mean()  # values of about the teacher's size, not of unit variance
    return scale * (vh[:size] @ inverse), u[:, :size] * (singular[:size] / scale)
