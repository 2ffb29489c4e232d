"""Checkpoints are whole or absent: the mark decides, not the number."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.checkpoints import MARK, drop_old, newest_whole, publish, seal


def written(directory: Path, number: int, step: int | None = None) -> Path:
    path = directory / f"checkpoint-{number}"
    (path / "deeper").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"x" * 100)
    (path / "deeper" / "state.json").write_text("{}")
    seal(path, number if step is None else step)
    return path


def test_the_mark_lists_every_file_and_its_size(tmp_path: Path) -> None:
    path = written(tmp_path, 5)
    mark = json.loads((path / MARK).read_text())
    assert mark["step"] == 5
    sizes = {name: size for name, (size, _) in mark["files"].items()}
    assert sizes == {"deeper/state.json": 2, "model.safetensors": 100}
    assert newest_whole(tmp_path) == path


def test_half_written_ones_are_not_believed(tmp_path: Path) -> None:
    whole = written(tmp_path, 1)
    (tmp_path / "checkpoint-9").mkdir()  # no mark
    truncated = written(tmp_path, 7)
    (truncated / "model.safetensors").write_bytes(b"x" * 99)
    lacking = written(tmp_path, 6)
    (lacking / "deeper" / "state.json").unlink()
    broken = written(tmp_path, 8)
    (broken / MARK).write_text('{"step": 8, "fi')
    other = written(tmp_path, 4)
    (other / MARK).write_text('{"step": 4}')
    (tmp_path / "checkpoint-3").write_text("a file")
    (tmp_path / ".staging").mkdir()
    assert newest_whole(tmp_path) == whole
    assert newest_whole(tmp_path / "nowhere") is None


def test_newest_by_the_mark_not_by_the_number(tmp_path: Path) -> None:
    written(tmp_path, 900, step=3)
    newest = written(tmp_path, 20, step=20)
    assert newest_whole(tmp_path) == newest


def test_publishing_replaces_one_of_the_same_name(tmp_path: Path) -> None:
    final = written(tmp_path, 5)
    (final / "model.safetensors").write_bytes(b"broken")
    staged = written(tmp_path / "staging", 5)
    publish(staged, final)
    assert not staged.exists()
    assert newest_whole(tmp_path) == final


def test_old_and_broken_ones_go_first(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        written(tmp_path, number)
    (tmp_path / "checkpoint-9").mkdir()
    drop_old(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]
