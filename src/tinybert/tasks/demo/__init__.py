"""The embedded task: sentences of the standard library's docstrings, and general text."""

from __future__ import annotations

from tinybert.tasks.demo.task import demo_task, general_text

__all__ = ["demo_task", "general_text"]
