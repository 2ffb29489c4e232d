"""Small rows with sets of labels, and of queries with passages; models of both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import BertForSequenceClassification

from support import tiny

LABELS = tiny.LABELS


def sets(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Sentences that have a topic's label for each of its first two words."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words = [str(word) for word in rng.choice(tiny.WORDS, 5)]
        places = [tiny.WORDS.index(word) for word in words]
        found.append((" ".join(words), sorted({LABELS[p // 5] for p in places if p % 5 < 2})))
    return found


def lists_file(path: Path, count: int, seed: int = 0) -> Path:
    """JSON lines with a list of labels."""
    lines = [json.dumps({"text": text, "labels": labels}) for text, labels in sets(count, seed)]
    path.write_text("\n".join(lines) + "\n")
    return path


def words_file(path: Path, count: int, seed: int = 0, separator: str = ";") -> Path:
    """A CSV with labels in one column, a separator between them."""
    lines = [f'{text},"{separator.join(labels)}"' for text, labels in sets(count, seed)]
    path.write_text("text,labels\n" + "\n".join(lines) + "\n")
    return path


def truth_file(
    path: Path, count: int, seed: int = 0, says: Callable[[bool], str] = lambda has: f"{has:d}"
) -> Path:
    """A CSV with a column of 0 and 1 for each label."""
    lines = [
        ",".join([text, *(says(name in labels) for name in LABELS)])
        for text, labels in sets(count, seed)
    ]
    path.write_text(",".join(["sentence", *LABELS]) + "\n" + "\n".join(lines) + "\n")
    return path


def set_classifier(
    seed: int = 0, labels: tuple[str, ...] = LABELS, **options: object
) -> BertForSequenceClassification:
    """A tiny multi-label classifier."""
    model = tiny.classifier(seed, labels, **options)
    model.config.problem_type = "multi_label_classification"
    return model


def saved_sets(directory: Path, **options: object) -> Path:
    """A multi-label classifier and its tokenizer in Hugging Face's format."""
    set_classifier(**options).save_pretrained(directory)
    tiny.tokenizer().save_pretrained(directory)
    return directory


def knowing(directory: Path, labels: tuple[str, ...] = LABELS, names: bool = True) -> Path:
    """A multi-label classifier that knows the labels of :func:`sets`, its outputs in this order.

    Its states are the sum of the words' embeddings, and a label's output is high where one of its
    two words is in the row: no training is needed to know it.
    """
    model = set_classifier(labels=labels if names else tuple(f"LABEL_{i}" for i in range(4)))
    width = model.config.hidden_size
    with torch.no_grad():
        for parameter in model.parameters():  # not 0: a LayerNorm of nothing has no gradient
            parameter.normal_(0, 0.02)
        for norm in [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]:
            norm.weight.fill_(1.0)
            norm.bias.zero_()
        table = model.bert.embeddings.word_embeddings.weight
        table[:, 8] = 4.0  # what says nothing points elsewhere
        for place in range(len(tiny.WORDS)):
            if place % 5 < 2:
                table[len(tiny.SPECIALS) + place, 8] = 0.0
                table[len(tiny.SPECIALS) + place, place // 5] = 4.0
        for layer in model.bert.encoder.layer[:1]:  # looks at all words alike
            eye = torch.eye(width)
            layer.attention.self.value.weight.copy_(eye)
            layer.attention.output.dense.weight.copy_(8 * eye)
        model.bert.pooler.dense.weight.copy_(torch.eye(width))
        for output, label in enumerate(labels):
            model.classifier.weight[output, LABELS.index(label)] = 10.0
            model.classifier.bias[output] = -1.0
    model.save_pretrained(directory)
    tiny.tokenizer().save_pretrained(directory)
    return directory


def ranked_file(path: Path, queries: int, seed: int = 0, *, labelled: bool = True) -> Path:
    """A CSV of queries with four passages each, of which one is on the query's topic."""
    rng = np.random.default_rng(seed)
    lines = ["query,passage,relevance" if labelled else "query,passage"]
    for number in range(queries):
        topic, good = (int(each) for each in rng.integers(0, 4, 2))
        words = rng.choice(tiny.WORDS[5 * topic : 5 * topic + 5], 3)
        query = " ".join([*words, *[tiny.WORDS[number % 20]] * (1 + number // 20)])
        for place in range(4):
            of = topic if place == good else int((topic + rng.integers(1, 4)) % 4)
            passage = " ".join(rng.choice(tiny.WORDS[5 * of : 5 * of + 5], 4))
            lines.append(f"{query},{passage}" + (f",{int(place == good)}" if labelled else ""))
    path.write_text("\n".join(lines) + "\n")
    return path
