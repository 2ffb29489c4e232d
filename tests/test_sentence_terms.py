"""Terms of sentence vectors: the formula, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from support import tiny
from tinybert.distiller import Distiller, count_units
from tinybert.objectives import intermediate_objective
from tinybert.projections import Projections
from tinybert.sentence_terms import sentence_objective
from tinybert.taps import Taps


def parts(loss: str = "cosine", sizes: tuple[int, ...] = (), pooling: str = "mean") -> Distiller:
    torch.manual_seed(0)
    objective = sentence_objective(2, pooling, loss, sizes)
    return Distiller(tiny.encoder(seed=1), Projections(16, 24, 2), objective).double()


def rows_with_vectors(count: int = 12):
    rows = tiny.rows(count, labels=None)
    vectors = np.random.default_rng(0).normal(size=(count, 24)).astype(np.float32)
    return replace(rows, targets=vectors)


def run(distiller: Distiller, rows, indices, share: float = 1.0):
    batch = rows.batch(indices)
    taps = Taps(logits=batch.pop("teacher_logits").double())
    return distiller(batch, taps, {"rows": share})


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_against_a_plain_computation(loss: str, pooling: str) -> None:
    distiller, rows = parts(loss, (8, 3), pooling), rows_with_vectors()
    wanted = {"sentence": 0.0, "sentence.8": 0.0, "sentence.3": 0.0}
    for i in range(len(rows)):  # a row alone, without padding
        ids = torch.tensor(rows.ids[rows.offsets[i] : rows.offsets[i + 1]].astype(np.int64))[None]
        with torch.no_grad():
            states = distiller.student(ids).last_hidden_state[0]
            state = states.mean(0) if pooling == "mean" else states[0]
            own = distiller.projections.module_for(2).weight @ state
        teacher = torch.tensor(rows.targets[i]).double()
        for name in wanted:
            size = int(name.partition(".")[2] or 24)
            s, t = own[:size], teacher[:size]
            apart = 1 - cosine_similarity(s, t, dim=0) if loss == "cosine" else ((s - t) ** 2).sum()
            wanted[name] += float(apart) / len(rows)
    found = run(distiller, rows, range(len(rows)))
    assert {n: float(v.detach()) for n, v in found["terms"].items()} == pytest.approx(wanted)
    assert float(found["loss"]) == pytest.approx(sum(wanted.values()) / 3)


def test_micro_batches_and_padding_change_nothing() -> None:
    rows = rows_with_vectors()
    gradients = []
    for cuts in ([range(12)], [range(5), range(5, 6), range(6, 12)]):
        distiller = parts(sizes=(8,))
        total = 0.0
        for piece in cuts:
            loss = run(distiller, rows, piece, len(piece) / 12)["loss"]
            loss.backward()
            total += float(loss)
        weight = distiller.projections.module_for(2).weight.grad
        gradients.append(
            (total, weight, distiller.student.encoder.layer[0].output.dense.weight.grad)
        )
    (one, *these), (other, *those) = gradients
    assert one == pytest.approx(other)
    for a, b in zip(these, those, strict=True):
        torch.testing.assert_close(a, b)


def test_it_reads_projections_and_a_unit_that_is_counted() -> None:
    objective = sentence_objective(2, "mean")
    assert objective.needs_projections
    assert not objective.needs_labels
    assert [term.unit for term in objective.terms] == ["rows"]
    assert count_units({"attention_mask": torch.ones(3, 4)})["rows"] == 3
    assert intermediate_objective([1, 2]).needs_projections
    assert not intermediate_objective([1, 2], hidden=0, embedding=0).needs_projections
