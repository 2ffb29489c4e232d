"""Figures of classes are those of scikit-learn and of counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import classification_report

from tinybert.reporting import Answers
from tinybert.reporting.classes import (
    class_rows,
    confusions,
    differing_rows,
    disagreement,
    value_figures,
)

NAMES = ("a", "b", "c", "never")


@pytest.fixture
def answers() -> Answers:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 60)
    student, teacher = rng.normal(size=(2, 60, 4)).astype(np.float32)
    student[:, 3] = teacher[:, 3] = -9
    student[np.arange(60), labels] += 1.5
    teacher[np.arange(60), labels] += 2.0
    return Answers(student, teacher, labels, "print")


def test_classes_are_scikit_learns(answers: Answers) -> None:
    assert answers.labels is not None
    wanted = classification_report(
        answers.labels,
        answers.student.argmax(axis=1),
        labels=range(4),
        target_names=NAMES,
        output_dict=True,
        zero_division=0.0,
    )
    for row in class_rows(answers.student, answers.labels, NAMES):
        assert (row.precision, row.recall, row.f1, row.count) == pytest.approx(
            [wanted[row.name][key] for key in ("precision", "recall", "f1-score", "support")]
        )
    assert class_rows(answers.student, answers.labels, NAMES)[3].count == 0


def test_confusions_count_pairs(answers: Answers) -> None:
    assert answers.labels is not None
    table = confusions(answers.student, answers.labels, NAMES)
    given = answers.student.argmax(axis=1)
    for i in range(4):
        for j in range(4):
            assert table.counts[i, j] == ((answers.labels == i) & (given == j)).sum()
    assert table.shares[:3].sum(axis=1) == pytest.approx(1.0)
    assert table.shares[3].sum() == 0  # no such row
    mistakes = table.commonest(50)
    assert sum(n for *_, n in mistakes) == (given != answers.labels).sum()
    assert [n for *_, n in mistakes] == sorted((n for *_, n in mistakes), reverse=True)
    assert all(label != answer for label, answer, _ in mistakes)


def test_who_is_right(answers: Answers) -> None:
    who = disagreement(answers)
    assert who is not None
    assert who.both_right + who.teacher_alone + who.student_alone + who.both_wrong == 60
    assert answers.teacher is not None
    mine, its = answers.student.argmax(axis=1), answers.teacher.argmax(axis=1)
    assert who.teacher_alone == sum((its == answers.labels) & (mine != answers.labels))
    assert disagreement(Answers(answers.student, None, answers.labels, "")) is None
    assert disagreement(Answers(answers.student, answers.teacher, None, "")) is None


def test_the_surest_differing_rows_come_first(answers: Answers) -> None:
    assert answers.teacher is not None
    assert answers.labels is not None
    texts = [(f"text {i}",) for i in range(60)]
    found = differing_rows(answers, NAMES, texts, 1000)
    mine, its = answers.student.argmax(axis=1), answers.teacher.argmax(axis=1)
    assert sorted(row.row for row in found) == np.flatnonzero(mine != its).tolist()
    sure = [(row.teacher_share or 0) + (row.student_share or 0) for row in found]
    assert sure == sorted(sure, reverse=True)
    first = found[0]
    assert first.texts == texts[first.row]
    assert first.label == NAMES[answers.labels[first.row]]
    assert first.student == NAMES[mine[first.row]]
    assert first.student_share == pytest.approx(softmax(answers.student[first.row]).max())
    assert first.teacher_right == (its[first.row] == answers.labels[first.row])
    assert differing_rows(answers, NAMES, None, 2) == [
        type(row)(**(vars(row) | {"texts": None})) for row in found[:2]
    ]
    assert differing_rows(Answers(answers.student, None, None, ""), NAMES, texts, 5) == []


def test_values_differ_by_their_distance() -> None:
    teacher = np.array([[1.0], [2.0], [3.0]], np.float32)
    student = np.array([[1.1], [5.0], [2.5]], np.float32)
    labels = np.array([1.0, 2.0, 3.0], np.float32)
    found = differing_rows(Answers(student, teacher, labels, ""), ("score",), None, 2)
    assert [(row.row, row.teacher, row.student) for row in found] == [
        (1, "2", "5"),
        (2, "3", "2.5"),
    ]
    assert found[0].teacher_right is found[0].student_share is None


def test_figures_of_values() -> None:
    labels = np.array([0.0, 1.0, 2.0, 3.0])
    figures = value_figures((2 * labels + 1)[:, None], labels)
    assert figures["Pearson"] == pytest.approx(1)
    assert figures["slope"] == pytest.approx(2)
    assert figures["mean distance"] == pytest.approx(2.5)
    assert value_figures(np.ones((3, 1)), np.ones(3))["slope"] == 0
