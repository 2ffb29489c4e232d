"""What several tasks minimise: each row its own term, their mean over all rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from support import encoders, tiny
from tinybert.batching import TokenRows, like_batches
from tinybert.distiller import Distiller, count_units
from tinybert.ensemble import TaskTeachers
from tinybert.objectives import Objective, intermediate_objective
from tinybert.projections import Projections
from tinybert.several_tasks import (
    HeadSpec,
    MixedRows,
    fit_outputs,
    load_shared,
    new_shared,
    tasks_objective,
    value_weight,
)
from tinybert.shared_body import SharedBody
from tinybert.stages import set_dropout
from tinybert.taps import Taps, use_attention
from tinybert.teachers import Teacher

HEADS = (
    HeadSpec("topic", tiny.LABELS[:3]),
    HeadSpec("stars", (), regression=True),
    HeadSpec("sets", ("x", "y"), answering="sets"),
)
WIDTHS = (3, 1, 2)
WEIGHTS = (1.0, 0.25, 1.0)


def student() -> SharedBody:
    models = [
        tiny.classifier(seed, labels=head.labels or ("score",)).double()
        for seed, head in enumerate(HEADS)
    ]
    return SharedBody({head.name: model for head, model in zip(HEADS, models, strict=True)})


def rows(*, targets: bool) -> list[TokenRows]:
    rng = np.random.default_rng(0)
    found = []
    for seed, width in enumerate(WIDTHS):
        part = tiny.rows(9 + 4 * seed, seed=seed, labels=None)
        kept = 3 * rng.normal(size=(len(part), width)).astype(np.float32)
        found.append(replace(part, targets=kept if targets else None))
    return found


def whole_loss(
    distiller: Distiller, mixed: MixedRows, teacher: Teacher | None, budget: int
) -> Tensor:
    """The loss of all rows as one effective batch, cut by a token budget."""
    pieces = like_batches(mixed, np.arange(len(mixed)), budget)
    batches = [mixed.batch(piece) for piece in pieces]
    counts = [count_units(batch) for batch in batches]
    whole = {unit: sum(c[unit] for c in counts) for unit in counts[0]}
    total = torch.zeros((), dtype=torch.float64)
    for batch, count in zip(batches, counts, strict=True):
        taps = Taps() if teacher is None else teacher.taps(batch, distiller.objective.teacher_taps)
        if "teacher_logits" in batch:
            taps.logits = batch.pop("teacher_logits").double()
        shares = {unit: count[unit] / whole[unit] for unit in whole}
        total = total + distiller(batch, taps, shares)["loss"]
    return total


def distiller_of(shared: SharedBody, objective: Objective) -> Distiller:
    torch.manual_seed(1)
    projections = Projections(16, 16, 2).double() if objective.needs_projections else None
    return Distiller(cast(PreTrainedModel, shared), projections, objective)


def test_the_prediction_loss_is_the_plain_formula_however_it_is_cut() -> None:
    """(1/N) Σ over all rows of λ of the row's task times that row's own loss."""
    shared, parts = student(), rows(targets=True)
    distiller = distiller_of(shared, tasks_objective(HEADS, WEIGHTS, 2.0))
    plain = torch.zeros((), dtype=torch.float64)
    for task, part in enumerate(parts):
        for row in range(len(part)):
            batch = part.batch([row])
            wanted = batch.pop("teacher_logits").double()[0]
            own = shared.of(task)(**batch).logits[0]
            if task == 0:
                each = -(torch.softmax(wanted / 2, -1) * torch.log_softmax(own / 2, -1)).sum()
            elif task == 1:
                each = (own - wanted).square().mean()
            else:
                yes = torch.sigmoid(wanted / 2)
                each = -(
                    yes * torch.nn.functional.logsigmoid(own / 2)
                    + (1 - yes) * torch.nn.functional.logsigmoid(-own / 2)
                ).mean()
            plain = plain + WEIGHTS[task] * each
    plain = plain / sum(map(len, parts))
    plain.backward()
    learned = {name: p for name, p in shared.named_parameters() if p.grad is not None}
    wanted_gradients = {name: parameter.grad for name, parameter in learned.items()}
    for budget in (1, 60, 10_000):
        shared.zero_grad()
        loss = whole_loss(distiller, MixedRows(parts), None, budget)
        torch.testing.assert_close(loss, plain.detach(), rtol=1e-6, atol=0)
        loss.backward()
        for name, parameter in learned.items():
            torch.testing.assert_close(
                parameter.grad, wanted_gradients[name], rtol=1e-6, atol=1e-9, msg=name
            )


def test_states_are_those_of_the_own_teacher_however_they_are_cut() -> None:
    shared, parts = student(), rows(targets=False)
    objective = intermediate_objective((1, 2))
    models = [
        tiny.classifier(10 + seed, labels=head.labels or ("score",))
        for seed, head in enumerate(HEADS)
    ]
    teachers = [Teacher(model, dtype=torch.float64) for model in models]
    use_attention(cast(PreTrainedModel, shared))
    distiller = distiller_of(shared, objective)
    together = TaskTeachers(teachers)
    losses = [whole_loss(distiller, MixedRows(parts), together, b) for b in (1, 60, 10_000)]
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-6, atol=0)
    # Each task alone has its own teacher; the whole is their mean over tokens and pairs.
    alone, weights = [], []
    for task, part in enumerate(parts):
        one = Distiller(shared.of(task), distiller.projections, objective)
        batch = part.batch(range(len(part)))
        terms = one(batch, teachers[task].taps(batch, objective.teacher_taps))["terms"]
        alone.append({name: float(value) for name, value in terms.items()})
        weights.append(count_units(batch))
    mean = sum(
        sum(a[term.name] * w[term.unit] for a, w in zip(alone, weights, strict=True))
        / sum(w[term.unit] for w in weights)
        for term in objective.terms
    )
    assert float(losses[0]) == pytest.approx(mean, rel=1e-6)
    prints = {together.fingerprint(), TaskTeachers(teachers[::-1]).fingerprint()}
    assert len(prints) == 2


def test_values_count_by_their_spread() -> None:
    """The best constant costs 1 in any unit, and a constant teacher divides by nothing."""
    values = np.random.default_rng(0).normal(50, 20, (100, 1)).astype(np.float32)
    for unit in (1.0, 0.01):
        best = np.square(unit * values - (unit * values).mean()).mean()
        assert value_weight(unit * values) * best == pytest.approx(1, rel=1e-4)
    assert value_weight(np.full((5, 1), 3.0, dtype=np.float32)) == 1.0


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_heads_are_fitted_where_the_body_stays(kind: str, tmp_path: Path) -> None:
    """New heads answer nearly as linear teachers do; the body is the same, and comes back so."""
    body = encoders.encoder(kind)
    body.save_pretrained(tmp_path / "body")
    shared = new_shared(tmp_path / "body", HEADS, tmp_path / "scratch", 3)
    again = new_shared(tmp_path / "body", HEADS, tmp_path / "scratch", 3)
    before = {name: value.clone() for name, value in shared.base_model.state_dict().items()}
    for own, other in zip(shared.parameters(), again.parameters(), strict=True):
        assert own.equal(other)
    teachers = [Teacher(again.of(task), dtype=torch.float32) for task in range(3)]
    for task in range(3):  # answers that a fresh head does not give
        for parameter in list(again.of(task).parameters())[-2:]:
            parameter.copy_(parameter + 0.5)
    many = [tiny.rows(200, seed=task, labels=None) for task in range(3)]
    few = [[part.batch(range(len(part)))] for part in many]
    for batches in few:
        for batch in batches:
            batch["input_ids"] = batch["input_ids"] % body.config.vocab_size

    @torch.no_grad()
    def apart() -> list[float]:
        found = []
        for task, (batch,) in enumerate(few):
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            one, other = (each.of(task)(**inputs).logits for each in (shared, again))
            found.append(float((one - other).abs().mean()))
        return found

    first = apart()
    set_dropout(shared, 0.0)
    fit_outputs(shared, teachers, few, first=1)
    last = apart()
    assert last[0] == first[0]
    assert last[1] < 0.5 * first[1]
    assert last[2] < 0.5 * first[2]
    for name, value in shared.base_model.state_dict().items():
        assert value.equal(before[name]), name
    shared.save_pretrained(tmp_path / "saved")
    loaded = cast(SharedBody, load_shared(tmp_path / "saved", HEADS))
    for (name, own), other in zip(
        shared.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        assert own.equal(other), name


def test_a_fitted_head_stands_dropout() -> None:
    """In training it is better than the best constant, and neither mode nor random state moves."""
    options = {"hidden_dropout_prob": 0.05, "initializer_range": 0.3}
    shared = SharedBody({"stars": tiny.classifier(labels=("score",), **options)})
    model = shared.of(0).train()
    (part,) = [tiny.rows(400, labels=None)]
    batch = part.batch(range(len(part)))
    with torch.no_grad():
        states = model.base_model(**batch).pooler_output
        wanted = states @ torch.randn(16, 1) + 5

    class Answers(Teacher):
        def taps(self, batch: object, request: object) -> Taps:
            return Taps(logits=wanted)

    teacher = Answers(tiny.classifier(labels=("score",)))
    state = torch.get_rng_state()
    fit_outputs(shared, [teacher], [[batch]], seed=1)
    assert torch.get_rng_state().equal(state)
    assert model.training
    with torch.no_grad():
        error = (model(**batch).logits - wanted).square().mean()
    assert error < 0.9 * wanted.var()
    fitted = model.classifier.weight.clone()
    fit_outputs(shared, [teacher], [[batch]], seed=1)
    assert model.classifier.weight.equal(fitted)
