"""The feature map loss: values, masks, what normalisation takes away, precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.losses import feature_map_loss


def tail_mask(lengths: list[int], length: int) -> torch.Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def normalised(state: list[float]) -> list[float]:
    mean = sum(state) / len(state)
    variance = sum((x - mean) ** 2 for x in state) / len(state)
    return [(x - mean) / math.sqrt(variance + 1e-12) for x in state]


def one_token(s: list[float], t: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(normalised(s), normalised(t), strict=True))


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
    loss = feature_map_loss(student, teacher, mask.long())
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == sum(lengths) * width
    parts = [
        feature_map_loss(student[b : b + 1], teacher[b : b + 1], mask[b : b + 1])
        for b in range(batch)
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
    loss = feature_map_loss(student, teacher, mask)
    padded = feature_map_loss(
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
@given(st.floats(0.01, 100), st.floats(-10, 10), st.integers(0, 10**6))
def test_mean_and_deviation_of_a_state_do_not_matter(a: float, b: float, seed: int) -> None:
    torch.manual_seed(seed)
    student, teacher = (torch.randn(2, 3, 8, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(2, 3)
    loss = feature_map_loss(student, teacher, mask)
    moved = feature_map_loss(a * student + b, teacher - b, mask)
    torch.testing.assert_close(moved.total, loss.total, rtol=1e-5, atol=0)  # 1e-12 in the root


def test_constant_states_are_no_nan() -> None:
    student = torch.zeros(1, 2, 4, requires_grad=True)
    loss = feature_map_loss(student, torch.randn(1, 2, 4), torch.ones(1, 2))
    loss.total.backward()
    torch.testing.assert_close(loss.total, torch.tensor(8.0))  # normalised: squares sum to d
    assert student.grad.isfinite().all()


def test_gradient_is_the_students_alone() -> None:
    student = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = tail_mask([2, 3], 3)
    assert torch.autograd.gradcheck(lambda s: feature_map_loss(s, teacher, mask).mean(), (student,))
    feature_map_loss(student, teacher, mask).total.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_equal_states_have_no_loss() -> None:
    student = torch.randn(2, 3, 4, requires_grad=True)
    loss = feature_map_loss(student, student, torch.ones(2, 3))
    loss.total.backward()
    assert loss.total == 0
    assert not student.grad.any()


def test_nothing_real() -> None:
    student = torch.randn(2, 5, 3, requires_grad=True)
    loss = feature_map_loss(student, torch.randn(2, 5, 3), torch.zeros(2, 5))
    loss.mean().backward()
    assert loss.mean() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_precision() -> None:
    student, teacher, mask = torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.ones(2, 5)
    plain = feature_map_loss(student, teacher, mask).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(feature_map_loss(student, teacher, mask).total, plain)
    assert (
        feature_map_loss(student.bfloat16(), teacher.bfloat16(), mask).total.dtype == torch.float32
    )
    assert feature_map_loss(student, teacher.double(), mask).total.dtype == torch.float64


def test_bad_shapes() -> None:
    with pytest.raises(TinybertError, match="project the student"):
        feature_map_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.ones(1, 2))
    with pytest.raises(TinybertError, match="batch, length, width"):
        feature_map_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2))
    with pytest.raises(TinybertError, match="one entry per token"):
        feature_map_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 3))
