"""Losses on spans: against the plain formula, and under the training contract."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from support import tiny, tongues
from tinybert.alignment import AlignedRows, align_rows
from tinybert.distiller import Distiller, units_of
from tinybert.evaluation import held_out_losses, predict
from tinybert.objectives import intermediate_objective, prediction_objective
from tinybert.projections import Projections
from tinybert.spans import pool_heads, pool_states, span_mask, teacher_inputs
from tinybert.students import fit_heads
from tinybert.taps import Taps, run_with_taps, use_attention
from tinybert.teachers import Teacher, cached_logits

MAPPING = (2, 4)
OBJECTIVE = intermediate_objective(MAPPING, attention=[0.7, 1.3], hidden=[1.0, 0.5])


@cache
def rows(same: bool = False) -> AlignedRows:
    texts = [(text,) for text in tiny.sentences(7)[0]]
    texts.append(("unbelievable Openings, été 🙂 reread",))
    ours = tongues.word_pieces()
    theirs = ours if same else tongues.byte_pairs()
    return align_rows(texts, ours, theirs, 48)


def models(attention: str = "direct") -> tuple[Distiller, Teacher]:
    """In float64, so that equality is no question of rounding."""
    options = {"vocab_size": 400}
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32, **options), dtype=torch.float64)
    student = tiny.classifier(seed=2, **options).double()
    use_attention(student, attention)
    torch.manual_seed(3)
    return Distiller(student, Projections(16, 32, 2).double(), OBJECTIVE), teacher


def gradients(
    distiller: Distiller, teacher: Teacher, batches: list[dict[str, Tensor]]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the batches taken as one effective batch."""
    distiller.zero_grad()
    counts = [units_of(batch) for batch in batches]
    whole = {unit: sum(c[unit] for c in counts) for unit in counts[0]}
    total = 0.0
    for batch, count in zip(batches, counts, strict=True):
        taps = teacher.taps(teacher_inputs(batch), distiller.objective.teacher_taps)
        loss = distiller(batch, taps, {u: count[u] / whole[u] for u in whole})["loss"]
        loss.backward()
        total += float(loss.detach())
    found = {n: p.grad.clone() for n, p in distiller.named_parameters() if p.grad is not None}
    return total, found


def assert_same(
    one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]
) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-10)
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-8, atol=1e-12)


def means(state: Tensor, spans: Tensor, count: int) -> Tensor:
    """Of one row, written out: (…, length, width) to (…, count, width)."""
    return torch.stack([state[..., spans == s, :].mean(-2) for s in range(count)], dim=-2)


def test_losses_are_those_of_the_plain_formula() -> None:
    distiller, teacher = models()
    batch = rows().batch(range(8))
    request = OBJECTIVE.student_taps
    with torch.no_grad():
        theirs = teacher.taps(teacher_inputs(batch), OBJECTIVE.teacher_taps)
        found = distiller(batch, theirs)["terms"]
        ours = run_with_taps(distiller.student, batch, request)
        sums: dict[str, float] = dict.fromkeys(found, 0.0)
        spans = pairs = 0
        for row in range(8):
            z, other = batch["spans"][row], batch["teacher_spans"][row]
            count = int(z.max()) + 1
            spans, pairs = spans + count, pairs + count**2

            def hidden(m: int, one: Tensor, two: Tensor) -> float:
                mine = means(one[row], z, count)  # noqa: B023
                wanted = means(two[row], other, count)  # noqa: B023
                weight = distiller.projections.weight_for(m)  # type: ignore[union-attr]
                return float((mine @ weight.T - wanted).square().sum())

            assert ours.embedding is not None
            assert theirs.embedding is not None
            sums["embedding"] += hidden(0, ours.embedding, theirs.embedding)
            for m, n in enumerate(MAPPING, 1):
                sums[f"hidden.{m}"] += hidden(m, ours.hidden[m], theirs.hidden[n])
                # The mean score of two spans, over all pairs of their tokens.
                each = []
                for tap, where in ((ours.attention[m], z), (theirs.attention[n], other)):
                    scores = tap.scaling * tap.query[row] @ tap.key[row].mT
                    each.append(means(means(scores, where, count).mT, where, count).mT)
                sums[f"attention.{m}"] += float((each[0] - each[1]).square().sum())
    for name, value in found.items():
        size = 4 * pairs if name.startswith("attention") else 32 * spans
        assert float(value) == pytest.approx(sums[name] / size, rel=1e-9), name


@pytest.mark.parametrize("attention", ["direct", "fused"])
def test_equal_tokenizers_give_the_ordinary_losses(attention: str) -> None:
    distiller, teacher = models(attention)
    both = rows(same=True)
    plain = gradients(distiller, teacher, [both.for_student().batch(range(8))])
    assert_same(plain, gradients(distiller, teacher, [both.batch(range(8))]))


def test_padding_batch_mates_and_micro_batches_change_nothing() -> None:
    distiller, teacher = models()
    batch = rows().batch(range(8))
    whole = gradients(distiller, teacher, [batch])
    wide = {}
    for name, tensor in batch.items():
        fill = {"input_ids": 7, "teacher_input_ids": 9, "spans": -1, "teacher_spans": -1}
        more = torch.full((8, 5 if name.startswith("teacher") else 3), fill.get(name, 0))
        wide[name] = torch.cat([tensor, more], dim=1)
    assert_same(whole, gradients(distiller, teacher, [wide]))
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    assert_same(whole, gradients(distiller, teacher, [rows().batch(order)]))
    for cut in ([1, 7], [2, 2, 4], [1] * 8):
        ends = np.cumsum(cut)
        parts = [rows().batch(range(e - size, e)) for size, e in zip(cut, ends, strict=True)]
        assert_same(whole, gradients(distiller, teacher, parts))


def test_held_out_losses_are_one_mean_over_spans() -> None:
    distiller, teacher = models()
    batch = rows().batch(range(8))
    with torch.no_grad():
        taps = teacher.taps(teacher_inputs(batch), OBJECTIVE.teacher_taps)
        once = distiller(batch, taps)
        cut = held_out_losses(rows(), teacher, token_budget=60)(distiller)
    assert cut["loss"] == pytest.approx(float(once["loss"]), rel=1e-9)


def test_the_prediction_term_needs_no_spans() -> None:
    distiller, _ = models()
    distiller.objective = prediction_objective()
    batch = rows().batch(range(8))
    one = distiller(batch, Taps(logits=torch.zeros(8, 4)))["loss"]
    two = distiller(rows().for_student().batch(range(8)), Taps(logits=torch.zeros(8, 4)))["loss"]
    assert torch.equal(one, two)


def test_pooled_states() -> None:
    spans = torch.tensor([[0, 1, 1, -1], [0, -1, -1, -1]])
    assert span_mask(spans).tolist() == [[True, True], [True, False]]
    states = torch.randn(2, 4, 6, dtype=torch.float64)
    pooled = pool_states(states, spans, 2)
    torch.testing.assert_close(pooled[0, 1], states[0, 1:3].mean(0))
    assert pooled[1, 1].abs().sum() == 0
    heads = pool_heads(states.view(2, 4, 2, 3).transpose(1, 2), spans, 2)
    torch.testing.assert_close(heads.transpose(1, 2).reshape(2, 2, 6), pooled)
    half = pool_states(states.bfloat16(), spans, 2)
    assert half.dtype == torch.bfloat16


def test_kept_logits_are_of_the_teachers_own_tokens(tmp_path: Path) -> None:
    _, teacher = models()
    kept = cached_logits(teacher, rows(), tmp_path)
    np.testing.assert_allclose(kept, predict(teacher.model, rows().theirs), rtol=1e-5, atol=1e-7)
    assert len(list(tmp_path.iterdir())) == 1
    cached_logits(teacher, rows().theirs, tmp_path)  # the same rows: read, not computed
    assert len(list(tmp_path.iterdir())) == 1


def test_heads_are_fitted_on_spans() -> None:
    """With equal tokenizers as on tokens."""
    _, teacher = models()
    weight = torch.randn(32, 16, dtype=torch.float64)
    found = []
    for batch in (rows(same=True).batch(range(8)), rows(same=True).for_student().batch(range(8))):
        student = tiny.classifier(seed=2, vocab_size=400)
        fit_heads(student, teacher.model, weight, [batch])
        found.append(student.classifier.weight.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-8)
    student = tiny.classifier(seed=2, vocab_size=400)
    fit_heads(student, teacher.model, weight, [rows().batch(range(8))])
    assert student.classifier.weight.isfinite().all()
