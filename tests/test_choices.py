"""What is chosen by measurement is chosen once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel, FNetConfig, FNetModel

from support import tiny
from tinybert import choices
from tinybert.choices import choose, fast_bfloat16, refusal_of_bfloat16
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.stages import Run


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


def fourier() -> FNetModel:
    """An encoder that knows no bfloat16."""
    config = FNetConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=1, intermediate_size=32
    )
    return FNetModel(config).train()


class Refusing(BertModel):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no such kernel\nand its trace")
        return super().forward(*args, **kwargs)


def refusing() -> BertModel:
    """A student that computes in float32 alone."""
    return Refusing(tiny.config())


def test_what_cannot_compute_in_bfloat16_computes_in_float32(tmp_path: Path) -> None:
    teacher = fourier()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    able = tiny.encoder()
    state = torch.random.get_rng_state()
    assert refusal_of_bfloat16(able, torch.device("cpu")) is None
    one = choose(tmp_path / "one.json", able, tiny.rows(10), teachers=[able, teacher])
    assert one.teacher_precision == "float32"
    assert "the teacher's FNetModel cannot compute in bfloat16 here (" in one.reason
    assert teacher.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], now) for name, now in teacher.state_dict().items())
    two = choose(tmp_path / "two.json", refusing(), tiny.rows(10), teachers=[able])
    assert (two.precision, two.teacher_precision) == ("float32", "bfloat16")
    assert "the student's Refusing cannot compute in bfloat16 here (no such kernel)" in two.reason


def test_bfloat16_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    with pytest.raises(
        TinybertError, match=r"^--teacher-precision bfloat16: FNetModel cannot .*: give float32"
    ):
        choose(
            file, tiny.encoder(), tiny.rows(10), teacher_precision="bfloat16", teachers=[fourier()]
        )
    with pytest.raises(TinybertError, match=r"^--precision bfloat16: Refusing .*: give float32"):
        choose(file, refusing(), tiny.rows(10), precision="bfloat16")
    assert not file.exists()


def test_a_run_that_cannot_compute_as_asked_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "out", {}, Reporter(quiet=True), teacher_precision="bfloat16")
    with pytest.raises(TinybertError, match="--teacher-precision bfloat16"):
        run.choices(tiny.encoder(), tiny.rows(10), 4, [fourier()])
    assert not list(tmp_path.iterdir())
