from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tinybert.students.fits import fit_block_output, fit_layer_norm, ridge, root_and_inverse


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ridge_finds_a_linear_map() -> None:
    x, w, b = draw(0, 400, 10), draw(1, 3, 10), draw(2, 3)
    weight, bias = ridge(x, x @ w.T + b)
    assert torch.allclose(weight, w, atol=0.01)
    assert torch.allclose(bias, b, atol=0.01)


def test_ridge_leaves_noise_alone() -> None:
    weight, bias = ridge(draw(0, 300, 40), draw(1, 300, 3) + 5)
    assert not weight.any()
    assert torch.allclose(bias, torch.full((3,), 5.0), atol=0.3)


def test_ridge_without_intercept_or_rows() -> None:
    x, w = draw(0, 400, 6) + 1, draw(1, 2, 6)
    weight, bias = ridge(x, x @ w.T, centred=False)
    assert torch.allclose(weight, w, atol=0.02)
    assert not bias.any()
    weight, _ = ridge(draw(0, 3, 6), draw(1, 3, 2))
    assert not weight.any()


def test_a_constant_feature_does_no_harm() -> None:
    x = draw(0, 300, 4)
    x[:, 0] = 2.0
    weight, bias = ridge(x, x[:, 1:2])
    assert torch.isfinite(weight).all()
    assert torch.allclose(x @ weight.T + bias, x[:, 1:2], atol=0.05)


@torch.no_grad()
def test_layer_norm_is_fitted_by_least_squares() -> None:
    x, norm = draw(0, 200, 8) * 3 + 1, nn.LayerNorm(8)
    gamma, beta = draw(1, 8), draw(2, 8)
    targets = F.layer_norm(x, (8,)) * gamma + beta
    reached = fit_layer_norm(norm, x, targets)
    assert torch.allclose(norm.weight, gamma, atol=1e-4)
    assert torch.allclose(norm.bias, beta, atol=1e-4)
    assert torch.allclose(reached, norm(x))


@torch.no_grad()
def test_block_output_fit_lowers_the_error_and_keeps_an_exact_prior() -> None:
    stream, inside, targets = draw(0, 600, 8), draw(1, 600, 12), draw(2, 600, 8)
    linear, norm = nn.Linear(12, 8), nn.LayerNorm(8)
    targets = 2 * F.layer_norm(stream + inside @ draw(3, 8, 12).T, (8,)) + 0.1 * targets
    before = (fit_layer_norm(norm, stream + linear(inside), targets) - targets).norm()
    after = (fit_block_output(linear, norm, stream, inside, targets) - targets).norm()
    assert after < 0.8 * before
    kept = linear.weight.clone()
    exact = norm(stream + linear(inside))
    again = fit_block_output(linear, norm, stream, inside, exact)
    assert torch.allclose(again, exact, atol=1e-4)
    assert torch.allclose(linear.weight, kept, atol=1e-4)


def test_root_and_inverse() -> None:
    x = draw(0, 30, 5).double()
    root, inverse = root_and_inverse(x.T @ x)
    assert torch.allclose(root @ root, x.T @ x)
    assert torch.allclose(root @ inverse, torch.eye(5, dtype=torch.float64), atol=1e-8)
    assert all(torch.isfinite(m).all() for m in root_and_inverse(torch.zeros(3, 3)))
