"""The student's size: from the teacher and the rows, or from what it may cost."""

from __future__ import annotations

from tinybert.sizing.bounds import Bounds, parse_latency, parse_size, parse_speedup
from tinybert.sizing.default import default_shape
from tinybert.sizing.fit import Fitted, fit_shape, reached, read_fit, table, write_fit

__all__ = [
    "Bounds",
    "Fitted",
    "default_shape",
    "fit_shape",
    "parse_latency",
    "parse_size",
    "parse_speedup",
    "reached",
    "read_fit",
    "table",
    "write_fit",
]
