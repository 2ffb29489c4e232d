"""One student for several tasks: what is learned, what comes out, what is refused."""

from __future__ import annotations

import json
import shutil
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
    return output, multitask(place, output, **slow, **fast)


def log(output: Path, stage: str, key: str) -> list[float]:
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return [line[key] for line in lines if line["stage"] == stage and key in line]


def test_all_losses_fall(made: tuple[Path, dict[str, Any]]) -> None:
    output, _ = made
    keys = ["eval_loss"]
    for key in keys:
        found = log(output, "intermediate", key)
        assert found[-1] < found[0], key
    for task in TASKS:  # each task's part of the loss, over the steps of the first and last epoch
        found = log(output, "prediction", f"terms/prediction.{task}")
        quarter = len(found) // 4
        assert np.mean(found[-quarter:]) < np.mean(found[:quarter]), task
    both = [log(output, "prediction", f"terms/prediction.{task}") for task in TASKS]
    whole = log(output, "prediction", "terms/prediction")
    np.testing.assert_allclose(np.sum(both, axis=0), whole, rtol=1e-5)


def test_one_body_and_the_students_own_answers(made: tuple[Path, dict[str, Any]]) -> None:
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
        kept = np.load(output / task / "answers.npz")
        tokenizer = AutoTokenizer.from_pretrained(output / task)
        assert len(tokenizer) == tiny.VOCABULARY
        assert kept["student"].shape[1] == model.config.num_labels
