"""A task of tagged words out of the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.task_heads import OUTSIDE, are_entity_tags
from tinybert.tasks.files import check_different, other_part, tell_shared
from tinybert.tasks.reading.columns import check_column
from tinybert.tasks.reading.rows import Places, reading_progress
from tinybert.tasks.reading.sources import Part, PartName, open_source
from tinybert.tasks.splits import hold_out
from tinybert.tasks.tagging.columns import TAGGED_READERS, TAGS, tag_column, width_of
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = ["METRICS", "read_tagged", "read_tagged_scored"]

METRICS = ("entity_f1", "token_accuracy")
_WORDS = ("tokens", "words")
_TAGS = ("tags", "ner_tags", "ner", "labels", "pos_tags", "pos", "upos")


def read_tagged(
    train: str | Path,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 42,
    dev_share: float = 0.1,
    reporter: Reporter | None = None,
) -> TaskData:
    """Read words with a tag each: CoNLL columns, JSON lines or Parquet with lists, Hub data sets.

    A file of columns has a word a line, its tag in another column, and a blank line after each
    sentence. A row of the other formats has a list of words (``tokens`` or ``words``) and one of
    tags (``tags``, ``ner_tags``, …), which are names, or numbers where the file declares the names.

    Args:
        train, dev, test, seed, dev_share, reporter: as of :func:`tinybert.tasks.read_task`.
        text, label: the columns of words and of tags.
        metric: ``entity_f1`` or ``token_accuracy``; by default the first where the tags are those
            of entities (IOB, BIOES, BILOU), else the second.
        label_names: the tags in the order of the classes; by default those that the file declares,
            else those of the training rows, sorted, ``O`` first. They also name tags that are
            numbers, counted from 0, where the file declares no names.

    Returns:
        The task. A row's texts are its words; its label is an array of tag numbers.

    Raises:
        TinybertError: whatever is wrong with the files or with what was asked.
    """
    if not 0 < dev_share < 1:
        raise TinybertError(f"dev share {dev_share} is not between 0 and 1: 0.1 is usual")
    source = open_source(train, reporter, TAGGED_READERS)
    notes = list(source.notes)
    train_part = source.part("train")
    dev_part = other_part(source, dev, "dev", notes, reporter, TAGGED_READERS)
    test_part = other_part(source, test, "test", notes, reporter, TAGGED_READERS)
    check_different({"train": train_part, "dev": dev_part, "test": test_part})
    words, tags = _columns(train_part, text, label, notes)
    given = tuple(label_names or ())
    column = _settled(train_part, tags, given, notes)
    table = _read(train_part, words, column, "train", reporter, given)
    names: tuple[str, ...] = ()
    if table.tags is not None:
        names = given or table.declared or _sorted(table.tags)
    task = _task(source.title, names, metric, words, tags, notes)
    rows = table.rows(names)

    def other(part: Part, what: str) -> Rows:
        # A file whose tags are all O does not show which column they are: the training rows do.
        same = width_of(part) is not None and width_of(part) == width_of(train_part)
        its = column if same else _settled(part, tags, names, notes)
        return _read(part, words, its, what, reporter, names).rows(names)

    if dev_part is None:
        kept, held_out = hold_out(rows, seed, dev_share, train_part.name)
        learned, chosen = rows.take(kept), rows.take(held_out)
        notes.append(f"no dev rows given: {len(chosen)} of {len(rows)} rows held out (seed {seed})")
    else:
        learned, chosen = rows, other(dev_part, "dev")
    reported = None
    if test_part is not None:
        has = tags is None or all(tags in shard.columns for shard in test_part.shards)
        if has:
            reported = other(test_part, "test")
        elif test is not None:
            raise TinybertError(
                f"{test_part.name} has no tags in a column '{tags}' to report on: leave --test "
                "out, or name rows with tags"
            )
        else:
            notes.append(f"{test_part.name} has no tags: left out")
    tell_shared(learned, chosen if dev_part is not None else None, reported, notes)
    return TaskData(task, learned, chosen, reported, notes)


def read_tagged_scored(
    path: str | Path,
    names: Sequence[str],
    *,
    text: str | None = None,
    label: str | None = None,
    guess_label: bool = True,
    metric: str | None = None,
    reporter: Reporter | None = None,
) -> tuple[Task, Rows, list[str]]:
    """Read rows to score or answer, whose tags are those of a model.

    Args:
        path: as of :func:`read_tagged`; of several parts test, dev or train, whichever is first.
        names: the model's tags in the order of its outputs.
        text, label: the columns of words and of tags.
        guess_label: whether tags are looked for where ``label`` names none.
        metric, reporter: as of :func:`read_tagged`.

    Raises:
        TinybertError: as of :func:`read_tagged`; a tag that the model does not know.
    """
    source = open_source(path, reporter, TAGGED_READERS)
    notes = list(source.notes)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    part = source.whole or next(source.parts[name] for name in order if name in source.parts)
    if source.whole is None:
        notes.append(f"scored on {part.name}")
    words, tags = _columns(part, text, label, notes)
    if not guess_label and label is None:
        tags = None
    column = _settled(part, tags, names, notes)
    table = _read(part, words, column, "rows", reporter, names, "the model knows")
    task = _task(source.title, tuple(names), metric, words, tags, [])
    return task, table.rows(tuple(names), "the model's tags"), notes


def _columns(
    part: Part, text: str | None, label: str | None, notes: list[str]
) -> tuple[str, str | None]:
    by_name = {name.casefold(): name for name in part.columns}
    words = text or next((by_name[name] for name in _WORDS if name in by_name), None)
    if words is None:
        raise TinybertError(
            f"{part.name}: which column holds the words? name it with --text; there are "
            f"{', '.join(part.columns)}"
        )
    check_column(part, words, "word")
    tags = label or next((by_name[n] for n in _TAGS if n in by_name and by_name[n] != words), None)
    if tags is not None:
        if label is not None:
            check_column(part, tags, "tag")
        notes.append(f"words: column '{words}', tags: column '{tags}'")
    else:
        notes.append(f"words: column '{words}'; no column of tags found (name it with --label)")
    return words, tags


def _settled(part: Part, tags: str | None, known: Sequence[str], notes: list[str]) -> str | None:
    """Which column ``tags`` stands for in files of columns."""
    width = width_of(part)
    if tags != TAGS or width is None:
        return tags
    column = tag_column(part, known)
    if width > 2:
        notes.append(f"{part.name}: tags in {column} of {width} (--label names another)")
    return column


class _Table:
    """The words and tags of a part as they stand in its files."""

    def __init__(self, part: Part) -> None:
        self.name = part.name
        self.words: list[tuple[str, ...]] = []
        self.tags: list[tuple[str, ...]] | None = None
        self.declared: tuple[str, ...] = ()
        self.places = Places(part.shards)

    def rows(self, names: tuple[str, ...], whose: str = "the training rows' tags") -> Rows:
        """With tags as numbers of ``names``."""
        if self.tags is None:
            return Rows(self.words, None)
        numbers = {name: number for number, name in enumerate(names)}
        labels = np.empty(len(self.words), dtype=object)
        for row, tags in enumerate(self.tags):
            strange = next((tag for tag in tags if tag not in numbers), None)
            if strange is not None:
                shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
                raise TinybertError(
                    f"{self.name}, {self.places[row]}: tag '{strange}' is not among {whose} "
                    f"({shown}): mend it, or train on rows that have it"
                )
            labels[row] = np.fromiter((numbers[tag] for tag in tags), np.int64, len(tags))
        return Rows(self.words, labels)


def _read(
    part: Part,
    words: str,
    tags: str | None,
    what: str,
    reporter: Reporter | None,
    given: Sequence[str] = (),
    whose: str = "are given",
) -> _Table:
    """The rows of a part; ``given`` names tags that are numbers, where the file does not."""
    check_column(part, words, "word")
    if tags is not None:
        check_column(part, tags, "tag")
    table = _Table(part)
    table.tags = None if tags is None else []
    asked = (words,) if tags is None else (words, tags)
    # Tags that are themselves called by numbers are looked up by these.
    known = _Numbered(() if all(map(_is_number, given)) else given, whose)
    with reading_progress(part, what, reporter) as advance:
        for number, shard in enumerate(part.shards):
            declared = shard.label_names.get(tags or "", ())
            table.declared = table.declared or declared
            name = _Numbered(declared, "the file declares") if declared else known
            for batch in (shard.lists or shard.batches)(asked, advance):
                start = len(table.places)
                table.places.add(number, batch.lines)
                for row, found in enumerate(batch.columns[0]):
                    where = _Where(part.name, table.places, start + row)
                    table.words.append(_words(found, words, where))
                    if table.tags is not None:
                        its = _tags(batch.columns[1][row], str(tags), name, where)
                        _check_as_many(table.words[-1], its, where)
                        table.tags.append(its)
    if not table.words:
        raise TinybertError(f"{part.name} has no rows: add sentences")
    return table


class _Where:
    """Names a row in an error; its line is looked up only then."""

    def __init__(self, name: str, places: Places, row: int) -> None:
        self._name, self._places, self._row = name, places, row

    def __str__(self) -> str:
        return f"{self._name}, {self._places[self._row]}"


def _words(found: Any, column: str, where: _Where) -> tuple[str, ...]:
    if not isinstance(found, list | tuple):
        raise TinybertError(
            f"{where}: '{column}' holds {_kind(found)} and not a list of words: split the text "
            "into words, or name another column with --text"
        )
    if not found:
        raise TinybertError(f"{where}: a row without words: remove it")
    for word in found:
        if not isinstance(word, str):
            raise TinybertError(f"{where}: '{column}' holds {_kind(word)} among its words: mend it")
    return tuple(found)


@dataclass(frozen=True)
class _Numbered:
    """Names of tags that are given as numbers; none: the numbers are their names."""

    names: Sequence[str]
    whose: str

    def __call__(self, tag: int, where: _Where) -> str:
        if not self.names:
            return str(tag)
        if not 0 <= tag < len(self.names):
            raise TinybertError(
                f"{where}: tag {tag} is none of the {len(self.names)} that {self.whose}: mend it"
            )
        return self.names[tag]


def _tags(found: Any, column: str, numbered: _Numbered, where: _Where) -> tuple[str, ...]:
    if not isinstance(found, list | tuple):
        raise TinybertError(
            f"{where}: '{column}' holds {_kind(found)} and not a list of tags: give each word a "
            "tag, or name another column with --label"
        )

    def name(tag: Any) -> str:
        if isinstance(tag, int) and not isinstance(tag, bool):
            return numbered(tag, where)
        if not isinstance(tag, str) or not tag.strip():
            raise TinybertError(
                f"{where}: '{column}' holds {_kind(tag)} among its tags: give each word a tag"
            )
        return tag.strip()

    return tuple(name(tag) for tag in found)


def _check_as_many(words: Sequence[str], tags: Sequence[str], where: _Where) -> None:
    if len(words) != len(tags):
        one, other = (
            f"{len(found)} {what}{'s' * (len(found) != 1)}"
            for found, what in ((words, "word"), (tags, "tag"))
        )
        raise TinybertError(f"{where}: {one} and {other}: give each word a tag")


def _kind(found: Any) -> str:
    if found is None or found == "":
        return "nothing"
    names = {str: "a text", int: "a number", float: "a number", dict: "an object", bool: "a bool"}
    return names.get(type(found), f"a {type(found).__name__}")


def _is_number(tag: str) -> bool:
    return tag.removeprefix("-").isdecimal()


def _sorted(tags: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """``O`` first, then numbers by their size, then words."""

    def key(tag: str) -> tuple[bool, bool, int, str]:
        number = _is_number(tag)
        return tag != OUTSIDE, not number, int(tag) if number else 0, tag

    return tuple(sorted({tag for row in tags for tag in row}, key=key))


def _task(
    title: str,
    names: tuple[str, ...],
    metric: str | None,
    words: str,
    tags: str | None,
    notes: list[str],
) -> Task:
    if metric is not None and metric not in METRICS:
        raise TinybertError(
            f"metric '{metric}' does not score tags: choose one of {', '.join(METRICS)}"
        )
    if tags is not None and len(set(names)) < 2:
        raise TinybertError(f"every word has the tag {names[0]}: nothing to learn from")
    if len(set(names)) < len(names):
        raise TinybertError(f"label names {', '.join(names)} are not distinct: name each tag once")
    of_entities = are_entity_tags(names)
    if metric == "entity_f1" and names and not of_entities:
        shown = ", ".join(names[:5])
        raise TinybertError(
            f"metric 'entity_f1' counts entities, and these tags mark none ({shown}): take "
            "token_accuracy"
        )
    if tags is not None:
        what = "entities" if of_entities else "single words"
        notes.append(f"{len(names)} tags of {what}: {', '.join(names[:12])}")
    return Task(
        name=title,
        kind="token-classification",
        label_names=names,
        metric=metric or ("entity_f1" if of_entities else "token_accuracy"),
        text_columns=(words,),
        label_column=tags,
    )
