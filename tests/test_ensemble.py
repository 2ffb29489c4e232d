"""Several teachers: what their mean is, whose states are learned, which are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

import tinybert
from support import tiny
from tinybert.batching import length_batches
from tinybert.ensemble import Ensemble, mean_logits, mean_set_logits
from tinybert.errors import TinybertError
from tinybert.losses import set_cross_entropy, soft_cross_entropy, span_cross_entropy
from tinybert.taps import TapRequest
from tinybert.teachers import Teacher, cached_logits

NUMBERS = st.floats(-30, 30, allow_nan=False)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=4), NUMBERS)
@settings(max_examples=50, deadline=None)
def test_learning_from_the_mean_is_learning_from_all(rows: list[list[float]], own: float) -> None:
    """The mean of soft cross-entropies, by the plain formula in float64, at any temperature."""
    teachers = [torch.tensor([row], dtype=torch.float64) for row in rows]
    student = torch.tensor([[own, 0.0, -own / 2]], dtype=torch.float64)
    for temperature in (1.0, 3.0):
        mean = mean_logits(teachers, temperature)
        found = soft_cross_entropy(student, mean, temperature).mean()
        log_student = torch.log_softmax(student / temperature, dim=-1)
        each = [-(torch.softmax(t / temperature, dim=-1) * log_student).sum() for t in teachers]
        torch.testing.assert_close(found, sum(each) / len(each), rtol=1e-9, atol=1e-9)


def named(names: tuple[str, ...], seed: int) -> Teacher:
    return Teacher(tiny.classifier(seed, labels=names))


def test_states_are_the_first_ones_and_answers_the_mean() -> None:
    other_order = tuple(reversed(tiny.LABELS))
    first, second = named(tiny.LABELS, 0), named(other_order, 1)
    both = Ensemble(first, [second])
    both.speak_labels(tiny.LABELS)
    rows = tiny.rows(12)
    batch = rows.batch(next(iter(length_batches(rows))))
    asked = TapRequest(logits=True, hidden=frozenset({1, 2}), attention=frozenset({2}))
    taps, its = both.taps(batch, asked), named(tiny.LABELS, 0).taps(batch, asked)
    for layer in (1, 2):
        torch.testing.assert_close(taps.hidden[layer], its.hidden[layer])
    torch.testing.assert_close(taps.attention[2].query, its.attention[2].query)
    others = named(other_order, 1).taps(batch, asked).logits.flip(-1)  # in the data's order
    mean = (torch.softmax(its.logits, -1) + torch.softmax(others, -1)) / 2
    torch.testing.assert_close(torch.softmax(taps.logits, -1), mean)
    # What is kept on disk belongs to these teachers in this way of taking them together.
    prints = {both.fingerprint(), first.fingerprint(), Ensemble(first, [first]).fingerprint()}
    prints |= {Ensemble(first, [second], temperature=2.0).fingerprint()}
    assert len(prints) == 4


def test_starts_and_ends_are_shares_of_the_passage() -> None:
    """Of each softmax over the tokens that are asked; what lies outside moves nothing."""
    rng = np.random.default_rng(0)
    logits = [torch.tensor(rng.normal(size=(2, 5, 2))) for _ in range(3)]
    asked = torch.tensor([[False, True, True, True, True], [True, True, True, False, False]])
    both = Ensemble(named(tiny.LABELS, 0), [], answering="spans", temperature=2.0)
    found = both._mean(logits, {"asked": asked})
    assert torch.isfinite(found).all()
    student = torch.tensor(rng.normal(size=(2, 5, 2)))
    loss = span_cross_entropy(student, found, asked, 2.0).mean()
    each = [span_cross_entropy(student, one, asked, 2.0).mean() for one in logits]
    torch.testing.assert_close(loss, sum(each) / 3)
    # One teacher counted twice answers as it does alone, on any scale that windows share.
    twice = both._mean([logits[0], logits[0]], {"asked": asked})
    torch.testing.assert_close(twice[asked], logits[0][asked])


def test_sets_have_the_mean_of_each_labels_probability() -> None:
    """Learning from it is learning from all, as of classes."""
    rng = torch.Generator().manual_seed(0)
    logits = list(3 * torch.randn(3, 5, 4, generator=rng, dtype=torch.float64))
    student = torch.randn(5, 4, generator=rng, dtype=torch.float64)
    found = Ensemble(named(tiny.LABELS, 0), [], answering="sets", temperature=2.0)._mean(logits, {})
    shares = torch.stack([torch.sigmoid(one / 2) for one in logits]).mean(dim=0)
    torch.testing.assert_close(torch.sigmoid(found / 2), shares)
    each = [set_cross_entropy(student, one, 2.0).mean() for one in logits]
    torch.testing.assert_close(set_cross_entropy(student, found, 2.0).mean(), sum(each) / 3)
    assert torch.isfinite(mean_set_logits([torch.tensor([[200.0, -200.0]])] * 2)).all()


def test_values_have_their_plain_mean() -> None:
    models = [tiny.classifier(seed, labels=("score",)) for seed in (0, 1, 2)]
    first, *others = (Teacher(model) for model in models)
    rows = tiny.rows(9, labels=None)
    found = cached_logits(Ensemble(first, others, answering="values"), rows, None)
    each = [cached_logits(teacher, rows, None) for teacher in (first, *others)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teachers")
    tiny.task_file(place / "train.csv", 120)
    options = {"layers": 3, "width": 32, "initializer_range": 0.5}
    tiny.saved_classifier(place / "one", **options)
    tiny.saved_classifier(place / "two", seed=1, labels=tiny.LABELS, **options)
    tiny.saved_classifier(place / "three", labels=tiny.LABELS[:3], **options)
    tiny.saved_classifier(place / "strangers", labels=("a", "b", "c", "d"), **options)
    tiny.saved_encoder(place / "plain", **options)
    tiny.saved_classifier(place / "tokens", **options)
    more: PreTrainedTokenizerBase = tiny.tokenizer()
    more.add_tokens(["more"])
    more.save_pretrained(place / "tokens")
    return place


def distilled(place: Path, output: Path, **more: Any) -> dict[str, Any]:
    asked = {"teacher": place / "one", "data": place / "train.csv", "output": output}
    return tinybert.distill(**(asked | tiny.QUICK | {"student": "2x16", "log_every": 1} | more))


def intermediate(log: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.splitlines()]
    return [x for x in lines if x["stage"] == "intermediate" and "loss" in x]


def test_a_student_of_two_teachers(place: Path, tmp_path: Path) -> None:
    results = distilled(place, tmp_path / "student", ensemble=[str(place / "two")])
    alone = distilled(place, tmp_path / "alone")
    other = distilled(place, tmp_path / "other", teacher=place / "two")
    assert results["teacher"]["each"] == [alone["teacher"]["score"], other["teacher"]["score"]]
    assert "each" not in alone["teacher"]
    assert "answers of 2 teachers" in (tmp_path / "student" / "README.md").read_text()
    assert results["inputs"]["teacher weights"] == alone["inputs"]["teacher weights"]
    # A page made later shows what the teachers answered together, or nothing of it.
    student = tmp_path / "student"
    differ = "answers, and these were not kept"
    tinybert.report(run=student, overwrite=True, latency=False, quiet=True)
    assert differ not in (student / "report.html").read_text()
    (student / "answers.npz").unlink()
    tinybert.report(run=student, overwrite=True, latency=False, quiet=True)
    assert differ in (student / "report.html").read_text()
    # States are learned from the first alone: until there is an answer, both runs are one.
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("student", "alone")]
    losses = [
        [(line["step"], line["loss"], line["terms/hidden.1"]) for line in intermediate(log)]
        for log in logs
    ]
    assert losses[0]
    assert losses[0] == losses[1]
    assert results["agreement"] != alone["agreement"] or results["student"] != alone["student"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("plain", "plain is an encoder without a task head: fine-tune it"),
        ("tokens", "cuts text into other tokens than .*one does: teachers of one"),
        ("three", r"gives 3 outputs \(concurrency, network, files\) where 4 are wanted"),
        ("strangers", "labels"),
        ("nowhere/at/all", "no model directory"),
    ],
)
def test_teachers_that_do_not_go_together(
    place: Path, tmp_path: Path, name: str, error: str
) -> None:
    with pytest.raises(TinybertError, match=error):
        distilled(place, tmp_path / "student", ensemble=[str(place / name)])
    assert not list(tmp_path.iterdir())


def test_without_labels_names_have_to_be_the_same(place: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(tiny.sentences(60)[0]) + "\n")
    with pytest.raises(TinybertError, match=r"answers a, b, c, d and --teacher concurrency"):
        distilled(place, tmp_path / "s", data=texts, ensemble=[str(place / "strangers")])
    results = distilled(place, tmp_path / "s", data=texts, ensemble=[str(place / "two")])
    assert results["student"]["score"] is None


def test_the_output_is_no_teacher(place: Path, tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="what --ensemble names"):
        distilled(place, place / "two", ensemble=[str(place / "two")], overwrite=True)
