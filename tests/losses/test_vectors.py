"""Losses on one vector a row, against the plain formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import vector_cosine_loss, vector_loss


def pair(rows: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, width)
    student = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    return student, torch.randn(shape, generator=generator, dtype=torch.float64)


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_against_the_plain_formulas(rows: int, width: int, seed: int) -> None:
    student, teacher = pair(rows, width, seed)
    s, t = student.detach().numpy(), teacher.numpy()
    cosine = (s * t).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1)
    loss = vector_cosine_loss(student, teacher)
    assert loss.count == rows
    assert float(loss.total.detach()) == pytest.approx((1 - cosine).sum(), abs=1e-12)
    squares = vector_loss(student, teacher)
    assert squares.count == rows
    assert float(squares.total.detach()) == pytest.approx(((s - t) ** 2).sum())


def test_any_cut_of_the_rows_gives_the_same_total_and_gradient() -> None:
    for loss in (vector_cosine_loss, vector_loss):
        student, teacher = pair(11, 6, 1)
        loss(student, teacher).total.backward()
        whole = student.grad
        student.grad = None
        for rows in (slice(0, 3), slice(3, 4), slice(4, 11)):
            loss(student[rows], teacher[rows]).total.backward()
        torch.testing.assert_close(student.grad, whole)


def test_lengths_matter_to_squares_alone() -> None:
    student, teacher = pair(5, 6, 2)
    one, other = (vector_cosine_loss(student * k, teacher).total for k in (1, 3))
    torch.testing.assert_close(one, other)
    assert vector_loss(student * 3, teacher).total > vector_loss(student, teacher).total


def test_float32_keeps_its_digits_where_the_two_agree() -> None:
    student, _ = pair(4, 8, 3)
    near = student.detach() + 1e-5 * torch.ones(4, 8)
    exact = vector_cosine_loss(near, student.detach()).total
    rounded = vector_cosine_loss(near.float(), student.detach().float()).total
    assert rounded.dtype == torch.float32
    assert float(rounded) == pytest.approx(float(exact), rel=0.05)


def test_zeros_have_gradients_that_are_numbers_and_the_teacher_gets_none() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    teacher = torch.ones(2, 3, requires_grad=True)
    loss = vector_cosine_loss(student, teacher)
    assert float(loss.total.detach()) == pytest.approx(1.0)
    loss.total.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None


def test_shapes_that_do_not_match() -> None:
    for loss in (vector_cosine_loss, vector_loss):
        with pytest.raises(TinybertError, match="do not match"):
            loss(torch.zeros(2, 3), torch.zeros(2, 4))
        with pytest.raises(TinybertError, match="do not match"):
            loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
