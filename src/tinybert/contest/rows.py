"""Real rows: texts of the user's, of GLUE, or of Python's own documentation, as batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinybert.batching import TokenRows
from tinybert.contest.workloads import Feed
from tinybert.progress import Reporter
from tinybert.tasks.demo.docstrings import (
    paragraphs,
    read_docstrings,
    sentences,
    standard_library,
)
from tinybert.tasks.glue.reader import HUB_NAME, read_glue_dev
from tinybert.tasks.reading.columns import choose_columns
from tinybert.tasks.reading.rows import read_part
from tinybert.tasks.reading.sources import PartName, open_source

__all__ = ["as_they_come", "real_texts"]

Texts = Sequence[tuple[str, ...]]

# Of the standard library, a second's reading.
_EMBEDDED = ("asyncio", "email")


def real_texts(
    data: str | None, task: str | None, text: str | None, count: int, reporter: Reporter
) -> list[tuple[str, ...]]:
    """Rows of one text or two, ``count`` at most, drawn at random but always the same.

    Args:
        data: a file, directory or Hub dataset; with ``task`` where GLUE's files are; None: the
            task's on the Hub, or sentences of Python's own documentation.
        task: GLUE task whose official dev set is taken.
        text: text column, or two with a comma; None: guessed and told.
        count: rows at most.
        reporter: told what is read.

    Raises:
        TinybertError: rows that cannot be read.
    """
    texts: Texts
    if task is not None:
        texts = read_glue_dev(task, data or HUB_NAME, reporter=reporter)[1]["test"].texts
    elif data is not None:
        texts = _of_file(data, text, reporter)
    else:
        texts = _embedded()
    chosen = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[int(row)] for row in chosen]


def as_they_come(rows: TokenRows, batch: int) -> list[Feed]:
    """Batches of neighbouring rows, each padded to its longest."""
    starts = range(0, len(rows), batch)
    batches = [rows.batch(range(start, min(start + batch, len(rows)))) for start in starts]
    return [{name: tensor.numpy() for name, tensor in one.items()} for one in batches]


def _of_file(data: str, text: str | None, reporter: Reporter) -> Texts:
    source = open_source(data, reporter)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    part = source.whole or next(source.parts[name] for name in order if name in source.parts)
    columns = choose_columns(part, text, None, [])
    reporter.say(f"real rows: {part.name}, text {' and '.join(columns.text)}")
    return read_part(part, replace(columns, label=None), "rows", reporter).texts


def _embedded() -> Texts:
    library = standard_library()
    docstrings = [doc for folder in _EMBEDDED for doc in read_docstrings(library / folder)]
    prose = [part for doc in docstrings for part in paragraphs(doc.text)]
    return [(one,) for one in dict.fromkeys(piece for part in prose for piece in sentences(part))]
