"""The attention loss within sliding windows is the plain one, computed in a band."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tinybert.errors import TinybertError
from tinybert.losses import attention_loss, pairs_within, window_attention_loss

Inputs = tuple[Tensor, Tensor, float, Tensor, Tensor, float]


def inputs(length: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Inputs:
    torch.manual_seed(seed)
    query_s, key_s = torch.randn(2, 3, 2, length, 4, dtype=dtype)
    query_t, key_t = torch.randn(2, 3, 2, length, 5, dtype=dtype)
    return query_s.requires_grad_(), key_s.requires_grad_(), 0.7, query_t, key_t, 0.4


def padded(length: int) -> Tensor:
    lengths = torch.tensor([[length], [max(1, length // 2)], [max(1, length - 3)]])
    return torch.arange(length) < lengths


def near(mask: Tensor, window: int) -> Tensor:
    """(B, L, L): real pairs within the window."""
    place = torch.arange(mask.shape[1])
    band = (place[:, None] - place).abs() <= window
    return mask[:, None, :] & mask[:, :, None] & band


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.integers(0, 80), st.integers(0, 9))
def test_it_is_the_plain_formula(length: int, window: int, seed: int) -> None:
    query_s, key_s, a, query_t, key_t, b = given_inputs = inputs(length, seed)
    mask = padded(length)
    difference = a * query_s @ key_s.mT - b * query_t @ key_t.mT
    pairs = near(mask, window)[:, None].expand_as(difference)
    wanted = difference[pairs].square().mean()
    gradients = torch.autograd.grad(wanted, (query_s, key_s))
    loss = window_attention_loss(*given_inputs, mask, window)
    assert loss.count == pairs.sum() == 2 * pairs_within(mask, window).sum()
    torch.testing.assert_close(loss.mean(), wanted, rtol=1e-9, atol=1e-12)
    found = torch.autograd.grad(loss.mean(), (query_s, key_s))
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_a_window_of_the_whole_row_is_the_loss_of_all_pairs() -> None:
    some, mask = inputs(20), padded(20)
    for window in (19, 500):
        whole, found = attention_loss(*some, mask), window_attention_loss(*some, mask, window)
        assert (found.total, found.count) == (whole.total, whole.count)


def test_padding_and_batch_mates_change_nothing() -> None:
    query_s, key_s, a, query_t, key_t, b = inputs(100)
    mask = padded(100)
    whole = window_attention_loss(query_s, key_s, a, query_t, key_t, b, mask, 7)
    parts = []
    for row, length in enumerate(mask.sum(1).tolist()):
        q, k, r, s = (x[row : row + 1, :, :length] for x in (query_s, key_s, query_t, key_t))
        one = torch.ones(1, length)
        parts.append(window_attention_loss(q, k, a, r, s, b, one, 7))
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    assert whole.count == sum(part.count for part in parts)


class _Largest(TorchDispatchMode):
    """Numbers in the largest tensor that is made inside."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple) else (found,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return found


@pytest.mark.parametrize("window", [None, 64])
def test_no_matrix_of_all_pairs_is_built(window: int | None) -> None:
    """At 2,048 tokens, with gradients: what is made is of the size of queries and keys, or less."""
    length = 2048
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 2, length, 16)
    query.requires_grad_()
    mask = torch.ones(1, length)
    with _Largest() as largest:
        taps: Any = (query, key, 0.25, query.detach() + 1, key, 0.25, mask)
        loss = attention_loss(*taps) if window is None else window_attention_loss(*taps, window)
        loss.mean().backward()
    assert query.grad is not None
    assert 0 < largest.numbers <= 2 * query.numel() < length**2 // 16


def test_heads_that_differ_are_refused() -> None:
    query_s, key_s, a, query_t, key_t, b = inputs(9)
    with pytest.raises(TinybertError, match="2 attention heads and teacher 1"):
        window_attention_loss(query_s, key_s, a, query_t[:, :1], key_t[:, :1], b, padded(9), 2)
