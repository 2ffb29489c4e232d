"""Losses on outputs: values, temperature, labels, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import label_loss, regression_loss, soft_cross_entropy


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    return [power / sum(powers) for power in powers]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.3, 5), st.integers(0, 10**6))
def test_soft_cross_entropy_equals_loops(rows: int, classes: int, t: float, seed: int) -> None:
    torch.manual_seed(seed)
    student = torch.randn(rows, classes, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(rows, classes, dtype=torch.float64)
    truth = 0.0
    for z_s, z_t in zip(student.tolist(), teacher.tolist(), strict=True):
        p_s, p_t = softmax([z / t for z in z_s]), softmax([z / t for z in z_t])
        truth -= sum(p * math.log(q) for p, q in zip(p_t, p_s, strict=True))
    loss = soft_cross_entropy(student, teacher, t)
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == rows
    (gradient,) = torch.autograd.grad(loss.total, student)
    expected = ((student / t).softmax(-1) - (teacher / t).softmax(-1)) / t
    torch.testing.assert_close(gradient, expected)
    parts = [soft_cross_entropy(student[r : r + 1], teacher[r : r + 1], t) for r in range(rows)]
    assert sum(part.count for part in parts) == rows
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


def test_soft_cross_entropy_is_least_at_the_teacher() -> None:
    teacher = torch.randn(8, 4)
    least = soft_cross_entropy(teacher, teacher).mean()
    entropy = torch.distributions.Categorical(logits=teacher).entropy().mean()
    torch.testing.assert_close(least, entropy)
    assert soft_cross_entropy(teacher + torch.randn(8, 4), teacher).mean() > least


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_regression_is_mean_squared_error(shape: tuple[int, ...]) -> None:
    student, teacher = torch.randn(shape), torch.randn(shape)
    loss = regression_loss(student, teacher)
    assert loss.count == 4
    torch.testing.assert_close(loss.mean(), torch.nn.functional.mse_loss(student, teacher))


def test_regression_shapes_do_not_broadcast() -> None:
    column, flat = torch.randn(4, 1), torch.randn(4)
    expected = torch.nn.functional.mse_loss(column[:, 0], flat)
    torch.testing.assert_close(regression_loss(column, flat).mean(), expected)
    with pytest.raises(TinybertError, match="as many numbers a row"):
        regression_loss(torch.randn(4, 2), torch.randn(4))
    with pytest.raises(TinybertError, match="as many numbers a row"):
        regression_loss(torch.randn(4, 2), torch.randn(2, 4))


def test_labels() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 2, 1, 0])
    loss = label_loss(logits, labels, regression=False)
    assert loss.count == 5
    expected = -sum(logits[i].log_softmax(-1)[labels[i]] for i in range(5))
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.mean(), torch.nn.functional.cross_entropy(logits, labels))


def test_numbers_as_labels() -> None:
    logits, labels = torch.randn(4, 1), torch.randn(4, dtype=torch.float64)
    loss = label_loss(logits, labels, regression=True)
    assert loss.total.dtype == torch.float32
    expected = torch.nn.functional.mse_loss(logits[:, 0], labels.float())
    torch.testing.assert_close(loss.mean(), expected)


def test_precision() -> None:
    student, teacher, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    losses = {
        "soft": lambda s, t: soft_cross_entropy(s, t, 2.0),
        "regression": regression_loss,
        "labels": lambda s, _: label_loss(s, labels, regression=False),
    }
    for loss in losses.values():
        plain = loss(student, teacher)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(student, teacher).total, plain.total)
        assert loss(student.bfloat16(), teacher.bfloat16()).total.dtype == torch.float32
        assert loss(student.double(), teacher.double()).total.dtype == torch.float64


def test_teacher_gets_no_gradient() -> None:
    for loss in (soft_cross_entropy, regression_loss):
        student, teacher = (torch.randn(2, 3, requires_grad=True) for _ in range(2))
        loss(student, teacher).total.backward()
        assert teacher.grad is None
        assert student.grad is not None


def test_refusals() -> None:
    logits = torch.randn(2, 3)
    with pytest.raises(TinybertError, match="the teacher's classes"):
        soft_cross_entropy(logits, torch.randn(2, 4))
    with pytest.raises(TinybertError, match="not above 0"):
        soft_cross_entropy(logits, logits, 0.0)
    with pytest.raises(TinybertError, match="label 3 is no class"):
        label_loss(logits, torch.tensor([0, 3]), regression=False)
    with pytest.raises(TinybertError, match="label -100 is no class"):
        label_loss(logits, torch.tensor([0, -100]), regression=False)
    with pytest.raises(TinybertError, match="one label a row"):
        label_loss(logits, torch.tensor([0, 1, 2]), regression=False)
    with pytest.raises(TinybertError, match="not fractions"):
        label_loss(logits, torch.tensor([0.0, 1.0]), regression=False)
