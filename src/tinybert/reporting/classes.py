"""What a student answers, class by class, and the rows where its teacher answers otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tinybert.reporting.answers import Answers
from tinybert.tasks.metrics import compute

__all__ = [
    "ClassRow",
    "Confusions",
    "Differing",
    "Disagreement",
    "class_rows",
    "confusions",
    "differing_rows",
    "disagreement",
    "value_figures",
]


@dataclass(frozen=True)
class ClassRow:
    """One class: rows that have it, and precision, recall and F1 of the answers, all 0 … 1."""

    name: str
    count: int
    precision: float
    recall: float
    f1: float

    @property
    def middle(self) -> tuple[float, float]:
        """The figures between number and F1, as the table shows them."""
        return self.precision, self.recall


@dataclass(frozen=True)
class Confusions:
    """``counts[i, j]``: rows of class i that were answered j; ``shares`` are of the row's sum."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        sums = self.counts.sum(axis=1, keepdims=True)
        return np.asarray(self.counts / np.maximum(sums, 1), dtype=np.float64)

    def commonest(self, most: int) -> list[tuple[str, str, int]]:
        """(label, answer, rows) of the most frequent mistakes."""
        off = self.counts.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(off, axis=None, kind="stable")[::-1][:most]
        pairs = [np.unravel_index(place, off.shape) for place in order]
        return [(self.names[i], self.names[j], int(off[i, j])) for i, j in pairs if off[i, j]]


@dataclass(frozen=True)
class Differing:
    """One row where the two differ. Shares are those of the answer given, 0 … 1; ``None`` for
    values."""

    row: int
    texts: tuple[str, ...] | None
    label: str | None
    teacher: str
    student: str
    teacher_share: float | None
    student_share: float | None
    teacher_right: bool | None
    student_right: bool | None


@dataclass(frozen=True)
class Disagreement:
    """Rows by who is right, where both answer with classes."""

    rows: int
    both_right: int
    teacher_alone: int
    student_alone: int
    both_wrong: int


def class_rows(
    outputs: NDArray[np.floating[Any]], truth: NDArray[Any], names: Sequence[str]
) -> list[ClassRow]:
    """Figures of every class.

    Args:
        outputs: (rows, labels) logits.
        truth: (rows,) class numbers.
        names: of the classes.
    """
    precision, recall, f1, counts = precision_recall_fscore_support(
        truth, outputs.argmax(axis=1), labels=range(len(names)), zero_division=0.0
    )
    return [
        ClassRow(name, int(n), float(p), float(r), float(f))
        for name, p, r, f, n in zip(names, precision, recall, f1, counts, strict=True)
    ]


def confusions(
    outputs: NDArray[np.floating[Any]], truth: NDArray[Any], names: Sequence[str]
) -> Confusions:
    """Which class was answered with which; arguments as of :func:`class_rows`."""
    counts = confusion_matrix(truth, outputs.argmax(axis=1), labels=range(len(names)))
    return Confusions(tuple(names), np.asarray(counts, dtype=np.int64))


def disagreement(answers: Answers) -> Disagreement | None:
    """Who is right on how many rows; ``None`` without labels or without the teacher's answers."""
    if answers.teacher is None or answers.labels is None:
        return None
    student, teacher = answers.student.argmax(axis=1), answers.teacher.argmax(axis=1)
    mine, its = student == answers.labels, teacher == answers.labels
    return Disagreement(
        rows=len(answers),
        both_right=int((mine & its).sum()),
        teacher_alone=int((its & ~mine).sum()),
        student_alone=int((mine & ~its).sum()),
        both_wrong=int((~mine & ~its).sum()),
    )


def differing_rows(
    answers: Answers,
    names: Sequence[str],
    texts: Sequence[tuple[str, ...]] | None,
    most: int,
) -> list[Differing]:
    """Rows where student and teacher differ, those first where both are surest.

    Of classes: by the sum of the shares that each gives to its answer. Of values (one output): by
    the distance between the two.
    """
    if answers.teacher is None:
        return []
    values = answers.student.shape[1] == 1
    if values:
        gap = np.abs(answers.student[:, 0].astype(np.float64) - answers.teacher[:, 0])
        places = np.argsort(-gap, kind="stable")[:most]
        shares = None
    else:
        shares = [softmax(o.astype(np.float64), axis=1) for o in (answers.teacher, answers.student)]
        differ = np.flatnonzero(shares[0].argmax(axis=1) != shares[1].argmax(axis=1))
        sure = sum(share.max(axis=1) for share in shares)[differ]
        places = differ[np.argsort(-sure, kind="stable")][:most]
    return [_differing(answers, names, texts, int(place), shares) for place in places]


def _differing(
    answers: Answers,
    names: Sequence[str],
    texts: Sequence[tuple[str, ...]] | None,
    row: int,
    shares: list[NDArray[np.float64]] | None,
) -> Differing:
    assert answers.teacher is not None
    label = None if answers.labels is None else answers.labels[row]
    text = None if texts is None else tuple(texts[row])
    if shares is None:
        its, mine = (f"{float(o[row, 0]):.3g}" for o in (answers.teacher, answers.student))
        shown = None if label is None else f"{float(label):.3g}"
        return Differing(row, text, shown, its, mine, None, None, None, None)
    given = [int(share[row].argmax()) for share in shares]
    right = [None if label is None else bool(number == label) for number in given]
    return Differing(
        row,
        text,
        None if label is None else str(names[int(label)]),
        str(names[given[0]]),
        str(names[given[1]]),
        float(shares[0][row].max()),
        float(shares[1][row].max()),
        right[0],
        right[1],
    )


def value_figures(
    outputs: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]
) -> dict[str, float]:
    """Of one value a row: both correlations, mean distance, and the slope of a straight line."""
    scores = compute("pearson_spearman", outputs, truth)
    values, wanted = outputs[:, 0].astype(np.float64), truth.astype(np.float64)
    flat = len(wanted) < 2 or np.ptp(wanted) == 0
    return {
        "Pearson": scores["pearson"],
        "Spearman": scores["spearman"],
        "mean distance": float(np.abs(values - wanted).mean()),
        "slope": 0.0 if flat else float(stats.linregress(wanted, values).slope),
    }
