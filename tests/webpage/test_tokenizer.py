"""The page's tokenizer gives Python's ids, under Node: scripts, accents, pairs, cuts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from support import tiny, vocabularies, web

SITE = Path(web.__file__).parents[2] / "src" / "tinybert" / "webpage" / "site"

TEXTS = [
    *("", " ", "lock the file", "  Wait,  for the EVENT !?", "don't un-lock; (playing)", "played"),
    *("Café naïve", "Cafe\u0301 nai\u0308ve", "ÀÉÎÕÜ ß ẞ Ł ø", "İstanbul ISTANBUL ı", "ǅ ﬁ ﬃ"),
    *("ΟΔΟΣ οδός ΣΑΣ", "абвг АБВГ", "東京 に 日本a\U00020000b", "あア가각", "안녕 하세요"),
    *("مرحبا بالعالم", "שלום", "हिन्दी नमस्ते", "ไทย", "\u2066isolate\u2069"),
    *("\U0001f600 lock\U0001f600lock", "\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd ✓"),
    *("a\u200bb\u200d\ufeffc", "a\u00a0b\u3000c\u2028d\u0085e", "a\u00adb soft hyphen"),
    *("tab\tand\nline\r\nbreak", "nul\x00 \x07 bell \x1b", "\ufffd replaced \ue000 private"),
    *("«quoted» „so“ … – — ¿¡ § € £ ¥ ° ± × ÷", "a_b^c`d|e~f$g+h<i=j>k", "1,234.5 ½ ² ٣ Ⅷ"),
    *("[CLS] lock [SEP]", "[MASK]ed [UNK]", "the [mask]", "http://a.b/c?d=e&f#g", "u@host.org"),
    *("x" * 99, "x" * 100, "x" * 101, "a" * 300, "un" * 60 + " play", "\u0301\u0302 lone marks"),
    *("lock wait " * 100, "東京" * 80, "e\u0301" * 90, "\u0378 unassigned"),
    *("\U0001e900\U0001e922 adlam", "\U00010400\U00010428 deseret", "ꭰᎠ cherokee", "ﷺ ㎏ ①"),
]
"""Unpaired surrogates are left out: Python's tokenizers does not take them."""

LENGTHS = (4, 8, 31, 128)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where Node runs the page's tokenizer."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    files = web.real_files()
    place = tmp_path_factory.mktemp("node")
    (place / "package.json").write_text('{"type": "module"}')
    shutil.copy(SITE / "tokenizer.js", place)
    (place / "vendor" / "tokenizers").mkdir(parents=True)
    shutil.copy(files["tokenizers/tokenizers.js"], place / "vendor/tokenizers/tokenizers.js")
    (place / "run.js").write_text(
        """import { readFileSync, writeFileSync } from "node:fs";
import { makeTokenizer } from "./tokenizer.js";
const { json, config, lengths, rows } = JSON.parse(readFileSync("asked.json", "utf8"));
writeFileSync("answered.json", JSON.stringify(lengths.map((length) => {
  const tokenize = makeTokenizer(json, config, length);
  return rows.map((row) => tokenize(...row));
})));
"""
    )
    return place


def compare(node: Path, tokenizer: PreTrainedTokenizerFast, rows: list[list[str]]) -> None:
    """Ids, types and the note that something was cut are equal for all rows and lengths."""
    tokenizer.save_pretrained(node / "saved")
    read = AutoTokenizer.from_pretrained(node / "saved")
    expected: list[list[dict[str, Any]]] = [
        [answer(read, row, length) for row in rows] for length in LENGTHS
    ]
    saved = {
        name: json.loads((node / "saved" / file).read_text("utf-8"))
        for name, file in (("json", "tokenizer.json"), ("config", "tokenizer_config.json"))
    }
    asked = {**saved, "lengths": LENGTHS, "rows": rows}
    (node / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    subprocess.run(["node", "run.js"], cwd=node, check=True, timeout=120)
    answered = json.loads((node / "answered.json").read_text("utf-8"))
    for length, ours, theirs in zip(LENGTHS, expected, answered, strict=True):
        for row, mine, other in zip(rows, ours, theirs, strict=True):
            assert other == mine, f"{row!r} at {length}"


def answer(tokenizer: Any, row: list[str], length: int) -> dict[str, Any]:
    columns = [[text] for text in row]  # in lists, or an empty second text is taken for none
    cut = tokenizer(*columns, truncation=True, max_length=length)
    (ids,) = cut["input_ids"]
    (types,) = cut.get("token_type_ids", [[0] * len(ids)])
    (whole,) = tokenizer(*columns)["input_ids"]
    return {"ids": ids, "types": types, "cut": len(whole) > len(ids)}


def pairs() -> list[list[str]]:
    some = ["", "lock", "wait, for it", "lock wait " * 20, "東京 café", "x y z " * 3, TEXTS[-1]]
    return [list(pair) for pair in product(some, some)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces(node: Path, lowercase: bool) -> None:
    compare(node, web.word_pieces(lowercase), [[text] for text in TEXTS])


def test_pairs_are_cut_at_the_longer_text(node: Path) -> None:
    compare(node, web.word_pieces(), pairs())


def test_whole_words(node: Path) -> None:
    """A vocabulary of words, split by what is a letter in any script."""
    compare(node, tiny.tokenizer(), [[text] for text in TEXTS] + pairs())


@pytest.mark.parametrize("kind", ["sentence_pieces", "byte_pairs"])
def test_other_kinds(node: Path, kind: str) -> None:
    inner: Tokenizer = getattr(vocabularies, kind)().backend_tokenizer
    if kind == "byte_pairs":
        inner.post_processor = processors.ByteLevel(trim_offsets=False)
    compare(node, web.wrapped(inner), [["play"], [" playing!"], ["playing  playing"], ["play s"]])


def test_the_real_vocabulary(node: Path) -> None:
    data = os.environ.get("TINYBERT_DATA")
    if not data:
        pytest.skip("TINYBERT_DATA names no directory with BERT's vocabulary")
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(str(Path(data) / "vocab" / "bert-base-uncased.txt"))
    lines = (Path(data) / "glue" / "MRPC" / "train.tsv").read_text("utf-8-sig").splitlines()[1:400]
    rows = [line.split("\t")[3:5] for line in lines]
    compare(node, tokenizer, [[text] for text in TEXTS] + pairs() + rows)
