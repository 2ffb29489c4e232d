"""Small inputs under the names that the how-to pages use: models, rows, GLUE files, checkpoints."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

import tinybert
from support import authors, encoders, several, tiny, web, words
from tinybert.sentence_modules import SentenceHead, write_head

SENTIMENT = ("negative", "positive")


def make(place: Path) -> Path:
    """Everything that any page reads."""
    _rows(place)
    _models(place)
    _checkpoints(place)
    _glue(place / "glue")
    _spoilt(place)
    return place


def reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences that say what they are: two of the four topics are positive."""
    texts, topics = tiny.sentences(count, seed)
    return [(t, SENTIMENT[tiny.LABELS.index(y) < 2]) for t, y in zip(texts, topics, strict=True)]


def write(path: Path, header: list[str], rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])
    return path


def _rows(place: Path) -> None:
    head = ["text", "label"]
    rows: list[Any] = reviews(34, 0)
    write(place / "reviews.csv", head, [(rows[0][0], rows[0][1].upper()), *rows[1:]])
    for number, name in enumerate(("train", "dev", "test"), 1):
        write(place / f"{name}.csv", head, reviews(34, number))
    documents = zip(*[iter(reviews(40 * 12, 10))] * 12, strict=True)
    write(place / "documents.csv", head, [(" ".join(t for t, _ in d), d[0][1]) for d in documents])
    write(place / "texts.csv", ["text"], [[text] for text, _ in reviews(34, 4)])
    values = [
        (text, f"{len(set(text.split())) * 0.9 + i / 50:.2f}")
        for i, (text, _) in enumerate(reviews(34, 5))
    ]
    write(place / "scores.csv", ["text", "score"], values)
    write(
        place / "stars.csv",
        ["text", "stars"],
        [(t, i % 5 + 1) for i, (t, _) in enumerate(reviews(34, 6))],
    )
    pairs = [(*text.rsplit(" ", 2)[:2], label) for text, label in reviews(34, 7)]
    write(place / "pairs.csv", ["question", "answer", "label"], pairs)
    write(place / "replies.csv", ["title", "reply", "fits"], pairs)
    tiny.corpus_file(place / "text.txt", documents=20)
    (place / "texts").mkdir()
    tiny.corpus_file(place / "texts" / "a.txt", documents=12, seed=1)
    bodies = tiny.corpus_file(place / "b.txt", documents=5, seed=2).read_text().split("\n\n")
    lines = [json.dumps({"id": str(i), "body": body}) for i, body in enumerate(bodies)]
    (place / "texts" / "b.jsonl").write_text("\n".join(lines) + "\n")
    _similar(place)
    _several(place)
    words.conll(place / "train.conll", 50, 1)
    words.conll(place / "dev.conll", 20, 2)
    words.conll(place / "test.conll", 20, 3)
    words.squad(place / "squad" / "train.json", 20, 1)
    words.squad(place / "squad" / "dev.json", 8, 2)
    (place / "uneven.jsonl").write_text('{"tokens": ["lock", "file"], "tags": ["O"]}\n')
    strange = (place / "dev.conll").read_text().replace("B-B", "B-NEW")
    (place / "strange.conll").write_text(strange)
    moved = json.loads((place / "squad" / "dev.json").read_text())
    moved["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] += 1
    (place / "moved.json").write_text(json.dumps(moved))


def _several(place: Path) -> None:
    """Sets of labels in all forms, rankings, and what is wrong with either."""
    several.lists_file(place / "subjects.jsonl", 60, 1)
    several.words_file(place / "subjects.csv", 40, 2)
    several.truth_file(place / "columns.csv", 60, 3)
    several.truth_file(place / "twos.csv", 30, says=lambda has: str(1 + has))
    several.words_file(place / "slashes.csv", 30, 4, " / ")
    texts = [text for text, _ in several.sets(30, 5)]
    write(place / "prose.csv", ["text", "note"], [(t, f"{t}, and more") for t in texts])
    unheard = [(t, ("files;news", "text")[i % 2]) for i, t in enumerate(texts)]
    write(place / "unheard.csv", ["text", "labels"], unheard)
    lists = [json.dumps({"text": t, "labels": ["files"] * (i % 2)}) for i, t in enumerate(texts)]
    (place / "one-label.jsonl").write_text("\n".join(lists) + "\n")
    several.ranked_file(place / "queries.csv", 40, 6)
    several.ranked_file(place / "unlabelled.csv", 60, 7, labelled=False)
    head = ["query", "passage", "relevance"]
    write(place / "singles.csv", head, [(t, "lock", i % 2) for i, t in enumerate(texts)])
    twice = [(("wait", "send")[i % 2], t, 0) for i, t in enumerate(texts)]
    write(place / "irrelevant.csv", head, twice)
    write(place / "negative.csv", head, [("wait", t, i % 3 - 1) for i, t in enumerate(texts)])


def _similar(place: Path) -> None:
    """Pairs of sentences: scored, not scored, all scored alike."""
    texts, _ = tiny.sentences(25, seed=9)
    pairs = [*pairwise(texts)]
    head = ["sentence1", "sentence2"]
    scored = [[*pair, f"{i % 6}.0"] for i, pair in enumerate(pairs)]
    for name, names, rows in (
        ("similar", [*head, "score"], scored),
        ("unscored", head, pairs),
        ("flat", [*head, "score"], [[*pair, "1"] for pair in pairs]),
    ):
        lines = ["\t".join(row) for row in [names, *rows]]
        (place / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def _models(place: Path) -> None:
    """Two plain encoders; a classifier that knows the task; the same one without label names."""
    tiny.saved_encoder(place / "student-encoder", layers=2, width=16)
    _sentence_encoders(place)
    tiny.masked_lm(initializer_range=0.2).save_pretrained(place / "masked-lm")
    tiny.tokenizer().save_pretrained(place / "masked-lm")
    tiny.masked_lm(layers=3, width=64).save_pretrained(place / "encoder")
    tiny.tokenizer().save_pretrained(place / "encoder")
    for kind, name in (("modernbert", "modernbert"), ("deberta-v2", "deberta-v3-base")):
        encoders.saved(encoders.encoder(kind, max_position_embeddings=8192), place / name)
    vectors = (f"{word} {i + 1} {i * i % 7}\n" for i, word in enumerate(tiny.WORDS))
    (place / "vectors.txt").write_text("".join(vectors))
    tiny.saved_encoder(place / "bert-base-uncased", layers=4, width=32, initializer_range=0.2)
    tinybert.finetune(
        model=place / "bert-base-uncased",
        data=write(place / "all.csv", ["text", "label"], reviews(240, 8)),
        output=place / "teacher",
        epochs=8,
        learning_rate=3e-3,
        precision="float32",
        attention="direct",
        quiet=True,
    )
    nameless = place / "textattack" / "bert-base-uncased-SST-2"
    shutil.copytree(place / "teacher", nameless)
    config = json.loads((nameless / "config.json").read_text())
    config["id2label"] = {number: f"LABEL_{number}" for number in range(2)}
    config["label2id"] = {f"LABEL_{number}": number for number in range(2)}
    (nameless / "config.json").write_text(json.dumps(config))
    shutil.copytree(place / "teacher", place / "other-tokens")
    other = tiny.tokenizer()
    other.add_tokens(["another"])
    other.save_pretrained(place / "other-tokens")
    tiny.saved_classifier(place / "regressor", labels=("score",), layers=4, width=32)
    tiny.saved_classifier(place / "narrow", labels=("score",), layers=4, width=16)


def _sentence_encoders(place: Path) -> None:
    """One that pools by mean, one by its last token; sentences one a line, and too few of them."""
    tiny.saved_encoder(place / "sentence-encoder", layers=4, width=32, initializer_range=0.2)
    write_head(place / "sentence-encoder", SentenceHead("mean", normalise=True, longest=64), 32)
    shutil.copytree(place / "sentence-encoder", place / "last-token")
    pooling = place / "last-token" / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode": "lasttoken"}))
    texts, _ = tiny.sentences(200, seed=12)
    (place / "lines.txt").write_text("\n".join(texts) + "\n")
    (place / "few-lines.txt").write_text("\n".join(texts[:3]) + "\n")


def _checkpoints(place: Path) -> None:
    """The authors' general student under a teacher of width 32, and a task model 312 wide."""
    general = authors.weights(authors.sizes(), fit="fit_denses", teacher_width=32, heads=True)
    authors.write(place / "General_TinyBERT_4L_312D", authors.sizes(), general)
    config = authors.sizes(hidden_size=312, intermediate_size=16, num_hidden_layers=4)
    state = authors.weights(config, labels=2, fit="fit_dense")
    authors.write(place / "TinyBERT_4L_312D" / "SST-2", config, state)


def _glue(place: Path) -> None:
    """MRPC in its original layout, with a test set."""
    columns = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    for seed, (part, count) in enumerate((("train", 24), ("dev", 12), ("test", 9)), 20):
        texts = [text.rsplit(" ", 2) for text, _ in reviews(count, seed)]
        first = "index" if part == "test" else "Quality"
        lines = [[first, *columns[1:]]]
        for row, (one, other, _) in enumerate(texts):
            lines.append([str(row if part == "test" else row % 2), str(row), str(row), one, other])
        path = place / "MRPC" / f"{part}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join("\t".join(line) + "\n" for line in lines))


def _half_exported(place: Path) -> None:
    """Exported directories that lack something: the int8 model, the tokenizer, a classifier."""
    web.fake_export(place / "float-only").joinpath("onnx", "model_quantized.onnx").unlink()
    web.fake_export(place / "tokenless").joinpath("tokenizer.json").unlink()
    config = web.fake_export(place / "exported-encoder") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": ["BertModel"]}))


def _spoilt(place: Path) -> None:
    """What the pages' errors are about."""
    rows = reviews(40, 30)
    texts = [text for text, _ in rows]
    write(place / "two-texts.csv", ["title", "body", "label"], [(t, t, y) for t, y in rows])
    (place / "semicolons.csv").write_text("text;label\n" + "".join(f"{t};{y}\n" for t, y in rows))
    write(
        place / "gaps.csv",
        ["text", "label"],
        [(t, y if i else "") for i, (t, y) in enumerate(rows)],
    )
    write(place / "numbered.csv", ["text", "label"], [(t, f"r{i}") for i, t in enumerate(texts)])
    write(place / "neutral.csv", ["text", "label"], [*rows, (texts[0], "neutral")])
    write(
        place / "other.csv",
        ["text", "label"],
        [(t, ("bad", "good")[y == SENTIMENT[1]]) for t, y in rows],
    )
    write(place / "holes.csv", ["text", "score"], [*((t, "0.5") for t in texts), (texts[0], "n/a")])
    write(place / "empty.csv", ["question", "answer", "label"], [("", t, y) for t, y in rows])
    few = [row for row in reviews(80, 31) if row[1] == SENTIMENT[0]][:6]
    more = [row for row in reviews(80, 31) if row[1] == SENTIMENT[1]][:30]
    write(place / "few.csv", ["text", "label"], few + more)
    tiny.task_file(place / "topics.csv", 60)
    lying = place / "lying-teacher"
    shutil.copytree(place / "teacher", lying)
    config = json.loads((lying / "config.json").read_text())
    names = dict(enumerate(reversed(SENTIMENT)))
    config |= {"id2label": names, "label2id": {name: n for n, name in names.items()}}
    (lying / "config.json").write_text(json.dumps(config))
    (place / "kept-teacher").mkdir()
    shutil.copytree(place / "teacher", place / "half-written")
    (place / "half-written" / "results.json").write_text('{"task": "reviews", "stu')
    _half_exported(place)
    broken = place / "spoilt" / "texts" / "broken.txt.gz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(gzip.compress(b"lock thread\n\n" * 500)[:60])
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "lock": 2}, "[UNK]")),
        unk_token="[UNK]",
        pad_token="[PAD]",
    )
    shutil.copytree(place / "student-encoder", place / "stranger")
    other.save_pretrained(place / "stranger")
