"""Objectives: terms, their weights, and the total against the paper's formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from support import tiny
from tinybert.distiller import Distiller, count_units
from tinybert.errors import TinybertError
from tinybert.objectives import (
    Objective,
    PredictionTerm,
    Seen,
    Term,
    intermediate_objective,
    label_objective,
    prediction_objective,
)
from tinybert.projections import Projections
from tinybert.taps import TapRequest, Taps, use_attention
from tinybert.teachers import Teacher


def weights(objective: Objective) -> dict[str, float]:
    return {term.name: term.weight for term in objective.terms}


def test_weights_for_all_layers_per_layer_and_by_layer() -> None:
    assert weights(intermediate_objective((2, 4))) == {
        "embedding": 1.0, "attention.1": 1.0, "hidden.1": 1.0, "attention.2": 1.0, "hidden.2": 1.0,
    }  # fmt: skip
    mixed = intermediate_objective((2, 4), attention=[0.5, 0], hidden={2: 3.0}, embedding=0)
    assert weights(mixed) == {"attention.1": 0.5, "hidden.2": 3.0}
    # what weighs nothing is not even tapped
    assert mixed.student_taps == TapRequest(frozenset({1}), frozenset({2}))
    assert mixed.teacher_taps == TapRequest(frozenset({2}), frozenset({4}))


def test_what_an_objective_needs() -> None:
    states = intermediate_objective((1,), attention=2)
    both = states + label_objective(weight=0.5)
    assert both.needs_labels
    assert both.teacher_taps
    assert both.needs_projections
    assert both.student_taps.logits
    assert not both.teacher_taps.logits
    labels = label_objective()
    assert not labels.teacher_taps
    assert not labels.needs_projections
    only = intermediate_objective((1,), hidden=0, embedding=0)
    assert not only.needs_projections
    kinds = [entry["term"] for entry in both.described()]
    assert kinds == ["embedding", "attention.1", "hidden.1", "labels"]
    assert prediction_objective(2.0).described() == [
        {"term": "prediction", "weight": 1.0, "temperature": 2.0, "regression": False}
    ]


def test_weights_that_fit_no_layers_are_refused() -> None:
    with pytest.raises(TinybertError, match="attention has 3 weights for a student of 2 layers"):
        intermediate_objective((1, 2), attention=[1, 1, 1])
    with pytest.raises(TinybertError, match=r"hidden weights name student layers \[3\]"):
        intermediate_objective((1, 2), hidden={3: 1.0})
    with pytest.raises(TinybertError, match="every term has weight 0"):
        intermediate_objective((1, 2), attention=0, hidden=[0, 0], embedding=0)
    with pytest.raises(ValueError, match="named twice"):
        prediction_objective() + Objective((PredictionTerm(2.0),))


def test_labels_are_asked_for() -> None:
    term = label_objective().terms[0]
    seen = Seen(Taps(logits=torch.zeros(2, 3)), Taps(), torch.ones(2, 4), None)
    with pytest.raises(TinybertError, match="these rows have none"):
        term(seen)


def test_a_term_says_what_it_is() -> None:
    with pytest.raises(NotImplementedError):
        _ = Term(1.0).name
    assert Term(1.0).student_taps() == Term(1.0).teacher_taps() == TapRequest()


def scores(model: torch.nn.Module, states: tuple[Tensor, ...], layer: int) -> Tensor:
    """(batch, heads, length, length): A = QKᵀ/√dₕ of one layer, from its own modules."""
    own = model.base_model.encoder.layer[layer - 1].attention.self
    query, key = own.query(states[layer - 1]), own.key(states[layer - 1])
    query, key = (x.unflatten(-1, (4, -1)).transpose(1, 2) for x in (query, key))
    return query @ key.mT / query.shape[-1] ** 0.5


def test_the_total_is_the_papers_formula() -> None:
    """Equations 7 to 11 in float64 from what the plain models show."""
    mapping, attention, hidden, embedding = (2, 4), [0.7, 1.3], [1.0, 0.5], 0.25
    teacher_model = tiny.classifier(seed=1, layers=4, width=32).double()
    student = tiny.classifier(seed=2).double()
    torch.manual_seed(3)
    projections = Projections(16, 32, 2).double()
    batch = tiny.rows(6).batch(range(6))
    real = batch["attention_mask"].bool()
    pairs = real[:, None, :, None] & real[:, None, None, :]
    inputs = {n: batch[n] for n in ("input_ids", "attention_mask", "token_type_ids")}
    states = {}
    for name, model in (("teacher", teacher_model), ("student", student)):
        model.set_attn_implementation("eager")
        with torch.no_grad():
            states[name] = model(**inputs, output_hidden_states=True)
    ours, theirs = states["student"].hidden_states, states["teacher"].hidden_states

    def mse(one: Tensor, other: Tensor, where: Tensor) -> Tensor:
        square = (one - other) ** 2
        return square.masked_select(where.expand_as(square)).mean()

    with torch.no_grad():
        tokens = real[..., None]
        w_e, w_h = projections.embedding.weight, projections.hidden.weight
        expected = embedding * mse(ours[0] @ w_e.T, theirs[0], tokens)
        for m, n in enumerate(mapping, 1):
            a = mse(scores(student, ours, m), scores(teacher_model, theirs, n), pairs)
            h = mse(ours[m] @ w_h.T, theirs[n], tokens)
            expected += attention[m - 1] * a + hidden[m - 1] * h
        soft = (states["teacher"].logits / 2.0).softmax(-1)
        cross = -(soft * (states["student"].logits / 2.0).log_softmax(-1)).sum(-1).mean()
        expected += 1.5 * cross
        expected += 0.3 * torch.nn.functional.cross_entropy(
            states["student"].logits, batch["labels"]
        )
    objective = (
        intermediate_objective(mapping, attention=attention, hidden=hidden, embedding=embedding)
        + prediction_objective(2.0, weight=1.5)
        + label_objective(weight=0.3)
    )
    teacher = Teacher(teacher_model, dtype=torch.float64)
    use_attention(student, "direct")
    with torch.no_grad():
        output = Distiller(student, projections, objective)(
            batch, teacher.taps(batch, objective.teacher_taps)
        )
    # losses are float32 sums, of float64 taps
    assert float(output["loss"]) == pytest.approx(float(expected), rel=1e-6)
    assert set(output["terms"]) == set(weights(objective))


def test_regression_learns_the_teachers_value() -> None:
    objective = prediction_objective(regression=True)
    seen = Seen(
        Taps(logits=torch.tensor([[1.0], [3.0]])),
        Taps(logits=torch.tensor([[2.0], [1.0]])),
        torch.ones(2, 4),
        None,
    )
    assert float(objective.terms[0](seen).mean()) == pytest.approx(2.5)
    values = Seen(Taps(logits=torch.tensor([[1.0]])), Taps(), torch.ones(1, 4), None,
                  labels=torch.tensor([3.0]))  # fmt: skip
    assert float(label_objective(regression=True).terms[0](values).mean()) == pytest.approx(4.0)


def test_units_are_counted_from_the_mask() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    assert count_units({"attention_mask": mask}) == {"rows": 2, "tokens": 4, "pairs": 10}
    labels = torch.tensor([[-100, 7, 0, -100], [-100, -100, -100, -100]])
    assert count_units({"attention_mask": mask, "masked_labels": labels}) == {
        "rows": 2,
        "tokens": 4,
        "pairs": 10,
        "masked": 2,
    }


def test_a_long_row_may_take_the_linear_form() -> None:
    """The crossover reaches the loss, and both forms give one value."""
    teacher = Teacher(tiny.encoder(seed=1, layers=4, width=32), dtype=torch.float64)
    student = tiny.encoder(seed=2).double()
    use_attention(student, "direct")
    objective = intermediate_objective((2, 4), hidden=0, embedding=0)
    batch = tiny.rows(4).batch(range(4))
    taps = teacher.taps(batch, objective.teacher_taps)
    with torch.no_grad():
        found = [
            float(Distiller(student, None, objective, crossover)(batch, taps)["loss"])
            for crossover in (None, 1, 10_000)
        ]
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-6)
