"""Data, teachers and checkpoints as they should not be, for the tests of bad input."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from support import tiny


def write_all(where: Path) -> None:
    """Everything that the tables of bad input name."""
    models(where)
    text_files(where)
    packed_files(where)
    parquet_files(where)
    directories(where)
    glue_files(where)
    checkpoints(where)
    strange_but_sound(where)


def lines(rows: Sequence[Sequence[object]], separator: str = ",") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def rows_with(labels: Sequence[object], count: int = 40) -> list[list[object]]:
    """Different sentences; the labels take turns."""
    texts, _ = tiny.sentences(count, seed=3)
    return [[f"{text} {i}", labels[i % len(labels)]] for i, text in enumerate(texts)]


def models(where: Path) -> None:
    """Teachers that answer at random, one that knows the task, and the same under false names."""
    tiny.saved_classifier(where / "teacher", layers=4, width=32)
    tiny.saved_classifier(where / "two", labels=("a", "b"), layers=4, width=32)
    tiny.saved_classifier(where / "colours", labels=("red", "green", "blue", "grey"), layers=2)
    tiny.saved_classifier(where / "numbered", labels=("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"))
    tiny.saved_classifier(where / "value", labels=("score",))
    tiny.saved_encoder(where / "encoder", layers=4, width=32)
    tiny.saved_classifier(where / "broken-weights")
    weights = where / "broken-weights" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    tiny.saved_classifier(where / "no-weights")
    (where / "no-weights" / "model.safetensors").unlink()
    tiny.saved_classifier(where / "broken-config")
    (where / "broken-config" / "config.json").write_text('{"model_type": "bert",')
    tiny.task_file(where / "topics.csv", 300)
    taught(where / "liar", names=(*tiny.LABELS[1:], tiny.LABELS[0]))


def taught(directory: Path, names: Sequence[str]) -> None:
    """A classifier that knows the topics, its outputs called ``names``."""
    model = tiny.classifier(layers=2, width=32, initializer_range=0.2)
    tokenizer = tiny.tokenizer()
    texts, labels = tiny.sentences(300)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    truth = torch.tensor([tiny.LABELS.index(label) for label in labels])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        model(**batch, labels=truth).loss.backward()
        optimiser.step()
    right = (model(**batch).logits.argmax(dim=1) == truth).float().mean()
    assert right > 0.6, "the teacher has to know its task, or nothing can be suspicious"
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def text_files(where: Path) -> None:
    """CSV, TSV and JSON."""
    good = rows_with(tiny.LABELS)
    header = ["text", "label"]
    tiny.task_file(where / "good.csv", 60)
    files: dict[str, str | bytes] = {
        "few.csv": lines([header, *good, ["lock"]]),
        "many.tsv": lines([header, *good, ["lock", "files", "files"]], "\t"),
        "semicolons.csv": lines([header, *good], ";"),
        "open-quote.csv": lines([header, *good]) + '"lock the file,files\n',
        "twice.csv": lines([["text", "label", "label"], ["lock", "a", "b"]]),
        "pandas.csv": lines([["", *header], *([i, *row] for i, row in enumerate(good))]),
        "json-list.json": json.dumps([{"text": "lock", "label": "files"}, "wait"]),
        "label-alone.csv": lines([["label"], *([y] for _, y in good)]),
        "unseen.csv": lines([header, ["lock", "files"], ["wait", "weather"]]),
        "empty-label.csv": lines([header, *good, ["lock", ""]]),
        "nan-label.csv": lines([header, *good, ["lock", "NaN"]]),
        "null-label.jsonl": '{"text": "lock", "label": "files"}\n{"text": "a", "label": null}\n',
        "list-label.jsonl": '{"text": "lock", "label": ["files"]}\n',
        "list-text.jsonl": '{"text": ["lock"], "label": "files"}\n',
        "half-a-pair.jsonl": '{"text": "lock \\ud83d", "label": "files"}\n',
        "array.jsonl": "[1, 2]\n",
        "open.json": '[{"text": "lock", "label": "files"},\n',
        "spaces.jsonl": "\n  \n",
        "ids.csv": lines(
            [["review", "label", "verdict"], *([t, f"id-{i}", y] for i, (t, y) in enumerate(good))]
        ),
        "odd-names.csv": lines([["was_gesagt", "stimmung", "wer"], ["a b", "c", "d e"]]),
        "latin1.tsv": "text\tlabel\ncafé\ta\n".encode("latin-1"),
        "latin1.jsonl": '{"text": "café", "label": "a"}\n'.encode("latin-1"),
        "utf16.tsv": lines([header, *good], "\t").encode("utf-16"),
        "utf16-no-mark.csv": lines([header, *good]).encode("utf-16-le"),
        "json.csv": "".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in good),
        "csv.jsonl": lines([header, *good]),
        "zip.csv": b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(range(256)),
        "words.csv": lines([["text", "score"], *rows_with(["good", "bad"])]),
        "fractions.csv": lines([["text", "score"], *rows_with([i / 7 for i in range(40)])]),
        "constant.csv": lines([["text", "score"], *rows_with([0.5])]),
        "three.csv": lines([["a", "b", "c", "label"], ["x y", "y z", "z x", "d"]]),
        "unlabelled.csv": lines([["text"], *([t] for t, _ in good)]),
        "few-rows.csv": lines([header, *rows_with(tiny.LABELS, 3)]),
        "later-label.jsonl": '{"text": "lock"}\n' * 200 + '{"text": "wait", "label": "a"}\n',
        "same.csv": lines([header, *([["lock", "a"]] * 20), *([["wait", "b"]] * 20)]),
    }
    write(where, files)
    os.mkfifo(where / "pipe.csv")


def write(where: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (where / name).write_bytes(content.encode() if isinstance(content, str) else content)


def packed_files(where: Path) -> None:
    """Cut short, broken, or not packed at all."""
    plain = lines([["text", "label"], *rows_with(tiny.LABELS, 4000)]).encode()
    (where / "cut.csv.gz").write_bytes(gzip.compress(plain)[:-2000])
    (where / "cut.csv.xz").write_bytes(lzma.compress(plain)[:-500])
    (where / "cut.csv.bz2").write_bytes(bz2.compress(plain)[:-500])
    zstandard = pa.compress(plain, "zstd", asbytes=True)
    (where / "cut.csv.zst").write_bytes(zstandard[: len(zstandard) // 2])
    (where / "broken.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\x07" * 500)
    (where / "plain.csv.gz").write_bytes(plain)
    (where / "latin1.csv.gz").write_bytes(gzip.compress("text,label\ncafé,a\n".encode("latin-1")))


def parquet_files(where: Path) -> None:
    """Broken ones, and columns that hold no single values."""
    texts = pa.array([text for text, _ in rows_with(tiny.LABELS)])
    labels = pa.array([label for _, label in rows_with(tiny.LABELS)])
    pq.write_table(pa.table({"text": texts, "label": labels}), where / "good.parquet")
    whole = (where / "good.parquet").read_bytes()
    (where / "cut.parquet").write_bytes(whole[:-20])
    (where / "csv.parquet").write_bytes(b"text,label\nlock,a\n")
    (where / "packed.parquet.gz").write_bytes(gzip.compress(whole))
    nested = pa.array([[text] for text in texts.to_pylist()])
    pq.write_table(pa.table({"text": nested, "label": labels}), where / "nested.parquet")
    raw = pa.array([text.encode() for text in texts.to_pylist()])
    pq.write_table(pa.table({"text": raw, "label": labels}), where / "bytes.parquet")
    numbers = pa.array([float("nan")] + [i / 7 for i in range(1, 40)])
    pq.write_table(pa.table({"text": texts, "label": numbers}), where / "nan.parquet")


def directories(where: Path) -> None:
    """Of files of rows."""
    good, header = rows_with(tiny.LABELS), ["text", "label"]
    (where / "nothing").mkdir()
    (where / "notes-only").mkdir()
    (where / "notes-only" / "README.md").write_text("rows to come")
    (where / "mixed").mkdir()
    (where / "mixed" / "train-0.csv").write_text(lines([header, *good]))
    (where / "mixed" / "train-1.tsv").write_text(lines([header, *good], "\t"))
    (where / "shards").mkdir()
    (where / "shards" / "train-0.csv").write_text(lines([header, *good]))
    (where / "shards" / "train-1.csv").write_text(lines([["sentence", "label"], *good]))
    (where / "no-train").mkdir()
    (where / "no-train" / "test.csv").write_text(lines([header, *good]))
    (where / "one-bad").mkdir()
    (where / "one-bad" / "train-0.csv").write_text(lines([header, *good]))
    (where / "one-bad" / "train-1.csv").write_text(lines([header, *good, ["lock"]]))


def glue_files(where: Path) -> None:
    """A directory of GLUE with one task that is whole, and one in another layout."""
    good, header = rows_with([0, 1]), ["sentence", "label"]
    for name in ("SST-2", "RTE", "QNLI", "CoLA"):
        (where / "glue" / name).mkdir(parents=True)
    for part in ("train.tsv", "dev.tsv"):
        (where / "glue" / "SST-2" / part).write_text(lines([header, *good], "\t"))
        (where / "glue" / "RTE" / part).write_text(lines([header, *good], "\t"))
    (where / "glue" / "CoLA" / "train.tsv").write_text(lines([header, *good], "\t"))
    pairs = [["1", "lock it", "lock", "entailment"], ["2", "wait", "lock", "entailment", "more"]]
    (where / "glue" / "QNLI" / "train.tsv").write_text(
        lines([["index", "question", "sentence", "label"], *pairs], "\t")
    )
    (where / "no-dev" / "SST-2").mkdir(parents=True)
    (where / "no-dev" / "SST-2" / "train.tsv").write_text(lines([header, *good], "\t"))
    (where / "odd-label" / "SST-2").mkdir(parents=True)
    for part in ("train.tsv", "dev.tsv"):
        odd = [*good, ["wait", 7]]
        (where / "odd-label" / "SST-2" / part).write_text(lines([header, *odd], "\t"))


def checkpoints(where: Path) -> None:
    """Directories for ``convert``."""
    for name in ("half-a-checkpoint", "code", "other-sizes"):
        (where / name).mkdir()
        shutil.copy(where / "teacher" / "config.json", where / name)
    torch.save({"bert.x": torch.ones(1), "more": print}, where / "code" / "pytorch_model.bin")
    torch.save({"bert.x": torch.ones(1)}, where / "other-sizes" / "pytorch_model.bin")


def strange_but_sound(where: Path) -> None:
    """Files that look wrong to a careless reader, and have to be read."""
    topics = rows_with(tiny.LABELS)
    ends = ["\n", "\r\n", "\r"]
    digits = ["0", "1", "2", "3", "0.0", "1.0", " 2 ", "3.00"]
    told = "text,label"
    spelt = [[t, (y, y.upper(), f" {y.title()} ")[i % 3]] for i, (t, y) in enumerate(topics)]
    quoted = [[f'"{t}', y] if i % 2 else [f'the "{t}" of', y] for i, (t, y) in enumerate(topics)]
    write(
        where,
        {
            "newlines.csv": told
            + "\r\n"
            + "".join(f"{t},{y}{ends[i % 3]}" for i, (t, y) in enumerate(topics)),
            "returns.csv": told + "\r" + "".join(f"{t},{y}\r" for t, y in topics),
            "mark.csv": "\ufeff" + lines([["text", "label"], *topics]),
            "mark.jsonl": "\ufeff"
            + "".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in topics),
            "long.csv": lines([["text", "label"], ["lock " * 100_000, "concurrency"], *topics]),
            "quotes.tsv": lines([["text", "label"], *quoted], "\t"),
            "digits.csv": lines([["text", "label"], *rows_with(digits)]),
            "cases.csv": lines([["text", "label"], *spelt]),
            "emoji.csv": lines([["text", "label"], *([f"\U0001f642 {t}", y] for t, y in topics)]),
        },
    )
