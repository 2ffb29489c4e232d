"""From what a label column says to class numbers or values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.task import Kind

__all__ = ["class_numbers", "guess_kind", "names_of", "spelled", "values_of"]

_MISSING = ("", "nan")


def spelled(values: Sequence[Any], lines: Sequence[int], where: str) -> list[str]:
    """Each label as a string, ``1`` and ``1.0`` alike.

    Raises:
        TinybertError: labels are missing (empty, null, NaN), or are lists or objects.
    """
    found, missing = [], []
    for value, line in zip(values, lines, strict=True):
        if isinstance(value, (list, dict)):
            raise TinybertError(f"{where}, line {line}: a label is a word or a number, not {value}")
        text = "" if value is None else str(value).strip()
        if text.lower() in _MISSING:
            missing.append(line)
        found.append(text)
    if missing:
        raise TinybertError(
            f"{where}: {len(missing)} of {len(found)} rows have no label (first in line "
            f"{missing[0]}): label or remove them"
        )
    numbers = [_number(text) for text in found]
    if all(number is not None and number.is_integer() for number in numbers):
        return [str(int(number)) for number in numbers if number is not None]
    return found


def guess_kind(labels: Sequence[str]) -> Kind:
    """Regression when labels are fractions with many values, else classification.

    "Many" is more than 10, or more than half of the rows where there are few.

    >>> guess_kind(["0.5", "3.25", "4.0", "1.75"]), guess_kind(["0", "1", "1"])
    ('regression', 'classification')
    """
    numbers = [_number(label) for label in labels]
    if any(number is None for number in numbers):
        return "classification"
    fractions = any(number is not None and not number.is_integer() for number in numbers)
    many = len(set(numbers)) > min(10, len(labels) / 2)
    return "regression" if fractions and many else "classification"


def names_of(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """The class names: as numbers where all are numbers, else in alphabetical order.

    Raises:
        TinybertError: one class only, or nearly as many classes as rows.

    >>> names_of(["10", "9", "10"], "train.csv"), names_of(["b", "a"], "train.csv")
    (('9', '10'), ('a', 'b'))
    """
    distinct = set(labels)
    if len(distinct) == 1:
        raise TinybertError(
            f"{where}: every label is '{next(iter(distinct))}': a task needs two classes at least"
        )
    if len(distinct) > max(20, len(labels) / 2):
        raise TinybertError(
            f"{where}: {len(distinct)} different labels in {len(labels)} rows are no classes: name "
            "the label column, or say that the task is regression"
        )
    if all(_number(label) is not None for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (_number(label), label)))
    return tuple(sorted(distinct))


def class_numbers(
    labels: Sequence[str], names: Sequence[str], lines: Sequence[int], where: str
) -> NDArray[np.int64]:
    """Number of each label among ``names``; a number stands for itself where no name is one.

    Raises:
        TinybertError: a label that is not among them.
    """
    number_of = {name: number for number, name in enumerate(names)}
    folded = {name.casefold(): number for name, number in number_of.items()}
    if len(folded) < len(names):
        folded = {}  # names that differ in case only
    by_number = {}
    if not any(_number(name) is not None for name in names):
        by_number = {str(number): number for number in range(len(names))}
    found = np.empty(len(labels), dtype=np.int64)
    for place, label in enumerate(labels):
        number = number_of.get(label, folded.get(label.casefold(), by_number.get(label)))
        if number is None:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise TinybertError(
                f"{where}, line {lines[place]}: label '{label}' is none of the task's labels "
                f"({shown}): add it to the training rows or remove it here"
            )
        found[place] = number
    return found


def values_of(labels: Sequence[str], lines: Sequence[int], where: str) -> NDArray[np.float32]:
    """Labels as float32 values.

    Raises:
        TinybertError: a label is no finite number.
    """
    found = np.empty(len(labels), dtype=np.float32)
    for place, label in enumerate(labels):
        number = _number(label)
        if number is None:
            raise TinybertError(
                f"{where}, line {lines[place]}: label '{label}' is no finite number, and "
                "regression needs numbers: mend it, or say that the task is classification"
            )
        found[place] = number
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None
