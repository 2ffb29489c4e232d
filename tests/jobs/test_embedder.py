"""``tinybert embedder``: what it learns, what it writes, plans, and bad input."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

import tinybert
from support import tiny
from support.mistakes import tree
from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.jobs.embedder_plan import (
    EmbeddingPlan,
    plan_by_budget,
    plan_by_steps,
    plan_embedding,
)
from tinybert.jobs.embedder_rows import Sentences
from tinybert.jobs.embedder_stage import principal_axes
from tinybert.jobs.pace import Pace
from tinybert.projections import Projections
from tinybert.sentence_modules import SentenceHead, read_head, write_head
from tinybert.settings import EmbedderSettings
from tinybert.similarity import cosines, sentence_embeddings
from tinybert.teachers import load_encoder, load_tokenizer

FAST: dict[str, Any] = {
    "precision": "float32",
    "teacher_precision": "float32",
    "attention": "direct",
    "quiet": True,
}
TEXTS, _ = tiny.sentences(120, seed=5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder, one with a dense layer, a plain encoder; text; pairs of sentences."""
    where = tmp_path_factory.mktemp("embedder")
    tiny.saved_encoder(where / "teacher", layers=4, width=32, initializer_range=0.3)
    more: dict[str, Any] = {"similarity": "dot", "prompts": {"query": "open: "}}
    write_head(where / "teacher", SentenceHead("mean", normalise=True, longest=64, **more), 32)
    tiny.saved_encoder(where / "plain", layers=2, width=32, initializer_range=0.3)
    shutil.copytree(where / "teacher", where / "dense")
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(32, 12), nn.Tanh())
    write_head(where / "dense", SentenceHead("cls", [layer]), 32)
    tiny.saved_classifier(where / "classifier", layers=2, width=32)
    tiny.corpus_file(where / "corpus.txt", 60)
    many, _ = tiny.sentences(1500, seed=6)
    (where / "many.txt").write_text("\n".join(many) + "\n")
    (where / "lines.txt").write_text("\n".join([*TEXTS, "", *TEXTS[:5]]) + "\n")
    rows = [f"{a}\t{b}\t{i % 7}" for i, (a, b) in enumerate(pairwise(TEXTS))]
    head = "sentence1\tsentence2\tscore"
    (where / "pairs.tsv").write_text("\n".join([head, *rows[:30]]) + "\n")
    (where / "rows.tsv").write_text("\n".join([head, *rows]) + "\n")
    return where


def run(place: Path, output: Path, teacher: str = "teacher", **settings: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "teacher": str(place / teacher),
        "corpus": [str(place / "corpus.txt")],
        "student": "2x16",
        "general_steps": 4,
        "general_batch_size": 16,
        "steps": 30,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "max_length": 24,
        "held_out": 20,
        "evaluations": 2,
        **FAST,
    }
    return tinybert.embedder(output=output, **(asked | settings))


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("made") / "out"
    pairs = str(place / "pairs.tsv")
    more = {"sentences": place / "many.txt", "steps": 90, "learning_rate": 3e-3}
    return output, run(place, output, matryoshka="16,8", watch=pairs, **more)


def vectors(directory: Path, texts: list[str] = TEXTS) -> np.ndarray:
    head = read_head(directory)
    assert head is not None
    rows = tokenize(load_tokenizer(directory), [(t,) for t in texts], head.longest or 64)
    return sentence_embeddings(load_encoder(directory), rows, head)


# --- what comes out -------------------------------------------------------------------------------


def test_the_directory_is_a_sentence_encoder(made: tuple[Path, dict[str, Any]]) -> None:
    output, results = made
    head = read_head(output)
    assert head is not None
    assert head.told == "mean of the states, a dense layer to 32, length 1"
    assert head.longest == 24
    assert (head.similarity, head.prompts) == ("dot", {"query": "open: "})  # the teacher's
    assert json.loads((output / "results.json").read_text())["vector"] == results["vector"]
    assert results["vector"]["sizes"] == [16, 8]
    assert not results["vector"]["teachers_space"]
    assert not (output / "projections.safetensors").exists()  # they lead to a space that was turned
    np.testing.assert_allclose(np.linalg.norm(vectors(output), axis=1), 1, atol=1e-5)
    assert [stage["name"] for stage in results["stages"]] == ["general", "embedding"]


def test_it_learns(made: tuple[Path, dict[str, Any]], place: Path) -> None:
    """Losses fall at every size, and vectors agree with the teacher's more than before."""
    output, _ = made
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    held = [e for e in log if e["stage"] == "embedding" and "eval_loss" in e]
    assert [entry["step"] for entry in held] == [0, 45, 90]
    assert held[-1]["eval_sentence"] < 0.8 * held[0]["eval_sentence"]
    assert any("terms/sentence.8" in entry for entry in log)
    assert {"eval_similarity_spearman", "eval_similarity_spearman_8"} <= held[0].keys()


def test_figures_are_those_of_the_directory(made: tuple[Path, dict[str, Any]], place: Path) -> None:
    output, results = made
    pairs = str(place / "pairs.tsv")
    found = tinybert.evaluate(model=output, similarity=pairs, teacher=place / "teacher", quiet=True)
    told = results["similarity"]
    assert told["pairs"] == found["pairs"] == 30
    for name, value in told["student"].items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert results["student"]["score"] == told["student"]["similarity_spearman"]
    assert results["teacher"]["score"] == told["teacher"]["similarity_spearman"]
    assert found["teacher"]["similarity_spearman"] == results["teacher"]["score"]
    own = vectors(output)[:, :8]
    wanted = cosines(own[:30], own[1:31])
    texts = TEXTS[:31]
    other = vectors(output, texts)[:, :8]
    np.testing.assert_allclose(cosines(other[:30], other[1:]), wanted, atol=1e-5)
    assert set(told["sizes"]) == {"16", "8"}


def test_the_card(made: tuple[Path, dict[str, Any]]) -> None:
    card = ModelCard.load(made[0] / "README.md")
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.library_name == "sentence-transformers"
    assert "A sentence encoder (bert, 2 layers × 16), distilled from teacher" in card.text
    assert "SentenceTransformer(" in card.text
    assert "| first 8 numbers |" in card.text
    assert "It has no task head" not in card.text


def test_their_package_loads_it(made: tuple[Path, dict[str, Any]]) -> None:
    package = pytest.importorskip("sentence_transformers", reason="not a dependency")
    model = package.SentenceTransformer(str(made[0]), device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS), vectors(made[0]), atol=1e-5)
    short = package.SentenceTransformer(str(made[0]), device="cpu", truncate_dim=8)
    np.testing.assert_allclose(short.encode(TEXTS), vectors(made[0])[:, :8], atol=1e-5)


def test_the_teachers_space_is_kept_without_sizes(place: Path, tmp_path: Path) -> None:
    results = run(place, tmp_path / "out", steps=80)
    assert results["vector"]["teachers_space"]
    assert results["metric"] is None
    own, theirs = vectors(tmp_path / "out"), vectors(place / "teacher")
    assert cosines(own, theirs).mean() > 0.5
    assert Projections.load(tmp_path / "out").teacher_width == 32


def test_a_teacher_with_a_dense_layer_and_lines(place: Path, tmp_path: Path) -> None:
    """Its vectors are not of its states' width; lengths are learned with squares."""
    results = run(
        *(place, tmp_path / "out", "dense"),
        corpus=[],
        sentences=place / "lines.txt",
        general_steps=0,
        sentence_loss="mse",
        steps=60,
    )
    assert results["vector"]["told"] == "state of the first token, a dense layer to 12"
    assert results["sentences"] == len(set(TEXTS)) - len(set(TEXTS)) // 10
    own, theirs = vectors(tmp_path / "out"), vectors(place / "dense")
    assert np.square(own - theirs).mean() < 0.75 * np.square(theirs - theirs.mean(0)).mean()


def test_fewer_dimensions_of_a_plain_encoder_from_rows(place: Path, tmp_path: Path) -> None:
    results = run(
        *(place, tmp_path / "out", "plain"),
        sentences=[str(place / "rows.tsv")],
        dimensions=10,
        pooling="cls",
        steps=5,
    )
    assert results["vector"]["dimensions"] == 10
    assert results["vector"]["pooling"] == "cls"
    assert vectors(tmp_path / "out").shape == (len(TEXTS), 10)


def test_a_student_goes_on_and_a_built_corpus_gives_sentences(place: Path, tmp_path: Path) -> None:
    tinybert.corpus_build(
        corpus=place / "corpus.txt",
        teacher=place / "teacher",
        output=tmp_path / "corpus",
        max_length=24,
        quiet=True,
    )
    run(place, tmp_path / "first", corpus=tmp_path / "corpus", steps=2)
    results = run(
        *(place, tmp_path / "second"),
        corpus=tmp_path / "corpus",
        student=str(tmp_path / "first"),
        general_steps=None,
        steps=None,
        epochs=1,
    )
    assert [stage["name"] for stage in results["stages"]] == ["embedding"]
    assert results["stages"][0]["steps"] == -(-results["sentences"] // 32)


def test_a_stopped_run_goes_on_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, tmp_path / "whole", matryoshka="8")

    class StoppedError(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("tinybert.jobs.embedder.embedding_stage", stop)
        with pytest.raises(StoppedError):
            run(place, tmp_path / "out", matryoshka="8")
    run(place, tmp_path / "out", matryoshka="8", resume=True)
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        whole, resumed = (tmp_path / d / name for d in ("whole", "out"))
        assert whole.read_bytes() == resumed.read_bytes()


class StopError(Exception):
    """Enough has been seen."""


def test_the_sentences_that_were_read_are_known(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not their file's size alone: a resumed run may find others of as many bytes."""
    seen: list[str] = []

    def opened(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        seen.append(inputs["sentences read"])
        raise StopError

    monkeypatch.setattr("tinybert.jobs.embedder.open_run", opened)
    lines = tmp_path / "lines.txt"
    for text in ("\n".join(TEXTS), "\n".join(TEXTS), "\n".join(TEXTS)[::-1]):
        lines.write_text(text)
        with pytest.raises(StopError):
            run(place, tmp_path / "out", sentences=lines, general_steps=0)
    assert seen[0] == seen[1] != seen[2]


def test_what_is_watched_is_cut_and_pooled_as_in_training(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watched(pairs: Any, _: Any, pooling: str) -> None:
        assert pairs.rows.lengths.max() == 6
        assert pooling == "cls"
        raise StopError

    monkeypatch.setattr("tinybert.jobs.embedder.similarity_watch", watched)
    pairs = str(place / "pairs.tsv")
    with pytest.raises(StopError):
        run(place, tmp_path / "out", "dense", watch=pairs, max_length=6)


def test_a_student_on_the_hub_needs_no_corpus(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(*_: Any) -> None:
        raise StopError

    module = "tinybert.jobs.embedder"
    monkeypatch.setattr(f"{module}.local_student", lambda *_: str(place / "plain"))
    monkeypatch.setattr(f"{module}.teacher_head", enough)
    more = {"student": "org/name", "general_steps": None, "corpus": []}
    with pytest.raises(StopError):
        run(place, tmp_path / "out", sentences=place / "lines.txt", **more)


def test_a_student_of_fewer_positions(place: Path, tmp_path: Path) -> None:
    """Sentences are cut to what both models take; blocks of text are not."""
    short = str(tiny.saved_encoder(tmp_path / "short", width=16, max_position_embeddings=9))
    more = {"student": short, "sentences": place / "rows.tsv", "watch": str(place / "pairs.tsv")}
    results = run(place, tmp_path / "out", **more, general_steps=0, steps=2)
    assert results["max_length"] == 9
    with pytest.raises(TinybertError, match=r"short takes 9 tokens at most, 24 were asked for"):
        run(place, tmp_path / "none", student=short)
    with pytest.raises(TinybertError, match=r"short takes 9 tokens at most, 24 were asked for"):
        tinybert.general(
            teacher=place / "teacher",
            corpus=place / "corpus.txt",
            output=tmp_path / "none",
            student=short,
            max_length=24,
            quiet=True,
        )
    assert not (tmp_path / "none").exists()


# --- how long -------------------------------------------------------------------------------------


def test_a_budget_becomes_rows_and_steps() -> None:
    pace = Pace(step_seconds=2.0, tokens_per_step=1e3, evaluation_seconds=1.0, peak_bytes=0)
    settings = EmbedderSettings(budget="1h", batch_size=100, epochs=3, evaluations=4)
    plan = plan_by_budget(settings, 10**6, 605.0, pace, a_row=0.04)
    assert plan.rows == 6000  # 600 s: 0.04 s in the teacher and three times 0.02 s in the student
    assert plan.steps == 180
    few = plan_by_budget(settings, 1000, 605.0, pace, a_row=0.04)
    assert (few.rows, few.steps) == (1000, 280)
    with pytest.raises(TinybertError, match="--budget 1h does not last for one step of the embed"):
        plan_by_budget(settings, 1000, 4.0, pace, a_row=0.04)


def test_the_teacher_runs_no_sentence_that_is_never_learned() -> None:
    settings = EmbedderSettings(steps=3, batch_size=10)
    assert plan_by_steps(settings, 1000).rows == 30
    assert plan_by_steps(settings, 20).rows == 20
    assert plan_by_steps(EmbedderSettings(epochs=2, batch_size=10), 95).steps == 20


def test_a_late_process_meets_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main one may have written the plan before another one looks for it."""
    waited: list[int] = []
    state = SimpleNamespace(wait_for_everyone=lambda: waited.append(1))
    late: Any = SimpleNamespace(work=tmp_path, is_main=False, state=state)
    (tmp_path / "embedding.json").write_text('{"rows": 30, "steps": 3}')
    module = "tinybert.jobs.embedder_plan"
    monkeypatch.setattr(f"{module}.broadcast_object_list", lambda _: [False])  # what main saw
    unread: Any = None
    rows = Sentences(tiny.rows(40), tiny.rows(4))
    settings = EmbedderSettings(steps=3, batch_size=10)
    plan = plan_embedding(late, settings, unread, unread, rows, tmp_path)
    assert plan == EmbeddingPlan(30, 3)
    assert waited == [1]


def test_budget_and_plan(place: Path, tmp_path: Path) -> None:
    """Both stages are measured; nothing is left behind by a plan."""
    more = {"budget": "20s", "general_steps": None, "steps": None, "matryoshka": "8"}
    plan = run(place, tmp_path / "out", dry_run=True, **more)
    assert plan["general"]["steps"] >= 1
    assert plan["steps"] >= 1
    assert [*tmp_path.iterdir()] == []
    plan = run(place, tmp_path / "out", dry_run=True, general_steps=0)
    assert plan["general"] is None
    assert plan["steps"] == 30


# --- axes -----------------------------------------------------------------------------------------


def test_principal_axes_keep_products_best() -> None:
    rng = np.random.default_rng(0)
    found = (rng.normal(size=(300, 12)) * np.linspace(3, 0.1, 12)).astype(np.float32)
    found = found @ np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    axes = principal_axes(found, 12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(12), atol=1e-5)
    turned = found @ axes.T
    np.testing.assert_allclose(turned @ turned.T, found @ found.T, atol=1e-3)
    for size in (2, 5):
        gram = found.astype(np.float64) @ found.T
        own = np.linalg.norm(gram - turned[:, :size] @ turned[:, :size].T)
        best = np.sqrt((np.sort(np.linalg.eigvalsh(gram))[: 300 - size] ** 2).sum())
        assert own == pytest.approx(best, rel=1e-3)
    np.testing.assert_array_equal(principal_axes(found, 5), axes[:5])


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "classifier"}, "is a classifier, whose vectors say what its labels say"),
        ({"matryoshka": "64"}, "has a size that is not below the 32 numbers of the whole vector"),
        ({"matryoshka": "16", "dimensions": 12}, "not below the 12 numbers"),
        ({"matryoshka": "8,16"}, "give different sizes from the largest to the smallest"),
        ({"matryoshka": "8,8"}, "give different sizes from the largest to the smallest"),
        ({"matryoshka": "8,1"}, "2 or more each"),
        ({"matryoshka": "8,x"}, "give whole numbers with commas, such as 256,128,64"),
        ({"dimensions": 33}, "--dimensions 33 is more than the teacher's vector has: give 32"),
        ({"pooling": "cls"}, "pools by mean, and --pooling cls was asked for"),
        ({"budget": "5m"}, "--budget and --steps both say how long to train"),
        ({"budget": "5", "steps": None}, "--budget 5 is no time"),
        ({"corpus": []}, "the corpus is missing: give it with --corpus"),
        ({"corpus": "few.txt", "general_steps": 0}, "gives 1 different sentences: give text of 16"),
        ({"sentences": "empty.txt"}, "empty.txt holds no text: it is empty"),
        ({"sentences": "nowhere.txt"}, "nowhere.txt"),
        ({"teacher": "nobody"}, "there is no model directory .*nobody"),
        ({"student": "2x16", "start": "layers"}, "layers"),
    ],
)
def test_what_cannot_be(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "few.txt").write_text("One sentence stands here.\n1.\n2.\n")
    (tmp_path / "empty.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(TinybertError, match=message):
        run(place, tmp_path / "out", **settings)
    assert tree(tmp_path) == before


def test_a_pooling_that_there_is_not(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "teacher", tmp_path / "odd")
    config = {"word_embedding_dimension": 32, "pooling_mode_lasttoken": True}
    (tmp_path / "odd" / "1_Pooling" / "config.json").write_text(json.dumps(config))
    with pytest.raises(TinybertError, match="pools its states by lasttoken, and there are mean"):
        run(tmp_path, tmp_path / "out", "odd", corpus=[str(place / "corpus.txt")])
    with pytest.raises(TinybertError, match="pools its states by lasttoken, and there are mean"):
        tinybert.evaluate(model=tmp_path / "odd", similarity=str(place / "pairs.tsv"), quiet=True)
