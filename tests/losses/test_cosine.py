"""The cosine loss: values, masks, small angles, precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import cosine_loss


def tail_mask(lengths: list[int], length: int) -> torch.Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def one_token(s: list[float], t: list[float]) -> float:
    dot = sum(x * y for x, y in zip(s, t, strict=True))
    return 1 - dot / math.sqrt(sum(x * x for x in s) * sum(y * y for y in t))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_equals_loops_and_parts_add_up(data: st.DataObject) -> None:
    batch, length, width = (data.draw(st.integers(1, high)) for high in (4, 6, 5))
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    student, teacher = (torch.randn(batch, length, width, dtype=torch.float64) for _ in range(2))
    mask = tail_mask(lengths, length)
    truth = sum(
        one_token(student[b, i].tolist(), teacher[b, i].tolist())
        for b in range(batch)
        for i in range(lengths[b])
    )
    loss = cosine_loss(student, teacher, mask.long())
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == sum(lengths)
    parts = [
        cosine_loss(student[b : b + 1], teacher[b : b + 1], mask[b : b + 1]) for b in range(batch)
    ]
    assert sum(part.count for part in parts) == loss.count
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.floats(-1e30, 1e30), st.integers(0, 10**6))
def test_padding_changes_nothing(padding: int, value: float, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = torch.randn(3, 5, 3, requires_grad=True), torch.randn(3, 5, 3)
    garbage = torch.full((3, padding, 3), value)
    lengths = [3, 5, 0]
    mask = tail_mask(lengths, 5)
    loss = cosine_loss(student, teacher, mask)
    padded = cosine_loss(
        torch.cat([student.masked_fill(~mask[..., None], value), garbage], 1),
        torch.cat([teacher.masked_fill(~mask[..., None], -value), garbage], 1),
        tail_mask(lengths, 5 + padding),
    )
    assert padded.count == loss.count
    torch.testing.assert_close(padded.total, loss.total)
    (gradient,) = torch.autograd.grad(loss.total, student)
    torch.testing.assert_close(torch.autograd.grad(padded.total, student)[0], gradient)
    assert not gradient[~mask].any()


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(0, 10**6))
def test_length_of_a_state_does_not_matter(a: float, b: float, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = (torch.randn(2, 3, 4, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(2, 3)
    loss = cosine_loss(student, teacher, mask)
    torch.testing.assert_close(cosine_loss(a * student, b * teacher, mask).total, loss.total)


def test_opposite_is_two_and_zeros_are_a_half() -> None:
    state, mask = torch.randn(1, 1, 4), torch.ones(1, 1)
    torch.testing.assert_close(cosine_loss(-state, state, mask).total, torch.tensor(2.0))
    torch.testing.assert_close(cosine_loss(0 * state, state, mask).total, torch.tensor(0.5))


def test_small_angles_keep_their_digits() -> None:
    student, teacher = torch.tensor([[[1.0, 1e-5]]]), torch.tensor([[[1.0, 0.0]]])
    loss = cosine_loss(student, teacher, torch.ones(1, 1))
    torch.testing.assert_close(loss.total, torch.tensor(0.5e-10), rtol=1e-5, atol=0)


def test_equals_cosine_embedding_loss() -> None:
    student, teacher, mask = torch.randn(3, 5, 4), torch.randn(3, 5, 4), tail_mask([5, 2, 4], 5)
    expected = torch.nn.functional.cosine_embedding_loss(
        student[mask], teacher[mask], torch.ones(11)
    )
    torch.testing.assert_close(cosine_loss(student, teacher, mask).mean(), expected)


def test_gradient_is_the_students_alone() -> None:
    student = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = tail_mask([2, 3], 3)
    assert torch.autograd.gradcheck(lambda s: cosine_loss(s, teacher, mask).mean(), (student,))
    cosine_loss(student, teacher, mask).total.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_equal_states_have_no_loss() -> None:
    student = torch.randn(2, 3, 4, requires_grad=True)
    loss = cosine_loss(student, student, torch.ones(2, 3))
    loss.total.backward()
    assert loss.total == 0
    assert not student.grad.any()


def test_nothing_real() -> None:
    student = torch.randn(2, 5, 3, requires_grad=True)
    loss = cosine_loss(student, torch.randn(2, 5, 3), torch.zeros(2, 5))
    loss.mean().backward()
    assert loss.mean() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_precision() -> None:
    student, teacher, mask = torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.ones(2, 5)
    plain = cosine_loss(student, teacher, mask).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_loss(student, teacher, mask).total, plain)
    assert cosine_loss(student.bfloat16(), teacher.bfloat16(), mask).total.dtype == torch.float32
    assert cosine_loss(student, teacher.double(), mask).total.dtype == torch.float64


def test_bad_shapes() -> None:
    with pytest.raises(TinybertError, match="project the student"):
        cosine_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.ones(1, 2))
    with pytest.raises(TinybertError, match="batch, length, width"):
        cosine_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2))
    with pytest.raises(TinybertError, match="one entry per token"):
        cosine_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 3))
