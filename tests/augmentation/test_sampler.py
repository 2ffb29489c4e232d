"""Copies of a row: statistics, seeds, pairs, capitals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.augmentation.recipe import Recipe
from tinybert.augmentation.sampler import Slots, copies_of, draws, spelled_like
from tinybert.augmentation.words import Word


def recipe(**more: object) -> Recipe:
    plain: dict[str, object] = {"mode": "paper", "copies": 20, "probability": 0.4}
    plain |= {"candidates": 15, "replace": "words", "stop_words": "replace", "vector_lines": 9}
    plain |= {"max_length": 64, "seed": 0}
    return Recipe(**(plain | more))  # type: ignore[arg-type]


def slots(text: str, candidates: dict[str, list[str]]) -> Slots:
    words, at = [], 0
    for part in text.split(" "):
        words.append(Word(at, at + len(part), part, 0))
        at += len(part) + 1
    return Slots(text, words, [candidates.get(w.text, []) for w in words])


def test_words_are_replaced_with_the_probability_asked_for() -> None:
    counts = np.array([5, 1, 0, 15])
    picks = np.concatenate([draws(7, row, 20, counts, 0.4) for row in range(2000)])
    number = len(picks)
    for word in (0, 1, 3):
        share = (picks[:, word] >= 0).mean()
        assert abs(share - 0.4) < 4 * np.sqrt(0.24 / number)
    assert (picks[:, 2] == -1).all()  # nothing may stand for it
    taken = picks[picks[:, 3] >= 0, 3]
    even = np.bincount(taken, minlength=15) / len(taken)
    assert abs(even - 1 / 15).max() < 4 * np.sqrt(1 / 15 / len(taken))


def test_a_row_is_drawn_by_seed_and_number_alone() -> None:
    counts = np.array([3, 4])
    assert (draws(1, 5, 9, counts, 0.5) == draws(1, 5, 9, counts, 0.5)).all()
    assert (draws(1, 5, 9, counts, 0.5) != draws(1, 6, 9, counts, 0.5)).any()
    assert (draws(1, 5, 9, counts, 0.5) != draws(2, 5, 9, counts, 0.5)).any()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 30), st.booleans(), st.floats(0.1, 1))
def test_copies_differ_from_each_other_and_say_what_changed(row, copies, reference, p) -> None:
    texts = [slots("a bb  ccc", {"a": ["x", "y"], "ccc": ["z"]}), slots("a a", {"a": ["q"]})]
    mode = "reference" if reference else "paper"
    found = copies_of(row, texts, recipe(mode=mode, copies=copies, probability=p), uncased=False)
    original = tuple(each.text for each in texts)
    kept = [copy.texts for copy in found.copies]
    assert len({original, *kept}) == len(kept) + 1
    assert len(kept) + found.duplicates == copies * (2 if reference else 1)
    for copy in found.copies:
        if reference:  # one text a copy
            assert sum(a != b for a, b in zip(copy.texts, original, strict=True)) == 1
        rebuilt = []
        for i, text in enumerate(original):
            for change in sorted((c for c in copy.changes if c.text == i), key=lambda c: -c.start):
                end = change.start + len(change.word)
                assert text[change.start : end] == change.word
                text = text[: change.start] + change.to + text[end:]
            rebuilt.append(text)
        assert tuple(rebuilt) == copy.texts


def test_a_row_of_no_word_gets_no_copy() -> None:
    found = copies_of(0, [slots("a b", {})], recipe(), uncased=False)
    assert (found.copies, found.duplicates, found.words) == ([], 20, 0)
    assert copies_of(0, [Slots("", [], [])], recipe(), uncased=False).copies == []


def test_capitals_are_kept_where_the_vocabulary_has_none() -> None:
    texts = [slots("Good BAD fine", {"Good": ["new"], "BAD": ["old"], "fine": ["odd"]})]
    once = recipe(copies=1, probability=1.0)
    assert copies_of(0, texts, once, uncased=True).copies[0].texts == ("New OLD odd",)
    assert copies_of(0, texts, once, uncased=False).copies[0].texts == ("new old odd",)


def test_a_lone_capital_tells_nothing_within_a_text() -> None:
    assert spelled_like("I", "you", first=False) == "you"


@pytest.mark.parametrize(("word", "to", "kept"), [("Ab", "McX", "McX"), ("A", "the", "The")])
def test_spelling(word: str, to: str, kept: str) -> None:
    assert spelled_like(word, to) == kept
