"""A student by need: found once, kept with the run, told in the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tinybert
from support import tiny
from tinybert.errors import TinybertError
from tinybert.jobs import sizes

QUICK = tiny.QUICK | {"latency_length": 16}


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    teacher = tiny.saved_classifier(tmp_path / "teacher", layers=6, width=128, heads=4)
    data = tiny.task_file(tmp_path / "train.csv", 60)
    return {"teacher": teacher, "data": data, "output": tmp_path / "student", **QUICK}


def test_size_is_kept_and_reported(asked: dict[str, Any]) -> None:
    results = tinybert.distill(max_size="0.9MB", **asked)
    size = results["size"]["max_size"]
    assert size["bound"] == 0.9
    assert size["kept"]
    assert 0 < size["reached"] <= 0.9
    assert results["student"]["parameters"] < results["teacher"]["parameters"]
    assert results["settings"]["student"] == "auto"  # as asked: the same settings run again
    assert (asked["output"] / "model.safetensors").stat().st_size <= 0.9e6


def test_a_resumed_run_takes_the_student_it_was_begun_with(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is slower on resume must not choose another student."""
    real, found = sizes.fit_shape, []

    def once(*args: Any, **kwargs: Any) -> Any:
        found.append(real(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(sizes, "fit_shape", once)
    import tinybert.jobs.distill as job

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(job, "distillation_stages", stopped)
        with pytest.raises(KeyboardInterrupt):
            tinybert.distill(max_size="0.9MB", **asked)
    monkeypatch.setattr(
        sizes, "fit_shape", lambda *a, **k: replace(found[0], shape="1x32", reason="slow")
    )
    results = tinybert.distill(max_size="0.9MB", resume=True, **asked)
    assert results["student"]["hidden"] == int(found[0].shape.split("x")[1])
    assert results["student"]["layers"] == int(found[0].shape.split("x")[0])


def test_a_bound_beside_a_named_student_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(TinybertError, match="give one or the other"):
        tinybert.distill(max_size="1MB", student="2x16", **asked)
    with pytest.raises(TinybertError, match="speed"):
        tinybert.distill(speedup="fast", **asked)
