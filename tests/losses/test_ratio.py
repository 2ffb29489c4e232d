"""Numerators and denominators stay apart."""

from __future__ import annotations

import pytest
import torch

from tinybert.losses import Ratio


@pytest.mark.parametrize("count", [4, torch.tensor(4)])
def test_mean(count: int | torch.Tensor) -> None:
    assert Ratio(torch.tensor(6.0), count).mean() == 1.5


@pytest.mark.parametrize("count", [0, torch.tensor(0)])
def test_nothing_is_no_loss_and_has_a_gradient(count: int | torch.Tensor) -> None:
    total = torch.tensor(0.0, requires_grad=True)
    mean = Ratio(total, count).mean()
    mean.backward()
    assert mean == 0
    assert total.grad is not None
