"""The job files in ``runs/`` that no other test runs: planned, then run, on small models."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support import authors, tiny, warm
from tinybert.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A teacher with an output head, a text, and SST-2 in GLUE's layout."""
    tiny.masked_lm(layers=3, width=64).save_pretrained(tmp_path / "teacher")
    tiny.tokenizer().save_pretrained(tmp_path / "teacher")
    tiny.corpus_file(tmp_path / "text.txt", 40)
    for name, count in (("train", 40), ("dev", 20)):
        texts, _ = tiny.sentences(count, seed=len(name))
        rows = [f"{t} {i}\t{i % 2}" for i, t in enumerate(texts)]
        path = tmp_path / "glue" / "SST-2" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    return tmp_path


def run(place: Path, job: str, *flags: str, **more: str) -> str:
    """What a job says; its variables are ``more`` and the places of teacher, text and rows."""
    variables = {
        "TEXT": str(place / "text.txt"),
        "DATA": str(place / "glue"),
        "TEACHER": str(place / "teacher"),
        "MASKED_LM": str(place / "teacher"),
        "DIRECTORY": str(place / "out"),
        "PYTHON": warm.python(),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [str(ROOT / "runs" / job), *flags],
        env=os.environ | variables | more,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_job_of_systems_and_ablations(place: Path) -> None:
    """``runs/glue_gpu.sh`` from text and GLUE's files to tables."""
    more = {"CORPUS_FLOPS": "20M", "TASK_FLOPS": "10M", "SEEDS": "1", "JOBS": "1"}
    more |= {"TASKS": "sst-2", "ABLATIONS": "mapping", "SYSTEMS": "BERT_4-PKD TinyBERT_4"}
    run(place, "glue_gpu.sh", "--teacher-epochs", "1", "--max-length", "128", **more)
    table = place / "out" / "systems"
    systems = json.loads((table / "results.json").read_text())["systems"]
    assert list(systems) == ["BERT_BASE", "BERT_4-PKD", "TinyBERT_4"]
    assert (table / "ablation-mapping.md").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_table_of_a_laptop(place: Path) -> None:
    """``runs/glue_small.sh``: an output head for an encoder without one, then the table."""
    tiny.saved_encoder(place / "encoder", layers=3, width=64)
    more = {"ENCODER": str(place / "encoder"), "HEAD_STEPS": "1", "MLM_STEPS": "1", "SEEDS": "1"}
    more |= {"TASKS": "sst-2", "TASK_FLOPS": "10M", "JOBS": "1", "ABLATIONS": ""}
    run(place, "glue_small.sh", "--dry-run", **more)
    assert not (place / "out").exists()
    run(place, "glue_small.sh", "--systems", "BERT_4-PKD", "--teacher-epochs", "1", **more)
    systems = json.loads((place / "out" / "table" / "results.json").read_text())["systems"]
    assert systems["BERT_4-PKD"]["scores"]["SST-2"]


@pytest.mark.timeout(600)
def test_the_whole_paper(place: Path) -> None:
    """``runs/glue_paper.sh``: corpus, copies, then the paper's stages at the paper's lengths."""
    more = {"TASKS": "sst-2", "SEEDS": "1", "COPIES": "2", "SYSTEMS": "TinyBERT_4"}
    more["ROWS"] = "20"
    plan = run(place, "glue_paper.sh", "--dry-run", **more)
    assert "paper scale" in plan
    assert not (place / "out").exists()
    run(place, "glue_paper.sh", "--teacher-epochs", "1", **more)
    cell = place / "out" / "table" / "students" / "sst-2" / "seed-42" / "TinyBERT_4"
    results = json.loads((cell / "results.json").read_text())
    assert results["trained_rows"] > 20  # copies too
    epochs = {stage["name"]: stage["schedule"]["steps"] for stage in results["stages"]}
    rows = results["trained_rows"]
    assert epochs["intermediate"] == 20 * -(-rows // 32)
    assert epochs["prediction"] == 3 * -(-rows // 32)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_task_from_a_published_student(place: Path) -> None:
    """``runs/sst2_paper.sh`` from a directory in the place of the authors' general student."""
    config = authors.sizes(hidden_size=32, emb_size=32)
    authors.write(place / "published", config, authors.weights(config, teacher_width=64))
    general = place / "general"
    command = ["convert", "--model", str(place / "published"), "--output", str(general)]
    assert main([*command, "--quiet"]) == 0
    more = {"COPIES": "2", "STUDENT": str(general), "STATES": "2", "PREDICTIONS": "1"}
    plan = run(place, "sst2_paper.sh", "--dry-run", **more)
    assert not (place / "out").exists()
    assert "plan without copies" in plan
    assert "intermediate steps  4" in plan  # 2 epochs of 36 rows, 32 a step
    run(place, "sst2_paper.sh", "--teacher-epochs", "1", **more)
    results = json.loads((place / "out" / "student" / "results.json").read_text())
    assert results["student"]["hidden"] == 32
    assert results["augmented_rows"] > results["rows"]["train"]
