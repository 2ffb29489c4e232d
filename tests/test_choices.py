"""What is chosen by measurement is chosen once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from support import tiny
from tinybert import choices
from tinybert.choices import choose, fast_bfloat16


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "fast_bfloat16", lambda _: (True, "bfloat16 is fast"))


def test_measured_once_then_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    seconds = {
        ("float32", "direct"): 0.4, ("float32", "fused"): 0.3,
        ("bfloat16", "direct"): 0.1, ("bfloat16", "fused"): 0.2,
    }  # fmt: skip

    def measured(student: object, batch: object, precision: str, attention: str) -> float:
        asked.append((precision, attention))
        return seconds[precision, attention]

    monkeypatch.setattr(choices, "_student_seconds", measured)
    file = tmp_path / "choices.json"
    first = choose(file, tiny.encoder(), tiny.rows(10))
    assert set(asked) == set(seconds)
    assert (first.precision, first.attention) == ("bfloat16", "direct")
    assert first.teacher_precision == "bfloat16"
    assert "bfloat16 is fast" in first.reason
    assert "bfloat16 direct 100 ms" in first.reason
    assert json.loads(file.read_text())["attention"] == "direct"
    asked.clear()
    # whatever is asked for or measured later
    assert choose(file, tiny.encoder(), tiny.rows(10), precision="float32") == first
    assert not asked


def test_what_is_asked_for_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(choices, "_student_seconds", refuse)
    made = choose(
        tmp_path / "choices.json",
        tiny.encoder(),
        tiny.rows(10),
        precision="float32",
        teacher_precision="float32",
        attention="fused",
    )
    assert (made.precision, made.teacher_precision, made.attention) == (
        *("float32", "float32", "fused"),
    )


def test_a_slow_bfloat16_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "fast_bfloat16", lambda _: (False, "slow"))
    tried: list[str] = []

    def measured(student: object, batch: object, precision: str, attention: str) -> float:
        tried.append(precision)
        return 1.0

    monkeypatch.setattr(choices, "_student_seconds", measured)
    made = choose(tmp_path / "choices.json", tiny.encoder(), tiny.rows(10))
    assert set(tried) == {"float32"}
    assert (made.precision, made.teacher_precision) == ("float32", "float32")


def test_measuring_leaves_student_and_random_state_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[bool] = []

    def judge(device: torch.device) -> tuple[bool, str]:
        _, why = fast_bfloat16(device)  # the real one, products and all
        judged.append(True)
        return True, why

    monkeypatch.setattr(choices, "fast_bfloat16", judge)
    student = tiny.encoder(hidden_dropout_prob=0.5).train()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    state = torch.random.get_rng_state()
    made = choose(tmp_path / "choices.json", student, tiny.rows(10))
    assert torch.equal(state, torch.random.get_rng_state())
    assert judged
    assert student.training
    assert all(p.grad is None for p in student.parameters())
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert " ms" in made.reason


def test_bfloat16_is_judged_by_measurement() -> None:
    fast, why = fast_bfloat16(torch.device("cpu"))
    assert isinstance(fast, bool)
    assert "float32's speed" in why
    assert fast_bfloat16(torch.device("meta")) == (False, "meta: not measured")
