"""Texts as words: by the tokenizer's own word ids, in any script."""

from __future__ import annotations

import pytest

from support.vocabularies import byte_pairs, sentence_pieces, word_pieces
from tinybert.augmentation.words import split_words
from tinybert.pieces import pieces_of


def told(make, text: str) -> list[tuple[str, bool]]:
    """Words of a text, and whether each is one token."""
    tokenizer = make()
    [sentence] = split_words(tokenizer, pieces_of(tokenizer), [text], 64)
    assert all(text[w.start : w.end] == w.text for w in sentence.words)
    return [(w.text, w.place is not None) for w in sentence.words]


@pytest.mark.parametrize(
    ("make", "text", "words"),
    [
        (word_pieces, "Play a  playing!", [("Play", True), ("a", True), ("playing", False),
                                          ("!", True)]),
        (word_pieces, "東東", [("東", True), ("東", True)]),
        (word_pieces, "ひら a", [("ひ", True), ("ら", True), ("a", True)]),
        (sentence_pieces, "play playing", [("play", True), ("playing", False)]),
        (sentence_pieces, "東京都", [("東京", True), ("都", True)]),
        (byte_pairs, "play playing", [("play", True), ("playing", False)]),
        # A lone mark and the bytes of one character are no words of one piece.
        (byte_pairs, "play é", [("play", True), ("é", False)]),
        (sentence_pieces, "play! playing!", [("play", True), ("!", True), ("playing", False),
                                             ("!", True)]),
        (sentence_pieces, "東京ing a", [("東京", True), ("ing", False), ("a", True)]),
        (word_pieces, "a\u0301 a", [("a\u0301", True), ("a", True)]),
        (word_pieces, "", []),
        (word_pieces, "   ", []),
    ],
)  # fmt: skip
def test_words_of_one_piece_and_of_several(make, text, words) -> None:
    assert told(make, text) == words


def test_what_the_model_does_not_read_has_no_words() -> None:
    tokenizer = word_pieces()
    [sentence] = split_words(tokenizer, pieces_of(tokenizer), ["a a a playing"], 4)
    assert sentence.cut
    assert [w.text for w in sentence.words] == ["a", "a", "a"]
    assert sentence.text == "a a a playing"
    [whole] = split_words(tokenizer, pieces_of(tokenizer), ["a a"], 4)
    assert not whole.cut


def test_beside_itself_the_words_are_those_of_the_first_text() -> None:
    tokenizer = word_pieces()
    pieces = pieces_of(tokenizer)
    alone, beside = (
        split_words(tokenizer, pieces, ["a play !"], 64, beside_itself=b)[0] for b in (False, True)
    )
    assert beside.words == alone.words
    assert beside.ids == alone.ids + alone.ids
    [cut] = split_words(tokenizer, pieces_of(tokenizer), ["a play " * 40], 20, beside_itself=True)
    assert cut.cut
    assert len(cut.ids) <= 20
    assert cut.text == "a play " * 40
    assert all(w.place is not None and w.place < 10 for w in cut.words)
