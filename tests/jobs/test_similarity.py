"""``tinybert evaluate --similarity``: pairs with and without scores, texts, and bad input."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import tinybert
from support import tiny
from tinybert.demo_teacher import demo_teacher_path
from tinybert.errors import TinybertError
from tinybert.jobs.similarity import read_pairs
from tinybert.similarity import cosines, sentence_embeddings
from tinybert.teachers import load_encoder, load_tokenizer

TEXTS, _ = tiny.sentences(31)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny.saved_encoder(tmp_path / "student")
    tiny.saved_encoder(tmp_path / "teacher", layers=4, width=32)
    return tmp_path


def write(path: Path, head: str, rows: list[str]) -> str:
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


def scored(path: Path, scores: list[str]) -> str:
    rows = [f"{TEXTS[i]}\t{TEXTS[i + 1]}\t{score}" for i, score in enumerate(scores)]
    return write(path / "pairs.tsv", "sentence1\tsentence2\tscore", rows)


def similarity(place: Path, pairs: str, **more: Any) -> dict[str, Any]:
    return tinybert.evaluate(model=str(place / "student"), similarity=pairs, quiet=True, **more)


def test_figures_of_student_and_teacher(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = [f"{i * 7 % 11}.5" for i in range(30)]
    results = similarity(
        place, scored(place, scores), teacher=str(place / "teacher"), json=place / "f.json"
    )
    own = {}
    for name in ("student", "teacher"):
        model, tokenizer = load_encoder(place / name), load_tokenizer(place / name)
        pairs = read_pairs(str(place / "pairs.tsv"), tokenizer)
        vectors = sentence_embeddings(model, pairs.rows)
        own[name] = cosines(vectors[0::2], vectors[1::2])
    wanted = np.array([float(s) for s in scores])
    assert results["similarity_spearman"] == pytest.approx(spearmanr(own["student"], wanted)[0])
    assert results["similarity_agreement"] == pytest.approx(spearmanr(*own.values())[0])
    its = results["teacher"]["similarity_spearman"]
    assert its == pytest.approx(spearmanr(own["teacher"], wanted)[0])
    assert results["pairs"] == 30
    assert json.loads((place / "f.json").read_text())["pairs"] == 30
    out = capsys.readouterr().out
    assert "Spearman against the teacher's" in out
    assert f"{its:.4f}" in out


def test_without_scores_the_teacher_is_asked(place: Path) -> None:
    rows = [f"{a}\t{b}" for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    pairs = write(place / "pairs.tsv", "text_a\ttext_b", rows)
    results = similarity(place, pairs, teacher=str(place / "student"))
    assert results["similarity_agreement"] == pytest.approx(1)
    assert results["similarity_gap"] == pytest.approx(0, abs=1e-7)
    assert "similarity_spearman" not in results


def test_a_text_of_sentences_gives_pairs(place: Path) -> None:
    text = write(place / "text.txt", TEXTS[0], TEXTS[1:])
    results = similarity(place, text, teacher=str(place / "teacher"))
    assert results["pairs"] == 10_000
    assert -1 <= results["similarity_agreement"] < 1
    pairs = read_pairs(text, tiny.tokenizer())
    assert not np.any(pairs.first == pairs.second)
    assert len(pairs.rows) == 31


def test_models_of_other_tokens_read_the_same_texts(place: Path) -> None:
    """Their token ids differ, their sentences do not."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["a", "b", "c"])
    tiny.encoder(vocab_size=tiny.VOCABULARY + 3).save_pretrained(place / "other")
    tokenizer.save_pretrained(place / "other")
    results = similarity(
        place, scored(place, [str(i) for i in range(20)]), teacher=str(place / "other")
    )
    assert "similarity_agreement" in results


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (["1", "2"], "has 2 pairs: give three or more"),
        (["3"] * 5, "all scores are the same"),
        (["1", "2", "nan", "4"], "no finite number"),
        (["1", "2", "three", "4"], "'three' is no finite number"),
    ],
)
def test_scores_that_rank_nothing(place: Path, scores: list[str], message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        similarity(place, scored(place, scores))


def test_what_makes_no_sense(place: Path) -> None:
    rows = [f"{a}\t{b}" for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    bare = write(place / "bare.tsv", "sentence1\tsentence2", rows)
    with pytest.raises(TinybertError, match="has no scores: name their column with --label, or"):
        similarity(place, bare)
    with pytest.raises(TinybertError, match="has one text a row"):
        similarity(place, write(place / "one.csv", "text", TEXTS))
    with pytest.raises(TinybertError, match="has 2 sentences: give three or more"):
        similarity(place, write(place / "two.txt", "lock thread", ["queue"]))
    with pytest.raises(TinybertError, match="--similarity needs no --data"):
        similarity(place, bare, data="x.csv")
    with pytest.raises(TinybertError, match="takes 128 tokens at most"):
        similarity(place, bare, max_length=4096)
    with pytest.raises(TinybertError, match="there is no directory"):
        similarity(place, bare, json=place / "nowhere" / "f.json")


@pytest.mark.slow
@pytest.mark.skipif("TINYBERT_DATA" not in os.environ, reason="needs STS-B in TINYBERT_DATA")
def test_the_demos_encoder_on_sts_b() -> None:
    """Its own figure, from its makers' way to use it: mean pooling."""
    pairs = Path(os.environ["TINYBERT_DATA"]) / "glue" / "STS-B" / "dev.tsv"
    results = tinybert.evaluate(model=str(demo_teacher_path()), similarity=str(pairs), quiet=True)
    assert results["pairs"] == 1500
    assert results["similarity_spearman"] == pytest.approx(0.867, abs=0.002)
