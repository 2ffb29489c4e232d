"""Terms of other methods: what they read of real models, and the authors' averages by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support import tiny
from tinybert.baseline_terms import (
    AttentionDistributionTerm,
    CosineTerm,
    DivergenceTerm,
    FeatureMapTerm,
    MaskedDivergenceTerm,
    PatienceTerm,
    ReferenceAttentionTerm,
    ReferenceHiddenTerm,
    RelationTerm,
)
from tinybert.distiller import Distiller
from tinybert.objectives import Objective, Term
from tinybert.projections import Projections
from tinybert.taps import use_attention
from tinybert.teachers import Teacher


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return tiny.rows(6).batch(range(6))


def run(term: Term, student: Any, teacher: Any, batch: dict[str, Tensor], **more: Any) -> Tensor:
    """The term's value, as training computes it."""
    use_attention(student, "direct")
    frozen = Teacher(teacher)
    objective = Objective((term,))
    distiller = Distiller(student, more.get("projections"), objective)
    return distiller(batch, frozen.taps(batch, objective.teacher_taps))["loss"]


def states(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    found: tuple[Tensor, ...] = model.base_model(**inputs, output_hidden_states=True).hidden_states
    return found


def heads(model: Any, batch: dict[str, Tensor], layer: int, what: str) -> Tensor:
    """Queries, keys or values of a layer from its weights, (batch, heads, length, head size)."""
    below = states(model, batch)[layer - 1]
    own = model.base_model.encoder.layer[layer - 1].attention.self
    found = getattr(own, what)(below)
    count = model.config.num_attention_heads
    return found.view(*found.shape[:2], count, -1).transpose(1, 2)


def scores(model: Any, batch: dict[str, Tensor], layer: int) -> Tensor:
    query, key = (heads(model, batch, layer, name) for name in ("query", "key"))
    return query @ key.mT / query.shape[-1] ** 0.5


@pytest.mark.parametrize("layers", [(1, 2), (2, 4)])
def test_the_authors_averages(batch: dict[str, Tensor], layers: tuple[int, int]) -> None:
    """Their code: a mask of -10000 is added, scores of -100 and less become 0, and all entries are
    averaged, padding included; likewise states through the projection."""
    m, n = layers
    student, teacher = tiny.encoder(1), tiny.encoder(2, layers=4, width=32)
    projections = Projections(16, 32, 2)
    added = (1.0 - batch["attention_mask"][:, None, None, :].float()) * -10000.0
    found = []
    for model, layer in ((student, m), (teacher, n)):
        raw = scores(model, batch, layer) + added
        found.append(torch.where(raw <= -1e2, torch.zeros_like(raw), raw))
    wanted = F.mse_loss(*found)
    value = run(ReferenceAttentionTerm(1.0, m, n), student, teacher, batch)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert batch["attention_mask"].min() == 0  # there is padding to count
    term = ReferenceHiddenTerm(1.0, m, n)
    value = run(term, student, teacher, batch, projections=projections)
    wanted = F.mse_loss(
        projections.project(m, states(student, batch)[m]), states(teacher, batch)[n]
    )
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_states(batch: dict[str, Tensor]) -> None:
    student, teacher = tiny.encoder(1, layers=2), tiny.encoder(2, layers=4)
    ours, theirs = states(student, batch)[2], states(teacher, batch)[4]
    real = batch["attention_mask"].bool()
    value = run(CosineTerm(1.0, 2, 4), student, teacher, batch)
    wanted = (1 - F.cosine_similarity(ours[real], theirs[real], dim=-1)).mean()
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    value = run(PatienceTerm(100.0, 2, 4), student, teacher, batch)
    wanted = 100 * F.mse_loss(F.normalize(ours[:, 0], dim=-1), F.normalize(theirs[:, 0], dim=-1))
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    value = run(FeatureMapTerm(1.0, 2, 4), student, teacher, batch)
    wanted = F.mse_loss(F.layer_norm(ours[real], (16,)), F.layer_norm(theirs[real], (16,)))
    assert value.item() == pytest.approx(wanted.item(), rel=1e-3)


def test_attention(batch: dict[str, Tensor]) -> None:
    student, teacher = tiny.encoder(1, layers=2), tiny.encoder(2, layers=4, width=32)
    real = batch["attention_mask"].bool()
    keys = ~real[:, None, None, :]

    def divergence(ours: Tensor, theirs: Tensor) -> Tensor:
        logs = [torch.log_softmax(s.masked_fill(keys, -1e9), dim=-1) for s in (ours, theirs)]
        rows = (logs[1].exp() * (logs[1] - logs[0])).sum(-1)
        return rows.transpose(1, 2)[real].mean()

    value = run(AttentionDistributionTerm(1.0, 2, 4), student, teacher, batch)
    wanted = divergence(scores(student, batch, 2), scores(teacher, batch, 4))
    assert value.item() == pytest.approx(wanted.item(), rel=1e-4)
    for what in ("query", "key", "value"):
        relations = []
        for model, layer in ((student, 2), (teacher, 4)):
            found = heads(model, batch, layer, what).transpose(1, 2).flatten(2)
            found = found.view(*found.shape[:2], 2, -1).transpose(1, 2)
            relations.append(found @ found.mT / found.shape[-1] ** 0.5)
        value = run(RelationTerm(1.0, 2, 4, what, 2), student, teacher, batch)  # type: ignore[arg-type]
        assert value.item() == pytest.approx(divergence(*relations).item(), rel=1e-4)


def test_outputs(batch: dict[str, Tensor]) -> None:
    student, teacher = tiny.classifier(1), tiny.classifier(2, layers=4)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    logs = [torch.log_softmax(model(**inputs).logits / 5, dim=-1) for model in (student, teacher)]
    wanted = 25 * F.kl_div(*logs, reduction="batchmean", log_target=True)
    value = run(DivergenceTerm(1.0, 5.0), student, teacher, batch)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    apart = F.mse_loss(student(**inputs).logits, teacher(**inputs).logits)
    value = run(DivergenceTerm(1.0, 5.0, regression=True), student, teacher, batch)
    assert value.item() == pytest.approx(apart.item(), rel=1e-5)


def test_masked_tokens() -> None:
    batch = tiny.masked_rows(8).batch(range(8))
    student, teacher = tiny.masked_lm(1), tiny.masked_lm(2, layers=4, width=32)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    hidden = batch["masked_labels"] != -100
    logs = [
        torch.log_softmax(model(**inputs).logits[hidden] / 2, dim=-1)
        for model in (student, teacher)
    ]
    wanted = 4 * F.kl_div(*logs, reduction="batchmean", log_target=True)
    value = run(MaskedDivergenceTerm(1.0, 2.0), student, teacher, batch)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-4)
