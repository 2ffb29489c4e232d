"""The authors' vocabularies as tokenizers: ids, case, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from support import authors, tiny
from tinybert.errors import TinybertError
from tinybert.original import Checkpoint, read_checkpoint, read_tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    config = authors.sizes()
    return read_checkpoint(authors.write(tmp_path / "a", config, authors.weights(config)))


def vocabulary(path: Path, *pieces: str, ending: str = "\n") -> Path:
    path.write_bytes(ending.join([*tiny.SPECIALS, *pieces, ""]).encode())
    return path


def test_pairs_become_the_authors_ids(checkpoint: Checkpoint) -> None:
    tokenizer, note = read_tokenizer(checkpoint)
    first, second = len(tiny.SPECIALS), len(tiny.SPECIALS) + 1
    row = tokenizer(f"{tiny.WORDS[0].upper()} what", tiny.WORDS[1])
    assert row["input_ids"] == [2, first, 1, 3, second, 3]
    assert row["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert tokenizer.model_max_length == 128
    assert "25 pieces, text lower-cased (no piece has a capital)" in note


def test_case_follows_the_pieces_or_is_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    _, note = read_tokenizer(checkpoint, vocabulary(tmp_path / "v.txt", "ℝ", "[unused_A]"))
    assert "text lower-cased (no piece has a capital" in note
    file = vocabulary(tmp_path / "v.txt", "Lock", "lock", "##s")
    cased, note = read_tokenizer(checkpoint, file)
    assert cased("Locks")["input_ids"] == [2, 5, 7, 3]
    assert "not lower-cased (its pieces have capitals; 17 embeddings have no piece)" in note
    uncased, _ = read_tokenizer(checkpoint, file, lower_case=True)
    assert uncased("Locks")["input_ids"] == [2, 6, 7, 3]


def test_it_is_the_same_when_it_is_loaded_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = vocabulary(tmp_path / "v.txt", "Lock", "lock", "##s", "é")
    for lower_case in (True, False):
        tokenizer, _ = read_tokenizer(checkpoint, file, lower_case)
        tokenizer.save_pretrained(tmp_path / "saved")
        again = AutoTokenizer.from_pretrained(tmp_path / "saved")
        for text in ("Locks lock", "é LOCK"):
            assert again(text) == tokenizer(text)
        assert again.model_max_length == 128


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_odd_pieces_keep_their_places(checkpoint: Checkpoint, tmp_path: Path, ending: str) -> None:
    """Characters that Python takes for the end of a line are pieces in some vocabularies."""
    pieces = ("\u2028", "\x85", "lock")
    tokenizer, _ = read_tokenizer(
        checkpoint, vocabulary(tmp_path / "v.txt", *pieces, ending=ending)
    )
    assert tokenizer.convert_tokens_to_ids("lock") == len(tiny.SPECIALS) + 2
    assert len(tokenizer) == len(tiny.SPECIALS) + 3


def test_what_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match=r"no vocabulary .*: give it with --vocab"):
        read_tokenizer(checkpoint, tmp_path / "nowhere.txt")
    (checkpoint.directory / "vocab.txt").unlink()
    with pytest.raises(TinybertError, match=r"no vocabulary .*vocab.txt: give it with --vocab"):
        read_tokenizer(checkpoint)
    (tmp_path / "v.txt").write_text("lock\nwait\n[CLS]\n")
    with pytest.raises(TinybertError, match=r"lacks \[PAD\], \[UNK\], \[SEP\], \[MASK\]"):
        read_tokenizer(checkpoint, tmp_path / "v.txt")
    (tmp_path / "v.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TinybertError, match="is not UTF-8"):
        read_tokenizer(checkpoint, tmp_path / "v.txt")
    small = replace(checkpoint, config=checkpoint.config | {"vocab_size": 20})
    (checkpoint.directory / "vocab.txt").write_text("\n".join(tiny.SPECIALS + tiny.WORDS))
    with pytest.raises(TinybertError, match="has 25 pieces and the model 20 embeddings"):
        read_tokenizer(small)


def test_the_vocabulary_of_bert(checkpoint: Checkpoint) -> None:
    """Its twin on a vocabulary of our own: test_pairs_become_the_authors_ids."""
    place = os.environ.get("TINYBERT_DATA")
    if not place:
        pytest.skip("TINYBERT_DATA names no directory with vocab in it")
    whole = replace(checkpoint, config=checkpoint.config | {"vocab_size": 30522})
    tokenizer, note = read_tokenizer(whole, Path(place) / "vocab" / "bert-base-uncased.txt")
    assert "30522 pieces, text lower-cased (no piece has a capital)" in note
    assert tokenizer("Hello, WORLD!")["input_ids"] == [101, 7592, 1010, 2088, 999, 102]
    assert tokenizer("café")["input_ids"] == tokenizer("cafe")["input_ids"]
    assert tokenizer("unaffable")["input_ids"] == [101, 14477, 20961, 3468, 102]
