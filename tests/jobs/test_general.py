"""General distillation: how long it runs, what it keeps and logs, what it tells before."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import tinybert
from support import tiny
from tinybert.errors import TinybertError
from tinybert.jobs.general_plan import steps_of
from tinybert.jobs.pace import Pace
from tinybert.settings import GeneralSettings

FAST: dict[str, Any] = {"precision": "float32", "attention": "direct", "quiet": True}
PACE = Pace(step_seconds=0.5, tokens_per_step=800.0, evaluation_seconds=2.0, peak_bytes=10**9)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("general")
    tiny.saved_encoder(where / "encoder", layers=4, width=32, initializer_range=0.2)
    tiny.corpus_file(where / "corpus.txt", 60)
    pairs = ["sentence1\tsentence2\tscore"]
    texts, _ = tiny.sentences(24)
    pairs += [f"{a}\t{b}\t{i % 6}" for i, (a, b) in enumerate(pairwise(texts))]
    (where / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    return where


def run(place: Path, output: Path, **settings: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "teacher": str(place / "encoder"),
        "corpus": [str(place / "corpus.txt")],
        "student": "2x16",
        "max_length": 32,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "held_out": 8,
        **FAST,
    }
    return tinybert.general(output=output, **(asked | settings))


def log_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


# --- how long -------------------------------------------------------------------------------------


def test_steps_follow_from_what_was_asked() -> None:
    def steps(**asked: Any) -> int:
        return steps_of(GeneralSettings(batch_size=10, **asked), 95, 9500.0, PACE)

    assert steps() == 30  # three epochs
    assert steps(epochs=0.5) == 5
    assert steps(steps=7) == 7
    assert steps(tokens="1900") == 2
    assert steps(tokens="1901") == 3
    # 100 s less eleven evaluations of two seconds, at half a second a step
    assert steps(budget="100s") == 156
    assert steps(budget="100s", evaluations=1) == 192
    with pytest.raises(TinybertError, match="--budget 10s does not last for one step here"):
        steps(budget="10s")


@pytest.mark.parametrize(
    "two",
    [{"epochs": 1, "steps": 2}, {"tokens": "1k", "budget": "5m"}, {"steps": 2, "tokens": "9"}],
)
def test_only_one_length_makes_sense(place: Path, tmp_path: Path, two: dict[str, Any]) -> None:
    with pytest.raises(TinybertError, match=" and .* both say how long to train"):
        run(place, tmp_path / "out", **two)
    assert not list(tmp_path.iterdir())


def test_a_budget_becomes_steps_once(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on takes the steps that were found when it began, whatever the speed now."""
    output = tmp_path / "out"

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinybert.jobs.pace.measure_pace", lambda *_: PACE)
        patch.setattr("tinybert.stages.Run.run", stop)
        with pytest.raises(KeyboardInterrupt):
            run(place, output, budget="30s")
    assert json.loads((tmp_path / "out.run" / "pace.json").read_text())["step_seconds"] == 0.5
    slower = Pace(50.0, 1.0, 50.0, 0)
    monkeypatch.setattr("tinybert.jobs.pace.measure_pace", lambda *_: slower)
    results = run(place, output, budget="30s", resume=True)
    assert results["stages"][0]["steps"] == 16  # (30 - 11 x 2) / 0.5


def test_a_real_budget_is_about_kept(place: Path, tmp_path: Path) -> None:
    results = run(place, tmp_path / "out", budget="4s", evaluations=2)
    (stage,) = results["stages"]
    assert stage["steps"] > 1
    assert stage["seconds"] < 30  # the machine may be busy; a run by epochs of hours would not be
    assert results["settings"]["budget"] == "4s"
    assert results["tokens"] > 0


# --- what is logged and kept ----------------------------------------------------------------------


def test_held_out_losses_are_logged_from_the_start(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path / "out", steps=12, evaluations=4)
    log = log_of(tmp_path / "out")
    held = [entry for entry in log if "eval_loss" in entry]
    assert [entry["step"] for entry in held] == [0, 3, 6, 9, 12]
    for entry in held:
        assert entry["stage"] == "general"
        parts = entry["eval_embedding"] + entry["eval_attention"] + entry["eval_hidden"]
        assert entry["eval_loss"] == pytest.approx(parts)
    assert held[-1]["eval_loss"] < held[0]["eval_loss"]
    seconds = [entry["seconds"] for entry in held]
    assert seconds == sorted(seconds)


def test_the_best_weights_are_kept_on_demand(place: Path, tmp_path: Path) -> None:
    """A learning rate that ruins the student: the start is the best there is."""
    common = {"steps": 6, "evaluations": 3, "learning_rate": 3.0, "warmup": 0.0}
    run(place, tmp_path / "last", **common)
    run(place, tmp_path / "best", keep="best", **common)
    held = [e for e in log_of(tmp_path / "best") if "eval_loss" in e]
    best = min(held, key=lambda entry: entry["eval_loss"])
    assert best["step"] == 0, "the rate was meant to ruin the student"
    run(place, tmp_path / "start", steps=1, learning_rate=1e-30, warmup=0.0)
    weights = {n: load_file(tmp_path / n / "model.safetensors") for n in ("last", "best", "start")}
    for name, tensor in weights["start"].items():
        assert abs(weights["best"][name] - tensor).max() < 1e-6, name
    assert any(abs(weights["last"][n] - t).max() > 0.1 for n, t in weights["start"].items())


def test_similarities_are_watched(place: Path, tmp_path: Path) -> None:
    results = run(place, tmp_path / "out", steps=4, evaluations=2, watch=str(place / "pairs.tsv"))
    held = [e for e in log_of(tmp_path / "out") if "eval_loss" in e]
    assert len(held) == 3
    for entry in [*held, results["held_out"]]:
        assert -1 <= entry["eval_similarity_spearman"] <= 1
        assert -1 <= entry["eval_similarity_agreement"] <= 1


def test_watching_changes_no_training(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path / "plain", steps=4)
    run(place, tmp_path / "watched", steps=4, watch=str(place / "pairs.tsv"), evaluations=4)
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "watched"))
    assert a == b


# --- the corpus -----------------------------------------------------------------------------------


def test_a_built_corpus_is_the_same_text(place: Path, tmp_path: Path) -> None:
    tinybert.corpus_build(
        corpus=[str(place / "corpus.txt")],
        teacher=str(place / "encoder"),
        max_length=32,
        output=tmp_path / "corpus",
        quiet=True,
    )
    run(place, tmp_path / "raw", steps=4)
    run(place, tmp_path / "built", steps=4, corpus=[str(tmp_path / "corpus")])
    run(place, tmp_path / "own", steps=4, corpus=[str(tmp_path / "corpus")], max_length=None)
    raw, built, own = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("raw", "built", "own")
    )
    assert raw == built == own
    with pytest.raises(TinybertError, match="blocks of 32 tokens"):
        run(place, tmp_path / "other", corpus=[str(tmp_path / "corpus")], max_length=64)
    with pytest.raises(TinybertError, match="alone"):
        run(place, tmp_path / "o", corpus=[str(tmp_path / "corpus"), str(place / "corpus.txt")])


# --- before it runs -------------------------------------------------------------------------------


def test_a_dry_run_measures_and_writes_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = run(place, tmp_path / "out", dry_run=True, tokens="100k", evaluations=5)
    assert not list(tmp_path.iterdir())
    assert plan["tokens"] >= 100_000
    assert plan["tokens_per_second"] > 0
    assert plan["training_seconds"] == pytest.approx(
        plan["steps"] * plan["step_seconds"] + 6 * plan["evaluation_seconds"]
    )
    assert plan["disk_bytes"] > 4 * plan["student_parameters"]
    assert plan["peak_memory_bytes"] > 1e7
    assert plan["layer_mapping"] == "1→2 2→4"
    assert "tokens/s" in capsys.readouterr().out
