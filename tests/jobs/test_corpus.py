"""``tinybert corpus build`` and ``tinybert corpus show``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tinybert
from support import tiny
from tinybert.cli import main
from tinybert.corpus import open_corpus
from tinybert.corpus import sample as sampling


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny.saved_encoder(tmp_path / "teacher")
    tiny.corpus_file(tmp_path / "text.txt", 50)
    return tmp_path


def build(place: Path, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "corpus": str(place / "text.txt"),
        "teacher": str(place / "teacher"),
        "output": place / "corpus",
        "max_length": 24,
        "quiet": True,
    }
    return tinybert.corpus_build(**(asked | more))


def test_counts_and_samples(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build(place)
    assert built["documents"] == 50
    assert built["tokens_per_second"] > 0
    shown = tinybert.corpus_show(
        corpus=place / "corpus", samples=4, json=place / "figures.json", quiet=True
    )
    rows = open_corpus(place / "corpus")
    tokens = np.concatenate(rows.parts())
    assert shown["tokens"] == built["tokens"] == len(tokens)
    assert shown["blocks"] == built["blocks"] == len(rows)
    assert shown["vocabulary_used"] == len(set(tokens.tolist()))
    assert shown["unknown"] == 0
    assert sum(shown["lengths"].values()) == len(rows)
    assert shown["bytes"] == sum(
        file.stat().st_size for file in (place / "corpus" / "shards").iterdir()
    )
    assert len(shown["samples"]) == 4
    assert all(text.startswith("[CLS]") for text in shown["samples"])
    assert json.loads((place / "figures.json").read_text())["tokens"] == shown["tokens"]
    out = capsys.readouterr().out
    assert "lengths of blocks" in out
    assert "█" in out
    assert "checksums fit" in out


def test_unknown_words_are_counted(place: Path) -> None:
    (place / "text.txt").write_text("lock thread nonsense wait queue gibberish\n")
    build(place)
    shown = tinybert.corpus_show(corpus=place / "corpus", samples=0, quiet=True)
    assert shown["unknown"] == 2
    assert shown["samples"] == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_dry_run_tells_about_the_whole(
    place: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(sampling, "SIZE", 20_000)
    monkeypatch.setattr("tinybert.tasks.reading.streams._CHUNK", 1000)  # small files, small reads
    text = tiny.corpus_file(place / "long.txt", 400)
    names = [str(text)]
    if packed:  # what is unpacked runs ahead of what was read: the estimate is a rough one
        (place / "long.txt.gz").write_bytes(gzip.compress(text.read_bytes(), mtime=0))
        names = [str(place / "long.txt.gz")]
    before = set(place.rglob("*"))
    plan = build(place, corpus=names, dry_run=True)
    assert set(place.rglob("*")) == before
    assert plan["sampled_tokens"] < plan["tokens"] or packed
    true = build(place, corpus=names)["tokens"]
    if not packed:
        assert 0.5 * true < plan["tokens"] < 2 * true


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_estimate_of_rows_counts_what_was_read_ahead(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Rows are read in parts larger than the sample: bytes and characters are of whole parts."""
    monkeypatch.setattr(sampling, "SIZE", 20_000)
    monkeypatch.setattr("tinybert.tasks.reading.streams._CHUNK", 1000)
    documents = tiny.corpus_file(place / "long.txt", 400).read_text().split("\n\n")
    rows = place / f"rows.{kind}"
    if kind == "jsonl":
        rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    else:
        pq.write_table(pa.table({"text": documents}), rows)
    plan = build(place, corpus=[str(rows)], dry_run=True)
    true = build(place, corpus=[str(rows)])["tokens"]
    assert plan["sampled_tokens"] < 0.5 * true
    assert plan["tokens"] == pytest.approx(true, rel=0.1)


def test_two_words_make_the_verb(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus"]) == 2
    assert "`tinybert corpus build` or `tinybert corpus show`" in capsys.readouterr().err
    assert main(["corpus", "biuld", "--output", "x"]) == 2
    assert "corpus what?" in capsys.readouterr().err
    assert main(["corpus", "show", "--help"]) == 0
    assert "--samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("build --corpus text.txt --output new", "give it with --teacher"),
        ("build --teacher teacher --output new", "give it with --corpus"),
        ("build --teacher teacher --corpus text.txt", "give it with --output"),
        ("build --teacher text.txt --corpus text.txt --output new", "text.txt is a file"),
        ("build --teacher teacher --corpus text.txt --output teacher", "exists already"),
        ("build --teacher teacher --corpus text.txt --output new --max-length 4", "no room for"),
        ("build --teacher teacher --corpus text.txt --output new --threads 0", "1 or more"),
        ("show --corpus teacher", "is no corpus"),
        ("show", "give it with --corpus"),
    ],
)
def test_bad_input_is_one_sentence(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    message: str,
) -> None:
    monkeypatch.chdir(place)
    before = set(place.rglob("*"))
    assert main(["corpus", *line.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert set(place.rglob("*")) == before
