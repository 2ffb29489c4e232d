"""Losses on sets of labels, against the plain formula in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import set_cross_entropy, set_label_loss


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def plain(z: float, y: float) -> float:
    """Cross-entropy of the probability σ(z), whose two logarithms keep their digits."""
    return y * math.log1p(math.exp(-z)) + (1 - y) * math.log1p(math.exp(z))


def drawn(rows: int, labels: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    logits, teacher = torch.randn(2, rows, labels, generator=rng, dtype=torch.float64)
    return 3 * logits, 3 * teacher, torch.rand(rows, labels, generator=rng) < 0.4


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.3, 4.0), st.integers(0, 99))
def test_plain_formulas(rows: int, labels: int, temperature: float, seed: int) -> None:
    logits, teacher, truth = drawn(rows, labels, seed)
    hard = soft = 0.0
    for row in range(rows):
        for label in range(labels):
            z, t = float(logits[row, label]), float(teacher[row, label])
            hard += plain(z, float(truth[row, label])) / labels
            soft += plain(z / temperature, sigmoid(t / temperature)) / labels
    found = set_label_loss(logits, truth)
    assert found.total.dtype == torch.float64
    assert (float(found.total), found.count) == (pytest.approx(hard, rel=1e-9), rows)
    found = set_cross_entropy(logits, teacher, temperature)
    assert (float(found.total), found.count) == (pytest.approx(soft, rel=1e-9), rows)


def test_sums_of_pieces_and_gradients() -> None:
    """Micro-batches add up; gradients are (sigmoid - target) / labels, none to the teacher."""
    logits, teacher, truth = drawn(7, 3)
    logits.requires_grad_()
    teacher.requires_grad_()
    whole = set_cross_entropy(logits, teacher)
    parts = [set_cross_entropy(logits[a:b], teacher[a:b]) for a, b in ((0, 2), (2, 7))]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    whole.total.backward()
    torch.testing.assert_close(logits.grad, (logits.sigmoid() - teacher.sigmoid()).detach() / 3)
    assert teacher.grad is None
    logits.grad = None
    set_label_loss(logits, truth).total.backward()
    torch.testing.assert_close(logits.grad, ((logits.sigmoid() - truth.double()) / 3).detach())


def test_sure_answers_cost_what_they_should_and_no_infinity() -> None:
    logits, truth = torch.tensor([[1e4, -1e4]]), torch.tensor([[False, False]])
    assert float(set_label_loss(logits, truth).total) == pytest.approx(5e3)
    assert float(set_cross_entropy(logits, logits).total) == 0
    half = torch.tensor([[100.0, -100.0]], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert set_label_loss(half, truth).total.dtype == torch.float32


def test_bad_input() -> None:
    logits, teacher, truth = drawn(4, 3)
    with pytest.raises(TinybertError, match=r"do not match: both must be \(rows, labels\)"):
        set_label_loss(logits, truth[:, :2])
    with pytest.raises(TinybertError, match="do not match"):
        set_label_loss(logits, truth[:, 0])
    with pytest.raises(TinybertError, match="do not match"):
        set_cross_entropy(logits, teacher[:3])
    with pytest.raises(TinybertError, match="temperature 0 is not above 0"):
        set_cross_entropy(logits, teacher, 0)
    assert np.isfinite(float(set_cross_entropy(logits, teacher, 0.01).total))
