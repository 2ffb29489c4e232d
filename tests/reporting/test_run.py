"""Finished runs as they are read, and what is said of directories that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import tiny
from support.cards import distilled
from tinybert.errors import TinybertError
from tinybert.reporting import read_run


def made(place: Path, results: Any = None) -> Path:
    directory = tiny.saved_classifier(place / "student")
    text = json.dumps(distilled() if results is None else results, default=str)
    (directory / "results.json").write_text(text)
    return directory


def test_a_run_is_read(tmp_path: Path) -> None:
    directory = made(tmp_path)
    lines = ['{"stage": "intermediate", "step": 5, "loss": 1.5}', "{half", '{"stage": "x"}', "[1]"]
    (directory / "log.jsonl").write_text("\n".join(lines))
    run = read_run(directory)
    assert run.name == "student"
    assert run.labels == tiny.LABELS
    assert not run.regression
    assert run.mapping == (2, 4)  # of the terms of its stages
    assert list(run.log) == [{"stage": "intermediate", "step": 5, "loss": 1.5}]


def test_the_mapping_is_told_or_follows_from_the_settings(tmp_path: Path) -> None:
    told = read_run(made(tmp_path, distilled(layer_mapping=[1, 4])))
    assert told.mapping == (1, 4)
    (tmp_path / "student" / "results.json").write_text(
        json.dumps(distilled(stages=[]), default=str)
    )
    assert read_run(tmp_path / "student").mapping == (2, 4)  # uniform, of 2 and 4 layers
    broken = distilled(stages=[], settings={"layer_mapping": "1,2,3"})
    (tmp_path / "student" / "results.json").write_text(json.dumps(broken, default=str))
    assert read_run(tmp_path / "student").mapping == ()


def test_heads(tmp_path: Path) -> None:
    tiny.saved_encoder(tmp_path / "encoder")
    tiny.saved_classifier(tmp_path / "regressor", labels=("score",))
    for name in ("encoder", "regressor"):
        (tmp_path / name / "results.json").write_text('{"student": {"layers": 2}}')
    encoder, regressor = read_run(tmp_path / "encoder"), read_run(tmp_path / "regressor")
    assert not encoder.has_head
    assert regressor.has_head
    assert regressor.regression
    assert encoder.mapping == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "has no results.json"),
        ("{", "is no JSON"),
        ("[1]", "holds no object"),
        ('{"student": null}', "tells of no student"),
        ('{"columns": {}, "student": {"layers": 2}}', "is a table of many runs .`tinybert glue`"),
        ('{"columns": {}, "systems": {}}', "is a table of many runs .`tinybert reproduce`"),
    ],
)
def test_results_that_are_none(tmp_path: Path, text: str | None, error: str) -> None:
    directory = tiny.saved_classifier(tmp_path / "student")
    if text is not None:
        (directory / "results.json").write_text(text)
    with pytest.raises(TinybertError, match=error):
        read_run(directory)


def test_directories_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="there is no directory"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "student.run").mkdir()
    with pytest.raises(TinybertError, match="its run is not finished.*--resume"):
        read_run(tmp_path / "student")
    with pytest.raises(TinybertError, match="has no results.json"):
        read_run("/")
    (tmp_path / "file").write_text("")
    with pytest.raises(TinybertError, match="is a file"):
        read_run(tmp_path / "file")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "results.json").write_text('{"student": {"layers": 2}}')
    with pytest.raises(TinybertError, match="no student directory: it has no config.json"):
        read_run(tmp_path / "bare")
    (tmp_path / "bare" / "config.json").write_text("{")
    with pytest.raises(TinybertError, match="config.json cannot be read"):
        read_run(tmp_path / "bare")


def test_of_many_runs_one_is_named(tmp_path: Path) -> None:
    place = tmp_path / "table" / "mrpc" / "seed-42"
    place.mkdir(parents=True)
    (place / "results.json").write_text("{}")
    (tmp_path / "table" / "results.json").write_text('{"columns": {}}')
    with pytest.raises(TinybertError, match="such as .*mrpc/seed-42"):
        read_run(tmp_path / "table")
