"""Rows that were cut are told, whether the tokenizer keeps a trace of it or not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BatchEncoding

from support import tiny
from support.vocabularies import word_pieces
from tinybert.truncation import cut_rows

WORDS = st.lists(st.sampled_from(["a", "play", "playing", "!"]), max_size=9)
# Without special tokens the row is full exactly where some versions stop reading.
TOKENIZERS = {"with specials": tiny.tokenizer(), "without": word_pieces()}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(4, 12), st.booleans())
def test_cut_rows_are_the_longer_ones(
    name: str, words: list[list[str]], max_length: int, pairs: bool
) -> None:
    tokenizer = TOKENIZERS[name]
    texts = [" ".join(row) for row in words]
    rows = [(text, text[::-1]) if pairs else (text,) for text in texts]
    columns = [list(column) for column in zip(*rows, strict=True)]
    wanted = [len(ids) > max_length for ids in tokenizer(*columns)["input_ids"]]
    encoded = tokenizer(*columns, truncation=True, max_length=max_length)
    assert cut_rows(tokenizer, encoded, rows, max_length).tolist() == wanted
    without = BatchEncoding({"input_ids": encoded["input_ids"]})
    assert cut_rows(tokenizer, without, rows, max_length).tolist() == wanted


def test_rows_of_words() -> None:
    tokenizer = word_pieces()
    rows = [(["a", "playing"],), (["a", "a", "playing"],), (["play"],)]
    how = {"is_split_into_words": True}
    encoded = tokenizer([row for (row,) in rows], truncation=True, max_length=3, **how)
    assert cut_rows(tokenizer, encoded, rows, 3, **how).tolist() == [False, True, False]
