"""The job files in ``runs/`` that no other test runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support import tiny

ROOT = Path(__file__).resolve().parent.parent


def test_the_job_of_systems_and_ablations(tmp_path: Path) -> None:
    """``runs/glue_gpu.sh`` from text and GLUE's files to tables, on a small teacher."""
    tiny.masked_lm(layers=3, width=64).save_pretrained(tmp_path / "teacher")
    tiny.tokenizer().save_pretrained(tmp_path / "teacher")
    text = tiny.corpus_file(tmp_path / "text.txt", 40)
    for name, count in (("train", 40), ("dev", 20)):
        texts, _ = tiny.sentences(count, seed=len(name))
        rows = [f"{t} {i}\t{i % 2}" for i, t in enumerate(texts)]
        path = tmp_path / "glue" / "SST-2" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    more = {"CORPUS_FLOPS": "20M", "TASK_FLOPS": "10M", "SEEDS": "1", "JOBS": "1"}
    more |= {"TASKS": "sst-2", "ABLATIONS": "mapping", "PYTHON": sys.executable}
    more |= {
        "TEXT": str(text),
        "DATA": str(tmp_path / "glue"),
        "TEACHER": str(tmp_path / "teacher"),
        "DIRECTORY": str(tmp_path / "out"),
    }
    done = subprocess.run(
        [str(ROOT / "runs" / "glue_gpu.sh"), "--teacher-epochs", "1", "--max-length", "128"],
        env=os.environ | more | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    systems = json.loads((tmp_path / "out" / "systems" / "results.json").read_text())["systems"]
    assert len(systems) == 11
    assert (tmp_path / "out" / "systems" / "ablation-mapping.md").is_file()
