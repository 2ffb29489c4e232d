"""Losses on starts and ends, against the plain formula in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tinybert.errors import TinybertError
from tinybert.losses import ENDS, IGNORED, STARTS, span_cross_entropy, span_label_loss


def drawn(rows: int = 5, length: int = 11, seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, length, 2, generator=rng)
    teacher = 3 * torch.randn(rows, length, 2, generator=rng)
    asked = torch.rand(rows, length, generator=rng) < 0.6
    asked[:, 0] = True
    labels = torch.full((rows, length), IGNORED)
    for row in range(rows):
        places = asked[row].nonzero()[:, 0]
        labels[row, places] = 0
        start, end = sorted(torch.randint(len(places), (2,), generator=rng).tolist())
        labels[row, places[start]] |= STARTS
        labels[row, places[end]] |= ENDS
    return logits, teacher, asked, labels


def plain_shares(logits: np.ndarray, asked: np.ndarray, t: float = 1.0) -> np.ndarray:
    shown = np.exp(logits[asked] / t)
    return np.log(shown / shown.sum())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_plain_formulas(temperature: float) -> None:
    logits, teacher, asked, labels = drawn()
    soft = hard = 0.0
    for row in range(len(logits)):
        for bit, column in ((STARTS, 0), (ENDS, 1)):
            known = asked[row].numpy()
            mine = plain_shares(logits[row, :, column].double().numpy(), known, temperature)
            its = plain_shares(teacher[row, :, column].double().numpy(), known, temperature)
            soft -= float((np.exp(its) * mine).sum()) / 2
            place = (labels[row].numpy()[known] & bit != 0).argmax()
            hard -= plain_shares(logits[row, :, column].double().numpy(), known)[place] / 2
    found = span_cross_entropy(logits, teacher, asked, temperature)
    assert (float(found.total), found.count) == (pytest.approx(soft, rel=1e-5), 5)
    assert float(span_label_loss(logits, labels, asked).total) == pytest.approx(hard, rel=1e-5)


def test_what_is_not_asked_changes_nothing() -> None:
    """Neither its outputs nor padding; and no gradient reaches it."""
    logits, teacher, asked, labels = drawn(seed=1)
    noise = torch.where(asked.unsqueeze(-1), logits, torch.tensor(1e4)).requires_grad_()
    other = torch.where(asked.unsqueeze(-1), teacher, torch.tensor(-1e4))
    soft = span_cross_entropy(noise, other, asked).mean()
    assert float(soft.detach()) == pytest.approx(
        float(span_cross_entropy(logits, teacher, asked).mean())
    )
    (soft + span_label_loss(noise, labels, asked).mean()).backward()
    assert noise.grad is not None
    assert not noise.grad[~asked].any()
    assert noise.grad.isfinite().all()


def test_the_teachers_own_outputs_cost_its_entropy() -> None:
    _, teacher, asked, _ = drawn(seed=2)
    shares = plain_shares(teacher[0, :, 0].double().numpy(), asked[0].numpy())
    one = teacher[:1, :, :1].expand(-1, -1, 2)
    assert float(span_cross_entropy(one, one, asked[:1]).mean()) == pytest.approx(
        -(np.exp(shares) * shares).sum(), rel=1e-5
    )
    assert math.isfinite(float(span_cross_entropy(one, one, asked[:1], 0.01).mean()))


def test_bad_input() -> None:
    logits, teacher, asked, labels = drawn()
    with pytest.raises(TinybertError, match="do not match"):
        span_label_loss(logits[:, :, :1], labels, asked)
    with pytest.raises(TinybertError, match="do not match"):
        span_cross_entropy(logits, teacher[:, :3], asked)
    with pytest.raises(TinybertError, match="one token where the answer starts"):
        span_label_loss(logits, torch.zeros_like(labels), asked)
    with pytest.raises(TinybertError, match="no token that may start an answer"):
        span_cross_entropy(logits, teacher, torch.zeros_like(asked))
    with pytest.raises(TinybertError, match="temperature 0 is not above 0"):
        span_cross_entropy(logits, teacher, asked, 0)
