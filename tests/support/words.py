"""Small rows of tagged words and of questions, and models that answer in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertForQuestionAnswering,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
)

from support import tiny

TAGS = ("O", "B-A", "B-B", "B-C", "B-D", "I-A")


def tagged(count: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Sentences whose tags follow from the words, most of them."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sentence: list[tuple[str, str]] = []
        for word in rng.choice(tiny.WORDS, int(rng.integers(3, 9))):
            place = tiny.WORDS.index(str(word))
            tag = "O" if place % 5 > 1 else f"B-{'ABCD'[place // 5]}"
            if tag == "B-A" and sentence and sentence[-1][1].endswith("-A"):
                tag = "I-A"
            sentence.append((str(word), tag))
        found.append(sentence)
    return found


def conll(path: Path, count: int, seed: int = 0) -> Path:
    """A file of CoNLL columns with a document line and a third column of zeros."""
    lines = ["-DOCSTART- O 0", ""]
    for sentence in tagged(count, seed):
        lines += [f"{word} {tag} 0" for word, tag in sentence] + [""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def squad(path: Path, count: int, seed: int = 0, *, unanswerable: bool = False) -> Path:
    """SQuAD's JSON: the question names the two words that are the answer."""
    rng = np.random.default_rng(seed)
    paragraphs = []
    for number in range(count):
        words = [str(word) for word in rng.choice(tiny.WORDS, int(rng.integers(6, 24)))]
        asked = []
        for which in range(2):
            place = int(rng.integers(0, len(words) - 1))
            answer = " ".join(words[place : place + 2])
            start = len(" ".join(words[:place])) + (place > 0)
            none = unanswerable and which == 1
            one = {
                "id": f"{number}-{which}",
                "question": f"what {answer}",
                "answers": [] if none else [{"text": answer, "answer_start": start}],
            }
            asked.append(one | ({"is_impossible": none} if unanswerable else {}))
        paragraphs.append({"context": " ".join(words), "qas": asked})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1", "data": [{"paragraphs": paragraphs}]}))
    return path


def tagger(seed: int = 0, **options: object) -> BertForTokenClassification:
    torch.manual_seed(seed)
    names = dict(enumerate(TAGS))
    options |= {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    return BertForTokenClassification(tiny.config(**options)).eval()


def answerer(seed: int = 0, **options: object) -> BertForQuestionAnswering:
    torch.manual_seed(seed)
    return BertForQuestionAnswering(tiny.config(**options)).eval()


def wordpiece(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that cuts words into these pieces; [CLS] … [SEP] around a text."""
    vocabulary = {piece: number for number, piece in enumerate([*tiny.SPECIALS, *pieces])}
    inner = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = WhitespaceSplit()
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
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
