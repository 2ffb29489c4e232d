"""``tinybert systems`` and ``tinybert systems show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tinybert
from support import tiny
from tinybert.cli import main
from tinybert.jobs.systems import without_weights
from tinybert.measure import parameters
from tinybert.systems import SYSTEMS, find_system, student_config


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_all_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "systems.json"
    assert main(["systems", "--json", str(file)]) == 0
    out = lines(capsys)
    for name, system in SYSTEMS.items():
        (row,) = [line for line in out if line.startswith(f"{name} ")]
        assert str(system.shape) in row
        assert row.endswith("yes" if system.paper else "no")
    written = json.loads(file.read_text("utf-8"))
    assert written == json.loads(json.dumps(tinybert.list_systems(quiet=True)))
    assert [each["name"] for each in written] == [*SYSTEMS]
    four = next(each for each in written if each["name"] == "TinyBERT_4")
    assert four["in_paper"]
    assert [step["name"] for step in four["corpus_steps"]] == ["general"]
    assert [step["name"] for step in four["task_steps"]] == ["intermediate", "prediction"]
    assert four["task_steps"][0]["epochs"] == 20
    assert four["task_steps"][0]["attention"] == 1
    assert four["paper"]["scores"]["average"] == 77.0
    assert next(each for each in written if each["name"] == "MiniLMv2_4")["paper"] is None


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_can_be_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems", "show", name]) == 0
    out = capsys.readouterr().out
    system = SYSTEMS[name]
    assert system.what in out
    assert str(system.shape) in out
    assert (system.note in out) == ("differs from it" in out or not system.note)
    for number, step in enumerate(system.steps, 1):
        assert f"step {number} of {len(system.steps)}: {step.name}, on the {step.part}" in out
        assert step.source in out
        for weight in step.weights().values():
            assert f"{weight:g}" in out
    assert ("the paper's GLUE test scores" in out) == (system.paper is not None)


def test_what_is_minimised_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems", "show", "bert4pkd"]) == 0
    out = lines(capsys)
    assert "minimises 0.3 labels + 0.7 divergence (temperature 10) + 33.3 Σ patience" in out
    assert "layers 1→3 2→6 3→9" in out
    assert any(line.startswith("patience MSE of L2-normalised [CLS] states") for line in out)
    assert main(["systems", "show", "MobileBERT_TINY"]) == 0
    out = lines(capsys)
    assert "minimises feature_map + attention_distribution, one layer after the other" in out
    assert main(["systems", "show", "MiniLMv2_4"]) == 0
    assert any("query_relation (relation heads 24)" in line for line in lines(capsys))


def test_beside_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.saved_encoder(tmp_path / "teacher", layers=6, width=128)
    # The name may stand behind the flags as well.
    assert main(["systems", "show", "--teacher", str(tmp_path / "teacher"), "TinyBERT_4"]) == 0
    assert "layers 1→3 2→6" in lines(capsys)
    shown = tinybert.show_system(name="TinyBERT_4", teacher=tmp_path / "teacher", quiet=True)
    config = student_config(
        find_system("TinyBERT_4"), tiny.config(layers=6, width=128), paper=False
    )
    assert shown["beside_teacher"] == {
        "shape": "2x64x246x4",
        "parameters": parameters(without_weights(config)),
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["systems", "show", "TinyBERT_5"], "did you mean TinyBERT_"),
        (["systems", "show"], "the system is missing"),
        (["systems", "show", "PD", "TinyBERT_4"], "'TinyBERT_4' stands alone"),
        (["systems", "show", "PD", "--teacher", "./nowhere"], "no model directory ./nowhere"),
        (["systems", "TinyBERT_4"], "Say `tinybert systems` or `tinybert systems show`"),
        (["systems", "--json", "nowhere/a.json"], "there is no directory nowhere"),
        (["systems", "--jso", "a.json"], "unknown flag --jso: did you mean --json?"),
    ],
)
def test_bad_input(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert error in capsys.readouterr().err


def test_a_name_in_a_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems", "show", "PD", "--print-config"]) == 0
    file = tmp_path / "show.yaml"
    file.write_text(capsys.readouterr().out)
    assert main(["systems", "show", "--config", str(file)]) == 0
    assert capsys.readouterr().out.startswith("PD\n")
    # A word goes before the file, as flags do.
    assert main(["systems", "show", "BERT_TINY", "--config", str(file)]) == 0
    assert capsys.readouterr().out.startswith("BERT_TINY\n")
