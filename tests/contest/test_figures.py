"""From seconds to figures, tables and pictures, with known numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinybert.contest import plot
from tinybert.contest.figures import pace, ratios
from tinybert.contest.shown import markdown, tables
from tinybert.errors import TinybertError


def result(model: str, form: str, size: int, seconds: float) -> dict[str, Any]:
    cell = {"name": "batch 1, 8 tokens", "batch": 1, "length": 8, "seconds": seconds}
    cell |= {"median_ms": 1e3 * seconds, "p95_ms": 2e3 * seconds}
    cell |= {"sequences_per_second": 1 / seconds, "tokens_per_second": 8 / seconds}
    memory = {"after_load": 50_000_000, "peak": None}
    return {
        "model": model, "form": form, "size": size, "memory": memory, "workloads": [cell],
    }  # fmt: skip


@pytest.fixture
def results() -> list[dict[str, Any]]:
    found = [
        result("large", "pytorch-float32", 400_000_000, 0.08),
        result("large", "onnx-float32", 400_000_000, 0.06),
        result("small", "onnx-float32", 50_000_000, 0.006),
        result("small", "onnx-int8", 14_000_000, 0.002),
    ]
    ratios(found)
    return found


def test_real_rows_are_each_timed_by_their_own_median() -> None:
    feeds: list[Any] = [{"attention_mask": np.ones((2, n), dtype=np.int64)} for n in (3, 5)]
    found = pace([[0.1, 1.0], [0.3, 2.0], [0.2, 9.0]], feeds)
    assert found["seconds"] == pytest.approx(2.2)
    assert found["sequences_per_second"] == pytest.approx(4 / 2.2)
    assert found["tokens_per_second"] == pytest.approx(16 / 2.2)
    assert found["median_ms"] == pytest.approx(650)
    assert found["p95_ms"] == pytest.approx(1e3 * np.percentile([0.1, 1, 0.3, 2, 0.2, 9], 95))


def test_ratios_end_to_end_and_like_for_like(results: list[dict[str, Any]]) -> None:
    cells = [each["workloads"][0] for each in results]
    assert [cell["speedup"] for cell in cells] == pytest.approx([1, 4 / 3, 40 / 3, 40])
    assert [cell["speedup_like"] for cell in cells[:3]] == pytest.approx([1, 1, 10])
    assert cells[3]["speedup_like"] is None
    assert [each["smaller"] for each in results] == pytest.approx([1, 1, 8, 400 / 14])
    assert [each["smaller_like"] for each in results] == [1, 1, 8, None]


def test_tables_and_markdown(results: list[dict[str, Any]]) -> None:
    sizes, speeds = tables(results, {"threads": 1})
    assert sizes.rows[3] == ("small", "onnx-int8", "14.0", "28.57x", None, "50.0", None)
    assert "smaller and faster than large pytorch-float32" in sizes.title
    assert speeds.title == "batch 1, 8 tokens, 1 thread"
    assert speeds.rows[2] == (
        "small", "onnx-float32", "6.00", "12.00", "166.7", "1333", "13.33x", "10.00x",
    )  # fmt: skip
    lines = markdown([sizes, speeds]).splitlines()
    assert "| small | onnx-int8 | 2.00 | 4.00 | 500.0 | 4000 | 40.00x | – |" in lines
    assert {line.count("|") for line in lines if line.startswith("| ")} == {8, 9}


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_pictures(ending: str, results: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"bench{ending}"
    plot.check_picture(file)
    for result in results:
        result["model"] += " $x_{$"  # no formula
    plot.draw(file, results, "batch 1, 8 tokens")
    again = tmp_path / f"again{ending}"
    plot.draw(again, results, "batch 1, 8 tokens", {each["model"]: 0.9 for each in results})
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert all(path.read_bytes().startswith(starts[ending]) for path in (file, again))
    assert {path.name for path in tmp_path.iterdir()} == {file.name, again.name}
    if ending == ".svg":
        ElementTree.parse(file)
        before = file.read_bytes()
        plot.draw(file, results, "batch 1, 8 tokens")
        assert file.read_bytes() == before


def test_a_picture_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(name: str) -> Any:
        raise ImportError(name)

    with pytest.raises(TinybertError, match="ends in .png, .svg, .pdf"):
        plot.check_picture(tmp_path / "bench.gif")
    with pytest.raises(TinybertError, match="there is no directory"):
        plot.check_picture(tmp_path / "nowhere" / "bench.png")
    (tmp_path / "bench.svg").mkdir()
    with pytest.raises(TinybertError, match="is a directory"):
        plot.check_picture(tmp_path / "bench.svg")
    monkeypatch.setattr(plot.importlib, "import_module", drop)
    with pytest.raises(TinybertError, match=r"matplotlib is not installed.*tinybert\[plots\]"):
        plot.check_picture(tmp_path / "bench.png")
