"""Rows, objective and heads of one student for several tasks."""

from tinybert.several_tasks.heads import HeadSpec, fit_outputs, load_shared, new_shared
from tinybert.several_tasks.rows import MixedRows, rows_drawn
from tinybert.several_tasks.terms import TaskTerm, tasks_objective, value_weight

__all__ = [
    "HeadSpec",
    "MixedRows",
    "TaskTerm",
    "fit_outputs",
    "load_shared",
    "new_shared",
    "rows_drawn",
    "tasks_objective",
    "value_weight",
]
