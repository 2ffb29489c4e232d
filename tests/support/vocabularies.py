"""Tiny tokenizers of three kinds: word-pieces, sentence-pieces, byte pairs."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIALS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}


def wrapped(inner: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=inner, **SPECIALS)


def word_pieces() -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[MASK]", "a", "play", "##ing", "!", "##s", "東", "ひ", "##ら"]
    inner = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return wrapped(inner)


def sentence_pieces() -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[MASK]", "▁a", "▁play", "ing", "!", "s", "東京", "▁", "都"]
    scores: list[Any] = [(name, -float(i)) for i, name in enumerate(names)]
    inner = Tokenizer(models.Unigram(scores, unk_id=1))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return wrapped(inner)


def byte_pairs() -> PreTrainedTokenizerFast:
    merges = [("p", "l"), ("pl", "a"), ("pla", "y"), ("Ġ", "play"), ("i", "n"), ("in", "g")]
    letters = [*"playing!Ġ", "Ã", "©"]
    names = ["[PAD]", "[UNK]", "[MASK]", *dict.fromkeys([*letters, *(a + b for a, b in merges)])]
    inner = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return wrapped(inner)
