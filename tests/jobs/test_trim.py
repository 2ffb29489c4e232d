"""``tinybert trim``: text and rows in, a smaller model and what it changes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModel, AutoTokenizer

import tinybert
from support import cuttable, tiny
from tinybert.cli import main

WORDS = sorted({word.strip(",!;") for text in cuttable.TEXTS for word in text.split()})
COMMON, RARE = WORDS[::2], WORDS[1::2]


def sentences(count: int, seed: int, words: list[str] = WORDS) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 6)) for _ in range(count)]


def rows_file(path: Path, texts: list[str], labels: tuple[str, ...]) -> Path:
    lines = [f"{text},{labels[len(text) % len(labels)]}" for text in texts]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, rows of common words to count, rows with rare ones to report on, SST-2."""
    place = tmp_path_factory.mktemp("trim")
    made = cuttable.bert()
    made[0].classifier.weight.data *= 50
    cuttable.saved(made, place / "student")
    labels = ("negative", "positive")
    rows_file(place / "train.csv", sentences(40, 0, COMMON), labels)
    rows_file(place / "same.csv", sentences(30, 1, COMMON), labels)
    rows_file(place / "test.csv", sentences(60, 2), labels)
    rows_file(place / "dev.csv", sentences(20, 3), labels)
    rows_file(place / "other.csv", sentences(20, 4), ("good", "bad"))
    rows_file(place / "values.csv", sentences(40, 5), ("0.25", "1.5", "2.75"))
    (place / "text.txt").write_text("\n".join(sentences(30, 6, RARE)) + "\n")
    for part, count in (("train", 40), ("dev", 20)):
        path = place / "glue" / "SST-2" / f"{part}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{text}\t{len(text) % 2}" for text in sentences(count, count, COMMON)]
        path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return place


def trimmed(place: Path, output: Path, **settings: Any) -> dict[str, Any]:
    files = {n: str(place / settings.pop(n)) for n in ("data", "dev", "test") if n in settings}
    return tinybert.trim(
        model=place / "student", output=output, max_length=64, quiet=True, **files, **settings
    )


def test_rows_of_known_words_score_the_same(place: Path, tmp_path: Path) -> None:
    found = trimmed(place, tmp_path / "small", data="train.csv", test="same.csv")
    assert found["scores"]["before"] == found["scores"]["after"]
    assert found["coverage"]["share_of_words_kept"] == 1
    for directory in (place / "student", tmp_path / "small"):
        scored = tinybert.evaluate(
            model=directory, data=place / "same.csv", max_length=64, quiet=True
        )
        assert scored["scores"] == found["scores"]["after"]
    assert found["after"]["parameters"] < found["before"]["parameters"]
    written = json.loads((tmp_path / "small" / "vocabulary.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(found))


def test_rows_of_other_words_tell_what_is_lost(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--data {place}/train.csv --dev {place}/dev.csv --test {place}/test.csv".split()
    words += ["--max-length", "64", "--output", str(tmp_path / "small")]
    assert main(["trim", str(place / "student"), *words]) == 0
    printed = capsys.readouterr()
    found = json.loads((tmp_path / "small" / "vocabulary.json").read_text("utf-8"))
    coverage, scores = found["coverage"], found["scores"]
    assert coverage["texts"] == 80
    assert 0.2 < coverage["share_of_words_kept"] < 0.9
    assert coverage["tokens_after"] > coverage["tokens"]
    assert coverage["unknown_rate_after"] == coverage["unknown_rate"] == 0
    for name, directory in (("before", place / "student"), ("after", tmp_path / "small")):
        wanted = tinybert.evaluate(
            model=directory, data=place / "test.csv", max_length=64, quiet=True
        )
        assert scores[name] == wanted["scores"]
    assert f"pieces             {found['before']['pieces']}" in printed.out
    assert "read as before, on dev and test rows" in printed.err
    assert f"{scores['after']['accuracy']:.4f}" in printed.out
    card = (tmp_path / "small" / "README.md").read_text("utf-8")
    assert f"accuracy before {scores['before']['accuracy']:.4f}" in card


def test_text_and_rows_are_counted_together(place: Path, tmp_path: Path) -> None:
    rows = trimmed(place, tmp_path / "rows", data="train.csv")
    text = trimmed(place, tmp_path / "text", corpus=place / "text.txt")
    both = trimmed(place, tmp_path / "both", data="train.csv", corpus=[place / "text.txt"])
    assert rows["coverage"]["share_of_words_kept"] == 1
    assert (text["compared_on"], text["scores"]) == ("a tenth of the text, by the rest", {})
    assert both["texts"] == rows["texts"] + text["texts"]
    vocabularies = [
        {*AutoTokenizer.from_pretrained(tmp_path / name).get_vocab()}
        for name in ("rows", "text", "both")
    ]
    assert vocabularies[0] | vocabularies[1] == vocabularies[2]


def test_a_glue_task(place: Path, tmp_path: Path) -> None:
    found = trimmed(place, tmp_path / "small", task="sst-2", data="glue", pieces=120)
    assert found["after"]["pieces"] <= 120
    scored = tinybert.evaluate(
        model=tmp_path / "small", task="sst-2", data=place / "glue", max_length=64, quiet=True
    )
    assert scored["scores"] == found["scores"]["after"]


def test_an_encoder_has_no_score(place: Path, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(place / "student")
    encoder = cuttable.saved(
        (model, AutoTokenizer.from_pretrained(place / "student")), tmp_path / "e"
    )
    found = tinybert.trim(
        model=encoder, data=place / "train.csv", output=tmp_path / "small", quiet=True
    )
    assert found["scores"] == {}
    assert found["coverage"]["texts"] == 4
    assert found["difference"] < 1e-6


def test_a_dry_run_counts_and_writes_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--corpus", str(place / "text.txt"), "--output", str(tmp_path / "new"), "--dry-run"]
    assert main(["trim", "--model", str(place / "student"), *words]) == 0
    assert "a dry run: nothing was written" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--corpus text.txt", "the output directory is missing: give it with --output"),
        ("--output new", "give text with --corpus, or rows with --data"),
        ("--output new --corpus nowhere.txt", "there is no file or directory nowhere.txt"),
        ("--output new --corpus text.txt --pieces 9", "--pieces 9 is too few"),
        ("--output new --corpus text.txt --min-count 0", "--min-count 0 makes no sense"),
        ("--output new --data other.csv", "answers with negative, positive and the rows' labels"),
        (
            "--output new --data values.csv --task regression",
            "student gives 2 classes and the rows' labels were read",
        ),
        ("--output new --data train.csv --max-length 99", "the model takes 80 tokens at most"),
        ("--output new --task rte --data glue", "glue does not hold RTE"),
        ("--output glue --corpus text.txt", "exists already"),
        ("--output . --overwrite --corpus text.txt", "is or holds the current directory"),
        ("--output new --corpus text.txt --model words", "of the kind WordLevel"),
    ],
)
def test_one_sentence_and_nothing_written(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    message: str,
) -> None:
    if not (place / "words").exists():
        tiny.saved_encoder(place / "words")
    monkeypatch.chdir(place)
    there = {path.name for path in place.iterdir()}
    words = flags.split()
    model = [] if "--model" in words else ["student"]
    capsys.readouterr()
    assert main(["trim", *model, *words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert {path.name for path in place.iterdir()} == there
