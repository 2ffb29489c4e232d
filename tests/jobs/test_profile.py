"""``tinybert profile``: sizes from the real modules, speed by a clock that the test sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import tinybert
from support import tiny
from tinybert.cli import main
from tinybert.jobs import profile
from tinybert.measure import Latency, flops
from tinybert.systems import SYSTEMS

FIELDS = {
    *("name", "shape", "parameters", "flops_128", "speedup", "speedups", "milliseconds"),
    *("measured", "paper_parameters", "paper_flops", "paper_speedup"),
}


class Clock:
    """Times by FLOPs, and what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, models: Mapping[str, Any], **options: Any) -> dict[str, Latency]:
        self.calls.append(options | {"models": [*models], "threads": torch.get_num_threads()})
        # Every round is slower than the one before: the median is not the last.
        slow = len(self.calls) * options["batch"]
        common = {"length": options["length"], "batch": options["batch"], "repeats": 1}
        return {
            name: Latency(
                median=slow * flops(model, options["length"]) / 1e6,
                p95=0.0,
                threads=1,
                device="cpu",
                precision="float32",
                **common,
            )
            for name, model in models.items()
        }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profile, "latency", clock)
    return clock


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("profile") / "teacher"
    return tiny.saved_encoder(directory, layers=6, width=128)


def test_sizes_at_the_papers_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profile.json"
    assert main(["profile", "--no-speed", "--json", str(file)]) == 0
    found = {each["name"]: each for each in json.loads(file.read_text("utf-8"))}
    assert [*found] == [*SYSTEMS]
    assert all(set(each) == FIELDS for each in found.values())
    four = found["TinyBERT_4"]
    assert (four["parameters"], four["flops_128"]) == (14_350_248, 1_247_475_840)
    assert (four["paper_parameters"], four["paper_flops"]) == (14.5e6, 1.2e9)
    assert four["paper_speedup"] == 9.4
    assert four["speedup"] is four["speedups"] is four["milliseconds"] is four["measured"] is None
    assert found["MiniLMv2_4"]["paper_parameters"] is None
    out = capsys.readouterr().out
    assert "-1.0 %" in out
    assert "speed-up" not in out


def test_speed_beside_a_teacher(
    clock: Clock, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    asked: dict[str, Any] = {"teacher": teacher, "repeats": 3, "length": 24, "batch": [2, 5]}
    found = tinybert.profile(**asked, threads=1, json=tmp_path / "a.json", quiet=True)
    assert torch.get_num_threads() == before
    assert {call["threads"] for call in clock.calls} == {1}
    assert [call["batch"] for call in clock.calls] == [2, 2, 2, 5, 5, 5]
    assert [bool(call["warm_up"]) for call in clock.calls] == [True, False, False] * 2
    # Teacher, 2 layers narrow, 2 narrow of another ratio, 2 wide, bottlenecks, 3 wide: once each.
    assert {len(call["models"]) for call in clock.calls} == {6}
    assert len(set(clock.calls[0]["models"])) == 6
    by_name = {each["name"]: each for each in found}
    assert by_name["BERT_BASE"]["speedups"] == {2: 1.0, 5: 1.0}
    four = by_name["TinyBERT_4"]
    assert four["milliseconds"] == by_name["BERT_TINY"]["milliseconds"]
    # Rounds 1 to 3, then 4 to 6, each with its batch: medians 2 x 2 and 5 x 5.
    assert four["milliseconds"][5] / four["milliseconds"][2] == pytest.approx(25 / 4)
    assert four["speedup"] == four["speedups"][2] > 1
    assert four["measured"]["length"] == 24
    assert four["measured"]["torch"] == torch.__version__
    assert all(each["paper_speedup"] is None for each in found)
    out = capsys.readouterr().out
    assert "paper's" not in out
    assert f"sequences of 24 tokens, 1 thread, PyTorch {torch.__version__}" in out
    written = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(found))


def test_the_reference_is_measured_though_not_asked_for(clock: Clock, teacher: Path) -> None:
    asked = ["tinybert6", "TinyBERT_6"]
    found = tinybert.profile(teacher=teacher, systems=asked, repeats=1, batch=[1], quiet=True)
    assert [each["name"] for each in found] == ["TinyBERT_6"]
    assert len(clock.calls[0]["models"]) == 2
    assert found[0]["speedup"] > 1


def test_the_real_clock_runs(teacher: Path) -> None:
    (found,) = tinybert.profile(
        teacher=teacher, systems=["MobileBERT_TINY"], repeats=1, batch=[1], length=8, quiet=True
    )
    assert found["milliseconds"][1] > 0


def test_a_teacher_without_128_positions(tmp_path: Path) -> None:
    tiny.saved_encoder(tmp_path / "short", max_position_embeddings=32)
    found = tinybert.profile(teacher=tmp_path / "short", speed=False, quiet=True)
    assert {each["flops_128"] for each in found} == {None}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--systems", "TinyBERT_4", "TinyBERT_5"], "there is no system TinyBERT_5"),
        (["--systems", "PD", "--length", "513"], "the model takes 512 tokens at most"),
        (["--length", "0"], "--length 0 makes no sense"),
        (["--batch", "8", "0"], "--batch 8 0 makes no sense"),
        (["--batch", "many"], "expected a list of whole numbers"),
        (["--threads", "0"], "--threads 0 makes no sense"),
        (["--json", "nowhere/a.json"], "there is no directory nowhere"),
        (["--json", "."], "is a directory"),
        (["--teacher", "./nowhere"], "there is no model directory ./nowhere"),
        (["TinyBERT_4"], "'TinyBERT_4' stands alone"),
    ],
)
def test_bad_input(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *words]) == 2
    seen = capsys.readouterr()
    assert error in seen.err
    assert not seen.out
