"""Sentence embeddings and how similarities go together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from support import tiny
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.objectives import label_objective
from tinybert.similarity import (
    SentencePairs,
    cosines,
    sentence_embeddings,
    similarity_figures,
    similarity_watch,
)


def plain(model: torch.nn.Module, ids: list[int], pooling: str = "mean") -> np.ndarray:
    """One sentence alone, without padding, by transformers' own output."""
    with torch.no_grad():
        states = model(torch.tensor([ids])).last_hidden_state[0]
    return (states.mean(0) if pooling == "mean" else states[0]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_against_a_plain_computation(pooling: str) -> None:
    model, rows = tiny.encoder(seed=1), tiny.rows(23, labels=None)
    found = sentence_embeddings(model, rows, pooling)
    for i in range(len(rows)):
        ids = rows.ids[rows.offsets[i] : rows.offsets[i + 1]].tolist()
        np.testing.assert_allclose(found[i], plain(model, ids, pooling), atol=1e-5)


@given(st.lists(st.integers(0, 22), min_size=1, max_size=15))
@settings(max_examples=15, deadline=None)
def test_batch_mates_and_padding_change_nothing(chosen: list[int]) -> None:
    model, rows = tiny.encoder(seed=1), tiny.rows(23, labels=None)
    whole = sentence_embeddings(model, rows)
    np.testing.assert_allclose(
        sentence_embeddings(model, rows.take(chosen)), whole[chosen], atol=1e-5
    )


def test_a_classifiers_body_is_used() -> None:
    classifier, rows = tiny.classifier(seed=1), tiny.rows(9, labels=None)
    body = sentence_embeddings(classifier.base_model, rows)
    np.testing.assert_array_equal(sentence_embeddings(classifier, rows), body)


def test_mode_and_random_states_stay() -> None:
    model = tiny.encoder(seed=1, hidden_dropout_prob=0.5).train()
    before = torch.get_rng_state()
    one = sentence_embeddings(model, tiny.rows(9, labels=None))
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(one, sentence_embeddings(model, tiny.rows(9, labels=None)))


def test_cosines() -> None:
    one = np.array([[1, 0], [1, 1], [2, 0], [0, 0]], dtype=np.float32)
    other = np.array([[0, 3], [1, 0], [-1, 0], [1, 0]], dtype=np.float32)
    np.testing.assert_allclose(cosines(one, other), [0, 0.5**0.5, -1, 0], atol=1e-12)
    with pytest.raises(TinybertError, match="no finite numbers"):
        cosines(one * np.nan, other)


def test_figures() -> None:
    rng = np.random.default_rng(0)
    own, scores, teacher = rng.normal(size=(3, 40))
    figures = similarity_figures(own, scores, teacher)
    assert figures["similarity_spearman"] == pytest.approx(spearmanr(own, scores)[0])
    assert figures["similarity_pearson"] == pytest.approx(np.corrcoef(own, scores)[0, 1])
    assert figures["similarity_agreement"] == pytest.approx(spearmanr(own, teacher)[0])
    assert figures["similarity_gap"] == pytest.approx(np.abs(own - teacher).mean())
    assert set(similarity_figures(own, scores)) == {"similarity_spearman", "similarity_pearson"}
    assert similarity_figures(own, None, own)["similarity_agreement"] == pytest.approx(1)
    assert similarity_figures(np.ones(5), np.arange(5.0))["similarity_spearman"] == 0


def test_the_watch_looks_at_the_student() -> None:
    student, teacher = tiny.encoder(seed=1), tiny.encoder(seed=2, layers=4, width=32)
    rows = tiny.rows(20, labels=None)
    first, second = np.arange(10), np.arange(10, 20)
    scores = np.arange(10.0)
    pairs = SentencePairs(rows, first, second, scores)
    theirs = pairs.cosines(teacher)
    found = similarity_watch(pairs, theirs)(Distiller(student, None, label_objective()))
    assert found == similarity_figures(pairs.cosines(student), scores, theirs)
    assert len(found) == 4
