"""One student for several tasks: what is learned, what comes out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tinybert
from support import several, tiny
from tinybert.cli import main
from tinybert.errors import TinybertError
from tinybert.jobs.multitask_stages import mean_body
from tinybert.training import DistillationTrainer

TOPICS = ("a", "b", "c")
TASKS = ["topic", "stars"]


def topics_file(path: Path, count: int, seed: int) -> Path:
    """Sentences of three labels."""
    texts, labels = tiny.sentences(count, seed)
    rows = [f"{t},{TOPICS[tiny.LABELS.index(y) % 3]}" for t, y in zip(texts, labels, strict=True)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def stars_file(path: Path, count: int, seed: int) -> Path:
    """Pairs of sentences with values far from 0 and wide apart."""
    texts, _ = tiny.sentences(2 * count, seed)
    pairs = zip(texts[:count], texts[count:], strict=True)
    rows = [f"{t},{u},{9.5 * len({*t.split()}) + i / 50:.2f}" for i, (t, u) in enumerate(pairs)]
    path.write_text("\n".join(["question,answer,score", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tasks")
    topics_file(place / "topic.csv", 90, 0)
    stars_file(place / "stars.csv", 60, 1)
    topics_file(place / "topic-test.csv", 20, 2)
    stars_file(place / "stars-test.csv", 20, 3)
    several.lists_file(place / "sets.jsonl", 60, 1)
    options: dict[str, Any] = {"layers": 3, "width": 32, "initializer_range": 0.5}
    (place / "teachers").mkdir()
    teachers = place / "teachers"
    tiny.saved_classifier(teachers / "topic", labels=TOPICS, **options)
    tiny.saved_classifier(teachers / "stars", seed=1, labels=("score",), **options)
    tiny.saved_classifier(teachers / "narrow", labels=TOPICS, layers=3, width=16)
    tiny.saved_encoder(teachers / "plain", **options)
    tiny.saved_classifier(teachers / "tokens", labels=("score",), **options)
    more = tiny.tokenizer()
    more.add_tokens(["more"])
    more.save_pretrained(teachers / "tokens")
    return place


ASKED: dict[str, Any] = {
    name: value for name, value in tiny.QUICK.items() if name != "teacher_epochs"
} | {"student": "2x16", "log_every": 1, "batch_size": 16}


def multitask(place: Path, output: Path, **more: Any) -> dict[str, Any]:
    asked = {
        "tasks": TASKS,
        "teacher": f"{place}/teachers/{{task}}",
        "data": f"{place}/{{task}}.csv",
        "output": output,
    }
    return tinybert.multitask(**(asked | ASKED | more))


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("made") / "student"
    slow = {"intermediate_epochs": 4.0, "prediction_epochs": 4.0}
    fast = {"intermediate_learning_rate": 3e-3, "prediction_learning_rate": 3e-3}
    test = f"{place}/{{task}}-test.csv"
    return output, multitask(place, output, start="random", test=test, **slow, **fast)


def log(output: Path, stage: str, key: str) -> list[float]:
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return [line[key] for line in lines if line["stage"] == stage and key in line]


def test_all_losses_fall(made: tuple[Path, dict[str, Any]]) -> None:
    output, _ = made
    found = log(output, "intermediate", "eval_loss")
    assert found[-1] < found[0]
    for task in TASKS:  # each task's part of the loss, over the steps of the first and last epoch
        found = log(output, "prediction", f"terms/prediction.{task}")
        quarter = len(found) // 4
        assert np.mean(found[-quarter:]) < np.mean(found[:quarter]), task
    both = [log(output, "prediction", f"terms/prediction.{task}") for task in TASKS]
    whole = log(output, "prediction", "terms/prediction")
    np.testing.assert_allclose(np.sum(both, axis=0), whole, rtol=1e-5)


def test_one_body_and_the_students_own_answers(
    place: Path, made: tuple[Path, dict[str, Any]]
) -> None:
    output, results = made
    models = [AutoModelForSequenceClassification.from_pretrained(output / task) for task in TASKS]
    bodies = [model.base_model.state_dict() for model in models]
    assert bodies[0].keys() == bodies[1].keys()
    assert all(bodies[0][name].equal(bodies[1][name]) for name in bodies[0])
    assert models[0].config.id2label == dict(enumerate(TOPICS))
    assert [model.config.problem_type for model in models] == [
        "single_label_classification",
        "regression",
    ]
    heads = sum(p.numel() for model in models for p in model.classifier.parameters())
    assert results["student"]["heads"] == heads
    assert results["student"]["parameters"] == heads + results["student"]["body"]
    for task, model in zip(TASKS, models, strict=True):
        own = json.loads((output / task / "results.json").read_text())
        assert own["student"]["score"] == results["tasks"][task]["student"]
        assert own["shares_body_with"] == [name for name in TASKS if name != task]
        card = (output / task / "README.md").read_text()
        assert f"its weights are also those of {own['shares_body_with'][0]}." in card
        kept = np.load(output / task / "answers.npz")
        tokenizer = AutoTokenizer.from_pretrained(output / task)
        assert len(tokenizer) == tiny.VOCABULARY
        rows = [r.split(",") for r in (place / f"{task}-test.csv").read_text().splitlines()[1:]]
        texts = [list(column) for column in zip(*(row[:-1] for row in rows), strict=True)]
        with torch.no_grad():
            found = model(**tokenizer(*texts, padding=True, return_tensors="pt")).logits
        np.testing.assert_allclose(found.numpy(), kept["student"], rtol=1e-4, atol=1e-5)


def test_alone_a_task_is_distilled_as_by_distill(place: Path, tmp_path: Path) -> None:
    """Same seed, same weights to the bit: rows, order, start, head and losses are the same."""
    for head in ("random", "teacher"):
        one, other = tmp_path / f"one-{head}", tmp_path / f"other-{head}"
        multitask(place, one, tasks=["topic"], head=head, dropout=0.1)
        tinybert.distill(
            teacher=place / "teachers" / "topic",
            data=place / "topic.csv",
            output=other,
            head=head,
            dropout=0.1,
            **ASKED,
        )
        bytes_of = [(o / "model.safetensors").read_bytes() for o in (one / "topic", other)]
        assert bytes_of[0] == bytes_of[1]
        figures = [json.loads((o / "results.json").read_text()) for o in (one / "topic", other)]
        for key in ("student", "teacher", "agreement", "layer_mapping", "rows"):
            assert figures[0][key] == figures[1][key], key
        assert set(figures[1]) <= set(figures[0])  # whoever reads the one reads the other


def test_the_start_favours_no_task() -> None:
    one, two = (tiny.classifier(seed=seed) for seed in (1, 2))
    before = {name: value.clone() for name, value in one.state_dict().items()}
    middle = mean_body([one, two])
    for name, value in middle.base_model.state_dict().items():
        own, other = (model.base_model.state_dict()[name] for model in (one, two))
        torch.testing.assert_close(value, (own + other) / 2)
    assert middle.classifier.weight.equal(one.classifier.weight)
    assert all(value.equal(before[name]) for name, value in one.state_dict().items())
    assert mean_body([one]) is one


def test_stopped_and_resumed_is_unbroken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"dropout": 0.1, "balance": 0.3, "intermediate_epochs": 2.0}
    multitask(place, tmp_path / "unbroken", **asked)
    real = DistillationTrainer.training_step
    steps = 0

    def stopped(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps in (12, 20, 30):  # after a checkpoint; twice more, in the other stage too
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(DistillationTrainer, "training_step", stopped)
    broken = tmp_path / "broken"
    for number in range(3):
        with pytest.raises(KeyboardInterrupt):
            multitask(place, broken, resume=number > 0, **asked)
        assert not broken.exists()
    multitask(place, broken, resume=True, **asked)
    for task in TASKS:
        for name in ("model.safetensors", "projections.safetensors"):
            unbroken = tmp_path / "unbroken" / task / name
            assert unbroken.read_bytes() == (broken / task / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "unbroken"]
    with pytest.raises(TinybertError, match="exists already"):
        multitask(place, broken)


def test_sets_and_rows_without_labels(place: Path, tmp_path: Path) -> None:
    """A multi-label task beside one whose rows have no labels, chosen by the teacher's answers."""
    texts, _ = tiny.sentences(60, 3)
    (tmp_path / "bare.csv").write_text("text\n" + "\n".join(texts) + "\n")
    labels = tuple(sorted({label for _, own in several.sets(60, 1) for label in own}))
    names = {"labels": labels, "problem_type": "multi_label_classification"}
    tiny.saved_classifier(tmp_path / "teacher", layers=3, width=32, **names)
    results = multitask(
        place,
        tmp_path / "out",
        tasks=["topic", "sets"],
        teacher=[f"{place}/teachers/topic", f"sets={tmp_path}/teacher"],
        data=[f"topic={tmp_path}/bare.csv", f"sets={place}/sets.jsonl"],
        kind="sets=multi-label",
        head="teacher",
    )
    found = results["tasks"]
    assert (
        found["topic"]["student"] is found["topic"]["metric"] is results["mean"]["student"] is None
    )
    assert 0 <= found["topic"]["agreement"] <= 1
    assert found["sets"]["metric"] == "micro_f1"
    assert (tmp_path / "out" / "sets" / "answers.json").is_file()


def test_several_columns_of_one_file(place: Path, tmp_path: Path) -> None:
    topics = (place / "topic.csv").read_text().splitlines()
    lines = [f"{row},{i / 7:.2f}" for i, row in enumerate(topics[1:])]
    (tmp_path / "both.csv").write_text("\n".join(["text,topic,mark", *lines]) + "\n")
    plan = multitask(
        place,
        tmp_path / "out",
        data=str(tmp_path / "both.csv"),
        label=["topic=topic", "stars=mark"],
        text="text",
        dry_run=True,
    )
    metrics = [told["metric"] for told in plan["tasks"].values()]
    assert metrics == ["accuracy", "pearson_spearman"]


def test_a_plan_trains_nothing(place: Path, tmp_path: Path) -> None:
    plan = multitask(place, tmp_path / "out", dry_run=True, balance=0.0)
    assert plan["tasks"]["topic"]["training rows"] == 81
    assert plan["tasks"]["topic"]["drawn an epoch"] == 68
    assert plan["intermediate steps"] == plan["prediction steps"] == 9
    assert not list(tmp_path.iterdir())


def test_a_page_for_each_task(made: tuple[Path, dict[str, Any]]) -> None:
    output, _ = made
    for task in TASKS:
        tinybert.report(run=output / task, overwrite=True, latency=False, quiet=True)
        assert "Prediction, task by task" in (output / task / "report.html").read_text()
    with pytest.raises(TinybertError, match="one student of several tasks .* such as .*topic"):
        tinybert.report(run=output, quiet=True)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"tasks": []}, "the list of tasks is missing: give it with --tasks"),
        ({"tasks": ["topic", "Topic"]}, "--tasks names topic twice"),
        ({"tasks": ["a/b", "c"]}, "'a/b' cannot be a directory's name"),
        ({"tasks": ["topic", "results.json"]}, "'results.json' is a file of the output"),
        ({"teacher": []}, "a teacher for each task is missing"),
        ({"teacher": "PLACE/teachers/topic"}, "is that of topic and of stars: write {task}"),
        ({"teacher": ["stars=x"]}, "topic has no teacher: give it with --teacher topic=MODEL"),
        ({"teacher": ["{task}", "stars=PLACE/teachers/plain"]}, "there is no directory topic"),
        (
            {"teacher": ["PLACE/teachers/{task}", "stars=PLACE/teachers/plain"]},
            "stars: .*plain is an encoder without a task head: fine-tune it with",
        ),
        (
            {"tasks": ["stars", "narrow"]},
            "stars and narrow differ in shape .bert 3x32x64x4, 25 pieces and bert 3x16",
        ),
        (
            {"teacher": ["PLACE/teachers/{task}", "stars=PLACE/teachers/tokens"]},
            "topic and stars cut text into different tokens",
        ),
        ({"data": "PLACE/topic.csv"}, "topic.csv is that of topic and of stars: write {task}"),
        ({"data": "PLACE"}, "is no file, and topic is no task of GLUE"),
        ({"data": []}, "there is no --data, and topic is no task of GLUE"),
        ({"data": ["topic=PLACE/topic.csv"]}, "stars is no task of GLUE"),
        ({"data": "PLACE/{task}.tsv"}, "topic: .*topic.tsv does not exist"),
        (
            {"data": ["PLACE/{task}.csv", "star=x"]},
            "--data star=x: --tasks names no star; did you mean stars",
        ),
        ({"data": ["a/{task}", "b/{task}"]}, "give one for all tasks, with {task}"),
        ({"label": ["stars=a", "stars=b"]}, "--label says two things of stars"),
        ({"dev": "PLACE/topic.csv"}, "topic: dev and train rows are the same file"),
        ({"kind": "topic=ner"}, "topic is to be ner, and tasks that share a student are"),
        ({"kind": "stars=ranking"}, "stars is to be ranking"),
        ({"kind": "stars=clasification"}, "stars: --kind is classification"),
        ({"kind": "stars=classification"}, "stars: .*classes"),
        ({"label": "stars=nothing"}, "stars: .*has no label column"),
        ({"student": "2x30"}, "heads"),
        ({"intermediate_epochs": 0, "prediction_epochs": 0}, "both stages have 0 epochs"),
        ({"balance": 1.5}, "--balance 1.5 makes no sense"),
        ({"output": "PLACE"}, "exists already"),
    ],
)
def test_bad_input(place: Path, tmp_path: Path, more: dict[str, Any], error: str) -> None:
    """One sentence, and nothing left behind."""

    def settled(value: Any) -> Any:
        if isinstance(value, list):
            return [settled(each) for each in value]
        return value.replace("PLACE", str(place)) if isinstance(value, str) else value

    asked = {name: settled(value) for name, value in more.items()}
    with pytest.raises(TinybertError, match=error) as raised:
        multitask(place, **({"output": tmp_path / "out"} | asked))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    assert not list(place.parent.glob(f"{place.name}.*"))


def test_the_output_is_no_teacher(place: Path) -> None:
    with pytest.raises(TinybertError, match="what --teacher names"):
        multitask(place, place / "teachers", overwrite=True)


def test_on_the_command_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"multitask --tasks topic stars --teacher {place}/teachers/{{task}} --output {tmp_path}/o"
    )
    data = ["--data", f"{place}/{{task}}.csv"]
    assert main([*words.split(), *data, "--student", "2x16", "--dry-run"]) == 0
    assert "drawn an epoch" in capsys.readouterr().out
    assert main([*words.split(), "--student", "2x16"]) == 2
    assert "is no task of GLUE" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
