"""Fits of real, tiny models: with invented times where a choice is checked, with real ones once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from support import tiny
from tinybert.errors import TinybertError
from tinybert.measure import Latency, flops, parameters
from tinybert.progress import Reporter
from tinybert.sizing import Bounds, Fitted, fit, fit_shape, reached, read_fit, table, write_fit
from tinybert.sizing.candidates import build
from tinybert.students import parse_shape

QUIET = Reporter(quiet=True)


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Times that follow the FLOPs, 1 ms for 10⁵; returns what was asked for."""
    asked: list[dict[str, Any]] = []

    def latency(models: Mapping[str, nn.Module], **options: Any) -> dict[str, Latency]:
        asked.append({"models": list(models), **options})
        length, batch = options["length"], options["batch"]
        return {
            name: Latency(
                median=batch * flops(model, length=length) / 1e5,
                p95=0.0,
                length=length,
                batch=batch,
                repeats=options["repeats"],
                threads=1,
                device="cpu",
                precision="float32",
            )
            for name, model in models.items()
        }

    monkeypatch.setattr(fit, "latency", latency)
    return asked


def teacher() -> BertModel:
    return tiny.classifier(layers=4, width=96, heads=2)  # type: ignore[return-value]


def test_several_bounds_combine(invented: list[dict[str, Any]]) -> None:
    model = teacher()
    full = flops(model, length=16) / 1e5
    loose = fit_shape(model, speedup=2, length=16, reporter=QUIET)
    assert 2 <= loose.measured.speedup < 2.3
    tight = fit_shape(
        model, speedup=2, max_latency_ms=full / 3, max_size_mb=0.2, length=16, reporter=QUIET
    )
    row = tight.measured
    assert row.speedup >= 2
    assert row.latency_ms <= full / 3
    assert row.megabytes <= 0.2
    assert row.flops < loose.measured.flops
    assert f"within {tight.bounds}" in tight.reason


def test_what_a_fit_tells(invented: list[dict[str, Any]]) -> None:
    model = teacher()
    fitted = fit_shape(model, speedup=3, length=16, batch=2, reporter=QUIET)
    shape = parse_shape(fitted.shape, model.config)
    student = build(model, shape)
    row = fitted.measured
    assert row.shape == fitted.shape
    assert row in fitted.candidates
    assert (row.parameters, row.flops) == (parameters(student), flops(student, length=16))
    assert row.latency_ms == pytest.approx(2 * flops(student, length=16) / 1e5)
    assert (fitted.length, fitted.batch, fitted.device) == (16, 2, "cpu")
    assert fitted.threads == torch.get_num_threads()
    work = [candidate.flops for candidate in fitted.candidates]
    assert work == sorted(work, reverse=True)
    assert row == next(candidate for candidate in fitted.candidates if candidate.fits)
    assert not fitted.teacher.fits
    assert fitted.teacher.parameters == parameters(model)
    for asked in invented:
        assert asked["models"][0] == "teacher"  # always in turns with it
        assert (asked["length"], asked["batch"]) == (16, 2)
        assert 3 <= asked["repeats"] <= 25


def test_where_the_teacher_fits_the_largest_smaller_student_is_taken(
    invented: list[dict[str, Any]],
) -> None:
    fitted = fit_shape(teacher(), max_latency_ms=1e6, max_size_mb=1e3, length=16, reporter=QUIET)
    assert fitted.teacher.fits
    assert fitted.reason.startswith("the teacher itself keeps 1e+06 ms and 1000 MB")
    assert fitted.shape == "4x94"


def test_without_pca_a_student_of_full_width_is_preferred(invented: list[dict[str, Any]]) -> None:
    config = tiny.config(layers=6, width=96, heads=2, is_decoder=True)
    torch.manual_seed(0)
    model = BertModel(config).eval()
    wide = fit_shape(model, speedup=1.9, length=16, reporter=QUIET)
    assert wide.shape == "3x96"
    assert "at the teacher's width since a narrower one would start at random" in wide.reason
    narrow = fit_shape(model, speedup=8, length=16, reporter=QUIET)
    assert parse_shape(narrow.shape, config).hidden < 96
    assert "at random" not in narrow.reason


def test_impossible_bounds(invented: list[dict[str, Any]]) -> None:
    with pytest.raises(TinybertError, match=r"takes 1e-05 ms here: the fastest, 1x32, takes"):
        fit_shape(teacher(), max_latency_ms=1e-5, length=16, reporter=QUIET)
    with pytest.raises(TinybertError, match=r"as small as 0\.001 MB: the smallest, 1x32, takes"):
        fit_shape(teacher(), max_size_mb=1e-3, length=16, reporter=QUIET)
    assert len(invented) == 2  # a size is refused before anything is measured


def test_what_makes_no_fit() -> None:
    with pytest.raises(ValueError, match="needs a bound"):
        fit_shape(teacher(), reporter=QUIET)
    with pytest.raises(TinybertError, match="128 tokens at most"):
        fit_shape(teacher(), speedup=2, length=129, reporter=QUIET)


def test_the_table_marks_the_choice(
    invented: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = fit_shape(teacher(), speedup=3, length=16, reporter=QUIET)
    table(QUIET, fitted)
    lines = capsys.readouterr().out.splitlines()
    assert "1 row of 16 tokens, cpu" in lines[0]
    chosen = next(line for line in lines if line.endswith("yes, the largest"))
    assert chosen.startswith(fitted.shape)
    assert len(lines) == 4 + len(fitted.candidates)
    assert lines[3].startswith("teacher 4x96")


def test_a_fit_is_kept(invented: list[dict[str, Any]], tmp_path: Path) -> None:
    fitted = fit_shape(teacher(), speedup=3, max_size_mb=1, length=16, reporter=QUIET)
    write_fit(tmp_path / "fit.json", fitted)
    assert read_fit(tmp_path / "fit.json") == fitted


def fitted_for(model: BertModel, **bounds: float) -> Fitted:
    return fit_shape(model, length=16, reporter=QUIET, **bounds)


def test_what_the_trained_student_reaches(invented: list[dict[str, Any]], tmp_path: Path) -> None:
    model = teacher()
    fitted = fitted_for(model, speedup=3, max_size_mb=0.4, max_latency_ms=1e3)
    student = build(model, parse_shape(fitted.shape, model.config))
    student.save_pretrained(tmp_path)
    (tmp_path / "projections.safetensors").write_bytes(b"0" * 10**6)  # not the model
    found = reached(fitted, model, student, tmp_path)
    assert list(found) == ["max_latency", "max_size", "speedup"]
    real = (tmp_path / "model.safetensors").stat().st_size / 1e6
    assert found["max_size"] == {"bound": 0.4, "reached": real, "kept": True}
    assert found["speedup"] == {
        "bound": 3,
        "reached": pytest.approx(fitted.measured.speedup),
        "kept": True,
    }
    assert found["max_latency"]["reached"] == pytest.approx(fitted.measured.latency_ms)
    assert reached(fitted, model, student)["max_size"]["reached"] == pytest.approx(real, rel=0.05)


def test_a_bound_that_is_missed_says_so(invented: list[dict[str, Any]]) -> None:
    model = teacher()
    fitted = fitted_for(model, speedup=3)
    harder = replace(fitted, bounds=Bounds(max_latency_ms=1e-3, max_size_mb=1e-3, speedup=100))
    found = reached(harder, model, model)
    assert [entry["kept"] for entry in found.values()] == [False, False, False]
    assert found["speedup"]["reached"] == 1


def test_a_directory_without_weights(invented: list[dict[str, Any]], tmp_path: Path) -> None:
    model = teacher()
    fitted = fitted_for(model, max_size_mb=0.4)
    with pytest.raises(TinybertError, match="has no model.safetensors"):
        reached(fitted, model, model, tmp_path)
    measured = len(invented)
    assert reached(fitted, model, model)["max_size"]["kept"] is False
    assert len(invented) == measured  # a size needs no clock


def test_really_measured() -> None:
    config = BertConfig(
        num_hidden_layers=6,
        hidden_size=128,
        num_attention_heads=2,
        intermediate_size=512,
        vocab_size=500,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    model = BertModel(config).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fitted = fit_shape(model, speedup=1.5, length=32, reporter=QUIET)
    assert fitted.measured.speedup >= 1.5
    assert fitted.measured.latency_ms > 0
    student = build(model, parse_shape(fitted.shape, config))
    assert set(reached(fitted, model, student)) == {"speedup"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
