"""Tokenizers that cut the same text differently: word-pieces, byte pairs, sentence-pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from support import tiny

TEXT = [" ".join(tiny.WORDS), "unbelievable openings reread the threaded servers' addresses"]


def around(inner: Tokenizer, double: bool = False) -> PreTrainedTokenizerFast:
    """CLS and SEP around texts; ``double`` writes two SEP between the texts of a pair."""
    between = "[SEP] [SEP]" if double else "[SEP]"
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A {between} $B:1 [SEP]:1",
        special_tokens=[(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def word_pieces(lower: bool = True, more: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """Letters, and some longer pieces; accents go where case goes."""
    letters = [chr(i) for i in range(33, 127)] + ["é", "ü", "東", "京"]
    longer = ["un", "lo", "th", "##read", "##ck", "open", "##ing", "##s", "server", "##able", *more]
    names = [*tiny.SPECIALS, *letters, *(f"##{c}" for c in letters), *longer]
    pieces = {name: i for i, name in enumerate(dict.fromkeys(names))}
    inner = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=lower)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return around(inner)


def byte_pairs(size: int = 300) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=tiny.SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(TEXT * 3, trainer)
    return around(inner, double=True)


def sentence_pieces() -> PreTrainedTokenizerFast:
    letters = [chr(i) for i in range(33, 127)]
    names = [*tiny.SPECIALS, "▁", *letters, "▁the", "▁un", "read", "ing", "▁open", "▁s", "東京"]
    scores: list[Any] = [(name, -1.0 - 0.01 * i) for i, name in enumerate(names)]
    inner = Tokenizer(models.Unigram(scores, unk_id=1))
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return around(inner)


def processors_of_nothing() -> TemplateProcessing:
    """What puts nothing around a text."""
    return TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])


def reordered(source: PreTrainedTokenizerFast, first: list[str]) -> PreTrainedTokenizerFast:
    """The same word-pieces with other ids: those of ``first`` come first."""
    names = [*first, *(n for n in source.get_vocab() if n not in first)]
    inner = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    inner.normalizer = source.backend_tokenizer.normalizer
    inner.pre_tokenizer = source.backend_tokenizer.pre_tokenizer
    inner.decoder = source.backend_tokenizer.decoder
    return around(inner)


def for_the_page(place: Path) -> None:
    """A tokenizer that can serve, and one that puts nothing around a text."""
    word_pieces().save_pretrained(place / "own-tokenizer")
    bare = word_pieces()
    bare.backend_tokenizer.post_processor = processors_of_nothing()
    bare.save_pretrained(place / "unframed")
