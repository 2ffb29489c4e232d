"""Attention of unequal heads: relations, and scores averaged over heads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tinybert
from support import tiny
from tinybert.attention_transfer import (
    MeanAttentionTerm,
    attention_transfer,
    chosen_transfer,
    relation_heads,
)
from tinybert.errors import TinybertError
from tinybert.objectives import Seen, intermediate_objective
from tinybert.taps import AttentionTap, Taps


def tap(batch: int, heads: int, length: int, size: int, scaling: float) -> AttentionTap:
    query, key, value = torch.randn(3, batch, heads, length, size, dtype=torch.float64)
    return AttentionTap(query.requires_grad_(), key.requires_grad_(), scaling, value)


def mean_scores(some: AttentionTap) -> Tensor:
    return (some.scaling * some.query @ some.key.mT).mean(dim=1)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 7), st.integers(0, 99), st.booleans())
def test_the_mean_of_scores(ours: int, theirs: int, length: int, seed: int, linear: bool) -> None:
    """Equal to averaging the scores of all heads, in both forms, and so is its gradient."""
    torch.manual_seed(seed)
    student, teacher = tap(2, ours, length, 3, 0.7), tap(2, theirs, length, 4, 0.5)
    mask = torch.arange(length) < torch.tensor([[length], [max(1, length - 2)]])
    pairs = mask[:, None, :] & mask[:, :, None]
    wanted = (mean_scores(student) - mean_scores(teacher).detach()).square()[pairs].mean()
    expected = torch.autograd.grad(wanted, (student.query, student.key))
    seen = Seen(
        Taps(attention={1: student}),
        Taps(attention={2: teacher}),
        mask,
        None,
        crossover=1 if linear else 1000,
    )
    found = MeanAttentionTerm(1.0, 1, 2)(seen).mean()
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    gradients = torch.autograd.grad(found, (student.query, student.key))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(2, 64))
def test_relation_heads_divide_both_widths(teacher: int, student: int, most: int) -> None:
    teacher, student = 4 * teacher, 4 * student
    fitting = [
        n for n in range(2, most + 1) if teacher % n == 0 and student % n == 0 and student // n >= 8
    ]
    if fitting:
        assert relation_heads(teacher, student, most) == max(fitting)
    else:
        with pytest.raises(TinybertError, match="no number of relation heads divides widths"):
            relation_heads(teacher, student, most)


def test_what_auto_means() -> None:
    assert chosen_transfer("auto", 12, 12, (768, 312))[0] == "heads"
    assert chosen_transfer("auto", 16, 12, (1024, 384)) == (
        "relations",
        "the teacher has 16 heads, the student 12",
    )
    assert chosen_transfer("auto", 4, 5, (32, 25))[0] == "mean"
    assert chosen_transfer("mean", 12, 12, (768, 312)) == ("mean", "as asked")
    with pytest.raises(TinybertError, match="16 heads"):
        chosen_transfer("heads", 16, 12, (1024, 384))


def test_the_terms_of_a_layer() -> None:
    objective = intermediate_objective(
        (2, 4),
        attention=[0.5, 0.0],
        hidden=0,
        embedding=0,
        transfer=attention_transfer("relations", (32, 16)),
    )
    assert {term.name: term.weight for term in objective.terms} == {
        "query_relation.1": 0.5,
        "key_relation.1": 0.5,
        "value_relation.1": 0.5,
    }
    assert objective.teacher_taps.attention == {2}
    averaged = intermediate_objective((2,), transfer=attention_transfer("mean", (32, 25)))
    assert [term.kind for term in averaged.terms] == ["embedding", "attention", "hidden"]


@pytest.mark.parametrize("transfer", ["auto", "mean"])
def test_a_student_of_fewer_heads(
    tmp_path: Path, transfer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """General distillation of 8 heads to 4: it starts by PCA, and its attention loss falls."""
    tiny.saved_encoder(tmp_path / "teacher", layers=4, width=64, heads=8)
    text = tiny.corpus_file(tmp_path / "text.txt", 60)
    tinybert.general(
        teacher=tmp_path / "teacher",
        student="2x32x64x4",
        corpus=str(text),
        attention_transfer=transfer,
        output=tmp_path / "student",
        max_length=16,
        steps=40,
        batch_size=16,
        learning_rate=3e-3,
        held_out=8,
        evaluations=2,
        log_every=1,
        precision="float32",
        attention="direct",
    )
    way = "relations (the teacher has 8 heads, the student 4)" if transfer == "auto" else "mean"
    said = capsys.readouterr().err
    assert f"attention is compared by {way}" in said
    assert "(pca start" in said
    lines = (tmp_path / "student" / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    term = "terms/value_relation.2" if transfer == "auto" else "terms/attention.2"
    losses = [entry[term] for entry in entries if term in entry]
    assert len(losses) > 10
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
