"""From what a label column says to class numbers or values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.task import Kind

__all__ = [
    "LabelReader",
    "Labels",
    "Lines",
    "are_words",
    "check_missing",
    "class_numbers",
    "first_number",
    "guess_kind",
    "merged",
    "names_of",
    "spelled",
    "usual_order",
    "values_of",
]

_MISSING = frozenset({"", "nan"})
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_ZERO_FRACTION = re.compile(r"(?:-(?=0))?(0|-?[1-9][0-9]*)\.0+")  # -0.0 is 0 too


class Lines(Protocol):
    """Where each row stands: a line number (``list[int]`` will do), or words that say it."""

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Labels:
    """What a label column says, each different spelling once.

    Attributes:
        distinct: the spellings, in order of appearance.
        codes: ``(rows,)`` int32, place of each row's spelling among them.
    """

    distinct: list[str]
    codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.codes)

    def respelled(self, spellings: Sequence[str]) -> Labels:
        """With ``spellings[i]`` instead of ``distinct[i]``; equal ones become one."""
        place = {spelling: i for i, spelling in enumerate(dict.fromkeys(spellings))}
        code = np.array([place[spelling] for spelling in spellings], dtype=np.int32)
        return Labels(list(place), code[self.codes])

    def first(self, code: int) -> int:
        """The first row of a spelling."""
        return int(np.argmax(self.codes == code))


class LabelReader:
    """Takes in a label column piece by piece.

    Args:
        where: file and column, for errors.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._code: dict[str, int] = {}
        self._codes: list[NDArray[np.int32]] = []

    def add(
        self,
        values: Sequence[Any],
        place: Callable[[int], object],
        names: Sequence[str] | None = None,
    ) -> None:
        """Append values.

        Args:
            values: words, numbers, truth values, ``None``.
            place: says where value i stands, as in :class:`Lines`.
            names: of the classes, where the values are class numbers; -1 is no label then.

        Raises:
            TinybertError: a list or an object; a class number without a name.
        """
        found = np.empty(len(values), dtype=np.int32)
        known = self._code
        for i, value in enumerate(values):
            text = value if type(value) is str else self._text(value, place, i, names)
            found[i] = known.setdefault(text, len(known))
        self._codes.append(found)

    def _text(
        self,
        value: Any,
        place: Callable[[int], object],
        i: int,
        names: Sequence[str] | None,
    ) -> str:
        if value is None:
            return ""
        if isinstance(value, (list, dict)):
            raise TinybertError(
                f"{self._where}, {_said(place(i))}: a label is a word or a number, not {value}"
            )
        if names is not None and isinstance(value, int):
            if value == -1:
                return ""
            if not 0 <= value < len(names):
                raise TinybertError(
                    f"{self._where}, {_said(place(i))}: class {value} has no name; there are "
                    f"{len(names)} classes"
                )
            return names[value]
        return str(value)

    def finish(self) -> Labels:
        """All labels, spaces around them gone, ``1`` and ``1.0`` alike; missing ones are ``""``."""
        codes = np.concatenate([np.zeros(0, dtype=np.int32), *self._codes])
        spellings = [text.strip() for text in self._code]
        spellings = ["" if text.lower() in _MISSING else text for text in spellings]
        return Labels(list(self._code), codes).respelled([_whole(text) for text in spellings])


def spelled(values: Sequence[Any], lines: Lines, where: str) -> Labels:
    """The labels of a whole column, as :class:`LabelReader` reads them.

    Raises:
        TinybertError: labels are missing (empty, null, NaN), or are lists or objects.

    >>> spelled([" b", "a", "b"], [2, 3, 4], "train.csv").distinct
    ['b', 'a']
    """
    reader = LabelReader(where)
    reader.add(values, lines.__getitem__)
    labels = reader.finish()
    check_missing(labels, lines, where)
    return labels


def check_missing(labels: Labels, lines: Lines, where: str) -> None:
    """Raises ``TinybertError`` where some rows have no label."""
    if "" in labels.distinct:
        missing = labels.codes == labels.distinct.index("")
        raise TinybertError(
            f"{where}: {int(missing.sum())} of {len(labels)} rows have no label (first in "
            f"{_said(lines[int(np.argmax(missing))])}): label or remove them, or leave the label "
            "column out"
        )


def guess_kind(labels: Labels) -> Kind:
    """Regression when labels are fractions with many values, else classification.

    "Many" is more than 10, or more than half of the rows where there are few.

    >>> guess_kind(spelled(["0.5", "3.25", "4.0", "1.75"], range(4), "train.csv"))
    'regression'
    """
    numbers = {_number(label) for label in labels.distinct}
    fractions = any(number is not None and not number.is_integer() for number in numbers)
    many = len(numbers) > min(10, len(labels) / 2)
    return "regression" if None not in numbers and fractions and many else "classification"


def merged(labels: Labels) -> tuple[Labels, list[str]]:
    """Spellings that differ in case and spacing only, as the most frequent one of them.

    Returns:
        The labels, and a sentence for each word that had several spellings.

    >>> merged(spelled(["Yes", "no", "YES", "Yes"], range(4), "train.csv"))[1]
    ["label 'Yes' is also spelled 'YES': taken for the same class"]
    """
    count = np.bincount(labels.codes, minlength=len(labels.distinct))
    order = sorted(range(len(count)), key=lambda i: (-count[i], labels.distinct[i]))
    chosen: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for label in (labels.distinct[i] for i in order):
        if chosen.setdefault(_folded(label), label) != label:
            others.setdefault(chosen[_folded(label)], []).append(label)
    notes = [
        f"label '{label}' is also spelled {' and '.join(repr(o) for o in found)}: taken for the "
        "same class"
        for label, found in others.items()
    ]
    return labels.respelled([chosen[_folded(label)] for label in labels.distinct]), notes


def names_of(labels: Labels, where: str) -> tuple[str, ...]:
    """The class names: as numbers where all are numbers, else in alphabetical order.

    Raises:
        TinybertError: one class only, or nearly as many classes as rows.

    >>> names_of(spelled(["10", "9", "10"], range(3), "train.csv"), "train.csv")
    ('9', '10')
    """
    distinct = labels.distinct
    if len(distinct) == 1:
        raise TinybertError(
            f"{where}: every label is '{distinct[0]}': a task needs two classes at least"
        )
    if len(distinct) > max(20, len(labels) / 2):
        raise TinybertError(
            f"{where}: {len(distinct)} different labels in {len(labels)} rows are no classes: name "
            "the label column, or say that the task is regression"
        )
    return _sorted(distinct)


def _sorted(names: Sequence[str]) -> tuple[str, ...]:
    numbers = {name: _number(name) for name in names}
    if None not in numbers.values():
        return tuple(sorted(names, key=lambda name: (numbers[name], name)))
    return tuple(sorted(names))


def are_words(names: Sequence[str]) -> bool:
    """Whether none of the class names is a number."""
    return all(_number(name) is None for name in names)


def first_number(labels: Labels, names: Sequence[str]) -> int | None:
    """The number that stands for the first of ``names``, where the labels leave no doubt.

    That is 0 where it is among the labels and none of them is too high; another one where they
    are as many numbers in sequence as there are names. ``None`` otherwise, and where the labels
    are no numbers or a name is one.

    >>> first_number(spelled(["2", "1"], range(2), "train.csv"), ["bad", "good"])
    1
    """
    if not are_words(names):
        return None
    numbers = sorted(int(label) for label in labels.distinct if _INTEGER.fullmatch(label))
    if not numbers:
        return None
    first, last = numbers[0], numbers[-1]
    counted_from_0 = first == 0 and last < len(names)
    in_sequence = len(numbers) == len(names) == last - first + 1
    return first if counted_from_0 or in_sequence else None


def usual_order(labels: Labels, names: Sequence[str], declared: Sequence[str] = ()) -> list[int]:
    """Places of ``names`` in the order that the rows give when no model is asked.

    That is the order in which the file declares them, else that of :func:`names_of`. Where
    numbers stand for ``names``, their own order is the one.

    Args:
        labels: all of them among ``names``.
        names: a model's classes in the order of its outputs.
        declared: the classes that the file declares, if it does.

    >>> usual_order(spelled(["pos", "neg"], range(2), "test.csv"), ["Pos", "Neg"])
    [1, 0]
    """
    if first_number(labels, names) is not None:
        return list(range(len(names)))
    # In the data's spelling where all classes are there: sorting minds the case.
    in_data = _sorted(merged(labels)[0].distinct)
    same = sorted(_folded(name) for name in names)
    found = next(
        (found for found in (declared, in_data) if sorted(map(_folded, found)) == same),
        _sorted(names),
    )
    place = {name: i for i, name in enumerate(names)}
    folded = {_folded(name): i for i, name in enumerate(names)}
    return [place.get(name, folded[_folded(name)]) for name in found]


def class_numbers(
    labels: Labels,
    names: Sequence[str],
    lines: Lines,
    where: str,
    first: int | None = None,
) -> NDArray[np.int64]:
    """Number of each label among ``names``, whatever its case and spacing.

    Where no name is a number, numbers stand for the names in their order; where the names are 0
    and 1, ``false`` and ``true`` stand for them.

    Args:
        labels: the labels of some rows.
        names: the class names in their order.
        lines: where each row stands.
        where: file and column, for errors.
        first: the number that stands for the first name, where other rows of the task have said
            it; else it is :func:`first_number` of these rows.

    Raises:
        TinybertError: a label that is not among the names; or numbers of which it cannot be told
            which name each stands for.
    """
    number_of = {name: number for number, name in enumerate(names)}
    folded = {_folded(name): number for name, number in number_of.items()}
    if len(folded) < len(names):
        folded = {}  # names that differ in case only
    other: dict[str, int] = {}
    words = are_words(names)
    if words and first is None:
        first = first_number(labels, names)
    if words and first is not None:
        other = {str(first + number): number for number in range(len(names))}
    elif set(names) == {"0", "1"}:
        other = {"false": number_of["0"], "true": number_of["1"]}
    found = np.empty(len(labels.distinct), dtype=np.int64)
    for code, label in enumerate(labels.distinct):
        key = _folded(label)
        number = number_of.get(label, folded.get(key, other.get(key)))
        if number is None:
            shown = _shown(names)
            if words and first is None and _INTEGER.fullmatch(label):
                numbers = _sorted([found for found in labels.distinct if _INTEGER.fullmatch(found)])
                raise TinybertError(
                    f"{where}: labels are the numbers {_shown(numbers)} and the model's are words "
                    f"({shown}), and which stands for which cannot be told: name the classes by "
                    f"these words in the file, or number them from 0 to {len(names) - 1} with at "
                    "least one row of class 0"
                )
            raise TinybertError(
                f"{where}, {_said(lines[labels.first(code)])}: label '{label}' is none of the "
                f"task's labels ({shown}): add it to the training rows (and to --labels where "
                "that is given), or remove it here"
            )
        found[code] = number
    return found[labels.codes]


def values_of(labels: Labels, lines: Lines, where: str) -> NDArray[np.float32]:
    """Labels as float32 values.

    Raises:
        TinybertError: a label is no finite number.
    """
    found = np.empty(len(labels.distinct), dtype=np.float32)
    for code, label in enumerate(labels.distinct):
        number = _number(label)
        if number is None:
            raise TinybertError(
                f"{where}, {_said(lines[labels.first(code)])}: label '{label}' is no finite "
                "number, and regression needs numbers: mend it, or take --task classification and "
                "a metric of classes"
            )
        found[code] = number
    return found[labels.codes]


def _said(line: object) -> str:
    return line if isinstance(line, str) else f"line {line}"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _folded(label: str) -> str:
    return " ".join(_whole(label).casefold().split())


def _whole(text: str) -> str:
    """``1`` for ``1.0``: an integer that went through a float; ``007`` and ``1E2`` are names."""
    found = _ZERO_FRACTION.fullmatch(text)
    return text if found is None else found[1]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None
