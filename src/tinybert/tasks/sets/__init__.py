"""Multi-label classification: several labels a row, any number of them, none too."""

from __future__ import annotations

from tinybert.tasks.sets.metrics import SET_METRICS, set_scores
from tinybert.tasks.sets.reader import read_sets, read_sets_scored
from tinybert.tasks.sets.reading import SetReading, set_columns

__all__ = [
    "SET_METRICS",
    "SetReading",
    "read_sets",
    "read_sets_scored",
    "set_columns",
    "set_scores",
]
