"""What the pieces of a vocabulary are as text, for every kind of tokenizer."""

from __future__ import annotations

from typing import Any

import pytest

from support import tiny
from support.vocabularies import byte_pairs, sentence_pieces, word_pieces
from tinybert.errors import TinybertError
from tinybert.pieces import fast_tokenizer, pieces_of


@pytest.mark.parametrize(
    ("make", "token", "surface", "word", "continues"),
    [
        (word_pieces, "play", "play", True, False),
        (word_pieces, "##ing", "ing", False, True),
        (word_pieces, "!", "!", True, False),
        (word_pieces, "東", "東", True, False),
        (word_pieces, "##ら", "ら", True, True),  # a character of a script without spaces
        (sentence_pieces, "▁play", "play", True, False),
        (sentence_pieces, "ing", "ing", False, True),
        (sentence_pieces, "東京", "東京", True, True),
        (sentence_pieces, "▁", "", False, False),
        (byte_pairs, "Ġplay", "play", True, False),
        (byte_pairs, "play", "play", True, True),  # at the start of a text a word, else not
        (byte_pairs, "ing", "ing", True, True),
        (byte_pairs, "Ã", "", False, False),  # half a character
    ],
)
def test_a_piece_is_what_the_tokenizer_makes_of_it(
    make: Any, token: str, surface: str, word: bool, continues: bool
) -> None:
    tokenizer = make()
    pieces = pieces_of(tokenizer)
    i = tokenizer.convert_tokens_to_ids(token)
    assert len(pieces) == len(tokenizer)
    assert (pieces.surface[i], bool(pieces.word[i]), bool(pieces.continues[i])) == (
        *(surface, word, continues),
    )


@pytest.mark.parametrize("make", [word_pieces, sentence_pieces, byte_pairs, tiny.tokenizer])
def test_specials_are_neither_text_nor_words(make: Any) -> None:
    tokenizer = make()
    pieces = pieces_of(tokenizer)
    for i in tokenizer.all_special_ids:
        assert pieces.special[i]
        assert not pieces.word[i]
        assert not pieces.continues[i]
        assert pieces.surface[i] == ""


def test_a_tokenizer_without_word_ids_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(TinybertError, match="does not tell which word"):
        fast_tokenizer(Slow())  # type: ignore[arg-type]
