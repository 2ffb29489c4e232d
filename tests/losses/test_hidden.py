"""Losses on states: values, masks, precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import embedding_loss, hidden_loss


def tail_mask(lengths: list[int], length: int) -> torch.Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_equals_loops_and_parts_add_up(data: st.DataObject) -> None:
    batch, length, width = (data.draw(st.integers(1, high)) for high in (4, 6, 5))
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    student = torch.randn(batch, length, width, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(batch, length, width, dtype=torch.float64)
    mask = tail_mask(lengths, length)
    truth = sum(
        (float(student[b, i, d]) - float(teacher[b, i, d])) ** 2
        for b in range(batch)
        for i in range(lengths[b])
        for d in range(width)
    )
    loss = hidden_loss(student, teacher, mask.long())
    assert loss.total.item() == pytest.approx(truth, rel=1e-12)
    assert loss.count == sum(lengths) * width
    (gradient,) = torch.autograd.grad(loss.total, student)
    torch.testing.assert_close(gradient, 2 * (student - teacher) * mask[..., None])
    parts = [
        hidden_loss(student[b : b + 1], teacher[b : b + 1], mask[b : b + 1]) for b in range(batch)
    ]
    assert sum(part.count for part in parts) == loss.count
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


def test_padding_changes_nothing() -> None:
    student, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    garbage = torch.full((2, 4, 3), 1e4)
    loss = hidden_loss(student, teacher, tail_mask([3, 5], 5))
    padded = hidden_loss(
        torch.cat([student, garbage], 1), torch.cat([teacher, -garbage], 1), tail_mask([3, 5], 9)
    )
    assert padded.count == loss.count
    torch.testing.assert_close(padded.total, loss.total)


def test_nothing_real() -> None:
    student = torch.randn(2, 5, 3, requires_grad=True)
    loss = hidden_loss(student, torch.randn(2, 5, 3), torch.zeros(2, 5))
    loss.mean().backward()
    assert loss.mean() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_precision() -> None:
    student, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    mask = torch.ones(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = hidden_loss(student, teacher, mask)
    assert torch.equal(cast.total, hidden_loss(student, teacher, mask).total)
    assert hidden_loss(student.bfloat16(), teacher.bfloat16(), mask).total.dtype == torch.float32
    assert hidden_loss(student, teacher.double(), mask).total.dtype == torch.float64


def test_teacher_gets_no_gradient() -> None:
    student, teacher = torch.ones(1, 1, 1, requires_grad=True), torch.zeros(1, 1, 1)
    teacher.requires_grad_()
    embedding_loss(student, teacher, torch.ones(1, 1)).total.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_bad_shapes() -> None:
    with pytest.raises(TinybertError, match="project the student"):
        hidden_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.ones(1, 2))
    with pytest.raises(TinybertError, match="one entry per token"):
        embedding_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 3))
