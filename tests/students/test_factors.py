from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tinybert.students.factors import score_factors, value_factors


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score_error(q: Tensor, k: Tensor, a: Tensor, b: Tensor) -> Tensor:
    wanted = q @ k.T / q.shape[1] ** 0.5
    return (wanted - (q @ a.T) @ (k @ b.T).T / len(a) ** 0.5).square().mean()


@pytest.mark.parametrize("seed", range(5))
def test_score_factors_beat_random_and_nearby_factors(seed: int) -> None:
    q = draw(seed, 80, 8) @ draw(seed + 100, 8, 8) + draw(seed + 200, 8)
    k = draw(seed + 1, 80, 8) @ draw(seed + 101, 8, 8) + draw(seed + 201, 8)
    a, b = score_factors(q, k, 5)
    assert a.shape == b.shape == (5, 8)
    best = score_error(q, k, a, b)
    for other in range(20):
        nearby = score_error(q, k, a + 0.01 * draw(other, 5, 8), b + 0.01 * draw(other + 50, 5, 8))
        assert best < nearby
        u = torch.linalg.qr(draw(other, 8, 5))[0].T
        assert best < score_error(q, k, u, u)


def test_score_factors_of_the_best_rank_have_the_svd_error() -> None:
    q, k = draw(0, 60, 6), draw(1, 60, 6)
    a, b = score_factors(q, k, 4)
    singular = torch.linalg.svdvals(q @ k.T)
    optimum = singular[4:].square().sum() / (60 * 60 * 6)
    assert torch.allclose(score_error(q, k, a, b), optimum)


@pytest.mark.parametrize("size", [6, 9])
def test_heads_that_are_large_enough_keep_everything(size: int) -> None:
    q, k, v, w = draw(0, 40, 6), draw(1, 40, 6), draw(2, 40, 6), draw(3, 10, 6)
    a, b = score_factors(q, k, size)
    assert score_error(q, k, a, b) < 1e-20
    inward, outward = value_factors(v, w, size)
    assert inward.shape == (size, 6)
    assert torch.allclose(v @ w.T, v @ inward.T @ outward.T)


@pytest.mark.parametrize("seed", range(5))
def test_value_factors_beat_nearby_factors(seed: int) -> None:
    v = draw(seed, 90, 8) @ draw(seed + 9, 8, 8) + 3
    w = draw(seed + 5, 12, 8)
    inward, outward = value_factors(v, w, 5)

    def error(i: Tensor, o: Tensor) -> Tensor:
        c = v - v.mean(0)
        return (c @ w.T - c @ i.T @ o.T).square().mean()

    for other in range(20):
        assert error(inward, outward) < error(
            inward + 0.01 * draw(other, 5, 8), outward + 0.01 * draw(other + 50, 12, 5)
        )
