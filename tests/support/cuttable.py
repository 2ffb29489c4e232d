"""Vocabularies to cut: random ones of every kind, trained ones, and models with each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AlbertTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
)

from support import tiny
from tinybert.relu_bert import ReluBertConfig, ReluBertForSequenceClassification

LETTERS = "abcd"
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "sto", "ti")

TEXTS = [
    "bake the tira mona, like a rake!",
    "stone after stone; kelimo ran to the noise",
    "the baker liked stolimo and tikebanu",
    "no more rain in the morning, they say",
    "a lone tiramo stood near the lake",
] * 4
"""What trained vocabularies know."""

SOME = TEXTS[:2]
"""What is cut by."""


# --- random ---------------------------------------------------------------------------------------


def engine(model: dict[str, Any]) -> Tokenizer:
    """The engine of a model part alone, over words between spaces."""
    data = {
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder")),
        **{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}},
        "model": model,
    }
    return Tokenizer.from_str(json.dumps(data))


WORDS = st.text(LETTERS + "z", min_size=1, max_size=8)
LONGER = st.text(LETTERS, min_size=2, max_size=4)


@st.composite
def word_piece_models(draw: st.DrawFn, complete: bool = True) -> dict[str, Any]:
    """Word-pieces over four letters; not ``complete``: some letters are no pieces."""
    single = list(LETTERS) + ["##" + letter for letter in LETTERS]
    if not complete:
        single = [piece for piece in single if draw(st.booleans())]
    more = draw(st.lists(LONGER, max_size=20))
    marks = draw(st.lists(st.booleans(), min_size=len(more), max_size=len(more)))
    longer = [("##" if mark else "") + piece for piece, mark in zip(more, marks, strict=True)]
    names = dict.fromkeys(["[UNK]", *longer, *single])
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {name: i for i, name in enumerate(names)},
    }


@st.composite
def unigram_models(draw: st.DrawFn, complete: bool = True) -> dict[str, Any]:
    """Pieces with random scores."""
    single = [letter for letter in LETTERS if complete or draw(st.booleans())]
    names = list(dict.fromkeys(["<unk>", *draw(st.lists(LONGER, max_size=20)), *single]))
    # Distinct sums for distinct segmentations, nearly always: ties are decided by no rule.
    scores = draw(
        st.lists(st.integers(1, 10**6), min_size=len(names), max_size=len(names), unique=True)
    )
    rows = [[name, -score / 1e5] for name, score in zip(names, scores, strict=True)]
    return {"type": "Unigram", "unk_id": 0, "vocab": rows, "byte_fallback": False}


@st.composite
def byte_pair_models(draw: st.DrawFn) -> dict[str, Any]:
    """Merges of what is there already; a piece may be made in several ways."""
    names = dict.fromkeys(["<unk>", *LETTERS])
    merges: list[list[str]] = []
    for _ in range(draw(st.integers(0, 20))):
        there = st.sampled_from([name for name in names if name != "<unk>"])
        pair = [draw(there), draw(there)]
        if pair not in merges and len("".join(pair)) <= 6:
            merges.append(pair)
            names["".join(pair)] = None
    return {
        **dict.fromkeys(("dropout", "continuing_subword_prefix", "end_of_word_suffix")),
        **{"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "byte_fallback": False},
        "ignore_merges": draw(st.booleans()),
        "vocab": {name: i for i, name in enumerate(names)},
        "merges": merges,
    }


# --- trained --------------------------------------------------------------------------------------


def _trained(model: Any, trainer: Any, before: Any, texts: list[str] = TEXTS) -> dict[str, Any]:
    inner = Tokenizer(model)
    inner.pre_tokenizer = before
    inner.train_from_iterator(texts, trainer)
    found: dict[str, Any] = json.loads(inner.to_str())["model"]
    return found


def bert_tokenizer(texts: list[str] = TEXTS) -> PreTrainedTokenizerBase:
    """Word-pieces in BERT's own class, with pieces that nobody uses before the specials' end."""
    trainer = trainers.WordPieceTrainer(vocab_size=160, continuing_subword_prefix="##")
    model = _trained(
        models.WordPiece(unk_token="[UNK]"), trainer, pre_tokenizers.BertPreTokenizer(), texts
    )
    single = sorted({character for piece in model["vocab"] for character in piece} | {*"01[]"})
    unused = ["[unused0]", "[unused1]"]
    names = ["[PAD]", *unused, *BERT_SPECIALS[1:], *single, *("##" + letter for letter in single)]
    names = list(dict.fromkeys([*names, *model["vocab"]]))
    return BertTokenizer(vocab={name: i for i, name in enumerate(names)})


def roberta_tokenizer() -> PreTrainedTokenizerBase:
    """Byte pairs over bytes, in RoBERTa's own class: the pad token is not the first."""
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    model = _trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False))
    names = [*ROBERTA_SPECIALS[:-1], *model["vocab"], ROBERTA_SPECIALS[-1]]
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
    return RobertaTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=merges)


def albert_tokenizer() -> PreTrainedTokenizerBase:
    """Sentence-pieces in ALBERT's own class."""
    trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", special_tokens=["<unk>"])
    model = _trained(models.Unigram(), trainer, pre_tokenizers.Metaspace())
    own = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    rows = [(name, 0.0) for name in own]
    rows += [(name, score) for name, score in model["vocab"] if name not in own]
    return AlbertTokenizer(vocab=rows)


def plain_tokenizer() -> PreTrainedTokenizerBase:
    """Word-pieces in the generic class, with a token added behind the vocabulary, and padding."""
    inner = Tokenizer.from_str(bert_tokenizer().backend_tokenizer.to_str())
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **dict(
            zip(
                ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
                BERT_SPECIALS,
                strict=True,
            )
        ),
    )
    made.add_tokens(["<url>"])
    made.backend_tokenizer.enable_padding(pad_id=made.pad_token_id, pad_token="[PAD]")
    return made


# --- models ---------------------------------------------------------------------------------------

_SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 80,
}
_LABELS = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}

Made = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def _made(kind: Any, config: Any, tokenizer: PreTrainedTokenizerBase) -> Made:
    torch.manual_seed(0)
    return kind(config).eval(), tokenizer


def bert() -> Made:
    tokenizer = bert_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **_SMALL, **_LABELS)
    return _made(BertForSequenceClassification, config, tokenizer)


def bert_masked_lm() -> Made:
    """More embeddings than pieces, as some models have."""
    tokenizer = bert_tokenizer()
    return _made(BertForMaskedLM, BertConfig(vocab_size=len(tokenizer) + 5, **_SMALL), tokenizer)


def relu_bert() -> Made:
    tokenizer = bert_tokenizer()
    config = ReluBertConfig(vocab_size=len(tokenizer), **_SMALL, **_LABELS)
    return _made(ReluBertForSequenceClassification, config, tokenizer)


def roberta() -> Made:
    tokenizer = roberta_tokenizer()
    config = RobertaConfig(vocab_size=len(tokenizer), **_SMALL)
    return _made(RobertaForMaskedLM, config, tokenizer)


def albert() -> Made:
    tokenizer = albert_tokenizer()
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = AlbertConfig(vocab_size=len(tokenizer), embedding_size=8, **(_SMALL | ids), **_LABELS)
    return _made(AlbertForSequenceClassification, config, tokenizer)


def distilbert() -> Made:
    tokenizer = plain_tokenizer()
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        **{"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        max_position_embeddings=80,
        **_LABELS,
    )
    return _made(DistilBertForSequenceClassification, config, tokenizer)


MODELS: dict[str, Callable[[], Made]] = {
    "bert": bert,
    "bert-masked-lm": bert_masked_lm,
    "relu-bert": relu_bert,
    "roberta": roberta,
    "albert": albert,
    "distilbert": distilbert,
}


def for_the_page(place: Path) -> None:
    """What the how-to page names: a student with word-pieces, one without, text of elsewhere."""
    tokenizer = bert_tokenizer([" ".join(tiny.WORDS)] * 4)
    sizes = _SMALL | {"max_position_embeddings": 130}
    config = BertConfig(vocab_size=len(tokenizer), **sizes, **_LABELS)
    model, _ = saved_parts = _made(BertForSequenceClassification, config, tokenizer)
    saved(saved_parts, place / "student")
    model.save_pretrained(place / "bare")
    (place / "greek.txt").write_text("\u03b1\u03b2\u03b3 \u03b4\u03b5\n", encoding="utf-8")


def saved(made: Made, directory: Path) -> Path:
    """A model and its tokenizer in Hugging Face's format."""
    for part in made:
        part.save_pretrained(directory)
    return directory
