"""Fewer pieces: what is kept is cut as before, what was readable stays readable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import cuttable
from tinybert.errors import TinybertError
from tinybert.vocabulary.choosing import choose
from tinybert.vocabulary.kinds import kind_of

COMPLETE = st.one_of(
    cuttable.word_piece_models(), cuttable.unigram_models(), cuttable.byte_pair_models()
)
ANY = st.one_of(
    COMPLETE, cuttable.word_piece_models(complete=False), cuttable.unigram_models(complete=False)
)


def cut(model: dict[str, Any], wanted: list[bool]) -> tuple[Any, Any, set[str]]:
    """Engines before and after, and the pieces that are kept; ``wanted`` says which are used."""
    kind = kind_of(model)
    size = len(kind.pieces)
    used = np.resize(np.array(wanted, dtype=np.int64), size)
    kept = choose(used, kind.always() | kind.incomplete(), kind.needs)
    after = kind.cut({int(old): new for new, old in enumerate(kept)})
    names = {i: name for name, i in kind.pieces.items()}
    return cuttable.engine(model), cuttable.engine(after), {names[int(i)] for i in kept}


@given(ANY, st.lists(st.booleans(), min_size=1, max_size=40), st.lists(cuttable.WORDS, min_size=1))
def test_words_of_kept_pieces_are_cut_as_before(
    model: dict[str, Any], wanted: list[bool], words: list[str]
) -> None:
    """Where letters are missing, a word that led the longest match astray may become readable."""
    before, after, kept = cut(model, wanted)
    for word in words:
        pieces = before.encode(word).tokens
        if kept.issuperset(pieces) and "[UNK]" not in pieces:
            assert after.encode(word).tokens == pieces


@given(
    COMPLETE, st.lists(st.booleans(), min_size=1, max_size=40), st.lists(cuttable.WORDS, min_size=1)
)
def test_no_word_becomes_unknown(
    model: dict[str, Any], wanted: list[bool], words: list[str]
) -> None:
    before, after, kept = cut(model, wanted)
    unknown = ("[UNK]", "<unk>")
    for word in words:
        old, new = (engine.encode(word).tokens for engine in (before, after))
        assert sum(new.count(u) for u in unknown) <= sum(old.count(u) for u in unknown)
        assert old == new or not kept.issuperset(old)


@given(ANY, st.lists(st.booleans(), min_size=1, max_size=40))
def test_ids_are_counted_anew_in_the_old_order(model: dict[str, Any], wanted: list[bool]) -> None:
    before, after, kept = cut(model, wanted)
    old, new = before.get_vocab(), after.get_vocab()
    assert set(new) == kept
    assert sorted(new.values()) == list(range(len(new)))
    assert sorted(new, key=new.__getitem__) == sorted(new, key=old.__getitem__)


def test_the_price_of_the_unknown_stays() -> None:
    """It is the lowest score less ten: without that piece "xab" would be cut otherwise."""
    rows = [["<unk>", 0.0], ["xa", -20.0], ["b", -14.0], ["ab", -3.0], ["a", -1.0], ["qq", -40.0]]
    model = {"type": "Unigram", "unk_id": 0, "vocab": rows, "byte_fallback": False}
    kind = kind_of(model)
    assert kind.pieces["qq"] in kind.always()
    used = [piece in ("xa", "b", "ab", "a") for piece, _ in rows]
    before, after, _ = cut(model, used)
    assert before.encode("xab").tokens == after.encode("xab").tokens == ["xa", "b"]
    broken = model | {"vocab": rows[:-1]}
    assert cuttable.engine(broken).encode("xab").tokens != ["xa", "b"]


def test_a_piece_comes_with_what_it_is_made_of() -> None:
    model = {
        **dict.fromkeys(("dropout", "continuing_subword_prefix", "unk_token")),
        **{"type": "BPE", "end_of_word_suffix": "</w>", "fuse_unk": False},
        **{"byte_fallback": False, "ignore_merges": False},
        "vocab": {"a": 0, "b": 1, "b</w>": 2, "ab": 3, "ab</w>": 4, "abab</w>": 5, "ba": 6},
        "merges": ["a b", ["a", "b</w>"], "ab ab</w>", "b a"],
    }
    kind = kind_of(model)
    assert kind.always() == {0, 1, 2}
    kept = choose(np.array([0, 0, 0, 0, 0, 7, 0]), kind.always(), kind.needs)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5]
    after = kind.cut({int(old): new for new, old in enumerate(kept)})
    assert after["merges"] == ["a b", ["a", "b</w>"], "ab ab</w>"]


def test_a_piece_whose_letters_are_no_pieces_stays() -> None:
    names = ["[UNK]", "a", "##a", "##b", "ab", "ba", "##ac", "aa"]
    kind = kind_of(
        {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "vocab": {name: i for i, name in enumerate(names)},
        }
    )
    assert {names[i] for i in kind.incomplete()} == {"[UNK]", "ba", "##ac"}
    assert {names[i] for i in kind.always()} == {"[UNK]", "a", "##a", "##b"}


def test_bytes_stay() -> None:
    rows = [["<unk>", 0.0], ["a", -1.0], ["<0x0A>", -2.0], ["<0xZZ>", -2.5], ["aa", -3.0]]
    for fallback, kept in ((True, {0, 1, 2, 4}), (False, {0, 1, 4})):
        model = {"type": "Unigram", "unk_id": 0, "vocab": rows, "byte_fallback": fallback}
        assert kind_of(model).always() == kept


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "WordLevel", "vocab": {}}, "of the kind WordLevel, whose vocabulary cannot"),
        ({"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.1}, "leaves merges out at random"),
    ],
)
def test_what_cannot_be_cut_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        kind_of(model)
