"""The patience loss: first tokens, directions, precision, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import patience_loss


def direction(state: list[float]) -> list[float]:
    norm = math.sqrt(sum(x * x for x in state))
    return [x / norm for x in state]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_equals_loops_and_parts_add_up(rows: int, length: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = (torch.randn(rows, length, width, dtype=torch.float64) for _ in range(2))
    truth = 0.0
    for row in range(rows):
        s, t = direction(student[row, 0].tolist()), direction(teacher[row, 0].tolist())
        truth += sum((x - y) ** 2 for x, y in zip(s, t, strict=True))
    loss = patience_loss(student, teacher)
    assert loss.total.item() == pytest.approx(truth, rel=1e-12, abs=1e-14)
    assert loss.count == rows * width
    parts = [patience_loss(student[r : r + 1], teacher[r : r + 1]) for r in range(rows)]
    assert sum(part.count for part in parts) == loss.count
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.floats(-1e30, 1e30), st.integers(0, 10**6))
def test_only_first_tokens_and_their_directions_matter(
    padding: int, value: float, seed: int
) -> None:
    torch.manual_seed(seed)
    student = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 2, 4, dtype=torch.float64)
    garbage = torch.full((3, padding, 4), value, dtype=torch.float64)
    loss = patience_loss(student, teacher)
    padded = patience_loss(
        torch.cat([student[:, :1], garbage], 1), torch.cat([teacher[:, :1], garbage], 1)
    )
    assert torch.equal(padded.total, loss.total)
    assert padded.count == loss.count
    (gradient,) = torch.autograd.grad(padded.total, student)
    assert gradient[:, 0].any()
    assert not gradient[:, 1:].any()
    scaled = patience_loss(3 * student, 0.1 * teacher)
    torch.testing.assert_close(scaled.total, loss.total)


def test_gradient_is_the_students_alone() -> None:
    student = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: patience_loss(s, teacher).mean(), (student,))
    patience_loss(student, teacher).total.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_equal_states_have_no_loss() -> None:
    student = torch.randn(2, 3, 4, requires_grad=True)
    loss = patience_loss(student, student)
    loss.total.backward()
    assert loss.total == 0
    assert not student.grad.any()


def test_states_of_zeros_and_no_rows_are_no_nan() -> None:
    student = torch.zeros(2, 3, 4, requires_grad=True)
    loss = patience_loss(student, torch.randn(2, 3, 4))
    loss.total.backward()
    torch.testing.assert_close(loss.total, torch.tensor(2.0))
    assert student.grad.isfinite().all()
    assert patience_loss(torch.ones(0, 3, 4), torch.ones(0, 3, 4)).mean() == 0


def test_precision() -> None:
    student, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    plain = patience_loss(student, teacher).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(patience_loss(student, teacher).total, plain)
    assert patience_loss(student.bfloat16(), teacher.bfloat16()).total.dtype == torch.float32
    assert patience_loss(student, teacher.double()).total.dtype == torch.float64


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((2, 3, 4), (2, 3, 5)), ((2, 4), (2, 4)), ((2, 0, 4), (2, 0, 4)), ((1, 3, 4), (2, 3, 4))],
)
def test_bad_shapes(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    with pytest.raises(TinybertError, match="at least one token"):
        patience_loss(torch.ones(student), torch.ones(teacher))
