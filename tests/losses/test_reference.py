"""The original code's averages: values, what they share with ours, what padding does to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses import (
    attention_loss,
    hidden_loss,
    reference_attention_loss,
    reference_hidden_loss,
)


def tail_mask(lengths: list[int], length: int) -> Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def make(batch: int, heads: int, length: int, scale: float = 1.0) -> tuple[Any, ...]:
    query_s, key_s = (scale * randn(batch, heads, length, 4) for _ in range(2))
    query_t, key_t = (scale * randn(batch, heads, length, 6) for _ in range(2))
    return query_s.requires_grad_(), key_s.requires_grad_(), 0.5, query_t, key_t, 6**-0.5


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_attention_equals_loops(data: st.DataObject) -> None:
    batch, heads, length = (data.draw(st.integers(1, high)) for high in (3, 3, 5))
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    # The larger scale takes some scores of real tokens below -100.
    taps = make(batch, heads, length, data.draw(st.sampled_from([1.0, 12.0])))
    query_s, key_s, a, query_t, key_t, b = taps
    truth = 0.0
    for row in range(batch):
        for h in range(heads):
            for i in range(length):
                for j in range(length):
                    added = 0 if j < lengths[row] else -10_000
                    s = a * (query_s[row, h, i] @ key_s[row, h, j]).item() + added
                    t = b * (query_t[row, h, i] @ key_t[row, h, j]).item() + added
                    truth += ((0 if s <= -100 else s) - (0 if t <= -100 else t)) ** 2
    loss = reference_attention_loss(*taps, tail_mask(lengths, length).long())
    assert loss.total.item() == pytest.approx(truth, rel=1e-9, abs=1e-12)
    assert loss.count == batch * heads * length**2


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 8), st.integers(0, 10**6))
def test_without_padding_equals_our_mean(batch: int, heads: int, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    taps, mask = make(batch, heads, length), torch.ones(batch, length)
    ours, theirs = attention_loss(*taps, mask), reference_attention_loss(*taps, mask)
    torch.testing.assert_close(theirs.mean(), ours.mean())
    for one, other in zip(
        torch.autograd.grad(theirs.mean(), taps[:2]),
        torch.autograd.grad(ours.mean(), taps[:2]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    student, teacher = randn(batch, length, 4), randn(batch, length, 4)
    torch.testing.assert_close(
        reference_hidden_loss(student, teacher).mean(), hidden_loss(student, teacher, mask).mean()
    )


def test_padding_counts() -> None:
    taps = make(1, 2, 4)
    short = tuple(x[:, :, :2] if isinstance(x, Tensor) else x for x in taps)
    mask = tail_mask([2], 4)
    zeroed = tuple(x * mask[:, None, :, None] if isinstance(x, Tensor) else x for x in taps)
    real = reference_attention_loss(*short, mask[:, :2])
    # Padded queries of zeros add nothing, but thin the mean.
    diluted = reference_attention_loss(*zeroed, mask)
    torch.testing.assert_close(diluted.mean(), real.mean() / 4)
    assert reference_attention_loss(*taps, mask).total > real.total
    # Padded keys never add anything, whatever they hold.
    other = [x.clone() if isinstance(x, Tensor) else x for x in zeroed]
    other[1][:, :, 2:], other[4][:, :, 2:] = 7.0, -3.0
    torch.testing.assert_close(reference_attention_loss(*other, mask).total, diluted.total)


def test_low_scores_of_real_tokens_are_lost() -> None:
    query = torch.tensor([[[[1.0]]]])
    mask = torch.ones(1, 1)
    for score, total in ((-99.0, 99.0**2), (-100.0, 0.0)):
        loss = reference_attention_loss(query, score * query, 1.0, query, 0 * query, 1.0, mask)
        assert loss.total == total


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_hidden_is_mean_squared_error(batch: int, length: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = randn(batch, length, width), randn(batch, length, width)
    truth = sum(
        (x - y) ** 2
        for x, y in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    )
    loss = reference_hidden_loss(student, teacher)
    assert loss.total.item() == pytest.approx(truth, rel=1e-12)
    assert loss.count == batch * length * width


def test_gradients_are_the_students_alone() -> None:
    query_s, key_s, a, query_t, key_t, b = make(2, 2, 3)
    query_t.requires_grad_()
    mask = tail_mask([2, 3], 3)
    assert torch.autograd.gradcheck(
        lambda q, k: reference_attention_loss(q, k, a, query_t, key_t, b, mask).mean(),
        (query_s, key_s),
    )
    assert torch.autograd.gradcheck(
        lambda x: reference_hidden_loss(x, query_t[..., :4]).mean(), (query_s,)
    )
    reference_attention_loss(query_s, key_s, a, query_t, key_t, b, mask).total.backward()
    reference_hidden_loss(query_s, query_t[..., :4]).total.backward()
    assert query_t.grad is None
    assert query_s.grad is not None


def test_equal_models_have_no_loss() -> None:
    query, key, a, *_ = make(2, 2, 3)
    for loss in (
        reference_attention_loss(query, key, a, query, key, a, tail_mask([2, 0], 3)),
        reference_hidden_loss(query, query),
    ):
        assert loss.total == 0
        (gradient,) = torch.autograd.grad(loss.total, query)
        assert not gradient.any()


def test_rows_of_padding_are_no_nan() -> None:
    taps = make(2, 2, 3)
    loss = reference_attention_loss(*taps, torch.zeros(2, 3))
    loss.mean().backward()
    assert loss.total == 0
    assert not taps[0].grad.any()


def test_precision() -> None:
    taps = tuple(x.detach().float() if isinstance(x, Tensor) else x for x in make(2, 2, 3))
    half = tuple(x.bfloat16() if isinstance(x, Tensor) else x for x in taps)
    mixed = (*taps[:3], taps[3].double(), *taps[4:])
    mask = tail_mask([2, 3], 3)
    losses = {
        "attention": lambda x: reference_attention_loss(*x, mask),
        "hidden": lambda x: reference_hidden_loss(x[0], x[3][..., :4]),
    }
    for loss in losses.values():
        plain = loss(taps).total
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(taps).total, plain)
        assert loss(half).total.dtype == torch.float32
        assert loss(mixed).total.dtype == torch.float64


def test_bad_shapes() -> None:
    states, fewer = torch.ones(2, 3, 4, 5), torch.ones(2, 1, 4, 5)
    with pytest.raises(TinybertError, match="give the student 1 heads"):
        reference_attention_loss(states, states, 1.0, fewer, fewer, 1.0, torch.ones(2, 4))
    with pytest.raises(TinybertError, match="same batch"):
        reference_attention_loss(states, states, 1.0, states, states, 1.0, torch.ones(2, 5))
    with pytest.raises(TinybertError, match="project the student"):
        reference_hidden_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 4))
