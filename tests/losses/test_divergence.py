"""The divergence of outputs: value, temperature, its kinship to the cross-entropy, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import divergence_loss, soft_cross_entropy


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(x - max(row)) for x in row]
    return [power / sum(powers) for power in powers]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.3, 5), st.integers(0, 10**6))
def test_equals_loops(rows: int, classes: int, t: float, seed: int) -> None:
    torch.manual_seed(seed)
    student = torch.randn(rows, classes, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(rows, classes, dtype=torch.float64)
    truth = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_s, p_t = softmax([z / t for z in z_s]), softmax([z / t for z in z_t])
        truth += t * t * sum(p * math.log(p / q) for p, q in zip(p_t, p_s, strict=True))
    loss = divergence_loss(student, teacher, t)
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == rows
    (gradient,) = torch.autograd.grad(loss.total, student)
    expected = t * ((student / t).softmax(-1) - (teacher / t).softmax(-1))
    torch.testing.assert_close(gradient, expected)
    parts = [divergence_loss(student[r : r + 1], teacher[r : r + 1], t) for r in range(rows)]
    assert sum(part.count for part in parts) == rows
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 5), st.integers(0, 10**6))
def test_is_cross_entropy_less_its_least_value(t: float, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = (torch.randn(4, 3, dtype=torch.float64) for _ in range(2))
    gap = (
        soft_cross_entropy(student, teacher, t).total
        - soft_cross_entropy(teacher, teacher, t).total
    )
    torch.testing.assert_close(divergence_loss(student, teacher, t).total, t * t * gap)


def test_gradients_keep_their_size_at_high_temperature() -> None:
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 3, dtype=torch.float64)
    (warm,) = torch.autograd.grad(divergence_loss(student, teacher, 1e3).total, student)
    z = student - student.mean(-1, keepdim=True) - teacher + teacher.mean(-1, keepdim=True)
    torch.testing.assert_close(warm, z.detach() / 3, rtol=1e-2, atol=1e-2)  # section 2.1 there


def test_gradient_is_the_students_alone() -> None:
    student, teacher = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in "st")
    assert torch.autograd.gradcheck(lambda s: divergence_loss(s, teacher, 2.0).mean(), (student,))
    divergence_loss(student, teacher).total.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_equal_logits_have_no_loss() -> None:
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss = divergence_loss(student, student, 2.0)
    loss.total.backward()
    assert loss.total == 0
    assert student.grad.abs().max() < 1e-14


def test_far_logits_and_no_rows_are_no_nan() -> None:
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = divergence_loss(student, torch.tensor([[-1e4, 1e4]]))
    loss.total.backward()
    assert loss.total == 2e4
    assert student.grad.isfinite().all()
    assert divergence_loss(torch.ones(0, 2), torch.ones(0, 2)).mean() == 0


def test_precision() -> None:
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    plain = divergence_loss(student, teacher, 2.0).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(divergence_loss(student, teacher, 2.0).total, plain)
    assert divergence_loss(student.bfloat16(), teacher.bfloat16()).total.dtype == torch.float32
    assert divergence_loss(student, teacher.double()).total.dtype == torch.float64


def test_refusals() -> None:
    logits = torch.randn(2, 3)
    with pytest.raises(TinybertError, match="the teacher's classes"):
        divergence_loss(logits, torch.randn(2, 4))
    with pytest.raises(TinybertError, match="rows, classes"):
        divergence_loss(torch.randn(2, 3, 4), torch.randn(2, 3, 4))
    with pytest.raises(TinybertError, match="not above 0"):
        divergence_loss(logits, logits, 0.0)
