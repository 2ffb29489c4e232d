"""Tasks that are answered token by token keep the training contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from support import tiny, words
from tinybert.batching import IGNORED, TokenRows
from tinybert.distiller import Distiller, count_units
from tinybert.errors import TinybertError
from tinybert.evaluation import held_out_losses, predict
from tinybert.losses import ENDS, STARTS
from tinybert.objectives import Objective, label_objective, prediction_objective
from tinybert.taps import TapRequest, run_with_taps
from tinybert.task_heads import SPAN_LABELS, Answering
from tinybert.teachers import Teacher, cached_logits, check_head, has_head, load_encoder
from tinybert.training import DistillationTrainer, Schedule

KINDS: tuple[Answering, ...] = ("tokens", "spans")


def rows_of(kind: Answering, count: int = 24, seed: int = 0) -> TokenRows:
    """Random rows of lengths 4 … 20 with some tokens asked."""
    rows = tiny.rows(count, seed, labels=None)
    rng = np.random.default_rng(seed)
    rows.asked = rng.random(len(rows.ids)) < 0.5
    labels = np.full(len(rows.ids), IGNORED)
    for row in range(count):
        piece = slice(rows.offsets[row], rows.offsets[row + 1])
        rows.asked[piece.start] = True
        places = np.flatnonzero(rows.asked[piece]) + piece.start
        labels[places] = rng.integers(0, len(words.TAGS), len(places)) if kind == "tokens" else 0
        if kind == "spans":
            start, end = sorted(rng.integers(0, len(places), 2))
            labels[places[start]] |= STARTS
            labels[places[end]] |= ENDS
    rows.labels = labels
    return rows


def pieces(kind: Answering) -> tuple[Distiller, Teacher]:
    make = words.tagger if kind == "tokens" else words.answerer
    teacher = Teacher(make(seed=1, layers=4, width=32), dtype=torch.float64)
    objective = prediction_objective(1.5, answering=kind) + label_objective(
        weight=0.3, answering=kind
    )
    return Distiller(make(seed=2).double(), None, objective), teacher


def gradients(
    distiller: Distiller, teacher: Teacher, batches: list[dict[str, Tensor]]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the batches taken as one effective batch."""
    distiller.zero_grad()
    counts = [count_units(b["attention_mask"], None, b["asked"]) for b in batches]
    whole = {unit: sum(c[unit] for c in counts) for unit in counts[0]}
    total = 0.0
    for batch, count in zip(batches, counts, strict=True):
        taps = teacher.taps(batch, distiller.objective.teacher_taps)
        loss = distiller(batch, taps, {u: count[u] / whole[u] for u in whole})["loss"]
        loss.backward()
        total += float(loss.detach())
    return total, {n: p.grad.clone() for n, p in distiller.named_parameters() if p.grad is not None}


def assert_same(one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]):
    assert one[0] == pytest.approx(other[0], rel=1e-10)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_micro_batches_change_nothing(kind: Answering) -> None:
    rows, (distiller, teacher) = rows_of(kind), pieces(kind)
    order = np.argsort(-rows.lengths)
    whole = gradients(distiller, teacher, [rows.batch(order)])
    for cut in ([1], [5, 9], [3, 4, 20]):
        parts = [rows.batch(part) for part in np.split(order, cut)]
        assert_same(gradients(distiller, teacher, parts), whole)
    padded = rows.batch(order)
    for name, fill in (("input_ids", 3), ("attention_mask", 0), ("asked", 0), ("labels", IGNORED)):
        value = padded[name]
        more = torch.full((len(value), 7), fill, dtype=value.dtype)
        padded[name] = torch.cat([value, more], dim=1)
    padded["token_type_ids"] = torch.zeros_like(padded["input_ids"])
    assert_same(gradients(distiller, teacher, [padded]), whole)


def test_the_mean_is_over_all_asked_tokens() -> None:
    """Against the plain formula, in float64."""
    rows, (distiller, teacher) = rows_of("tokens"), pieces("tokens")
    total = soft = 0.0
    count = 0
    for row in range(len(rows)):
        batch = rows.batch([row])
        mine, its = (
            run_with_taps(model, batch, TapRequest(logits=True)).logits[0].detach().double()  # type: ignore[index]
            for model in (distiller.student, teacher.model)
        )
        for place in batch["asked"][0].nonzero()[:, 0].tolist():
            shares = torch.log_softmax(mine[place], dim=-1)
            total -= float(shares[batch["labels"][0, place]])
            warm = torch.log_softmax(mine[place] / 1.5, dim=-1)
            soft -= float((torch.softmax(its[place] / 1.5, dim=-1) * warm).sum())
            count += 1
    loss, _ = gradients(distiller, teacher, [rows.batch(np.arange(len(rows)))])
    assert loss == pytest.approx((soft + 0.3 * total) / count, rel=1e-9)
    with torch.no_grad():
        held_out = held_out_losses(rows, teacher, token_budget=60)(distiller)
    assert held_out["loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_logits_are_fresh_ones(kind: Answering, tmp_path: Path) -> None:
    rows, teacher = rows_of(kind), Teacher(pieces(kind)[1].model.float())
    kept = cached_logits(teacher, rows, tmp_path)
    assert kept.shape == (len(rows.ids), 2 if kind == "spans" else len(words.TAGS))
    np.testing.assert_array_equal(cached_logits(teacher, rows, tmp_path), kept)
    np.testing.assert_allclose(predict(teacher.model, rows), kept, atol=1e-5)
    for row in (3, 11):
        fresh = run_with_taps(teacher.model, rows.batch([row]), TapRequest(logits=True)).logits
        assert fresh is not None
        piece = kept[rows.offsets[row] : rows.offsets[row + 1]]
        np.testing.assert_allclose(fresh[0].numpy(), piece, atol=1e-5)
    rows.targets = kept
    batch = rows.batch([11, 3])
    assert batch["teacher_logits"].shape[:2] == batch["input_ids"].shape
    np.testing.assert_array_equal(
        batch["teacher_logits"][1, : rows.lengths[3]].numpy(),
        kept[rows.offsets[3] : rows.offsets[4]],
    )
    few = rows.take([11, 3])
    assert few.targets is not None
    np.testing.assert_array_equal(
        few.batch([1])["teacher_logits"], rows.batch([3])["teacher_logits"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_budget_changes_no_training(kind: Answering, tmp_path: Path) -> None:
    weights = []
    for budget in (40, 4096):
        distiller, _ = pieces(kind)
        rows = rows_of(kind)
        distiller.objective = label_objective(answering=kind)
        schedule = Schedule(epochs=2, batch_size=8, learning_rate=1e-3, token_budget=budget)
        trainer = DistillationTrainer(
            distiller, rows, schedule, tmp_path / str(budget), cpu=True, seed=3
        )
        trainer.train()
        weights.append(distiller.student.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-6, atol=1e-8)


def test_an_objective_of_tokens_needs_tokens_that_are_asked() -> None:
    distiller, teacher = pieces("tokens")
    batch = tiny.rows(4).batch([0, 1])
    with pytest.raises(TinybertError, match="for rows that are answered token by token"):
        distiller(batch, teacher.taps(batch, distiller.objective.teacher_taps))
    assert Objective(label_objective(answering="spans").terms).needs_labels


def test_heads_are_told_apart(tmp_path: Path) -> None:
    words.tagger().save_pretrained(tmp_path / "tagger")
    words.answerer().save_pretrained(tmp_path / "answerer")
    tiny.encoder().save_pretrained(tmp_path / "encoder")
    tiny.classifier().save_pretrained(tmp_path / "classifier")
    found = {
        name: [has_head(tmp_path / name, kind) for kind in (None, "rows", *KINDS)]
        for name in ("tagger", "answerer", "encoder", "classifier")
    }
    assert found == {
        "tagger": [True, False, True, False],
        "answerer": [True, False, False, True],
        "encoder": [False] * 4,
        "classifier": [True, True, False, False],
    }
    check_head(tmp_path / "encoder", "tokens")
    for name, kind, said in (
        ("classifier", "tokens", "is a classifier of whole texts, and this task asks for a token"),
        ("tagger", "rows", "is a token classifier, .* say --task token-classification"),
        ("answerer", "tokens", "is a question-answering model"),
    ):
        with pytest.raises(TinybertError, match=said):
            check_head(tmp_path / name, kind)  # type: ignore[arg-type]
    model = load_encoder(tmp_path / "answerer", labels=SPAN_LABELS, answering="spans")
    assert model.config.id2label == {0: "start", 1: "end"}
    assert type(model).__name__ == "BertForQuestionAnswering"
