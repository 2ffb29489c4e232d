"""What a task is, and where its rows come from: files of the user's, or the embedded demo."""

from __future__ import annotations

from tinybert.tasks.bag_of_words import bag_of_words_score
from tinybert.tasks.demo.task import demo_task, general_text
from tinybert.tasks.files import read_task
from tinybert.tasks.metrics import METRICS, agreement, compute, default_metric
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = [
    "METRICS",
    "Rows",
    "Task",
    "TaskData",
    "agreement",
    "bag_of_words_score",
    "compute",
    "default_metric",
    "demo_task",
    "general_text",
    "read_task",
]
