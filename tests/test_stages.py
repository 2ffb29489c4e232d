"""A run: refused outputs, unfinished runs, stages that are not run twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from support import tiny
from tinybert import stages
from tinybert.errors import TinybertError
from tinybert.evaluation import task_scores
from tinybert.objectives import label_objective
from tinybert.progress import Reporter
from tinybert.stages import Run, Stage, save_student, set_dropout
from tinybert.training import Schedule


def begin(output: Path, settings: dict[str, Any] | None = None, **options: Any) -> Run:
    options = {"precision": "float32", "attention": "direct"} | options
    return Run(output, settings or {"a": 1}, Reporter(quiet=True), **options)


def start(run: Run) -> Path:
    return run.made("start", lambda d: save_student(d, tiny.encoder(), tiny.tokenizer(), None))


def stage(name: str = "labels", **options: Any) -> Stage:
    rows = tiny.rows(24)
    schedule = Schedule(epochs=2, batch_size=8, log_every=1, learning_rate=1e-3)
    return Stage(
        name,
        label_objective(),
        schedule,
        rows,
        labels=tiny.LABELS,
        evaluation=task_scores(rows, "accuracy"),
        metric="accuracy",
        **options,
    )


def test_an_output_that_exists_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(TinybertError, match="exists already"):
        begin(output)
    assert not (tmp_path / "out.run").exists()
    begin(output, overwrite=True)


def test_an_unfinished_run_is_neither_lost_nor_mixed(tmp_path: Path) -> None:
    output, work = tmp_path / "out", tmp_path / "out.run"
    start(begin(output))
    kept = (work / "start" / "model.safetensors").stat()
    with pytest.raises(TinybertError, match="go on with --resume, or start again"):
        begin(output)
    with pytest.raises(TinybertError, match="begun differently \\(a, b\\)"):
        begin(output, {"a": 2, "b": 1}, resume=True)
    resumed = start(begin(output, resume=True))
    assert (resumed / "model.safetensors").stat().st_mtime_ns == kept.st_mtime_ns
    begin(output, {"a": 2}, overwrite=True)
    assert not (work / "start").exists()
    assert json.loads((work / "settings.json").read_text()) == {"a": 2, "processes": 1}


def test_input_that_fits_nothing_leaves_no_run(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise TinybertError("no.")

    run = begin(tmp_path / "out")
    with pytest.raises(TinybertError, match="no"):
        run.made("start", refuse)
    assert not list(tmp_path.iterdir())
    run = begin(tmp_path / "out")
    start(run)
    with pytest.raises(TinybertError):
        run.made("more", refuse)
    assert (tmp_path / "out.run" / "start").is_dir()  # what is done stays


def test_a_disk_that_is_too_small_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path / "out")
    first = start(run)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(TinybertError, match="not enough space"):
        run.run(stage(), first)
    monkeypatch.undo()
    assert run.run(stage(), first).directory.is_dir()


def test_a_finished_stage_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path / "out")
    result = run.run(stage(dropout=0.2), start(run))
    record = result.record
    assert record["steps"] == 6
    assert record["rows"] == 24
    assert record["best"]["metric"] == "accuracy"
    assert 0 <= record["best"]["value"] <= 1
    assert record["objective"][0]["term"] == "labels"
    assert [entry["loss"] for entry in record["log"] if "loss" in entry]
    assert not (tmp_path / "out.run" / "labels.unfinished").exists()

    def refuse(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(stages.DistillationTrainer, "train", refuse)
    again = begin(tmp_path / "out", resume=True)
    second = again.run(stage(), start(again))
    assert second.record == json.loads(json.dumps(record))
    assert again.finished == [second.record]


def test_finish_publishes_and_clears_up(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = begin(output, tensorboard=True)
    result = run.run_all([stage("one"), stage("two")], start(run))
    assert result.directory.name == "two"
    assert run.finish(result, {"results.json": {"score": 1.0}}) == output
    assert json.loads((output / "results.json").read_text()) == {"score": 1.0}
    assert not (output / "stage.json").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    for name in ("one", "two"):
        events = list((output / "tensorboard" / name).glob("events.out.tfevents.*"))
        assert len(events) == 1
        assert b"accuracy" in events[0].read_bytes()


def test_tensorboard_has_to_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(TinybertError, match="pip install"):
        stages._tensorboard(tmp_path)


def test_dropout_is_set_in_modules_and_not_in_the_config() -> None:
    model = tiny.classifier()
    set_dropout(model, 0.3)
    found = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert found
    assert set(found) == {0.3}
    assert model.config.hidden_dropout_prob == 0.0
