"""What a task is: its texts, its labels and the metric that scores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinybert.task_heads import Answering
from tinybert.tasks.texts import Texts

__all__ = ["RANKING_METRICS", "Kind", "Rows", "Task", "TaskData"]

Kind = Literal[
    "classification", "multi-label", "regression", "token-classification", "question-answering"
]

RANKING_METRICS = ("ndcg@10", "mrr@10", "map")
"""Of values that put the passages of a query in order; the first is the usual one."""


@dataclass(frozen=True)
class Task:
    """A task's meaning, without its rows.

    Attributes:
        name: a short name for tables and result files.
        kind: ``"classification"``, ``"multi-label"`` or ``"regression"`` of whole texts,
            ``"token-classification"``, ``"question-answering"``.
        label_names: name of each class, in the order of the class numbers; empty for regression
            and for rows without labels.
        metric: a name in :data:`tinybert.tasks.metrics.METRICS`.
        text_columns: the one or two columns that the texts came from.
        label_column: the column that the labels came from, several with commas; ``None`` without
            labels.
    """

    name: str
    kind: Kind
    label_names: tuple[str, ...]
    metric: str
    text_columns: tuple[str, ...]
    label_column: str | None

    @property
    def answering(self) -> Answering:
        """What a model of this task answers."""
        words: dict[str, Answering] = {
            "multi-label": "sets",
            "token-classification": "tokens",
            "question-answering": "spans",
        }
        return words.get(self.kind, "rows")

    @property
    def ranked(self) -> bool:
        """Whether values are read as an order of the passages of each query."""
        return self.metric in RANKING_METRICS


@dataclass(frozen=True)
class Rows:
    """Rows of a task.

    Attributes:
        texts: per row a tuple of one text, or of two for a pair; a list, or
            :class:`~tinybert.tasks.texts.Texts` for rows out of files. Of tagged words a tuple of
            these.
        labels: ``(rows,)`` int64 class numbers or float32 values; ``None`` without labels. Of
            sets of labels ``(rows, labels)`` bool; of tagged words objects, arrays of tag numbers;
            of questions their answers.
    """

    texts: Sequence[tuple[str, ...]]
    labels: NDArray[np.generic] | None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def alike(self) -> Sequence[tuple[str, ...]]:
        """Of each row what it may not share with rows of another part: all of its texts."""
        return self.texts

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Rows:
        """The rows at ``indices``, in that order.

        >>> rows = Rows([("a",), ("b",), ("c",)], np.array([0, 1, 0]))
        >>> rows.take([2, 0]).texts
        [('c',), ('a',)]
        """
        places = np.asarray(indices, dtype=np.int64)
        return Rows(
            texts=self.texts.take(places)
            if isinstance(self.texts, Texts)
            else [self.texts[place] for place in places],
            labels=None if self.labels is None else self.labels[places],
        )


@dataclass(frozen=True)
class TaskData:
    """A task with its rows: ``train`` to learn from, ``dev`` to choose by, ``test`` to report.

    ``notes`` are sentences for the user: what was guessed, and what is odd about the rows.
    ``extra`` are further parts to report on, by name, such as MNLI's mismatched rows.
    """

    task: Task
    train: Rows
    dev: Rows
    test: Rows | None = None
    notes: list[str] = field(default_factory=list)
    extra: dict[str, Rows] = field(default_factory=dict)
