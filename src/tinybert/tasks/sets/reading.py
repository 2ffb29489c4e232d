"""What a model's outputs come to as sets of labels: scored, written, told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import precision_recall_fscore_support

from tinybert.tasks.sets.metrics import chosen, set_scores

__all__ = ["SetReading", "set_columns"]

MOST_TOLD = 200
"""Rows that teacher and student answer differently, kept for the page."""


def set_columns(
    outputs: NDArray[np.float32], names: Sequence[str]
) -> Mapping[str, NDArray[np.object_]]:
    """The labels of every row, a list, and the probability of every label, an object."""
    answers, shares = chosen(outputs), expit(np.asarray(outputs, dtype=np.float64))
    labels = np.empty(len(outputs), dtype=object)
    probabilities = np.empty(len(outputs), dtype=object)
    for row in range(len(outputs)):
        labels[row] = [name for name, said in zip(names, answers[row], strict=True) if said]
        probabilities[row] = dict(zip(names, shares[row].tolist(), strict=True))
    return {"labels": labels, "probabilities": probabilities}


@dataclass(frozen=True)
class SetReading:
    """The rows that outputs answer, and their labels.

    Attributes:
        names: of the labels, in the order of the outputs.
        texts: of every row.
        gold: (rows, labels) bool; None without labels.
    """

    names: tuple[str, ...]
    texts: Sequence[tuple[str, ...]]
    gold: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.texts)

    def scores(self, metric: str, outputs: NDArray[np.float32]) -> dict[str, float]:
        """Micro and macro F1, and the share of rows with just the right labels."""
        assert self.gold is not None
        return set_scores(metric, outputs, self.gold)

    def settled(self, outputs: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(rows, labels): which labels are answered."""
        return chosen(outputs)

    def alike(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
        """The share of rows to which two models give the very same labels."""
        return float((one == other).all(axis=1).mean())

    def answered(self, outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        """The labels of every row, and the probability of every label."""
        found = set_columns(outputs, self.names)
        return [
            {"row": row, "labels": labels, "probabilities": shares}
            for row, (labels, shares) in enumerate(
                zip(found["labels"], found["probabilities"], strict=True)
            )
        ]

    def told(
        self, student: NDArray[np.float32], teacher: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """Figures of every label, and the rows to which the two give other labels."""
        mine, its = chosen(student), None if teacher is None else chosen(teacher)
        truth = self.gold if self.gold is not None else its
        said: dict[str, Any] = {
            "kind": "sets",
            "rows": len(self),
            "labelled": self.gold is not None,
            "classes": [],
            "teacher_f1": [],
            "example": list(self.texts[min(range(min(200, len(self))), key=self._far_from_usual)]),
        }
        if truth is not None:
            said["classes"] = self._classes(truth, mine)
            if self.gold is not None and its is not None:
                said["teacher_f1"] = [row["f1"] for row in self._classes(truth, its)]
        if its is None or teacher is None:
            return said | {"differ": 0, "differing": [], "split": None}
        return said | self._differing(mine, its, np.abs(expit(student) - expit(teacher)))

    def _far_from_usual(self, row: int) -> int:
        return abs(sum(len(text.split()) for text in self.texts[row]) - 12)

    def _classes(self, truth: NDArray[np.bool_], answers: NDArray[np.bool_]) -> list[Any]:
        found = []
        for number, name in enumerate(self.names):
            precision, recall, f1, _ = precision_recall_fscore_support(
                truth[:, number], answers[:, number], average="binary", zero_division=0.0
            )
            figures = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
            found.append({"name": name, "count": int(truth[:, number].sum())} | figures)
        return found

    def _differing(
        self, mine: NDArray[np.bool_], its: NDArray[np.bool_], gap: NDArray[np.floating[Any]]
    ) -> dict[str, Any]:
        """Rows with other labels, those first where the probabilities are furthest apart."""
        differ = np.flatnonzero((mine != its).any(axis=1))
        order = differ[np.argsort(-gap[differ].max(axis=1), kind="stable")]
        gold = self.gold
        differing = [
            {
                "row": int(row),
                "texts": list(self.texts[int(row)]),
                "label": None if gold is None else self._shown(gold[row]),
                "teacher": self._shown(its[row]),
                "student": self._shown(mine[row]),
                "teacher_right": None if gold is None else bool((its[row] == gold[row]).all()),
                "student_right": None if gold is None else bool((mine[row] == gold[row]).all()),
            }
            for row in order[:MOST_TOLD]
        ]
        split = None
        if gold is not None:
            right = [(answers == gold).all(axis=1) for answers in (mine, its)]
            split = {
                "both_right": int((right[0] & right[1]).sum()),
                "teacher_alone": int((right[1] & ~right[0]).sum()),
                "student_alone": int((right[0] & ~right[1]).sum()),
                "both_wrong": int((~right[0] & ~right[1]).sum()),
            }
        return {"differ": len(differ), "differing": differing, "split": split}

    def _shown(self, has: NDArray[np.bool_]) -> str:
        return ", ".join(name for name, said in zip(self.names, has, strict=True) if said) or "none"
