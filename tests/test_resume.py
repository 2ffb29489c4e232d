"""A run killed at any moment of any stage, then resumed, ends with the same weights to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import tiny
from support.killed import run_job, weights

STEP = "tinybert.training:DistillationTrainer.training_step"
SEAL = "tinybert.checkpoints:seal"
PUBLISH = "tinybert.checkpoints:publish"
EVALUATE = "tinybert.training:DistillationTrainer.evaluate"
SAVE = "tinybert.stages:save_student"


def finish(verb: str, settings: dict[str, Any], kills: list[tuple[str, int, bool]]) -> None:
    """Kill the run at each moment in turn, then let it finish."""
    output = Path(settings["output"])
    for i, kill in enumerate(kills):
        assert run_job(verb, settings | {"resume": i > 0}, kill) == -9, kill
        assert not output.exists()
    assert run_job(verb, settings | {"resume": True}) == 0
    assert not list(output.parent.glob(f"{output.name}.run*"))
    assert not list(output.parent.glob("*.partial-*"))


@pytest.fixture
def general(tmp_path: Path) -> dict[str, Any]:
    teacher = tiny.saved_encoder(tmp_path / "teacher", layers=4, width=32)
    return {
        "teacher": str(teacher),
        "corpus": [str(tiny.corpus_file(tmp_path / "corpus.txt"))],
        "student": "2x16",
        "max_length": 16,
        "epochs": 2,
        "batch_size": 32,
        "dropout": 0.1,  # random states must come back too
        "precision": "float32",
        "attention": "direct",
    }


def test_general_stage(general: dict[str, Any], tmp_path: Path) -> None:
    assert run_job("general", general | {"output": tmp_path / "unbroken"}) == 0
    killed = general | {"output": tmp_path / "killed"}
    kills = [
        ("tinybert.corpus.build:write_shard", 1, False),  # before there is anything
        ("tinybert.corpus.build:read_manifest", 1, True),  # the corpus is written, not in place
        ("tinybert.jobs.students:save_student", 1, True),  # the start is written, not in place
        (STEP, 2, True),  # before the first checkpoint
        (SEAL, 1, False),  # the first checkpoint is half-written
        (PUBLISH, 1, False),  # whole, but not in place
        (STEP, 4, False),
        (EVALUATE, 1, True),
        (SAVE, 1, False),  # training is over, the student not yet written
    ]
    finish("general", killed, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_what_was_measured_is_read_again(general: dict[str, Any], tmp_path: Path) -> None:
    """What ``auto`` chose at first holds for the whole run, whatever would be measured later."""
    settings = general | {
        "output": tmp_path / "student",
        "precision": "auto",
        "teacher_precision": "auto",
        "attention": "auto",
    }
    file = tmp_path / "student.run" / "choices.json"
    assert run_job("general", settings, (STEP, 2, True)) == -9
    first = (file.read_bytes(), file.stat().st_mtime_ns)
    chosen = json.loads(first[0])
    assert chosen["precision"] in ("float32", "bfloat16")
    assert chosen["attention"] in ("direct", "fused")
    assert run_job("general", settings | {"resume": True}, (STEP, 3, True)) == -9
    assert (file.read_bytes(), file.stat().st_mtime_ns) == first
    assert run_job("general", settings | {"resume": True}) == 0
    assert (tmp_path / "student" / "model.safetensors").is_file()


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    return {
        "teacher": str(tiny.saved_classifier(tmp_path / "teacher", layers=4, width=32)),
        "data": tiny.task_file(tmp_path / "train.csv", 200),
        "student": "2x16",
        "intermediate_epochs": 3,
        "prediction_epochs": 3,
        "prediction_learning_rate": 1e-2,
        "evaluations": 3,
        "batch_size": 16,
        "dropout": 0.1,
        "precision": "float32",
        "attention": "direct",
    }


def test_task_stages(task: dict[str, Any], tmp_path: Path) -> None:
    assert run_job("distill", task | {"output": tmp_path / "unbroken"}) == 0
    steps = 3 * -(-180 // 16)
    kills = [
        (STEP, 15, True),  # intermediate stage
        (SEAL, 1, True),
        (STEP, steps - 20, True),  # intermediate or prediction, as far as it came
        (EVALUATE, 2, True),
        (STEP, 5, False),
    ]
    finish("distill", task | {"output": tmp_path / "killed"}, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_best_weights_half_written(task: dict[str, Any], tmp_path: Path) -> None:
    settings = task | {"intermediate_epochs": 0, "prediction_epochs": 1}
    assert run_job("distill", settings | {"output": tmp_path / "unbroken"}) == 0
    killed = settings | {"output": tmp_path / "killed"}
    # The stage's first file is that of the best weights; it is written, not yet in place.
    assert run_job("distill", killed, ("tinybert.training:save_model", 1, True)) == -9
    run = tmp_path / "killed.run"
    assert not list(run.rglob("best-*.safetensors"))
    (partial,) = run.rglob(".best-*.safetensors.partial-*")
    with partial.open("r+b") as file:
        file.truncate(partial.stat().st_size // 2)
    finish("distill", killed | {"resume": True}, [])
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_head_that_starts_from_the_teacher(task: dict[str, Any], tmp_path: Path) -> None:
    settings = task | {"head": "teacher", "intermediate_epochs": 2, "prediction_epochs": 2}
    assert run_job("distill", settings | {"output": tmp_path / "unbroken"}) == 0
    kills = [
        (STEP, 5, True),
        ("tinybert.jobs.task_stages:fit_heads", 1, False),  # intermediate stage done
        ("tinybert.jobs.task_stages:fit_heads", 1, True),  # fitted, nothing of it kept
        (STEP, 6, True),
        (EVALUATE, 1, True),
    ]
    finish("distill", settings | {"output": tmp_path / "killed"}, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_finetuning(tmp_path: Path) -> None:
    settings = {
        "model": str(tiny.saved_encoder(tmp_path / "encoder")),
        "data": tiny.task_file(tmp_path / "train.csv", 100),
        "epochs": 3,
        "learning_rate": 1e-2,
        "batch_size": 16,
        "precision": "float32",
        "attention": "direct",
    }
    assert run_job("finetune", settings | {"output": tmp_path / "unbroken"}) == 0
    kills = [(STEP, 8, True), (PUBLISH, 1, True), (EVALUATE, 1, True)]
    finish("finetune", settings | {"output": tmp_path / "killed"}, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_masked_language_model(tmp_path: Path) -> None:
    """In both stages: the head's, with a frozen encoder, and that of all weights."""
    model = tiny.saved_encoder(tmp_path / "encoder", hidden_dropout_prob=0.1)
    settings = {
        "model": str(model),
        "corpus": [str(tiny.corpus_file(tmp_path / "corpus.txt"))],
        "max_length": 16,
        "head_steps": 12,
        "steps": 12,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "precision": "float32",
        "attention": "direct",
    }
    assert run_job("mlm", settings | {"output": tmp_path / "unbroken"}) == 0
    kills = [
        (STEP, 3, True),  # the head's stage
        (SEAL, 1, True),
        (EVALUATE, 2, True),
        (STEP, 12, True),  # that of all weights, as far as it came
        (PUBLISH, 1, True),
        (STEP, 2, False),
    ]
    finish("mlm", settings | {"output": tmp_path / "killed"}, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")
