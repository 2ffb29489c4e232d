"""The attention loss: both forms against plain loops, its invariances, its precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinybert.errors import TinybertError
from tinybert.losses import Ratio, attention_loss
from tinybert.losses import attention as module

FORMS = ["direct", "linear"]


def make(
    batch: int = 2,
    heads: int = 3,
    length: int = 7,
    size_s: int = 4,
    size_t: int = 6,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)

    def heads_of(size: int) -> Tensor:
        flat = torch.randn(batch, length, heads, size, generator=generator, dtype=torch.float64)
        return flat.to(dtype).transpose(1, 2)  # laid out as a model leaves it

    query_s, key_s = heads_of(size_s).requires_grad_(), heads_of(size_s).requires_grad_()
    return query_s, key_s, size_s**-0.5, heads_of(size_t), heads_of(size_t), size_t**-0.5


def tail_mask(lengths: list[int], length: int) -> Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def loops(taps: tuple[Any, ...], mask: Tensor) -> Ratio:
    """The definition, one pair at a time."""
    query_s, key_s, scaling_s, query_t, key_t, scaling_t = taps
    total, count = query_s.sum() * 0, 0
    for b in range(query_s.shape[0]):
        real = [i for i in range(mask.shape[1]) if mask[b, i]]
        for h in range(query_s.shape[1]):
            for i in real:
                for j in real:
                    student = scaling_s * (query_s[b, h, i] @ key_s[b, h, j])
                    teacher = scaling_t * (query_t[b, h, i] @ key_t[b, h, j])
                    total = total + (student - teacher) ** 2
                    count += 1
    return Ratio(total, count)


def gradients(loss: Ratio, taps: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    query, key = torch.autograd.grad(loss.total, taps[:2])
    return query, key


def relative(value: Tensor, truth: Tensor) -> float:
    value, truth = value.detach().double(), truth.detach().double()
    return float((value - truth).norm() / truth.norm())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.long])
def test_equals_loops(form: Any, mask_dtype: torch.dtype) -> None:
    taps, mask = make(), tail_mask([5, 7], 7).to(mask_dtype)
    loss, truth = attention_loss(*taps, mask, form=form), loops(taps, mask)
    assert loss.total.dtype == torch.float64
    assert loss.count == truth.count == 3 * (25 + 49)
    torch.testing.assert_close(loss.total, truth.total, rtol=1e-12, atol=0)
    for ours, theirs in zip(gradients(loss, taps), gradients(truth, taps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_forms_agree_in_float64(data: st.DataObject) -> None:
    batch, heads, length, size_s, size_t = (
        data.draw(st.integers(1, high)) for high in (4, 4, 24, 12, 12)
    )
    lengths = data.draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch))
    taps = make(batch, heads, length, size_s, size_t, seed=data.draw(st.integers(0, 10**6)))
    mask = tail_mask(lengths, length)
    direct = attention_loss(*taps, mask, form="direct")
    linear = attention_loss(*taps, mask, form="linear")
    assert int(direct.count) == int(linear.count) == heads * sum(n * n for n in lengths)
    torch.testing.assert_close(linear.total, direct.total, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(gradients(linear, taps), gradients(direct, taps), strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm() + 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form: Any) -> None:
    query_s, key_s, *rest = make(length=4)
    mask = tail_mask([2, 4], 4)
    assert torch.autograd.gradcheck(
        lambda q, k: attention_loss(q, k, *rest, mask, form=form).mean(), (query_s, key_s)
    )


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form: Any) -> None:
    taps, mask = make(), tail_mask([5, 7], 7)
    garbage = 1e3 * torch.randn(2, 3, 4, 6, dtype=torch.float64)
    longer = tuple(
        torch.cat([x, garbage[..., : x.shape[-1]]], dim=2) if isinstance(x, Tensor) else x
        for x in taps
    )
    loss = attention_loss(*taps, mask, form=form)
    padded = attention_loss(*longer, tail_mask([5, 7], 11), form=form)
    assert padded.count == loss.count
    torch.testing.assert_close(padded.total, loss.total, rtol=1e-12, atol=0)
    for ours, theirs in zip(gradients(padded, taps), gradients(loss, taps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        assert not ours[0, :, 5:].any()


@pytest.mark.parametrize("form", FORMS)
def test_parts_of_a_batch_add_up(form: Any) -> None:
    taps, mask = make(batch=5), tail_mask([7, 1, 4, 0, 6], 7)
    whole = attention_loss(*taps, mask, form=form)
    parts = [
        attention_loss(*(x[b] if isinstance(x, Tensor) else x for x in taps), mask[b], form=form)
        for b in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    pooled = Ratio(sum(part.total for part in parts), sum(part.count for part in parts))
    assert pooled.count == whole.count
    torch.testing.assert_close(pooled.mean(), whole.mean(), rtol=1e-12, atol=0)
    for ours, theirs in zip(gradients(pooled, taps), gradients(whole, taps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("budget", [1, 3_000, 20_000])
def test_blocks_change_nothing(form: Any, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taps, mask = make(batch=5), tail_mask([7, 1, 4, 0, 6], 7)
    whole = attention_loss(*taps, mask, form=form)
    monkeypatch.setattr(module, "_BLOCK_BYTES", budget)
    blocks = attention_loss(*taps, mask, form=form)
    torch.testing.assert_close(blocks.total, whole.total, rtol=1e-12, atol=0)
    for ours, theirs in zip(gradients(blocks, taps), gradients(whole, taps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form: Any) -> None:
    taps, mask = make(dtype=torch.float32), tail_mask([5, 7], 7)
    plain = attention_loss(*taps, mask, form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = attention_loss(*taps, mask, form=form)
    assert cast.total.dtype == torch.float32
    assert torch.equal(cast.total, plain.total)
    for ours, theirs in zip(gradients(cast, taps), gradients(plain, taps), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_taps_are_computed_in_float32(form: Any) -> None:
    taps, mask = make(dtype=torch.bfloat16), tail_mask([5, 7], 7)
    wide = tuple(x.detach().double() if isinstance(x, Tensor) else x for x in taps)
    loss, truth = attention_loss(*taps, mask, form=form), attention_loss(*wide, mask)
    assert loss.total.dtype == torch.float32
    assert relative(loss.total, truth.total) < 1e-5
    assert gradients(loss, taps)[0].dtype == torch.bfloat16


def test_tf32_and_bf16_products_are_off_inside_and_as_before_after() -> None:
    taps, mask = make(length=64, dtype=torch.float32), torch.ones(2, 64)
    plain = attention_loss(*taps, mask, form="linear")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        loss = attention_loss(*taps, mask, form="linear")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(loss.total, plain.total)


def near_teacher(noise: float, mean: float, length: int) -> tuple[Any, ...]:
    """A student whose queries and keys are the teacher's and a little noise, in float32."""
    _, _, scaling, query_t, key_t, _ = make(2, 3, length, 32, 32, dtype=torch.float32)
    query_t, key_t = query_t + mean * torch.randn(3, 1, 32), key_t + mean * torch.randn(3, 1, 32)
    query_s, key_s = (x + noise * torch.randn_like(x) for x in (query_t, key_t))
    return query_s.requires_grad_(), key_s.requires_grad_(), scaling, query_t, key_t, scaling


@pytest.mark.parametrize("mean", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("noise", [1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 7e-4])
def test_float32_keeps_its_digits_however_small_the_loss(noise: float, mean: float) -> None:
    torch.manual_seed(0)
    taps, mask = near_teacher(noise, mean, 200), tail_mask([200, 170], 200)
    wide = tuple(
        x.detach().double().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
        for x in taps
    )
    truth = attention_loss(*wide, mask, form="direct")
    loss = attention_loss(*taps, mask, form="linear")
    assert relative(loss.total, truth.total) < 1e-3
    for ours, theirs in zip(gradients(loss, taps), gradients(truth, wide), strict=True):
        assert relative(ours, theirs) < 1e-4


def test_fallback_is_what_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    taps, mask = near_teacher(7e-4, 0.0, 200), torch.ones(2, 200)
    truth = attention_loss(
        *(x.detach().double() if isinstance(x, Tensor) else x for x in taps), mask, form="direct"
    )
    scores = taps[5] * taps[3].double() @ taps[4].double().mT
    assert 1e-7 < float(truth.total / scores.square().sum()) < 2e-6
    assert relative(attention_loss(*taps, mask, form="linear").total, truth.total) < 1e-4
    monkeypatch.setattr(module, "SAFE_RATIO", -math.inf)
    assert relative(attention_loss(*taps, mask, form="linear").total, truth.total) > 1e-3


def test_realistic_loss_needs_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    taps = make(2, 3, 300, 13, 32, dtype=torch.float32)
    seen: list[torch.dtype] = []
    joined = module._Taps.joined

    def spy(self: Any, dtype: torch.dtype) -> Any:
        seen.append(dtype)
        return joined(self, dtype)

    monkeypatch.setattr(module._Taps, "joined", spy)
    attention_loss(*taps, torch.ones(2, 300), form="linear")
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("form", FORMS)
def test_equal_models_have_no_loss(form: Any) -> None:
    query, key, scaling, *_ = make(size_s=6, dtype=torch.float32)
    loss = attention_loss(query, key, scaling, query, key, scaling, torch.ones(2, 7), form=form)
    assert 0 <= float(loss.total.detach()) < 1e-9
    assert float(gradients(loss, (query, key))[0].norm()) < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_nothing_real(form: Any) -> None:
    taps = make()
    loss = attention_loss(*taps, torch.zeros(2, 7), form=form)
    assert loss.mean() == 0
    assert loss.count == 0
    assert not gradients(loss, taps)[0].any()


@pytest.mark.parametrize("form", FORMS)
def test_not_a_number_shows(form: Any) -> None:
    taps = make(dtype=torch.float32)
    with torch.no_grad():
        taps[0][0, 0, 0, 0] = math.nan
    assert attention_loss(*taps, torch.ones(2, 7), form=form).total.isnan()


def test_auto_goes_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    forms: list[str] = []
    for name in ("_direct", "_linear"):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, real=real, name=name: (forms.append(name), real(*a))[1]
        )
    taps, mask = make(), torch.ones(2, 7)
    attention_loss(*taps, mask)
    attention_loss(*taps, mask, crossover=8)
    attention_loss(*taps, mask, crossover=7)
    assert forms == ["_direct", "_direct", "_linear"]


def test_teacher_gets_no_gradient_and_none_is_made_without_need() -> None:
    query_s, key_s, a, query_t, key_t, b = make()
    query_t.requires_grad_()
    mask = torch.ones(2, 7)
    loss = attention_loss(query_s, key_s, a, query_t, key_t, b, mask)
    loss.total.backward()
    assert query_t.grad is None
    assert query_s.grad is not None
    with torch.no_grad():
        assert not attention_loss(query_s, key_s, a, query_t, key_t, b, mask).total.requires_grad
    plain = attention_loss(query_s.detach(), key_s.detach(), a, query_t, key_t, b, mask)
    assert not plain.total.requires_grad


def test_only_keys_trained() -> None:
    query_s, key_s, *rest = make()
    mask = torch.ones(2, 7)
    both = attention_loss(query_s, key_s, *rest, mask)
    keys = attention_loss(query_s.detach(), key_s, *rest, mask)
    (ours,) = torch.autograd.grad(keys.total, key_s)
    assert torch.equal(ours, gradients(both, (query_s, key_s))[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_t": (2, 4, 7, 6), "key_t": (2, 4, 7, 6)}, "give the student 4 heads"),
        ({"key_s": (2, 1, 7, 4)}, "repeat shared keys"),
        ({"key_t": (2, 3, 8, 6)}, "same batch"),
        ({"mask": (2, 8)}, "same batch"),
        ({"query_s": (2, 7, 12)}, "must be"),
    ],
)
def test_bad_shapes(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = {
        "query_s": (2, 3, 7, 4),
        "key_s": (2, 3, 7, 4),
        "query_t": (2, 3, 7, 6),
        "key_t": (2, 3, 7, 6),
        "mask": (2, 7),
    }
    tensors = {name: torch.ones(shape) for name, shape in (shapes | change).items()}
    with pytest.raises(TinybertError, match=message):
        attention_loss(**tensors, scaling_s=1.0, scaling_t=1.0)


def test_unknown_form() -> None:
    with pytest.raises(TinybertError, match="auto, direct or linear"):
        attention_loss(*make(), torch.ones(2, 7), form="fast")  # type: ignore[arg-type]


def test_linear_form_makes_nothing_of_the_size_of_the_scores() -> None:
    taps = make(1, 2, 2048, 8, 8, dtype=torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        attention_loss(*taps, torch.ones(1, 2048), form="linear").total.backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 0 < largest < 2048 * 2048
