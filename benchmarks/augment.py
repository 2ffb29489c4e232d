"""Guessing words for data augmentation: ours, and one word and one sentence at a time.

BERT_BASE's sizes with random weights, since only time is measured. Sentences are those of SST-2
where the environment variable TINYBERT_DATA names a directory with GLUE in it, else docstrings of
the standard library. The ways take turns on the same sentences:

* ``paper``, ``reference``: the package's two modes;
* ``one at a time``: as the authors' code does it: a forward pass for each word (a-z, no stop word),
  batch of one, float32, the original as second segment, the head at every position, the whole
  vocabulary sorted.

With TINYBERT_DATA also nearest words of all words of SST-2 among its word vectors, without cache.

    python benchmarks/augment.py [--sentences 200] [--single 60] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

from common import describe_machine, write_json
from tinybert.augmentation.build import Augmenter
from tinybert.augmentation.masked_lm import Guesser
from tinybert.augmentation.recipe import Recipe, WordFilter, read_stop_words, recipe_of
from tinybert.augmentation.word_vectors import nearest_words
from tinybert.choices import fast_bfloat16
from tinybert.demo_teacher import demo_teacher_path
from tinybert.settings import AugmentSettings
from tinybert.tasks.demo.docstrings import paragraphs, read_docstrings
from tinybert.tasks.demo.docstrings import sentences as prose_of

TURNS = 2


def sentences(count: int) -> tuple[str, list[str]]:
    data = os.environ.get("TINYBERT_DATA")
    file = Path(data or ".") / "glue" / "SST-2" / "train.tsv"
    if data and file.is_file():
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [row[0].strip() for row in csv.reader(stream, "excel-tab", quoting=3)][1:]
        name = "SST-2"
    else:
        found = (p for each in read_docstrings() for p in paragraphs(each.text))
        rows, name = [text for paragraph in found for text in prose_of(paragraph)], "docstrings"
    step = max(1, len(rows) // count)
    return name, rows[::step][:count]


def bert(quick: bool, vocabulary: int) -> BertForMaskedLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    small = sizes | {"intermediate_size": 128}
    return BertForMaskedLM(BertConfig(vocab_size=vocabulary, **(small if quick else {}))).eval()


class Ours:
    """One mode, from texts to candidates' ids."""

    def __init__(self, texts: list[str], mode: str, tokenizer: Any, quick: bool) -> None:
        self.recipe: Recipe = recipe_of(AugmentSettings(), mode, "sst-2", 128, 0)
        words = WordFilter(self.recipe, read_stop_words(None))
        self.augmenter = Augmenter([(text,) for text in texts], self.recipe, words, tokenizer)
        self.choice = words.choice(self.augmenter.pieces)
        precision = "bfloat16" if fast_bfloat16(torch.device("cpu"))[0] else "float32"
        self.precision = precision
        self.guesser = Guesser(bert(quick, len(tokenizer)), tokenizer, precision=precision)
        self.texts = texts

    def __call__(self) -> float:
        """Seconds a sentence."""
        begun = time.perf_counter()
        split = self.augmenter.split(self.texts)
        self.guesser.guesses(split, self.augmenter.wanted, self.choice)
        return (time.perf_counter() - begun) / len(self.texts)


class OneAtATime:
    """A pass a word, as the authors' code has it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, quick: bool) -> None:
        self.model, self.tokenizer = bert(quick, len(tokenizer)), tokenizer
        self.stops = read_stop_words(None)

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> float:
        """Seconds a sentence."""
        begun = time.perf_counter()
        for text in texts:
            encoded = self.tokenizer([text], [text], return_tensors="pt")
            encoding = encoded.encodings[0]
            places: dict[int, list[int]] = {}
            for place, (word, part) in enumerate(
                zip(encoding.word_ids, encoding.sequence_ids, strict=True)
            ):
                if part == 0 and word is not None:
                    places.setdefault(word, []).append(place)
            for where in places.values():
                token = encoding.tokens[where[0]]
                plain = token.isascii() and token.isalpha() and token not in self.stops
                if len(where) > 1 or not plain:
                    continue
                ids = encoded["input_ids"].clone()
                ids[0, where[0]] = self.tokenizer.mask_token_id
                types = encoded["token_type_ids"]
                logits = self.model(input_ids=ids, token_type_ids=types).logits
                torch.argsort(logits[0, where[0]], descending=True)[:15].tolist()
        return (time.perf_counter() - begun) / len(texts)


def neighbours() -> dict[str, Any] | None:
    """Nearest words of all words of SST-2: seconds, reading included."""
    data = Path(os.environ.get("TINYBERT_DATA") or "nowhere")
    found = sorted((data / "vectors").glob("*.txt.gz"))
    if not found:
        return None
    _, texts = sentences(10**9)
    words = {word for text in texts for word in text.split()}
    begun = time.perf_counter()
    result = nearest_words(found[0], words, cache=False)
    return {
        "words": len(words),
        "with_vectors": len(result.of),
        "seconds": time.perf_counter() - begun,
    }


def measure(count: int, single: int, quick: bool) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(str(demo_teacher_path()))
    name, texts = sentences(count)
    ours = {mode: Ours(texts, mode, tokenizer, quick) for mode in ("paper", "reference")}
    other = OneAtATime(tokenizer, quick)
    few = texts[:: max(1, len(texts) // single)][:single]
    seconds: dict[str, list[float]] = {n: [] for n in (*ours, "one at a time")}
    other(few[:2])
    for _ in range(1 if quick else TURNS):
        for mode, way in ours.items():
            seconds[mode].append(way())
        seconds["one at a time"].append(other(few))
    middle = {n: median(s) for n, s in seconds.items()}
    return {
        "sentences": name,
        "precision": ours["paper"].precision,
        "seconds_a_sentence": middle,
        "summary": {
            "ratio_paper": middle["one at a time"] / middle["paper"],
            "ratio_reference": middle["one at a time"] / middle["reference"],
            "sentences_a_second": 1 / middle["paper"],
        },
        "neighbours": None if quick else neighbours(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=200, help="of the package's two modes")
    parser.add_argument("--single", type=int, default=60, help="of them one at a time")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="tiny model: does it run?")
    given = parser.parse_args()
    if given.quick:
        given.sentences, given.single = 12, 3
    machine = describe_machine()
    result = measure(given.sentences, given.single, given.quick)
    table = Table(title=f"guessing words, {result['sentences']}, {result['precision']}")
    for column in ("way", "ms a sentence", "one at a time / it"):
        table.add_column(column)
    middle = result["seconds_a_sentence"]
    for way, seconds in middle.items():
        table.add_row(way, f"{1e3 * seconds:.1f}", f"{middle['one at a time'] / seconds:.1f}")
    console = Console()
    console.print(table)
    if (near := result["neighbours"]) is not None:
        console.print(f"nearest words of {near['words']:,} words: {near['seconds']:.2f} s")
    if given.json is not None:
        write_json(given.json, {"machine": machine, **result})


if __name__ == "__main__":
    main()
