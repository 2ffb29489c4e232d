"""Text as sentences, and draws of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.corpus.sentences import draw, split_sentences


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He went home. She stayed there!", ["He went home.", "She stayed there!"]),
        ('"Are you well?" he asked. It rained.', ['"Are you well?" he asked.', "It rained."]),
        ("Dr. J. R. Smith left the house.", ["Dr. J. R. Smith left the house."]),
        ("It costs 3.5 euros, e.g. today only.", ["It costs 3.5 euros, e.g. today only."]),
        ("One line here\nand another one", ["One line here", "and another one"]),
        ("he went home . it was late .", ["he went home .", "it was late ."]),
        ("これは文です。次の文です！", ["これは文です。", "次の文です！"]),
        ("Yes. No. 12. A sentence of some length.", ["A sentence of some length."]),
        ("  much   space\there ", ["much space here"]),
        ("", []),
    ],
)
def test_sentences_of_a_text(text: str, wanted: list[str]) -> None:
    assert list(split_sentences(text)) == wanted


@given(st.text(max_size=200))
@settings(max_examples=50, deadline=None)
def test_nothing_is_made_up(text: str) -> None:
    """Sentences are the text's own characters, in its order."""
    rest = "".join(text.split())
    for sentence in split_sentences(text):
        packed = "".join(sentence.split())
        assert packed in rest
        rest = rest[rest.index(packed) + len(packed) :]


def test_a_draw_follows_from_seed_and_sentences_alone() -> None:
    texts = [f"sentence number {i}" for i in range(500)]
    drawn = draw(texts, 40, seed=3)
    assert len(set(drawn)) == 40
    shuffled = random.Random(0).sample(texts, len(texts)) + texts[:100]  # other order, repeats
    assert draw(shuffled, 40, seed=3) == drawn
    assert draw(texts, 15, seed=3) == drawn[:15]
    assert draw(texts, 40, seed=4) != drawn
    assert sorted(draw(texts, 1000, seed=3)) == sorted(texts)
    numbers = [int(text.split()[-1]) for text in draw(texts, 200, seed=5)]
    assert 200 < sum(numbers) / len(numbers) < 300  # not from one end
