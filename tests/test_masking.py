"""Masked rows: how much is masked, what with, and that a mask depends on seed, row, pass alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.losses import IGNORED
from tinybert.masking import MaskedRows, Masking

MASK = tiny.SPECIALS.index("[MASK]")
SPECIAL = np.arange(tiny.VOCABULARY) < len(tiny.SPECIALS)
CONTINUES = np.arange(tiny.VOCABULARY) >= 15  # half of the words are taken for endings


def masking(**more: Any) -> Masking:
    return Masking(MASK, SPECIAL, **more)


def text(count: int = 40, seed: int = 0, longest: int = 40) -> TokenRows:
    """Rows between [CLS] and [SEP], now and then with an unknown word."""
    rows = tiny.rows(count, seed=seed, longest=longest, labels=4)
    rows.ids[rows.offsets[:-1]] = 2
    rows.ids[rows.offsets[1:] - 1] = 3
    unknown = np.random.default_rng(seed).random(len(rows.ids)) < 0.05
    rows.ids[unknown] = 1
    return rows


def whole(rows: MaskedRows) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of every row, one row a batch."""
    found = []
    for i in range(len(rows)):
        batch = rows.batch([i])
        found.append((batch["input_ids"][0].tolist(), batch["masked_labels"][0].tolist()))
    return found


def test_the_share_that_was_asked_for() -> None:
    rows = tiny.rows(400, longest=100)
    for share in (0.15, 0.4):
        masked = MaskedRows(rows, masking(share=share))
        labels = masked.batch(range(400))["masked_labels"]
        assert int((labels != IGNORED).sum()) / len(rows.ids) == pytest.approx(share, rel=0.03)
        for row, length in zip(labels, rows.lengths, strict=True):
            assert int((row != IGNORED).sum()) == max(1, round(share * int(length)))


def test_what_masked_tokens_become() -> None:
    rows = tiny.rows(600, longest=100)
    batch = MaskedRows(rows, masking(share=0.5, replaced=0.2, kept=0.3)).batch(range(600))
    plain, given_ids = rows.batch(range(600))["input_ids"], batch["input_ids"]
    chosen = batch["masked_labels"] != IGNORED
    assert torch.equal(batch["masked_labels"][chosen], plain[chosen])
    assert torch.equal(given_ids[~chosen], plain[~chosen])
    given_there, before = given_ids[chosen], plain[chosen]
    words = len(tiny.WORDS)
    hidden = (given_there == MASK).float().mean()
    same = (given_there == before).float().mean()
    assert float(hidden) == pytest.approx(0.5, abs=0.015)
    assert float(same) == pytest.approx(0.3 + 0.2 / words, abs=0.015)  # chance gives some back
    others = given_there[(given_there != MASK) & (given_there != before)]
    assert set(others.tolist()) == set(range(len(tiny.SPECIALS), tiny.VOCABULARY))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.floats(0.05, 0.9),
    st.lists(st.integers(0, tiny.VOCABULARY - 1), min_size=1, max_size=40),
)
def test_words_are_never_torn_and_specials_never_masked(
    seed: int, share: float, ids: list[int]
) -> None:
    row = np.array(ids, dtype=np.uint16)
    found = set(masking(share=share, continues=CONTINUES).chosen(row, np.random.default_rng(seed)))
    real = [i for i, token in enumerate(ids) if not SPECIAL[token]]
    assert found <= set(real)
    assert bool(found) == bool(real)
    words: list[list[int]] = []
    for i in real:
        joined = CONTINUES[ids[i]] and i - 1 in real
        if joined:
            words[-1].append(i)
        else:
            words.append([i])
    for word in words:
        assert len(found & set(word)) in (0, len(word)), "a word was torn"
    taken = [word for word in words if word[0] in found]
    assert len(found) <= max(1, round(share * len(real))) or len(taken) == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.permutations(range(12)), st.integers(1, 11))
def test_a_mask_depends_on_no_batch(seed: int, order: list[int], cut: int) -> None:
    rows = MaskedRows(text(6, seed % 7), masking(continues=CONTINUES), seed=seed, passes=2)
    alone = whole(rows)
    for numbers in (order[:cut], order[cut:]):
        batch = rows.batch(numbers)
        for i, number in enumerate(numbers):
            ids, labels = alone[number]
            assert batch["input_ids"][i, : len(ids)].tolist() == ids
            assert batch["masked_labels"][i, : len(ids)].tolist() == labels
            assert (batch["masked_labels"][i, len(ids) :] == IGNORED).all()
            assert (batch["input_ids"][i, len(ids) :] == 0).all()


def test_every_pass_and_every_seed_has_other_masks() -> None:
    rows = text(30)
    twice = whole(MaskedRows(rows, masking(), seed=1, passes=2))
    first, second = twice[:30], twice[30:]
    assert first == whole(MaskedRows(rows, masking(), seed=1))
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 25
    other = whole(MaskedRows(rows, masking(), seed=2))
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 25
    for one, two in zip(first, second, strict=True):  # and the same text below them
        plain = [
            [token if label == IGNORED else label for token, label in zip(*row, strict=True)]
            for row in (one, two)
        ]
        assert plain[0] == plain[1]


def test_they_serve_as_training_rows() -> None:
    rows = text(10)
    masked = MaskedRows(rows, masking(), passes=3)
    assert len(masked) == 30
    assert masked.lengths.tolist() == rows.lengths.tolist() * 3
    numbers = np.array([29, 0, 12])
    assert masked.lengths_of(numbers).tolist() == rows.lengths[[9, 0, 2]].tolist()
    batch = masked.batch(numbers)
    assert batch.keys() == {"input_ids", "attention_mask", "token_type_ids", "masked_labels"}
    taken = masked.take(numbers)
    assert taken.ids.tolist() == rows.take([9, 0, 2]).ids.tolist()
    before = rows.ids.copy()
    masked.batch(range(30))
    assert np.array_equal(rows.ids, before)


def test_the_fingerprint_knows_all_of_it() -> None:
    rows = text(10)
    prints = {
        MaskedRows(rows, masking()).fingerprint(),
        MaskedRows(rows, masking(), seed=1).fingerprint(),
        MaskedRows(rows, masking(), passes=2).fingerprint(),
        MaskedRows(text(11), masking()).fingerprint(),
        MaskedRows(rows, masking(share=0.2)).fingerprint(),
        MaskedRows(rows, masking(kept=0.2)).fingerprint(),
        MaskedRows(rows, masking(continues=CONTINUES)).fingerprint(),
        MaskedRows(rows, Masking(MASK, ~CONTINUES)).fingerprint(),
    }
    assert len(prints) == 8
    assert MaskedRows(text(10), masking()).fingerprint() in prints


def test_a_vocabulary_of_specials_cannot_be_masked() -> None:
    with pytest.raises(TinybertError, match="special tokens alone"):
        Masking(0, np.ones(3, dtype=bool))
