"""Raw text to token blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.corpus import documents_of, token_blocks
from tinybert.errors import TinybertError

TEXT = "lock thread\nqueue\n\n\n  file path  \n"
DOCUMENTS = [["lock thread", "queue"], ["file path"]]


def test_documents_end_at_blank_lines() -> None:
    assert list(documents_of(TEXT.splitlines())) == DOCUMENTS


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(8, 40))
@settings(max_examples=40, deadline=None)
def test_blocks_hold_the_text_in_order(lengths: list[int], max_length: int) -> None:
    tokenizer = tiny.tokenizer()
    rng = np.random.default_rng(len(lengths))
    texts = [[str(w) for w in rng.choice(tiny.WORDS, n)] for n in lengths]
    documents = [[" ".join(words)] for words in texts]
    room = max_length - 2
    expected = []
    for words in texts:
        pieces = [words[i : i + room] for i in range(0, len(words), room)]
        expected += [p for p in pieces if len(p) >= 4]
    if not expected:
        with pytest.raises(TinybertError, match="gives no tokens"):
            token_blocks(documents, tokenizer, max_length)
        return
    rows = token_blocks(documents, tokenizer, max_length, at_once=3)
    assert len(rows) == len(expected)
    for i, piece in enumerate(expected):
        ids = rows.ids[rows.offsets[i] : rows.offsets[i + 1]].tolist()
        assert ids == [2, *tokenizer.convert_tokens_to_ids(piece), 3]  # [CLS] … [SEP]
    assert rows.takes_types
    assert rows.ids.dtype == np.uint16


def test_progress_is_told_in_documents() -> None:
    seen: list[int] = []
    documents = [["lock thread queue wait"]] * 7
    token_blocks(documents, tiny.tokenizer(), 16, at_once=3, advance=seen.append)
    assert seen == [3, 3, 1]


def test_blocks_too_short_for_text() -> None:
    with pytest.raises(TinybertError, match="leave no room"):
        token_blocks([["lock"]], tiny.tokenizer(), 5)


def test_a_tokenizer_without_an_engine_gives_the_same_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = [[" ".join(tiny.WORDS)], ["lock thread queue wait"]]
    fast = token_blocks(documents, tiny.tokenizer(), 12)
    monkeypatch.setattr("tinybert.corpus.blocks._own_backend", lambda _: None)
    slow = token_blocks(documents, tiny.tokenizer(), 12)
    assert fast.fingerprint() == slow.fingerprint()


def test_another_call_of_the_tokenizer_changes_no_block() -> None:
    """Truncation is a setting of the engine that transformers shares among calls."""
    tokenizer = tiny.tokenizer()
    tokenizer(["lock thread queue wait"], truncation=True, max_length=3, padding="max_length")
    rows = token_blocks([[" ".join(tiny.WORDS)]], tokenizer, 64)
    assert rows.lengths.tolist() == [len(tiny.WORDS) + 2]
