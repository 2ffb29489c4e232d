"""Files of questions: SQuAD's JSON, or rows with a question, a passage and its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.tasks.reading.formats import READERS
from tinybert.tasks.reading.json_rows import open_json
from tinybert.tasks.reading.shards import AT_ONCE, Batch, Shard
from tinybert.tasks.reading.streams import Advance, open_text

__all__ = ["QUESTION_READERS", "open_questions"]

_COLUMNS = ["id", "question", "context", "answers"]


def open_questions(path: Path) -> Shard:
    """Look into a JSON file: SQuAD's one object with ``data``, else rows of any JSON file."""
    value = _squad(path)
    if value is None:
        return open_json(path)
    rows = list(_questions(path, value))
    if not rows:
        raise TinybertError(f"{path} holds no questions: give a file of SQuAD that has some")

    # Without any answers they are rows without labels, and not questions without an answer.
    known = any(row["answers"] is not None for row in rows)
    columns = [name for name in _COLUMNS if known or name != "answers"]

    def batches(names: Sequence[str], advance: Advance) -> Iterator[Batch]:
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            values = [[row.get(name) for row in some] for name in names]
            yield Batch(values, range(start + 1, start + len(some) + 1))
        advance(path.stat().st_size)

    wordy = frozenset({"question", "context"})
    size, key = path.stat().st_size, str(path.resolve())
    return Shard(str(path), columns, wordy, size, batches, "question", key)


def _squad(path: Path) -> list[Any] | None:
    """What ``data`` holds in SQuAD's format; None for a file of rows."""
    with open_text(path) as stream:
        text = stream.read()
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # an object a line; what is wrong is said when it is read
    found = value.get("data")
    return found if isinstance(found, list) else None


def _questions(path: Path, articles: Sequence[Any]) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    number += 1
                    answers = [] if asked.get("is_impossible") else asked.get("answers")
                    yield {
                        "id": asked.get("id", str(number)),
                        "question": asked["question"],
                        "context": paragraph["context"],
                        "answers": answers,
                    }
    except (KeyError, TypeError, AttributeError) as error:
        raise TinybertError(
            f"{path} is not in SQuAD's format, after question {number} ({type(error).__name__}: "
            f"{error}): it has data, paragraphs, context, qas, question, id and answers"
        ) from None


QUESTION_READERS = READERS | {".json": open_questions}
"""File ending → what looks into a file of questions."""
