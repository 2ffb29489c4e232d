"""A task of questions on passages out of the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.task_heads import SPAN_LABELS
from tinybert.tasks.files import check_different, other_part, tell_shared
from tinybert.tasks.questions.squad import QUESTION_READERS
from tinybert.tasks.reading.columns import check_column
from tinybert.tasks.reading.rows import Places, reading_progress
from tinybert.tasks.reading.sources import Part, PartName, open_source
from tinybert.tasks.splits import hold_out
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = ["METRICS", "Answers", "QuestionRows", "read_questions", "read_questions_scored"]

METRICS = ("answer_f1", "exact_match")
_QUESTIONS = ("question", "query")
_PASSAGES = ("context", "passage", "paragraph", "text")
_ANSWERS = ("answers", "answer")


class Answers(NamedTuple):
    """The right answers of one question; none where it has no answer.

    ``starts`` are the characters of the passage that they begin at.
    """

    texts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class QuestionRows(Rows):
    """Rows of (question, passage); labels are :class:`Answers`.

    Attributes:
        ids: of the questions, as the file has them.
    """

    ids: Sequence[str] = ()

    @property
    def alike(self) -> Sequence[tuple[str, ...]]:
        """Questions on one passage stay in one part."""
        return [(passage,) for _, passage in self.texts]

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> QuestionRows:
        """The rows at ``indices``, in that order."""
        places = np.asarray(indices, dtype=np.int64)
        return QuestionRows(
            texts=[self.texts[place] for place in places],
            labels=None if self.labels is None else self.labels[places],
            ids=[self.ids[place] for place in places],
        )


def read_questions(
    train: str | Path,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    seed: int = 42,
    dev_share: float = 0.1,
    reporter: Reporter | None = None,
) -> TaskData:
    """Read questions on passages: SQuAD's JSON (1.1 and 2.0), JSON lines, Parquet, Hub data sets.

    A row has ``question``, ``context``, ``answers`` (an object of lists ``text`` and
    ``answer_start``, or a list of such objects; empty where there is no answer) and maybe ``id``.
    Where no row has ``answers``, they are not known.

    Args:
        train, dev, test, seed, dev_share, reporter: as of :func:`tinybert.tasks.read_task`; held
            out are whole passages.
        text: the columns of question and passage, with a comma.
        label: the column of answers.
        metric: ``answer_f1`` (default) or ``exact_match``.

    Raises:
        TinybertError: whatever is wrong with the files or with what was asked.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    source = open_source(train, reporter, QUESTION_READERS)
    notes = list(source.notes)
    train_part = source.part("train")
    dev_part = other_part(source, dev, "dev", notes, reporter, QUESTION_READERS)
    test_part = other_part(source, test, "test", notes, reporter, QUESTION_READERS)
    check_different({"train": train_part, "dev": dev_part, "test": test_part})
    columns = _columns(train_part, text, label)
    rows = _read(train_part, columns, "train", reporter)
    if rows.labels is None:
        if label is not None:
            raise _no_answers(train_part, label)
        columns = (*columns[:2], None)
        notes.append("no column of answers found (name it with --label)")
    elif without := _without_answer(rows):
        notes.append(f"{without:,} of {len(rows):,} training questions have no answer")
    task = _task(source.title, columns, metric)
    if dev_part is None:
        kept, held_out = hold_out(rows, seed, dev_share, train_part.name)
        learned, chosen = rows.take(kept), rows.take(held_out)
        notes.append(
            f"no dev rows given: {len(chosen)} of {len(rows)} questions held out, whole passages "
            f"(seed {seed})"
        )
    else:
        learned, chosen = rows, _read(dev_part, columns, "dev", reporter)
        if chosen.labels is None and rows.labels is not None:
            raise TinybertError(
                f"{dev_part.name} has no answers in a column '{columns[2]}' to choose by: leave it "
                "out, or name rows with answers"
            )
    reported = None
    if test_part is not None:
        found = None
        if columns[2] is None or all(columns[2] in s.columns for s in test_part.shards):
            found = _read(test_part, columns, "test", reporter)
        if found is not None and (columns[2] is None or found.labels is not None):
            reported = found
        elif test is not None:
            raise TinybertError(
                f"{test_part.name} has no answers in a column '{columns[2]}' to report on: leave "
                "--test out, or name rows with answers"
            )
        else:
            notes.append(f"{test_part.name} has no answers: left out")
    tell_shared(learned, chosen if dev_part is not None else None, reported, notes)
    return TaskData(task, learned, chosen, reported, notes)


def read_questions_scored(
    path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    reporter: Reporter | None = None,
) -> tuple[Task, QuestionRows, list[str]]:
    """Read questions to answer; with answers, where there are any, to score.

    Args:
        path: as of :func:`read_questions`; of several parts dev, test or train, whichever is first
            and has answers.
        text, label, metric, reporter: as of :func:`read_questions`.

    Raises:
        TinybertError: as of :func:`read_questions`.
    """
    source = open_source(path, reporter, QUESTION_READERS)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    parts = [source.parts[name] for name in order if name in source.parts]
    if source.whole is not None:
        parts = [source.whole]
    notes = list(source.notes)
    found: tuple[Task, QuestionRows] | None = None
    for part in parts:
        columns = _columns(part, text, label)
        rows = _read(part, columns, "rows", reporter)
        if rows.labels is None:
            if label is not None:
                raise _no_answers(part, label)
            columns = (*columns[:2], None)
        if found is None or rows.labels is not None:
            found = _task(source.title, columns, metric), rows
        if rows.labels is not None:
            break
    assert found is not None
    return *found, notes


def _no_answers(part: Part, column: str) -> TinybertError:
    return TinybertError(
        f"{part.name} has no answers in its column '{column}': name another one, or leave --label "
        "out"
    )


def _without_answer(rows: QuestionRows) -> int:
    """How many questions are known to have no answer."""
    return 0 if rows.labels is None else sum(not answers.texts for answers in rows.labels)


def _columns(part: Part, text: str | None, label: str | None) -> tuple[str, str, str | None]:
    by_name = {name.casefold(): name for name in part.columns}
    if text is not None:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if len(names) != 2:
            raise TinybertError(
                f"--text {text}: name two columns with a comma, the question's and the passage's"
            )
        question, passage = names
    else:
        guessed = [
            next((by_name[name] for name in known if name in by_name), None)
            for known in (_QUESTIONS, _PASSAGES)
        ]
        if guessed[0] is None or guessed[1] is None:
            raise TinybertError(
                f"{part.name}: which columns are question and passage? name them with --text "
                f"question,context; there are {', '.join(part.columns)}"
            )
        question, passage = guessed[0], guessed[1]
    check_column(part, question, "question")
    check_column(part, passage, "passage")
    if label is not None:
        check_column(part, label, "answer")
        return question, passage, label
    return question, passage, next((by_name[n] for n in _ANSWERS if n in by_name), None)


def _task(title: str, columns: tuple[str, str, str | None], metric: str | None) -> Task:
    if metric is not None and metric not in METRICS:
        raise TinybertError(
            f"metric '{metric}' does not score answers: choose one of {', '.join(METRICS)}"
        )
    return Task(
        name=title,
        kind="question-answering",
        label_names=SPAN_LABELS,
        metric=metric or "answer_f1",
        text_columns=columns[:2],
        label_column=columns[2],
    )


def _read(
    part: Part,
    columns: tuple[str, str, str | None],
    what: str,
    reporter: Reporter | None,
) -> QuestionRows:
    question, passage, answers = columns
    check_column(part, question, "question")
    check_column(part, passage, "passage")
    if answers is not None:
        check_column(part, answers, "answer")
    by_name = {name.casefold(): name for name in part.columns}
    identity = by_name.get("id")
    asked = [question, passage, *([answers] if answers else []), *([identity] if identity else [])]
    places = Places(part.shards)
    texts: list[tuple[str, ...]] = []
    ids: list[str] = []
    labels: list[Answers | None] = []
    passages: dict[str, str] = {}  # many questions share one string
    with reading_progress(part, what, reporter) as advance:
        for number, shard in enumerate(part.shards):
            for batch in (shard.lists or shard.batches)(asked, advance):
                start = len(places)
                places.add(number, batch.lines)
                for row, (one, other) in enumerate(zip(*batch.columns[:2], strict=True)):
                    where = f"{part.name}, {places[start + row]}"
                    for name, value in ((question, one), (passage, other)):
                        if not isinstance(value, str) or not value.strip():
                            raise TinybertError(
                                f"{where}: '{name}' holds no text: fill it, or remove the row"
                            )
                    context = passages.setdefault(other, other)
                    texts.append((one.strip(), context))
                    ids.append(str(batch.columns[-1][row]) if identity else str(len(ids)))
                    if answers is not None:
                        labels.append(_answers(batch.columns[2][row], context, answers, where))
    if not texts:
        raise TinybertError(f"{part.name} has no rows: add questions")
    if answers is None:
        return QuestionRows(texts, None, ids)
    missing = next((row for row, found in enumerate(labels) if found is None), None)
    if missing is not None:
        if not any(found is not None for found in labels):
            return QuestionRows(texts, None, ids)
        raise TinybertError(
            f"{part.name}, {places[missing]}: question {ids[missing]} ({texts[missing][0][:40]}) "
            f"has no '{answers}', and others have: give an empty list where the passage does not "
            "answer, or remove the row"
        )
    known = np.empty(len(labels), dtype=object)
    for row, found in enumerate(labels):
        known[row] = found
    return QuestionRows(texts, known, ids)


def _answers(found: Any, passage: str, column: str, where: str) -> Answers | None:
    """The answers of one row, checked against its passage; None where they are not known."""
    pairs: list[tuple[Any, Any]]
    if found is None:
        return None
    if isinstance(found, dict) and isinstance(found.get("text"), list | tuple):
        starts = found.get("answer_start")
        if not isinstance(starts, list | tuple) or len(starts) != len(found["text"]):
            raise TinybertError(
                f"{where}: '{column}' has {len(found['text'])} texts and not as many answer_start: "
                "give each answer the character that it begins at"
            )
        pairs = list(zip(found["text"], starts, strict=True))
    elif isinstance(found, list | tuple) and all(isinstance(one, dict) for one in found):
        pairs = [(one.get("text"), one.get("answer_start")) for one in found]
    elif isinstance(found, dict):
        pairs = [(found.get("text"), found.get("answer_start"))]
    else:
        raise TinybertError(
            f"{where}: '{column}' holds a {type(found).__name__} and no answers: give "
            '{"text": ["..."], "answer_start": [12]}'
        )
    for text, start in pairs:
        if not isinstance(text, str) or not text.strip() or not isinstance(start, int):
            raise TinybertError(
                f"{where}: an answer without text or answer_start: give both, or an empty list "
                "where the passage does not answer"
            )
        there = passage[start : start + len(text)] if start >= 0 else ""
        if there != text:
            shown = f"'{there[:40]}'" if there else "nothing"
            raise TinybertError(
                f"{where}: the answer '{text[:40]}' is not in its passage at character {start} "
                f"({shown} is there): mend answer_start"
            )
    return Answers(tuple(text for text, _ in pairs), tuple(start for _, start in pairs))
