"""What only a GPU can show: runs on it from end to end, and losses that are a processor's.

Other tests hide GPUs (see conftest.py): TINYBERT_TESTS_ON_GPU=1 lets these see them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import FNetConfig, FNetModel

import tinybert
from support import tiny
from support.killed import run_job
from tinybert.choices import choose
from tinybert.losses import attention_loss

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU that torch sees, and TINYBERT_TESTS_ON_GPU=1, without which tests hide it",
)
DEVICE = "cuda"
STUDENT = "2x16"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("gpu")
    tiny.saved_encoder(where / "encoder", layers=4, width=32, initializer_range=0.2)
    tiny.corpus_file(where / "corpus.txt", 60)
    tiny.task_file(where / "train.csv", 160)
    tiny.task_file(where / "dev.csv", 60, seed=1)
    return where


def fall(output: Path) -> set[str]:
    """Stages of a run, of which the losses must have fallen."""
    entries = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    stages = {entry["stage"] for entry in entries}
    for stage in stages:
        losses = [e["loss"] for e in entries if e["stage"] == stage and "loss" in e]
        some = max(1, len(losses) // 4)
        assert sum(losses[-some:]) < sum(losses[:some]), (stage, losses)
    return stages


def general_settings(place: Path, **more: Any) -> dict[str, Any]:
    asked = {
        "teacher": str(place / "encoder"),
        "corpus": [str(place / "corpus.txt")],
        "student": STUDENT,
        "max_length": 32,
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "log_every": 1,
    }
    return asked | more


@pytest.mark.parametrize(("precision", "attention"), [("float32", "direct"), ("bfloat16", "fused")])
def test_from_encoder_to_student(
    place: Path, tmp_path: Path, precision: str, attention: str
) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    how: dict[str, Any] = {"precision": precision, "attention": attention, "log_every": 1}
    how |= {"quiet": True}
    data = {"data": place / "train.csv", "dev": place / "dev.csv"}
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    tinybert.finetune(
        model=str(place / "encoder"), output=teacher, epochs=6, learning_rate=3e-3, **data, **how
    )
    fall(teacher)
    how["teacher_precision"] = precision
    tinybert.general(output=tmp_path / "general", **general_settings(place, **how))
    assert fall(tmp_path / "general") == {"general"}
    results = tinybert.distill(
        teacher=str(teacher),
        student=str(tmp_path / "general"),
        intermediate_epochs=5,
        prediction_epochs=20,
        intermediate_learning_rate=2e-3,
        prediction_learning_rate=7e-3,
        batch_size=16,
        output=student,
        **data,
        **how,
    )
    assert fall(student) == {"intermediate", "prediction"}
    assert torch.cuda.max_memory_allocated() > before
    assert results["retention"] > 0.5
    for tensor in load_file(student / "model.safetensors").values():
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()


def test_a_killed_run_goes_on(place: Path, tmp_path: Path) -> None:
    how = {"precision": "float32", "attention": "direct", "dropout": 0.1}
    settings = general_settings(place, **how)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_job("general", settings | {"output": whole}) == 0
    step = "tinybert.training:DistillationTrainer.training_step"
    assert run_job("general", settings | {"output": killed}, (step, 8, True)) == -9
    assert run_job("general", settings | {"output": killed, "resume": True}) == 0
    wanted = load_file(whole / "model.safetensors")
    for name, tensor in load_file(killed / "model.safetensors").items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-4, atol=1e-5)


@pytest.fixture
def rounded_products() -> Iterator[None]:
    """Products of float32 are rounded to TF32, as many users have it."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    yield
    torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.usefixtures("rounded_products")
@pytest.mark.parametrize("form", ["direct", "linear"])
@pytest.mark.parametrize("autocast", [False, True])
def test_the_attention_loss_is_a_processors(form: Any, autocast: bool) -> None:
    """In full precision, whatever is rounded around it."""
    generator = torch.Generator().manual_seed(0)
    batch, heads, length = 3, 4, 21
    sizes = (8, 8, 16, 16)
    taps = [torch.randn(batch, heads, length, size, generator=generator) for size in sizes]
    mask = torch.arange(length) < torch.tensor([21, 13, 4])[:, None]

    def loss(device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        query_s, key_s, query_t, key_t = (tap.to(device, dtype) for tap in taps)
        query_s.requires_grad_()
        key_s.requires_grad_()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast and device == DEVICE):
            found = attention_loss(
                *(query_s, key_s, 8**-0.5, query_t, key_t, 0.25, mask.to(device)), form=form
            )
        value = found.total / found.count
        value.backward()
        assert query_s.grad is not None
        assert key_s.grad is not None
        return value.detach(), query_s.grad, key_s.grad

    wanted = loss("cpu", torch.float64)
    for one, other in zip(loss(DEVICE, torch.float32), wanted, strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=2e-5, atol=1e-7)


def test_a_teacher_that_knows_no_bfloat16(tmp_path: Path) -> None:
    config = FNetConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=1, intermediate_size=32
    )
    student: Any = tiny.encoder().to(DEVICE)
    able = choose(tmp_path / "able.json", student, tiny.rows(10), teachers=[tiny.encoder()])
    made = choose(tmp_path / "made.json", student, tiny.rows(10), teachers=[FNetModel(config)])
    assert made.teacher_precision == "float32"
    if able.teacher_precision == "bfloat16":
        assert "FNetModel cannot compute in bfloat16 here" in made.reason


def test_more_processes_than_gpus(place: Path, tmp_path: Path) -> None:
    processes = torch.cuda.device_count() + 1
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [
            *(*launch, "--nproc-per-node", str(processes), "-m", "tinybert", "finetune"),
            *("--model", str(place / "encoder"), "--data", str(place / "train.csv")),
            *("--output", str(tmp_path / "teacher")),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode != 0
    assert f"tinybert: error: {processes} processes were launched here" in done.stdout
    assert "unexpected" not in done.stdout
    assert not (tmp_path / "teacher").exists()
