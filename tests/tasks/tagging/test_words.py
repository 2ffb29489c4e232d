"""Words as tokens: which piece is asked, what is cut, and scores over all words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast, RobertaTokenizerFast

from support import tiny, words
from tinybert.batching import IGNORED
from tinybert.tasks.tagging import TaggedReading, tokenize_words
from tinybert.tasks.task import Rows


def labelled(sentences: list[list[tuple[str, str]]]) -> Rows:
    labels = np.empty(len(sentences), dtype=object)
    for row, sentence in enumerate(sentences):
        labels[row] = np.array([words.TAGS.index(tag) for _, tag in sentence])
    return Rows([tuple(word for word, _ in sentence) for sentence in sentences], labels)


def test_the_first_piece_of_a_word_is_asked_and_nothing_else() -> None:
    tokenizer = words.wordpiece(["lock", "##ed", "##file", "file"])
    rows = Rows([("lockedfile", "", "file"), ("file",)], None)
    rows = Rows(rows.texts, np.array([np.array([1, 2, 3]), np.array([4])], dtype=object))
    tokens = tokenize_words(tokenizer, rows, words.TAGS, 16)
    assert tokens.asked is not None
    assert tokens.labels is not None
    first = tokens.asked[: tokens.offsets[1]].tolist()
    assert first == [False, True, False, False, True, False]  # specials, the word's other pieces
    assert tokens.labels[: tokens.offsets[1]].tolist() == [-100, 1, -100, -100, 3, -100]
    assert (tokens.labels[~tokens.asked] == IGNORED).all()
    reading = tokens.reading
    assert isinstance(reading, TaggedReading)
    assert reading.of.tolist() == [0, 2, 3]  # the empty word has no piece and counts as O


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 14), st.integers(0, 100))
def test_cut_words_count_as_missed(length: int, seed: int) -> None:
    rows = labelled(words.tagged(8, seed))
    tokens = tokenize_words(tiny.tokenizer(), rows, words.TAGS, length)
    assert isinstance(tokens.reading, TaggedReading)
    assert tokens.labels is not None
    perfect = np.eye(len(words.TAGS), dtype=np.float32)[np.maximum(tokens.labels, 0)]
    gold = np.concatenate([*rows.labels])  # type: ignore[misc]
    kept = np.concatenate([np.arange(len(row)) < length - 2 for row in rows.texts])
    assert (tokens.reading.tags(perfect) == np.where(kept, gold, 0)).all()
    scores = tokens.reading.scores("token_accuracy", perfect)
    assert scores["token_accuracy"] == pytest.approx(np.where(kept, True, gold == 0).mean())
    assert tokens.cut == sum(len(row) > length - 2 for row in rows.texts)
    assert len(tokens.reading) == 8


def test_take_and_batch_keep_labels_beside_their_tokens() -> None:
    tokens = tokenize_words(tiny.tokenizer(), labelled(words.tagged(9)), words.TAGS, 16)
    few = tokens.take([4, 2])
    batch, whole = few.batch([0, 1]), tokens.batch([4, 2])
    for name in ("input_ids", "asked", "labels"):
        assert batch[name].equal(whole[name])
    assert (batch["labels"][~batch["asked"]] == IGNORED).all()
    assert (
        tokens.fingerprint()
        != tokenize_words(
            tiny.tokenizer(),
            Rows(tokens.reading.words, None),
            words.TAGS,
            16,  # type: ignore[union-attr]
        ).fingerprint()
    )


def test_saved_rows_are_the_same(tmp_path: Path) -> None:
    tokens = tokenize_words(tiny.tokenizer(), labelled(words.tagged(5)), words.TAGS, 16)
    tokens.save(tmp_path)
    assert type(tokens).load(tmp_path).fingerprint() == tokens.fingerprint()


def test_pieces_that_bring_their_space_get_it(tmp_path: Path) -> None:
    """RoBERTa's: split words would else be glued together."""
    trained = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(
        ["lock thread queue"] * 5, vocab_size=300, min_frequency=1, special_tokens=specials
    )
    trained.save_model(str(tmp_path))
    tokenizer: PreTrainedTokenizerFast = RobertaTokenizerFast(
        vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt")
    )
    rows = Rows([("lock", "thread", "queue")], None)
    tokens = tokenize_words(tokenizer, rows, ("O",), 16)
    assert tokens.ids.tolist() == tokenizer("lock thread queue")["input_ids"]
    assert tokens.asked is not None
    assert int(tokens.asked.sum()) == 3
