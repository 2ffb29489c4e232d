from __future__ import annotations

import numpy as np
import pytest

from tinybert.errors import TinybertError
from tinybert.tasks.bag_of_words import bag_of_words_score
from tinybert.tasks.task import Rows, Task, TaskData


def rows(texts: list[str], labels: np.ndarray | None) -> Rows:
    return Rows([(text, "same") for text in texts], labels)


def task(kind: str, names: tuple[str, ...], metric: str) -> Task:
    return Task("t", kind, names, metric, ("a", "b"), "label")  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_words_that_tell_the_class(classes: int, metric: str) -> None:
    words = ["red apple", "green pear", "blue plum"][:classes]
    labels = np.arange(12) % classes
    part = rows([f"{words[label]} x" for label in labels], labels)
    names = tuple(words)
    assert bag_of_words_score(TaskData(task("classification", names, metric), part, part)) == 1.0


def test_regression() -> None:
    values = np.arange(20, dtype=np.float32) % 4
    part = rows([" ".join(["good"] * int(value) + ["bad"]) for value in values], values)
    score = bag_of_words_score(TaskData(task("regression", (), "spearman"), part, part))
    assert score > 0.9


def test_texts_without_words_still_have_a_score() -> None:
    labels = np.array([0, 1] * 4)
    part = rows(["!" if label else "?" for label in labels], labels)
    data = TaskData(task("classification", ("a", "b"), "f1"), part, part)
    assert bag_of_words_score(data) == 1.0


def test_needs_labels_and_the_part() -> None:
    part = rows(["a", "b"], None)
    data = TaskData(task("classification", (), "accuracy"), part, part)
    with pytest.raises(TinybertError, match="needs labels"):
        bag_of_words_score(data)
    with pytest.raises(TinybertError, match="no test rows"):
        bag_of_words_score(data, "test")
