"""Systems on starts of their own and of their teacher; batches; the speed that stands beside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import BertConfig

import tinybert
from support import tiny
from support.reproduction import asked, make_place
from tinybert.jobs.reproduce import speed, stages
from tinybert.jobs.reproduce.cells import Cell, Prints, chosen_systems, identity
from tinybert.jobs.reproduce.speed import SPEED_FILE, speed_of
from tinybert.jobs.reproduce.stages import at_small_scale, plan_part, task_stages
from tinybert.jobs.reproduce.tables import compared
from tinybert.jobs.rows import TaskRows
from tinybert.progress import Reporter
from tinybert.settings import ReproduceSettings
from tinybert.systems import SYSTEMS
from tinybert.systems.variants import ablation_systems, from_teacher
from tinybert.tasks.task import Task
from tinybert.teachers import Teacher


def test_every_random_start_has_one_on_the_teacher() -> None:
    for system in SYSTEMS.values():
        other = from_teacher(system)
        if system.start == "random" and system.name != "MobileBERT_TINY":
            assert other is not None
            assert other.steps == system.steps
            assert other.shape == system.shape
            wide = system.shape.hidden == 768
            assert other.start == ("layers" if wide else "pca"), system.name
        else:
            assert other is None
    assert from_teacher(SYSTEMS["TinyBERT_4"]) is SYSTEMS["TinyBERT_4-PCA"]


def test_starts_choose_the_rows_of_the_table() -> None:
    own = chosen_systems(ReproduceSettings())
    teacher = chosen_systems(ReproduceSettings(starts="teacher"))
    both = chosen_systems(ReproduceSettings(starts="both"))
    assert len(own) == len(teacher) == 11
    assert both.keys() == own.keys() | teacher.keys()
    changed = {"BERT_TINY", "BERT_SMALL", "PD", "TinyBERT_4", "TinyBERT_6"}
    assert own.keys() - teacher.keys() == changed
    assert {name for name in teacher if name.endswith("-layers")} == {
        "PD-layers",
        "TinyBERT_6-layers",
    }
    assert compared("PD-layers", list(both)) == "TinyBERT_6-layers"
    assert compared("BERT_TINY-PCA", list(both)) == "TinyBERT_4-PCA"
    assert compared("TinyBERT_4-PCA", list(both)) == "TinyBERT_4"
    # PKD and DistilBERT start on their teacher by themselves.
    assert compared("BERT_4-PKD", list(both)) == "TinyBERT_4-PCA"
    assert compared("DistilBERT_6", list(teacher)) == "TinyBERT_6-layers"
    assert compared("BERT_4-PKD", list(own)) == "TinyBERT_4"
    assert compared("MobileBERT_TINY", list(both)) == "TinyBERT_4"
    assert compared("MobileBERT_TINY", list(teacher)) is None


def test_an_ablation_on_the_teachers_start() -> None:
    for ablation, count in (("losses", 6), ("stages", 3), ("mapping", 3)):
        names = [*chosen_systems(ReproduceSettings(ablation=ablation, starts="teacher"))][1:]
        assert names[0] == "TinyBERT_4-PCA"
        assert len(names) == count
        assert {compared(name, names) for name in names[1:]} == {"TinyBERT_4-PCA"}
        both = chosen_systems(ReproduceSettings(ablation=ablation, starts="both"))
        own = chosen_systems(ReproduceSettings(ablation=ablation))
        assert both.keys() == {*own, *names}
        assert compared(names[1], list(both)) == "TinyBERT_4-PCA"
        assert all(system.start == "pca" for name, system in both.items() if name in names)


def test_a_student_on_its_teacher_is_made(place: Path) -> None:
    results = tinybert.reproduce(**asked(place, systems=["BERT_TINY"], starts="teacher"))
    made = results["systems"]["BERT_TINY-PCA"]
    assert made["start"] == "pca"
    assert made["scores"]["SST-2"]
    assert made["speedup"] > 0
    line = (place / "table" / "results.md").read_text().splitlines()[0]
    assert line.endswith("| speed-up | speed-up (paper) |")


def test_smaller_batches_make_more_steps_of_the_same_operations() -> None:
    config = BertConfig(num_hidden_layers=6, hidden_size=48, intermediate_size=96)
    for part in ("corpus", "task"):
        wide = ReproduceSettings(corpus_batch=64, task_batch=64)
        narrow = ReproduceSettings(corpus_batch=8, task_batch=8)
        for name in ("TinyBERT_4", "DistilBERT_4", "PD"):
            system = SYSTEMS[name]
            few = plan_part(wide, system, part, config, 20_000, 800e3)
            many = plan_part(narrow, system, part, config, 20_000, 800e3)
            assert {each.batch_size for each in many} == {8}
            assert sum(e.flops for e in many) == pytest.approx(sum(e.flops for e in few), rel=0.1)
            assert sum(e.steps for e in many) > 6 * sum(e.steps for e in few)


def test_the_usual_batches_by_name_are_the_same_cells() -> None:
    usual = ReproduceSettings(corpus_batch=64, task_batch=32)
    for cell in (Cell("pretrained", "TinyBERT_4"), Cell("student", "PD", "rte", 42)):
        prints = Prints(tasks={"rte": "x"})
        assert identity(usual, prints, cell) == identity(ReproduceSettings(), prints, cell)
        other = identity(ReproduceSettings(corpus_batch=8, task_batch=8), prints, cell)
        assert other != identity(usual, prints, cell)
    for system in SYSTEMS.values():  # what "usual" means
        for step in system.steps:
            wanted = 64 if step.part == "corpus" else 32
            assert at_small_scale(step).batch_size == wanted, (system.name, step.name)


def test_speed_is_measured_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, output = str(place / "teacher"), place / "table"
    output.mkdir()
    quiet = Reporter(quiet=True)
    some = {name: SYSTEMS[name] for name in ("BERT_BASE", "BERT_4-PKD")}
    first = speed_of(some, teacher, output, quiet)
    assert first["speedups"].keys() == some.keys()
    assert first["measured"]["length"] == 128
    more = speed_of(some | {"PD": SYSTEMS["PD"]}, teacher, output, quiet)
    assert more["speedups"].items() > first["speedups"].items()
    assert json.loads((output / SPEED_FILE).read_text()) == more
    monkeypatch.setattr(speed, "speedups_over", lambda *_: pytest.fail("measured again"))
    assert speed_of(some, teacher, output, quiet) == more


def test_speed_is_measured_anew_where_it_does_not_hold(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, output = str(place / "teacher"), place / "table"
    output.mkdir()
    quiet = Reporter(quiet=True)
    asked: list[set[str]] = []

    def measured(_: object, configs: dict[str, object], *__: object) -> dict[str, float]:
        asked.append({*configs})
        return dict.fromkeys(configs, 2.0)

    monkeypatch.setattr(speed, "speedups_over", measured)
    first = speed_of({"PD": SYSTEMS["PD"]}, teacher, output, quiet)
    two = {name: SYSTEMS[name] for name in ("PD", "BERT_TINY")}
    (output / SPEED_FILE).write_text(json.dumps(first | {"measured": {"threads": 99}}))
    speed_of(two, teacher, output, quiet)
    (output / SPEED_FILE).write_text('{"speedups": ')
    speed_of(two, teacher, output, quiet)
    assert asked == [{"PD"}, {"PD", "BERT_TINY"}, {"PD", "BERT_TINY"}]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_heads_from_the_teacher(tmp_path: Path) -> None:
    """They stand in the cell's identity, and only there where they are asked for."""
    place = make_place(tmp_path)
    names = ["BERT_6-PKD", "MobileBERT_TINY", "TinyBERT_4"]
    found = {
        head: tinybert.reproduce(
            **asked(place, systems=names, tasks=["sts-b"], head=head, output=place / f"by-{head}")
        )
        for head in ("random", "teacher")
    }
    where = "students/sts-b/seed-42"
    cells = {
        head: json.loads(
            (place / f"by-{head}" / where / "TinyBERT_4" / "results.json").read_text()
        )["cell"]
        for head in found
    }
    assert cells["teacher"] == cells["random"] | {"head": "teacher"}
    assert any("start from its own" in note for note in found["teacher"]["notes"])

    def first_error(head: str, name: str) -> float:
        """Of the stage that trains the head, before a step."""
        log = place / f"by-{head}" / where / name / "log.jsonl"
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        last = entries[-1]["stage"]
        return next(float(e["loss"]) for e in entries if e["stage"] == last and "loss" in e)

    for name in names:
        assert first_error("teacher", name) < first_error("random", name), name


def test_whose_heads_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that learn the teacher's answers, on states that come from it; labels never."""
    teacher = tiny.classifier(layers=6, width=64)
    rows = TaskRows(
        Task("rows", "classification", ("a", "b", "c", "d"), "accuracy", ("text",), "label"),
        *[tiny.rows(60)] * 3,
    )
    monkeypatch.setattr(stages, "_head_start", lambda rows, teacher, seed: teacher is not None)
    settings = ReproduceSettings(head="teacher", task_flops="1G")
    fitted = {}
    for system in [
        *SYSTEMS.values(),
        *filter(None, map(from_teacher, SYSTEMS.values())),
        *ablation_systems("losses"),
        *ablation_systems("stages"),
    ]:
        if system.is_teacher:
            continue
        planned = plan_part(settings, system, "task", teacher.config, 60, 600.0)
        held = Teacher(teacher)
        made = task_stages(settings, planned, rows, held, lambda: rows.train, system, 0)
        fitted[system.name] = {stage.name: stage.prepare for stage in made if stage.prepare}
    yes = {name for name, each in fitted.items() if True in each.values()}
    assert yes >= {"TinyBERT_4", "TinyBERT_6-layers", "BERT_4-PKD", "BERT_6-PKD", "PD-layers"}
    assert not yes & {
        *("BERT_TINY", "BERT_SMALL-PCA", "PD", "DistilBERT_4", "MobileBERT_TINY", "MiniLMv2_4"),
        *("TinyBERT_4 without prediction", "TinyBERT_4 without task distillation"),
    }
