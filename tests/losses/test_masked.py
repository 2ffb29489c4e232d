"""The loss of masked tokens: value, gradient, sums over parts, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import IGNORED, masked_loss


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 9), st.integers(0, 10**6))
def test_equals_loops(rows: int, length: int, vocabulary: int, seed: int) -> None:
    torch.manual_seed(seed)
    labels = torch.randint(0, vocabulary, (rows, length))
    labels[torch.rand(rows, length) < 0.5] = IGNORED
    full = torch.randn(rows, length, vocabulary, dtype=torch.float64, requires_grad=True)
    truth, count = 0.0, 0
    for row in range(rows):
        for place in range(length):
            if labels[row, place] != IGNORED:
                z = full[row, place].tolist()
                truth += math.log(sum(map(math.exp, z))) - z[int(labels[row, place])]
                count += 1
    loss = masked_loss(full[labels != IGNORED], labels)
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == count
    (gradient,) = torch.autograd.grad(loss.total, full)
    mean = torch.nn.functional.cross_entropy(
        full.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    torch.testing.assert_close(gradient, torch.autograd.grad(mean, full)[0])
    parts = [masked_loss(full[r][labels[r] != IGNORED], labels[r]) for r in range(rows)]
    assert sum(part.count for part in parts) == count
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


def test_nothing_masked_is_zero_and_no_division() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    loss = masked_loss(logits[:0], torch.full((2, 4), IGNORED))
    assert (float(loss.total), loss.count) == (0.0, 0)
    loss.mean().backward()
    assert torch.equal(logits.grad, torch.zeros(3, 5))


def test_precision() -> None:
    logits, labels = torch.randn(4, 7), torch.tensor([[1, IGNORED, 6], [0, 3, IGNORED]])
    plain = masked_loss(logits, labels).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(masked_loss(logits, labels).total, plain)
    assert masked_loss(logits.bfloat16(), labels).total.dtype == torch.float32
    assert masked_loss(logits.double(), labels).total.dtype == torch.float64


def test_refusals() -> None:
    labels = torch.tensor([[1, IGNORED]])
    with pytest.raises(TinybertError, match="1 masked tokens do not match"):
        masked_loss(torch.randn(2, 5), labels)
    with pytest.raises(TinybertError, match="do not match"):
        masked_loss(torch.randn(1, 1, 5), labels)
    with pytest.raises(TinybertError, match="label 1 is no token of a vocabulary of 1"):
        masked_loss(torch.randn(1, 1), labels)
    with pytest.raises(TinybertError, match="label -1 is no token"):
        masked_loss(torch.randn(1, 5), torch.tensor([-1]))
