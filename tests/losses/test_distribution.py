"""Attention distributions and relations against plain loops; masks, heads, precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses import attention_distribution_loss, relation_loss


def tail_mask(lengths: list[int], length: int) -> Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def make(
    batch: int = 3, heads: int = 3, length: int = 5, size_s: int = 4, size_t: int = 6
) -> tuple[Any, ...]:
    query_s, key_s = (randn(batch, heads, length, size_s).requires_grad_() for _ in range(2))
    query_t, key_t = (randn(batch, heads, length, size_t) for _ in range(2))
    return query_s, key_s, size_s**-0.5, query_t, key_t, size_t**-0.5


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(x - max(row)) for x in row]
    return [power / sum(powers) for power in powers]


def one_head(s: tuple[Tensor, Tensor, float], t: tuple[Tensor, Tensor, float], real: int) -> float:
    """KL of one head of one row; queries and keys are (L, d)."""
    total = 0.0
    for i in range(real):
        p_s, p_t = (
            softmax([scaling * (query[i] @ key[j]).item() for j in range(real)])
            for query, key, scaling in (s, t)
        )
        total += sum(p * math.log(p / q) for p, q in zip(p_t, p_s, strict=True))
    return total


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_attention_equals_loops_and_parts_add_up(data: st.DataObject) -> None:
    batch, heads, length, size_s, size_t = (
        data.draw(st.integers(1, high)) for high in (3, 3, 5, 4, 4)
    )
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    taps, mask = make(batch, heads, length, size_s, size_t), tail_mask(lengths, length)
    query_s, key_s, a, query_t, key_t, b = taps
    truth = sum(
        one_head(
            (query_s[row, h], key_s[row, h], a), (query_t[row, h], key_t[row, h], b), lengths[row]
        )
        for row in range(batch)
        for h in range(heads)
    )
    loss = attention_distribution_loss(*taps, mask.long())
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == heads * sum(lengths)
    parts = [
        attention_distribution_loss(
            *(x[r : r + 1] if isinstance(x, Tensor) else x for x in taps), mask[r : r + 1]
        )
        for r in range(batch)
    ]
    assert sum(part.count for part in parts) == loss.count
    torch.testing.assert_close(sum(part.total for part in parts), loss.total)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_relations_equal_loops_whatever_the_heads(data: st.DataObject) -> None:
    batch, length, relations = (data.draw(st.integers(1, high)) for high in (3, 5, 4))
    heads_s, heads_t, size_s, size_t = (data.draw(st.integers(1, 3)) for _ in range(4))
    size_s, size_t = size_s * relations, size_t * relations  # so that R divides both widths
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    student, teacher = randn(batch, heads_s, length, size_s), randn(batch, heads_t, length, size_t)
    truth = 0.0
    for row in range(batch):
        for r in range(relations):
            sides = []
            for states in (student, teacher):
                whole = torch.cat(list(states[row]), dim=-1)  # (L, H·d)
                size = whole.shape[1] // relations
                x = whole[:, r * size : (r + 1) * size]
                sides.append((x, x, 1 / math.sqrt(size)))
            truth += one_head(*sides, lengths[row])
    loss = relation_loss(student, teacher, tail_mask(lengths, length), relations)
    assert loss.total.item() == pytest.approx(truth, rel=1e-10, abs=1e-12)
    assert loss.count == relations * sum(lengths)


def test_relations_of_the_models_own_heads_are_attention_to_themselves() -> None:
    student, teacher, mask = randn(2, 3, 5, 4), randn(2, 3, 5, 6), tail_mask([5, 3], 5)
    relations = relation_loss(student, teacher, mask, relation_heads=3)
    attention = attention_distribution_loss(
        student, student, 4**-0.5, teacher, teacher, 6**-0.5, mask
    )
    assert torch.equal(relations.total, attention.total)
    assert relations.count == attention.count


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.floats(-1e30, 1e30), st.integers(0, 10**6))
def test_padding_changes_nothing(padding: int, value: float, seed: int) -> None:
    torch.manual_seed(seed)
    taps = tuple(x.detach().float() if isinstance(x, Tensor) else x for x in make())
    query_s, key_s = taps[0].requires_grad_(), taps[1].requires_grad_()
    lengths = [3, 5, 0]
    mask, longer = tail_mask(lengths, 5), tail_mask(lengths, 5 + padding)

    def padded(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        garbage = torch.full((3, 3, padding, x.shape[-1]), value)
        return torch.cat([x.masked_fill(~mask[:, None, :, None], value), garbage], 2)

    losses = (
        (
            attention_distribution_loss(*taps, mask),
            attention_distribution_loss(*map(padded, taps), longer),
        ),
        (
            relation_loss(query_s, taps[3], mask, 2),
            relation_loss(padded(query_s), padded(taps[3]), longer, 2),
        ),
    )
    for plain, with_padding in losses:
        assert plain.count == with_padding.count
        torch.testing.assert_close(with_padding.total, plain.total, rtol=1e-5, atol=1e-6)
        for x in (query_s, key_s):
            ours, theirs = (
                torch.autograd.grad(loss.total, x, retain_graph=True, allow_unused=True)[0]
                for loss in (with_padding, plain)
            )
            if theirs is None:  # relations read one kind of state
                continue
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert not ours.transpose(1, 2)[~mask].any()


def test_gradients_are_the_students_alone() -> None:
    query_s, key_s, a, query_t, key_t, b = make(length=3)
    query_t.requires_grad_()
    key_t.requires_grad_()
    mask = tail_mask([2, 3, 0], 3)
    assert torch.autograd.gradcheck(
        lambda q, k: attention_distribution_loss(q, k, a, query_t, key_t, b, mask).mean(),
        (query_s, key_s),
    )
    assert torch.autograd.gradcheck(lambda x: relation_loss(x, query_t, mask, 2).mean(), (query_s,))
    attention_distribution_loss(query_s, key_s, a, query_t, key_t, b, mask).total.backward()
    relation_loss(query_s, query_t, mask, 2).total.backward()
    assert query_t.grad is None
    assert key_t.grad is None
    assert query_s.grad is not None
    assert key_s.grad is not None


def test_equal_models_have_no_loss() -> None:
    query, key, a, *_ = make()
    mask = tail_mask([5, 2, 0], 5)
    for loss in (
        attention_distribution_loss(query, key, a, query, key, a, mask),
        relation_loss(query, query, mask, 4),
    ):
        assert loss.total == 0
        (gradient,) = torch.autograd.grad(loss.total, query)
        assert gradient.abs().max() < 1e-14


def test_nothing_real() -> None:
    query_s, key_s, *rest = make()
    mask = torch.zeros(3, 5)
    for loss in (
        attention_distribution_loss(query_s, key_s, *rest, mask),
        relation_loss(query_s, rest[1], mask, 2),
    ):
        assert loss.mean() == 0
        assert loss.count == 0
        (gradient,) = torch.autograd.grad(loss.mean(), query_s)
        assert not gradient.any()


def test_precision() -> None:
    taps = tuple(x.detach().float() if isinstance(x, Tensor) else x for x in make())
    half = tuple(x.bfloat16() if isinstance(x, Tensor) else x for x in taps)
    mixed = (*taps[:3], taps[3].double(), *taps[4:])
    mask = tail_mask([5, 4, 0], 5)
    losses = {
        "attention": lambda x: attention_distribution_loss(*x, mask),
        "relations": lambda x: relation_loss(x[0], x[3], mask, 6),
    }
    for loss in losses.values():
        plain = loss(taps).total
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(taps).total, plain)
        assert loss(half).total.dtype == torch.float32
        assert loss(mixed).total.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_query": (2, 4, 7, 6), "teacher_key": (2, 4, 7, 6)}, "give the student 4 heads"),
        ({"student_key": (2, 1, 7, 4)}, "repeat shared keys"),
        ({"teacher_key": (2, 3, 8, 6)}, "same batch"),
        ({"mask": (2, 8)}, "same batch"),
        ({"student_query": (2, 7, 12)}, "must be"),
    ],
)
def test_bad_shapes_of_attention(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = {
        "student_query": (2, 3, 7, 4),
        "student_key": (2, 3, 7, 4),
        "teacher_query": (2, 3, 7, 6),
        "teacher_key": (2, 3, 7, 6),
        "mask": (2, 7),
    }
    tensors = {name: torch.ones(shape) for name, shape in (shapes | change).items()}
    with pytest.raises(TinybertError, match=message):
        attention_distribution_loss(**tensors, student_scaling=1.0, teacher_scaling=1.0)


@pytest.mark.parametrize(
    ("student", "teacher", "mask", "relations", "message"),
    [
        ((2, 7, 12), (2, 3, 7, 6), (2, 7), 2, "by head"),
        ((2, 3, 7, 4), (2, 3, 8, 6), (2, 7), 2, "same batch"),
        ((2, 3, 7, 4), (2, 3, 7, 6), (2, 8), 2, "same batch"),
        ((2, 3, 7, 4), (2, 3, 7, 6), (2, 7), 4, "use one of 1, 2, 3, 6$"),
        ((2, 3, 7, 4), (2, 3, 7, 6), (2, 7), 0, "use one of 1, 2, 3, 6$"),
    ],
)
def test_bad_shapes_of_relations(
    student: tuple[int, ...],
    teacher: tuple[int, ...],
    mask: tuple[int, ...],
    relations: int,
    message: str,
) -> None:
    with pytest.raises(TinybertError, match=message):
        relation_loss(torch.ones(student), torch.ones(teacher), torch.ones(mask), relations)
