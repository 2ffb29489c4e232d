"""From what a label column says to class numbers or values."""

from __future__ import annotations

import math
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
    "check_missing",
    "class_numbers",
    "guess_kind",
    "merged",
    "names_of",
    "spelled",
    "values_of",
]

_MISSING = frozenset({"", "nan"})


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
    numbers = {label: _number(label) for label in distinct}
    if None not in numbers.values():
        return tuple(sorted(distinct, key=lambda label: (numbers[label], label)))
    return tuple(sorted(distinct))


def class_numbers(
    labels: Labels, names: Sequence[str], lines: Lines, where: str
) -> NDArray[np.int64]:
    """Number of each label among ``names``, whatever its case and spacing.

    Where no name is a number, a number stands for itself; where the names are 0 and 1, ``false``
    and ``true`` stand for them.

    Raises:
        TinybertError: a label that is not among them.
    """
    number_of = {name: number for number, name in enumerate(names)}
    folded = {_folded(name): number for name, number in number_of.items()}
    if len(folded) < len(names):
        folded = {}  # names that differ in case only
    other: dict[str, int] = {}
    if not any(_number(name) is not None for name in names):
        other = {str(number): number for number in range(len(names))}
    elif set(names) == {"0", "1"}:
        other = {"false": number_of["0"], "true": number_of["1"]}
    found = np.empty(len(labels.distinct), dtype=np.int64)
    for code, label in enumerate(labels.distinct):
        key = _folded(label)
        number = number_of.get(label, folded.get(key, other.get(key)))
        if number is None:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
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


def _folded(label: str) -> str:
    return " ".join(_whole(label).casefold().split())


def _whole(text: str) -> str:
    """``1`` for ``1.0``; beyond 2**53 a float does not know its last digit."""
    number = _number(text)
    if number is None or not number.is_integer() or abs(number) >= 2**53:
        return text
    return str(int(number))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None
