"""Rows that the static scales of an export are measured on."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TokenRows, tokenize
from tinybert.jobs.word_tasks import read_answered, word_tokens
from tinybert.measure.latency import longest_input
from tinybert.progress import Reporter
from tinybert.settings import ExportSettings
from tinybert.task_heads import Answering
from tinybert.tasks.reading.columns import choose_columns
from tinybert.tasks.reading.rows import read_part
from tinybert.tasks.reading.sources import open_source
from tinybert.tasks.task import Rows, Task
from tinybert.teachers import head_labels

__all__ = ["Calibration", "calibration_rows", "calibration_tokens"]

Calibration = tuple[Task | None, Rows]
"""Rows, with their task where a model answers in words."""


def calibration_rows(
    path: str, head: Answering | None, settings: ExportSettings, reporter: Reporter
) -> Calibration | None:
    """The rows of ``--calibration``, read before the work; None where none are named.

    Of a model that answers in words they are such rows as it is scored on, with labels or without.

    Args:
        path: of the model.
        head: what it answers; None of an encoder.
        settings: of the verb.
        reporter: tells what is read.

    Raises:
        TinybertError: whatever is wrong with the rows.
    """
    if settings.calibration is None:
        return None
    if head in ("tokens", "spans"):
        asked = replace(settings, data=settings.calibration, label=None, metric=None)
        return read_answered(asked, head_labels(path), head, reporter, guess_label=False)
    opened = open_source(settings.calibration, reporter)
    found = opened.whole or next(iter(opened.parts.values()))
    columns = choose_columns(found, settings.text, None, [])
    return None, Rows(read_part(found, columns, "calibration rows", reporter).texts, None)


def calibration_tokens(
    given: Calibration,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: ExportSettings,
    reporter: Reporter,
) -> TokenRows:
    """Token rows of what :func:`calibration_rows` read, as long as the model's inputs may be."""
    task, rows = given
    length = min(settings.max_length, longest_input(model) or settings.max_length)
    if task is None:
        return tokenize(tokenizer, rows.texts, length)
    return word_tokens(tokenizer, rows, task, length, settings, None, reporter, "calibration")
