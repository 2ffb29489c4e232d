"""The benchmark of the attention loss runs and writes what it promises."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from support import warm

ROOT = Path(__file__).parents[2]


def test_quick_benchmark(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [warm.python(), str(ROOT / "benchmarks" / "attention_loss.py"), "--quick"]
    result = subprocess.run(
        [*command, "--threads", "1", "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=150,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    payload = json.loads(out.read_text(encoding="utf-8"))
    summary = payload["summary"]
    assert set(summary["ratio"]) == set(summary["ratio_direct"]) == {"32", "64", "256"}
    assert all(ratio > 0 for ratio in summary["ratio"].values())
    assert summary["crossover"] is None or summary["crossover"] in {32, 64, 256}
    assert payload["machine"]["cores"] >= 1
    cell = payload["cells"][-1]
    if Path("/proc/self/clear_refs").exists():
        assert cell["memory_mb"]["plain"] > cell["memory_mb"]["linear"] > 0
    assert all(row["guarded_loss"] < 1e-3 for row in payload["precision"])
    assert all(row["guarded_gradient"] < 1e-4 for row in payload["precision"])
    assert "length" in result.stdout
