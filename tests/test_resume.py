"""A run killed at any moment of any stage, then resumed, ends with the same weights to the bit."""

from __future__ import annotations

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
        ("tinybert.jobs.general:token_blocks", 1, True),  # before there is anything
        ("tinybert.jobs.common:save_student", 1, True),  # the start is written, not in place
        (STEP, 2, True),  # before the first checkpoint
        (SEAL, 1, False),  # the first checkpoint is half-written
        (PUBLISH, 1, False),  # whole, but not in place
        (STEP, 4, False),
        (EVALUATE, 1, True),
        (SAVE, 1, False),  # training is over, the student not yet written
    ]
    finish("general", killed, kills)
    assert weights(tmp_path / "killed") == weights(tmp_path / "unbroken")


def test_task_stages(tmp_path: Path) -> None:
    teacher = tiny.saved_classifier(tmp_path / "teacher", layers=4, width=32)
    settings = {
        "teacher": str(teacher),
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
    assert run_job("distill", settings | {"output": tmp_path / "unbroken"}) == 0
    steps = 3 * -(-180 // 16)
    kills = [
        (STEP, 15, True),  # intermediate stage
        (SEAL, 1, True),
        (STEP, steps - 20, True),  # intermediate or prediction, as far as it came
        ("tinybert.training:save_model", 1, False),  # best weights half-written
        (EVALUATE, 2, True),
        (STEP, 5, False),
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
