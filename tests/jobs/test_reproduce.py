"""Systems x tasks x seeds: every system runs, cells are kept and go on, and end in one table."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig

import tinybert
from support import tiny, warm
from support.reproduction import asked, make_place
from tinybert.errors import TinybertError
from tinybert.jobs.reproduce import make, pool, run
from tinybert.jobs.reproduce.cells import all_cells, chosen_systems, takes_copies
from tinybert.jobs.reproduce.stages import plan_part
from tinybert.jobs.reproduce.tables import compared, paired
from tinybert.settings import ReproduceSettings
from tinybert.systems import SYSTEMS
from tinybert.systems.variants import ablation_systems


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_every_system_runs(place: Path) -> None:
    results = tinybert.reproduce(
        **asked(place, systems=list(SYSTEMS), tasks=["sst-2"], augment=None)
    )
    assert list(results["systems"]) == list(SYSTEMS)
    assert set(results["columns"]) == {"SST-2"}
    for name, each in results["systems"].items():
        assert each["scores"].keys() == {"SST-2"}, name
        assert not each["failed"]
        assert each["average"] is not None
        assert each["speedup"] > 0
        if name != "BERT_BASE":
            assert each["task_flops"] > 0
            assert ("corpus_flops" in each) == bool(SYSTEMS[name].corpus_steps)
    assert results["systems"]["BERT_BASE"]["retention"] == 1.0
    output = place / "table"
    assert json.loads((output / "results.json").read_text())["systems"].keys() == SYSTEMS.keys()
    with (output / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(SYSTEMS)
    lines = (output / "results.md").read_text().splitlines()
    assert lines[2].startswith("| BERT_BASE |")
    # Pre-trained students are whole models; of the others the scores are kept alone.
    assert (output / "pretrained" / "TinyBERT_4" / "model.safetensors").is_file()
    kept = output / "students" / "sst-2" / "seed-42" / "TinyBERT_4"
    assert {path.name for path in kept.iterdir()} == {"results.json", "log.jsonl"}


def test_budgets_are_equal(place: Path) -> None:
    names = ["BERT_SMALL", "DistilBERT_4", "TinyBERT_6", "MiniLMv2_4"]
    results = tinybert.reproduce(**asked(place, systems=names, corpus_flops="8G", task_flops="2G"))
    for name in names:
        each = results["systems"][name]
        assert each["corpus_flops"] == pytest.approx(8e9, rel=0.2), name
        assert each["task_flops"] == pytest.approx(2e9, rel=0.2), name


def test_cells_are_kept_and_a_failed_one_is_tried_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["BERT_TINY", "TinyBERT_4"]
    made: list[str] = []
    full = [True]
    real = make.make_cell

    def counted(settings: Any, prints: Any, cell: Any, reporter: Any) -> dict[str, Any]:
        made.append(cell.title)
        if cell.system == "BERT_TINY" and cell.kind == "pretrained" and full:
            raise TinybertError("the disk is full.")
        return real(settings, prints, cell, reporter)

    monkeypatch.setattr(pool, "make_cell", counted)
    with pytest.raises(TinybertError, match="2 of 5 cells failed, first BERT_TINY, pre-training"):
        tinybert.reproduce(**asked(place, systems=names))
    half = json.loads((place / "table" / "results.json").read_text())
    assert half["systems"]["BERT_TINY"]["failed"] == [
        "the disk is full.",
        "what it needs could not be made",
    ]
    assert half["systems"]["TinyBERT_4"]["scores"]
    made.clear()
    full.clear()
    results = tinybert.reproduce(**asked(place, systems=names))
    assert sorted(made) == ["BERT_TINY, pre-training", "BERT_TINY, sst-2, seed 42"]
    assert results["systems"]["TinyBERT_4"] == half["systems"]["TinyBERT_4"]
    with pytest.raises(TinybertError, match=r"made of something else \(task_flops changed\)"):
        tinybert.reproduce(**asked(place, systems=names, task_flops="30M"))


def test_processes_side_by_side_give_the_same(place: Path) -> None:
    names = ["BERT_4-PKD", "TinyBERT_4"]
    tasks = ["sst-2", "sts-b"]
    corpus = [str(place / "text.txt")]
    one = tinybert.reproduce(**asked(place, systems=names, tasks=tasks, corpus=corpus))
    two = tinybert.reproduce(
        **asked(place, systems=names, tasks=tasks, output=place / "two", jobs=2)
    )
    assert set(one["columns"]) == {"SST-2", "STS-B"}
    for name in ("BERT_BASE", *names):
        assert one["systems"][name]["scores"].keys() == {"SST-2", "STS-B"}
        assert one["systems"][name]["scores"] == two["systems"][name]["scores"]


def test_what_changed_under_its_name_is_told(place: Path) -> None:
    names = ["BERT_4-PKD", "TinyBERT_4"]
    tinybert.reproduce(**asked(place, systems=names))
    before = {path: path.read_bytes() for path in (place / "table").rglob("results.*")}
    again = tinybert.reproduce(**asked(place, systems=names, dry_run=True))
    assert again["cells"] == []
    moved = place / "elsewhere"
    (place / "teacher").rename(moved)
    assert not tinybert.reproduce(**asked(place, systems=names, teacher=moved, dry_run=True))[
        "cells"
    ]
    tiny.masked_lm(seed=9, layers=6, width=64).save_pretrained(place / "teacher")
    tiny.tokenizer().save_pretrained(place / "teacher")
    with pytest.raises(TinybertError, match=r"something else \(teacher changed\)"):
        tinybert.reproduce(**asked(place, systems=names))
    again = asked(place, systems=names, teacher=moved)
    tiny.corpus_file(place / "other.txt", 60, seed=5)
    with pytest.raises(TinybertError, match=r"something else \(corpus changed\)"):
        tinybert.reproduce(**(again | {"corpus": str(place / "other.txt")}))
    with pytest.raises(TinybertError, match=r"something else \(pretraining_seed changed\)"):
        tinybert.reproduce(**again, pretraining_seed=7)
    rows = place / "glue" / "SST-2" / "train.tsv"
    text = rows.read_text()
    rows.write_text(text.replace("\t1\n", "\t0\n", 1))
    with pytest.raises(TinybertError, match=r"something else \(data changed\)"):
        tinybert.reproduce(**again)
    rows.write_text(text)
    with pytest.raises(TinybertError, match="--precision bfloat16: the cells in .* float32"):
        tinybert.reproduce(**(again | {"precision": "bfloat16", "seeds": 2}))
    assert {path: path.read_bytes() for path in (place / "table").rglob("results.*")} == before


def test_an_error_of_a_cell_leaves_the_others(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make.make_cell

    def broken(settings: Any, prints: Any, cell: Any, reporter: Any) -> dict[str, Any]:
        if cell.system == "BERT_4-PKD":
            raise RuntimeError("CUDA out of\nmemory")
        return real(settings, prints, cell, reporter)

    monkeypatch.setattr(pool, "make_cell", broken)
    with pytest.raises(TinybertError, match="1 of 4 cells failed.*RuntimeError: CUDA out of mem"):
        tinybert.reproduce(**asked(place, systems=["BERT_4-PKD", "TinyBERT_4"]))
    found = json.loads((place / "table" / "results.json").read_text())["systems"]
    assert found["TinyBERT_4"]["average"] is not None
    assert found["BERT_4-PKD"]["average"] is None


def test_one_command_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(output: Path) -> None:
        raise TinybertError(f"another process is at work in {output}")

    monkeypatch.setattr(run, "Hold", taken)
    with pytest.raises(TinybertError, match="another process is at work"):
        tinybert.reproduce(**asked(place, systems=["BERT_4-PKD"]))


BERT = BertConfig()


@pytest.mark.parametrize("amount", [2e12, 20e12, 3e15])
@pytest.mark.parametrize("rows", [2_500, 393_000])
def test_arithmetic_is_what_was_asked_for(amount: float, rows: int) -> None:
    """However few of a task's rows it lasts for: the teacher answers those that are read."""
    settings = ReproduceSettings(task_flops=f"{amount:g}", corpus_flops=f"{amount:g}")
    for system in SYSTEMS.values():
        if system.is_teacher:
            continue
        planned = plan_part(settings, system, "task", BERT, rows, 40.0 * rows)
        if all(each.steps > 10 for each in planned):  # else a step is coarse
            assert sum(each.flops for each in planned) == pytest.approx(amount, rel=0.1)
        assert sum(each.flops for each in planned) < 2 * amount


@pytest.mark.parametrize("ablation", ["losses", "stages", "mapping"])
def test_ablations_have_the_steps_of_the_whole_method(ablation: Any) -> None:
    settings = ReproduceSettings(ablation=ablation)
    whole, *others = ablation_systems(ablation)
    for part in ("corpus", "task"):
        wanted = [e.steps for e in plan_part(settings, whole, part, BERT, 3_000, 120e3)]
        for system in others:
            found = [e.steps for e in plan_part(settings, system, part, BERT, 3_000, 120e3)]
            if len(found) == len(wanted):
                assert found == wanted, system.name


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One table for all ablations: the whole method's cells are made once."""
    return make_place(tmp_path_factory.mktemp("ablations"))


@pytest.mark.parametrize("ablation", ["losses", "stages", "mapping", "start"])
def test_ablations(shared: Path, ablation: str) -> None:
    place = shared
    results = tinybert.reproduce(**asked(place, ablation=ablation))
    names = list(results["systems"])
    assert names[:2] == ["BERT_BASE", "TinyBERT_4"]
    assert len(names) == {"losses": 7, "stages": 4, "mapping": 4, "start": 6}[ablation]
    assert all(each["scores"] for each in results["systems"].values())
    written = json.loads((place / "table" / f"ablation-{ablation}.json").read_text())
    assert list(written["systems"]) == names
    assert all(compared(name, names) for name in names if name.startswith("TinyBERT_4 "))


def test_copies_are_for_tinybert_alone(place: Path) -> None:
    copies = str(place / "{task}-{seed}")
    for seed in (42,):
        tinybert.augment(
            data=place / "glue",
            task="sst-2",
            seed=seed,
            masked_lm=place / "teacher",
            output=place / f"sst-2-{seed}",
            copies=3,
            max_length=24,
            quiet=True,
        )
    more = {"systems": ["BERT_4-PKD", "TinyBERT_4"], "augment": copies, "keep_models": True}
    tinybert.reproduce(**asked(place, **more))
    where = place / "table" / "students" / "sst-2" / "seed-42"
    rows = {
        name: json.loads((where / name / "results.json").read_text())["trained_rows"]
        for name in ("BERT_4-PKD", "TinyBERT_4")
    }
    assert rows["TinyBERT_4"] > rows["BERT_4-PKD"]
    assert (where / "TinyBERT_4" / "model.safetensors").is_file()
    with pytest.raises(TinybertError, match=r"there is no .*sst-2-43: make the copies"):
        tinybert.reproduce(**asked(place, **more, output=place / "b", seed=43))


def test_the_grid_takes_the_best_on_dev(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "GRID", ((8, 1e-3), (16, 1e-5)))
    tinybert.reproduce(**asked(place, systems=["BERT_4-PKD"], grid=True, scale="paper"))
    where = place / "table" / "students" / "sst-2" / "seed-42" / "BERT_4-PKD" / "results.json"
    results = json.loads(where.read_text())
    assert [each["batch_size"] for each in results["grid"]] == [8, 16]
    assert results["dev"]["value"] == max(each["dev"] for each in results["grid"])


def test_the_papers_scale_has_its_own_steps(place: Path) -> None:
    plan = tinybert.reproduce(
        **asked(place, scale="paper", systems=["TinyBERT_4", "BERT_4-PKD"], dry_run=True)
    )
    assert {cell["kind"] for cell in plan["cells"]} == {"pretrained", "teacher", "student"}
    assert plan["seconds"] > 0
    assert not (place / "table").exists()


def test_whole_comparisons_come_first() -> None:
    settings = ReproduceSettings(seeds=2, output=Path("x"))
    cells = list(all_cells(settings, ["mrpc", "rte"]))
    students = [cell for cell in cells if cell.kind == "student"]
    assert [(c.seed, c.task) for c in students] == sorted((c.seed, c.task) for c in students)
    assert cells[: len(cells) - 2 * 2 * 11][-1].kind == "pretrained"
    assert len(chosen_systems(settings)) == 11


def test_the_ablation_of_copies_needs_copies() -> None:
    settings = ReproduceSettings(ablation="stages", augment="copies/{task}-{seed}")
    systems = chosen_systems(settings)
    takes = {name: takes_copies(settings, system) for name, system in systems.items()}
    assert takes.pop("TinyBERT_4 without copies") is False
    assert takes.pop("BERT_BASE") is False
    assert all(takes.values())
    assert "TinyBERT_4 without copies" not in chosen_systems(ReproduceSettings(ablation="stages"))


def test_paired_differences_are_of_the_same_seeds() -> None:
    table = {
        "TinyBERT_4": {"RTE": {1: 0.6, 2: 0.7, 3: 0.8}},
        "BERT_TINY": {"RTE": {1: 0.5, 2: 0.6, 4: 0.1}},
        "BERT_BASE": {"RTE": {1: 0.9}},
    }
    found = paired(table)
    assert found.keys() == {"BERT_TINY"}
    assert found["BERT_TINY"]["seeds"] == 2
    assert found["BERT_TINY"]["difference"] == pytest.approx(0.1)
    assert found["BERT_TINY"]["low"] == pytest.approx(0.1)
    spread = paired(
        {"TinyBERT_4": {"RTE": {1: 0.6, 2: 0.8}}, "BERT_TINY": {"RTE": {1: 0.5, 2: 0.5}}}
    )["BERT_TINY"]
    # t of one degree of freedom at 97.5 % is 12.706; the spread of 0.1 and 0.3 is 0.1414
    assert spread["high"] - spread["difference"] == pytest.approx(12.706 * 0.1, rel=1e-3)


WORKERS = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from tinybert.jobs.reproduce.pool import _begin

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(1,)) as pool:
        print(os.getpid(), pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    command = [warm.python(), script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        parent, worker = map(int, client.stdout.readline().split())
        os.kill(parent, 9)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if "State:\tZ" in Path(f"/proc/{worker}/status").read_text():
            return  # dead, and nobody has looked at it yet
        time.sleep(0.1)
    os.kill(worker, 9)
    raise AssertionError("the worker lives on")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"systems": ["TinyBERT_5"]}, "there is no system TinyBERT_5: did you mean TinyBERT_"),
        ({"systems": ["TinyBERT_4", "tinybert4"]}, "names a system twice"),
        ({"systems": ["PD"], "ablation": "losses"}, "leave out --systems"),
        ({"tasks": ["mrpc", "mrpc"]}, "names a task twice"),
        ({"corpus_flops": "much"}, "--corpus-flops much is no number"),
        ({"task_flops": "0"}, "--task-flops 0 is no number"),
        ({"corpus": []}, "are pre-trained on text: give it with --corpus"),
        ({"teacher": None}, "the teacher is missing"),
        ({"grid": True}, "--grid is the paper's, for --scale paper"),
        ({"scale": "paper", "task_batch": 8}, "--task-batch are for --scale small"),
        ({"ablation": "start", "starts": "both"}, "compares the starts by itself"),
        ({"max_length": 512}, "the model takes 128 tokens at most"),
        ({"corpus": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_bad_input(place: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        tinybert.reproduce(**asked(place, **more))
    assert not (place / "table").exists()


def test_a_teacher_without_an_output_head(place: Path) -> None:
    tiny.saved_encoder(place / "plain", layers=6, width=64)
    with pytest.raises(TinybertError, match=r"DistilBERT_4 learn.* has no output head"):
        tinybert.reproduce(**asked(place, teacher=place / "plain", systems=["DistilBERT_4"]))
    tiny.saved_classifier(place / "task", layers=6, width=64)
    with pytest.raises(TinybertError, match="is fine-tuned for a task"):
        tinybert.reproduce(**asked(place, teacher=place / "task", systems=["TinyBERT_4"]))


def test_what_is_not_a_cell_stays(place: Path) -> None:
    there = place / "table" / "students" / "sst-2" / "seed-42" / "BERT_4-PKD"
    there.mkdir(parents=True)
    (there / "mine.txt").write_text("mine")
    with pytest.raises(TinybertError, match="is in the way and is no finished cell"):
        tinybert.reproduce(**asked(place, systems=["BERT_4-PKD"]))
    assert (there / "mine.txt").is_file()
