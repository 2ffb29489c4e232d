"""Pieces are counted in chunks as they would be one text at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support import cuttable
from tinybert.vocabulary import counting
from tinybert.vocabulary.coverage import compare
from tinybert.vocabulary.kinds import kind_of

MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {
        name: i
        for i, name in enumerate(
            ["[UNK]", "a", "b", "##a", "##b", "ab", "##ab", "abab", "##ba", "bb"]
        )
    },
}
TEXTS = st.lists(st.text("ab z", max_size=9), max_size=60)


@given(TEXTS, st.integers(1, 12))
def test_chunks_change_nothing(texts: list[str], at_once: int) -> None:
    engine = cuttable.engine(MODEL)
    whole, counting.AT_ONCE = counting.AT_ONCE, at_once
    try:
        counts = counting.count_pieces(engine, iter(texts), 10, hold_out=True)
    finally:
        counting.AT_ONCE = whole
    real = [text for text in texts if text.strip()]
    wanted = np.zeros(10, dtype=np.int64)
    for text in real:
        np.add.at(wanted, engine.encode(text).ids, 1)
    assert counts.pieces.tolist() == wanted.tolist()
    assert counts.texts == len(real)
    assert counts.held == real[::10]
    alone = counting.count_pieces(engine, counts.held, 10)
    assert counts.held_pieces.tolist() == alone.pieces.tolist()


def test_what_came_out_otherwise() -> None:
    """Without "abab" and "bb"; "z" cannot be read by either."""
    kind = kind_of(MODEL)
    kept = [i for name, i in kind.pieces.items() if name not in ("abab", "bb")]
    after = cuttable.engine(kind.cut({old: new for new, old in enumerate(kept)}))
    texts = ["ab a", "abab bb ab", "z bb"]
    done: list[int] = []
    found = compare(cuttable.engine(MODEL), after, texts, "[UNK]", advance=done.append)
    assert sum(done) == found.texts == 3
    assert (found.words, found.tokens, found.tokens_after) == (7, 7, 10)
    assert (found.texts_kept, found.words_kept, found.tokens_kept) == (1, 4, 4)
    assert (found.unknown, found.unknown_after) == (1, 1)
    assert found.examples == [("abab", "ab ##ab"), ("bb", "b ##b")]
    figures = found.figures()
    assert figures["share_of_words_kept"] == 4 / 7
    assert figures["unknown_rate_after"] == 1 / 10
    assert figures["length_after"] == 10 / 7


def test_nothing_to_compare() -> None:
    engine = cuttable.engine(MODEL)
    figures = compare(engine, engine, ["", "  "], "[UNK]").figures()
    assert figures["share_of_words_kept"] is figures["length_after"] is None
