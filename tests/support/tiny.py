"""Small random models and rows that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from tinybert.batching import TokenRows
from tinybert.masking import MaskedRows, Masking

WORDS = [
    "lock", "thread", "queue", "wait", "event", "socket", "server", "address", "port", "send",
    "file", "path", "open", "read", "directory", "string", "text", "match", "pattern", "regex",
]  # fmt: skip
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = len(WORDS) + len(SPECIALS)
LABELS = ("concurrency", "network", "files", "text")


QUICK: dict[str, Any] = {
    "teacher_epochs": 1.0,
    "intermediate_epochs": 1.0,
    "prediction_epochs": 1.0,
    "max_length": 24,
    "precision": "float32",
    "attention": "direct",
    "report": False,
    "quiet": True,
}
"""Settings of a distillation that takes a second and does not measure the machine."""


def config(layers: int = 2, width: int = 16, heads: int = 4, **more: object) -> BertConfig:
    """A tiny BERT; no dropout unless asked."""
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 128,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BertConfig(**(options | more))


def encoder(seed: int = 0, **options: object) -> BertModel:
    torch.manual_seed(seed)
    return BertModel(config(**options)).eval()


def classifier(
    seed: int = 0, labels: tuple[str, ...] = LABELS, **options: object
) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    options |= {"id2label": names, "label2id": {n: i for i, n in names.items()}}
    return BertForSequenceClassification(config(**options)).eval()


def masked_lm(seed: int = 0, **options: object) -> BertForMaskedLM:
    torch.manual_seed(seed)
    return BertForMaskedLM(config(**options)).eval()


def masked_rows(count: int = 60, seed: int = 0, **options: Any) -> MaskedRows:
    """Random rows, masked; rows of unknown words alone have nothing to mask."""
    plain = rows(count, seed)
    for row in (1, 4):
        plain.ids[plain.offsets[row] : plain.offsets[row + 1]] = SPECIALS.index("[UNK]")
    special = np.arange(VOCABULARY) < len(SPECIALS)
    masking = Masking(SPECIALS.index("[MASK]"), special, share=0.3)
    return MaskedRows(plain, masking, seed, **options)


def tokenizer() -> PreTrainedTokenizerFast:
    """One word, one token; [CLS] … [SEP] around a text."""
    vocabulary = {word: i for i, word in enumerate(SPECIALS + WORDS)}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
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


def rows(count: int = 60, seed: int = 0, longest: int = 20, labels: int | None = 4) -> TokenRows:
    """Random token rows of lengths 3 … ``longest``."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest + 1, count)
    return TokenRows(
        ids=rng.integers(len(SPECIALS), VOCABULARY, lengths.sum()).astype(np.uint16),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        takes_types=True,
        labels=None if labels is None else rng.integers(0, labels, count),
    )


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Sentences of five words, and the topic that most of them come from."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        topic = int(rng.integers(0, 4))
        own = rng.choice(WORDS[5 * topic : 5 * topic + 5], 4)
        texts.append(" ".join([*own, str(rng.choice(WORDS))]))
        labels.append(LABELS[topic])
    return texts, labels


def task_file(path: Path, count: int = 80, seed: int = 0) -> Path:
    """A CSV of sentences and topics."""
    texts, labels = sentences(count, seed)
    lines = ["text,label", *(f"{t},{y}" for t, y in zip(texts, labels, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def corpus_file(path: Path, documents: int = 60, seed: int = 0) -> Path:
    """Raw text: a few paragraphs a document, blank lines between documents."""
    rng = np.random.default_rng(seed)
    parts = [
        "\n".join(" ".join(rng.choice(WORDS, rng.integers(4, 30))) for _ in range(3))
        for _ in range(documents)
    ]
    path.write_text("\n\n".join(parts) + "\n")
    return path


def saved_classifier(directory: Path, **options: object) -> Path:
    """A classifier and its tokenizer in Hugging Face's format."""
    classifier(**options).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


def saved_encoder(directory: Path, **options: object) -> Path:
    """An encoder and its tokenizer in Hugging Face's format."""
    encoder(**options).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory
