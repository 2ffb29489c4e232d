"""Guesses equal those of the plain algorithm, one masked word at a time, ties included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.augmentation import masked_lm
from tinybert.augmentation.masked_lm import Choice, Guesser, best_tokens, load_masked_lm
from tinybert.augmentation.words import split_words
from tinybert.errors import TinybertError
from tinybert.pieces import pieces_of

SIZE = tiny.VOCABULARY
WORDS = np.arange(SIZE) >= len(tiny.SPECIALS)


def choice(k: int = 4, **more: object) -> Choice:
    return Choice(k, WORDS, np.zeros(SIZE, bool), np.arange(SIZE), **more)  # type: ignore[arg-type]


def plain(row: list[float], own: int, rule: Choice) -> list[int]:
    """The formula: all tokens sorted by probability, then by number."""
    order = sorted(range(SIZE), key=lambda i: (-row[i], i))
    if rule.filter_first:
        order = [i for i in order if rule.start[i] and (rule.itself or i != own)]
        return order[: rule.k]
    return [i for i in order[: rule.k] if rule.start[i] and (rule.itself or i != own)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=SIZE, max_size=SIZE), min_size=1, max_size=4),
    st.integers(1, SIZE),
    st.booleans(),
    st.booleans(),
)
def test_the_best_tokens_with_ties(rows, k, itself, filter_first) -> None:
    rule = choice(k, itself=itself, filter_first=filter_first)
    own = np.arange(len(rows)) + len(tiny.SPECIALS)
    found = best_tokens(torch.tensor(rows, dtype=torch.float32), own, rule)
    for row, mine, ids in zip(rows, own, found, strict=True):
        assert ids.tolist() == plain(row, int(mine), rule)


def test_a_word_written_otherwise_is_the_word_itself() -> None:
    same = np.arange(SIZE)
    same[6] = same[5]
    rule = Choice(3, WORDS, np.zeros(SIZE, bool), same)
    [ids] = best_tokens(torch.zeros(1, SIZE), np.array([5]), rule)
    assert ids.tolist() == [7, 8, 9]


def test_pieces_inside_a_word_are_replaced_by_such_pieces() -> None:
    inner = np.arange(SIZE) >= 20
    rule = Choice(3, WORDS & ~inner, inner, np.arange(SIZE))
    found = best_tokens(torch.zeros(2, SIZE), np.array([21, 6]), rule)
    assert [ids.tolist() for ids in found] == [[20, 22, 23], [5, 7, 8]]


@pytest.mark.parametrize("beside_itself", [False, True])
def test_guesses_are_those_of_one_word_at_a_time(beside_itself: bool) -> None:
    model, tokenizer = tiny.masked_lm(width=32, initializer_range=0.3), tiny.tokenizer()
    texts, _ = tiny.sentences(30)
    texts += ["lock", "lock unknown thread", "", "wait wait"]
    sentences = split_words(tokenizer, pieces_of(tokenizer), texts, 32, beside_itself=beside_itself)
    rule = choice()
    found = Guesser(model, tokenizer).guesses(sentences, lambda _: True, rule)
    for sentence, guesses in zip(sentences, found, strict=True):
        assert guesses.keys() == {i for i, w in enumerate(sentence.words)}
        for number, ids in guesses.items():
            place = sentence.words[number].place
            row = torch.tensor([sentence.ids])
            own = int(row[0, place])
            row[0, place] = tokenizer.mask_token_id
            types = torch.tensor([sentence.type_ids])
            with torch.no_grad():
                logits = model(input_ids=row, token_type_ids=types).logits[0, place]
            wanted = plain(logits.tolist(), own, rule)
            values = logits[ids.tolist()].tolist()
            assert values == pytest.approx(logits[wanted].tolist(), abs=1e-5)
            if len({round(v, 4) for v in logits.tolist()}) == SIZE:  # no near ties
                assert ids.tolist() == wanted


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.tokenizer()
    texts, _ = tiny.sentences(40)
    sentences = split_words(tokenizer, pieces_of(tokenizer), texts, 32)
    seen: list[bytes] = []
    real = masked_lm.best_tokens

    def kept(logits, own, rule):
        seen.append(logits.numpy().tobytes())
        return real(logits, own, rule)

    monkeypatch.setattr(masked_lm, "best_tokens", kept)
    monkeypatch.setattr(masked_lm, "BATCH_TOKENS", 64)
    before = torch.get_num_threads()
    bits = []
    for threads in (1, 3):
        seen.clear()
        guesser = Guesser(tiny.masked_lm(width=32), tokenizer, threads=threads)
        guesser.guesses(sentences, lambda _: True, choice())
        bits.append(sorted(seen))
    assert bits[0] == bits[1]
    assert torch.get_num_threads() == before


def test_only_wanted_words_are_guessed() -> None:
    tokenizer = tiny.tokenizer()
    sentences = split_words(tokenizer, pieces_of(tokenizer), ["lock wait lock"], 32)
    told: list[int] = []
    [found] = Guesser(tiny.masked_lm(), tokenizer).guesses(
        sentences, lambda w: w.text == "lock", choice(), told.append
    )
    assert found.keys() == {0, 2}
    assert sum(told) == 2


@pytest.mark.parametrize(
    ("spoil", "told"),
    [("head", "has no output head .*`tinybert mlm"), ("mask", "has no mask token"),
     ("pieces", "do not belong together")],
)  # fmt: skip
def test_a_model_that_cannot_guess(tmp_path: Path, spoil: str, told: str) -> None:
    tokenizer = tiny.tokenizer()
    if spoil == "mask":
        tokenizer.mask_token = None
    if spoil == "head":
        tiny.encoder().save_pretrained(tmp_path)
    else:
        size = 20 if spoil == "pieces" else SIZE
        tiny.masked_lm(vocab_size=size).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TinybertError, match=told):
        load_masked_lm(tmp_path)
