"""One process, torchrun and accelerate launch: the same training.

The launched runs go through the job file in ``runs/`` and through ``accelerate launch``: two gloo
processes against this one, same batch, dropout 0, over fifty steps.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import tinybert
from support import tiny, warm
from tinybert.batching import StepSampler
from tinybert.cli import main

JOB = Path(__file__).resolve().parent.parent / "runs" / "wikipedia-general.sh"
FLAGS = [
    *("--batch-size", "8", "--learning-rate", "1e-3", "--dropout", "0", "--steps", "50"),
    *("--attention-weight", "0.1", "--precision", "float32", "--teacher-precision", "float32"),
    *("--attention", "direct", "--log-every", "1", "--held-out", "8", "--evaluations", "2"),
]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same general student three ways."""
    place = tmp_path_factory.mktemp("launchers")
    tiny.saved_encoder(place / "teacher", layers=4, width=32)
    text = tiny.corpus_file(place / "text.txt", 60)
    shared = place / "job" / "corpus"
    tinybert.corpus_build(
        corpus=str(text), teacher=str(place / "teacher"), output=place / "corpus", quiet=True
    )
    python = [warm.python(), "-m"]
    general = ["general", "--teacher", str(place / "teacher"), "--student", "2x16"]
    general += ["--corpus", str(place / "corpus"), *FLAGS]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHON": warm.python()}
    env |= {"TEACHER": str(place / "teacher"), "STUDENT": "2x16", "TEXT": str(text)}
    env |= {"DIRECTORY": str(place / "job"), "PROCESSES": "2", "PORT": free_port()}
    accelerate = ["accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    accelerate += ["--main_process_port", free_port(), "-m"]
    launched = [*accelerate, "tinybert", *general]
    commands = {
        "torchrun": [str(JOB), *FLAGS],
        "accelerate": [*python, *launched, "--output", str(place / "accelerate")],
    }
    runs = {
        name: subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, command in commands.items()
    }
    assert main([*general, "--output", str(place / "alone")]) == 0
    for name, run in runs.items():
        said, _ = run.communicate(timeout=170)
        assert run.returncode == 0, f"{name}: {said[-3000:]}"
        # Of two processes one is heard.
        assert said.count("general student written to") == 1, said
    assert (shared / "corpus.json").is_file()
    return {
        "alone": place / "alone",
        "torchrun": place / "job" / "general",
        "accelerate": place / "accelerate",
    }


def losses(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_are_as_one(outputs: dict[str, Path], launcher: str) -> None:
    one, two = losses(outputs["alone"]), losses(outputs[launcher])
    assert len(one) == 50
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    for file in ("model.safetensors", "projections.safetensors"):
        alone, launched = (load_file(outputs[name] / file) for name in ("alone", launcher))
        for name, tensor in alone.items():
            np.testing.assert_allclose(launched[name], tensor, rtol=0, atol=1e-4, err_msg=name)


def test_the_job_file_is_sound() -> None:
    subprocess.run(["bash", "-n", str(JOB)], check=True)
    assert os.access(JOB, os.X_OK)


def test_the_job_file_ends_where_all_is_done(outputs: dict[str, Path]) -> None:
    env = os.environ | {"DIRECTORY": str(outputs["torchrun"].parent), "PYTHON": warm.python()}
    env |= {"PROCESSES": "1"}
    again = subprocess.run([str(JOB)], env=env, capture_output=True, text=True, check=True)
    assert "is there already" in again.stderr


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_processes_read_disjoint_rows(
    lengths: list[int], batch: int, world: int, seed: int
) -> None:
    """Together they read each step's rows, once; who gets none stands in, marked."""
    sizes = np.array(lengths)
    alone = list(StepSampler(sizes, batch, 7, seed))
    ranks = [list(StepSampler(sizes, batch, 7, seed, rank, world)) for rank in range(world)]
    for step, rows in enumerate(alone):
        dealt = [row for mine in ranks for row in mine[step] if row >= 0]
        assert sorted(dealt) == sorted(rows)
        assert all(mine[step] for mine in ranks)
