"""Rows of whole texts that are answered with more than a label each: sets of labels, rankings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.batching import Reading, TokenRows, tokenize
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.settings import EvaluateSettings, ExportSettings, PredictSettings
from tinybert.settings.kinds import row_task
from tinybert.task_heads import Answering
from tinybert.tasks.files import read_scored
from tinybert.tasks.metrics import compute
from tinybert.tasks.ranking import RankedReading
from tinybert.tasks.sets import SetReading, read_sets_scored
from tinybert.tasks.task import RANKING_METRICS, Kind, Rows, Task

__all__ = [
    "as_asked",
    "ranking_figures",
    "ranking_metric",
    "read_for",
    "reading_of",
    "row_tokens",
    "scores_on",
]

_Settings = TypeVar("_Settings", EvaluateSettings, ExportSettings, PredictSettings)


def ranking_metric(metric: str | None) -> str:
    """The metric of ``--task ranking``.

    Raises:
        TinybertError: ``metric`` does not score an order.
    """
    if metric is not None and metric not in RANKING_METRICS:
        raise TinybertError(
            f"metric '{metric}' does not score an order: choose one of {', '.join(RANKING_METRICS)}"
        )
    return metric or RANKING_METRICS[0]


def as_asked(settings: _Settings) -> _Settings:
    """The settings of rows of one's own where ``--task`` says ranking: no model tells that."""
    if row_task(settings.task) != "ranking":
        return settings
    return replace(settings, task=None, metric=ranking_metric(settings.metric))


def read_for(
    settings: EvaluateSettings | ExportSettings | PredictSettings,
    names: tuple[str, ...],
    answering: Answering,
    reporter: Reporter,
) -> tuple[Task, Rows]:
    """Labelled rows of whole texts, for a model of these outputs."""
    common: dict[str, Any] = {
        "text": settings.text,
        "label": settings.label,
        "metric": settings.metric,
        "reporter": reporter,
    }
    if answering == "sets":
        task, rows, notes = read_sets_scored(str(settings.data), names, **common)
    else:
        kind: Kind = "regression" if len(names) == 1 else "classification"
        labels = () if kind == "regression" else names
        task, rows, notes = read_scored(str(settings.data), kind=kind, label_names=labels, **common)
    for note in notes:
        reporter.say(note)
    return task, rows


def reading_of(task: Task, rows: Rows) -> Reading | None:
    """What scores the rows, where that is more than comparing a label each."""
    if task.answering == "sets":
        return SetReading(task.label_names, rows.texts, _truths(rows))
    if task.ranked:
        return RankedReading(rows.texts, rows.labels)
    return None


def _truths(rows: Rows) -> NDArray[np.bool_] | None:
    return None if rows.labels is None else np.asarray(rows.labels, dtype=np.bool_)


def row_tokens(
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    task: Task,
    max_length: int,
    advance: Callable[[int], None] | None = None,
    reporter: Reporter | None = None,
    what: str = "",
) -> TokenRows:
    """Token rows of one part, with what scores them.

    Args:
        what: of a part that is scored, its name; told and checked with the number of its queries.

    Raises:
        TinybertError: no query of a part that is scored can be.
    """
    tokens = tokenize(tokenizer, rows.texts, max_length, rows.labels, advance=advance)
    tokens.reading = reading_of(task, rows)
    if what and isinstance(tokens.reading, RankedReading) and rows.labels is not None:
        _check_scored(tokens.reading.counts(), what, reporter)
    return tokens


def _check_scored(counts: Mapping[str, int], what: str, reporter: Reporter | None) -> None:
    """Tell which queries no score counts; refuse rows where it counts none."""
    left_out = counts["single_passage"] + counts["none_relevant"]
    if left_out == counts["queries"]:
        raise TinybertError(
            f"none of the {counts['queries']:,} queries of the {what} rows has both a relevant "
            "passage and one more, so no order can be scored: give more passages a query, or "
            "label the relevant ones above 0"
        )
    if left_out and reporter is not None:
        reporter.say(
            f"{what}: of {counts['queries']:,} queries {counts['none_relevant']:,} without a "
            f"relevant passage and {counts['single_passage']:,} with a single one are left out of "
            "every score"
        )


def scores_on(task: Task, rows: Rows, outputs: NDArray[np.float32]) -> dict[str, float]:
    """The scores of outputs, in the order of the task's labels, on labelled rows."""
    reading = reading_of(task, rows)
    if reading is not None:
        return reading.scores(task.metric, outputs)
    assert rows.labels is not None
    return compute(task.metric, outputs, rows.labels)


def ranking_figures(
    rows: TokenRows,
    outputs: NDArray[np.float32] | None = None,
    others: NDArray[np.float32] | None = None,
) -> dict[str, Any]:
    """``ranking`` → the queries of rows, and how alike two models order them; else nothing."""
    reading = rows.reading
    if not isinstance(reading, RankedReading):
        return {}
    found: dict[str, Any] = dict(reading.counts())
    if outputs is not None and others is not None:
        found |= reading.agreement(outputs, others)
    return {"ranking": found}
