"""GLUE with several seeds: runs are kept, go on, and end in one table."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

import tinybert
from support import tiny
from tinybert.errors import TinybertError
from tinybert.jobs import glue

QUICK = tiny.QUICK | {"student": "2x16"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SST-2 and MNLI in their layouts, with both of MNLI's dev sets."""
    where = tmp_path / "glue"
    for name, count in (("train", 60), ("dev", 20)):
        texts, labels = tiny.sentences(count, seed=len(name))
        lines = ["sentence\tlabel"]
        lines += [
            f"{text} {n}\t{int(label == labels[0])}"
            for n, (text, label) in enumerate(zip(texts, labels, strict=True))
        ]
        write(where / "SST-2" / f"{name}.tsv", lines)
    words = ("entailment", "neutral", "contradiction")
    for name, count in (("train", 60), ("dev_matched", 21), ("dev_mismatched", 18)):
        texts, _ = tiny.sentences(count, seed=len(name))
        lines = ["sentence1\tsentence2\tgold_label"]
        lines += [f"{text}\t{text} {n}\t{words[n % 3]}" for n, text in enumerate(texts)]
        write(where / "MNLI" / f"{name}.tsv", lines)
    return where


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return tiny.saved_encoder(tmp_path / "encoder", layers=4, width=32)


def test_tables_parts_and_seeds(data: Path, encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    results = tinybert.glue(teacher=encoder, data=data, output=output, seeds=2, **QUICK)
    assert set(results["columns"]) == {"SST-2", "MNLI", "MNLI mismatched"}
    systems = ["teacher", "student", "same start, labels alone", "same start, logits alone"]
    assert list(results["average"]) == systems
    assert results["columns"]["MNLI mismatched"]["rows"] == 18
    for column in results["columns"].values():
        for found in column["scores"].values():
            assert len(found["seeds"]) == 2
            assert found["spread"] is not None
    assert json.loads((output / "results.json").read_text()) == results
    with (output / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 4 * 2
    assert {line["seed"] for line in lines} == {"42", "43"}
    table = (output / "results.md").read_text().splitlines()
    assert len(table) == 2 + 4
    assert "| MNLI mismatched (accuracy) |" in table[0]
    # One whole run a task and seed, teacher beside it.
    one = json.loads((output / "mnli" / "seed-43" / "results.json").read_text())
    assert one["student"]["scores"].keys() == {"test", "mismatched"}
    assert (output / "mnli" / "seed-43-teacher" / "model.safetensors").is_file()
    found = results["columns"]["MNLI mismatched"]["scores"]["student"]["seeds"][1]
    assert found == one["student"]["scores"]["mismatched"]["accuracy"]


def test_finished_runs_are_kept_and_a_stopped_one_goes_on(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "results"
    asked = {"teacher": encoder, "data": data, "output": output, "tasks": ["sst2"], **QUICK}
    real, made = glue.run_distill, []

    def counted(settings, reporter):
        made.append(settings.seed)
        if len(made) == 2:
            raise KeyboardInterrupt
        return real(settings, reporter)

    monkeypatch.setattr(glue, "run_distill", counted)
    with pytest.raises(KeyboardInterrupt):
        tinybert.glue(seeds=2, **asked)
    assert len(json.loads((output / "results.json").read_text())["columns"]) == 1
    results = tinybert.glue(seeds=2, **asked)
    assert made == [42, 43, 43]
    assert len(results["columns"]["SST-2"]["scores"]["student"]["seeds"]) == 2
    assert tinybert.glue(seeds=2, **asked)["columns"] == results["columns"]
    assert made == [42, 43, 43]
    with pytest.raises(TinybertError, match=r"other settings \(prediction_epochs\)"):
        tinybert.glue(seeds=1, **(asked | {"prediction_epochs": 2.0}))
    (output / "sst-2" / "seed-42" / "results.json").unlink()
    with pytest.raises(TinybertError, match="no finished run"):
        tinybert.glue(seeds=1, **asked)


def test_what_makes_no_sense(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before any run starts, but for what each run checks itself."""
    real = glue.run_distill

    def only_text(settings, reporter):
        assert settings.text is not None, "a run was started"
        return real(settings, reporter)

    monkeypatch.setattr(glue, "run_distill", only_text)
    asked = {"teacher": encoder, "output": tmp_path / "results", "quiet": True}
    tiny.saved_classifier(tmp_path / "tuned-sst-2", labels=("negative", "positive"))
    tuned = str(tmp_path / "tuned-{task}")
    tiny.saved_classifier(tmp_path / "topics")
    (tmp_path / "sick" / "SST-2").mkdir(parents=True)
    (tmp_path / "sick" / "MNLI").symlink_to(data / "MNLI")
    (tmp_path / "sick" / "SST-2" / "train.tsv").write_text("sentence\tlabel\nfile\t1\n")
    for more, message in (
        ({"data": data, "max_latency": "5ms"}, "--max-latency would find.*tinybert distill.*--st"),
        ({"data": data, "max_size": "1MB"}, "--max-size would find another student"),
        ({"data": data, "speedup": "2"}, "--speedup would find another student"),
        ({"data": data, "metric": "pearson"}, "pearson is for regression and SST-2 is classific"),
        ({"data": data, "metric": "f1"}, "f1 is for 2 classes and MNLI has 3: take macro_f1"),
        ({"data": data, "teacher": tuned}, "tuned-mnli"),
        ({"data": data, "teacher": tmp_path / "topics"}, "SST-2 asks for 2 classes and the teac"),
        ({"data": tmp_path / "sick", "tasks": ["mnli", "sst-2"]}, r"no dev\.tsv .*of SST-2"),
        ({"data": tmp_path / "encoder"}, "holds no GLUE task"),
        ({"data": data, "tasks": ["sst2", "SST-2"]}, "names a task twice"),
        ({"data": data, "task": "mrpc"}, "name those of GLUE with --tasks"),
        ({"data": data, "tasks": ["mrpcc"]}, "mrpc"),
        ({"data": data, "text": "sentence"}, "--text is for data of one's own"),
        ({"data": data, "tasks": ["mrpc"]}, "MRPC"),
    ):
        with pytest.raises(TinybertError, match=message):
            tinybert.glue(**(asked | more))
    assert not (tmp_path / "results").exists()


def test_students_of_different_shapes_are_told(
    data: Path,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run's figures come with its student's size, and no size stands for all of them."""
    real = glue.run_distill

    def smaller_for_mnli(settings, reporter):
        if settings.task == "mnli":
            settings = replace(settings, student="1x16")
        return real(settings, reporter)

    asked = {"teacher": encoder, "data": data, "seeds": 1, "controls": False}
    asked |= QUICK | {"quiet": False}
    alike = tinybert.glue(output=tmp_path / "alike", **asked)
    assert alike["notes"] == []
    assert alike["student"]["hidden"] == 16
    assert "differ in shape" not in capsys.readouterr().err
    monkeypatch.setattr(glue, "run_distill", smaller_for_mnli)
    results = tinybert.glue(output=tmp_path / "results", **asked)
    note = "students differ in shape: MNLI 1x16, others 2x16"
    assert results["notes"] == [note]
    assert json.loads((tmp_path / "results" / "results.json").read_text())["notes"] == [note]
    assert note in (tmp_path / "results" / "results.md").read_text()
    assert f"NOTE: {note}" in capsys.readouterr().err
    assert results["student"] is None
    assert results["teacher"]["layers"] == 4
    for title, task, layers in (("SST-2", "sst-2", 2), ("MNLI mismatched", "mnli", 1)):
        own = json.loads((tmp_path / "results" / task / "seed-42" / "results.json").read_text())
        size = {name: own["student"][name] for name in ("layers", "hidden", "parameters")}
        assert results["columns"][title]["students"] == [size]
        assert size["layers"] == layers


def test_a_stray_file_makes_no_task(data: Path, encoder: Path, tmp_path: Path) -> None:
    (data / "notes.tsv").write_text("a\tb\n")
    (data / "RTE").mkdir()
    (data / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n")
    asked = {"teacher": encoder, "output": tmp_path / "results", "seeds": 1, "dry_run": True}
    asked |= QUICK
    assert list(tinybert.glue(data=data, **asked)["runs"]) == ["sst-2", "mnli"]
    assert list(tinybert.glue(data=data / "MNLI", **asked)["runs"]) == ["mnli"]
    for folder in (data / "SST-2", data / "MNLI"):
        (folder / "train.tsv").unlink()
    with pytest.raises(TinybertError, match="holds no GLUE task"):
        tinybert.glue(data=data, **asked)


def test_a_run_in_the_way_is_told_before_others_start(
    data: Path, encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "results" / "mnli" / "seed-43").mkdir(parents=True)
    with pytest.raises(TinybertError, match="no finished run"):
        tinybert.glue(teacher=encoder, data=data, output=tmp_path / "results", seeds=2, **QUICK)
    assert not (tmp_path / "results" / "sst-2").exists()
