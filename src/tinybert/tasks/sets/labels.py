"""From what label columns say to sets of labels: lists, separated words, or columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.labels import Labels, Lines, class_numbers, first_number, merged, names_of

__all__ = ["SEPARATORS", "Cell", "SetColumn", "Settled", "TruthColumns", "same_name"]

SEPARATORS = (";", "|", ",")
MOST_NAMES = 20

Cell = str | tuple[str, ...]
"""What one cell says: labels in one text, or a list of them."""

_TRUTH = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


def same_name(one: str, other: str) -> bool:
    """Whether two labels are one, whatever their case and spacing."""
    return one.casefold().split() == other.casefold().split()


@dataclass(frozen=True)
class Settled:
    """How a column's cells are read, as the training rows have settled it.

    Attributes:
        names: of the labels, in the order of the outputs.
        separator: between the labels of a text; None where a text is one label.
        first: the number that stands for the first name, see
            :func:`tinybert.tasks.labels.first_number`.
    """

    names: tuple[str, ...]
    separator: str | None = None
    first: int | None = None


class TruthColumns:
    """Takes in several columns of 0 and 1, one a label.

    Args:
        where: the part's name, for errors.
        columns: their names, which are the labels'.
    """

    def __init__(self, where: str, columns: Sequence[str]) -> None:
        self.where, self.columns = where, tuple(columns)
        self._found: list[NDArray[np.bool_]] = []

    def add(
        self,
        columns: Sequence[Sequence[Any]],
        place: Callable[[int], str],
        declared: Sequence[str],
    ) -> None:
        """Append some rows of all columns."""
        found = np.zeros((len(columns[0]), len(columns)), dtype=np.bool_)
        for number, (name, values) in enumerate(zip(self.columns, columns, strict=True)):
            for row, value in enumerate(values):
                truth = _TRUTH.get(str(value).strip().casefold())
                if truth is None:
                    said = "nothing" if value is None or str(value).strip() == "" else f"'{value}'"
                    raise TinybertError(
                        f"{self.where}, column '{name}', {place(row)}: {said} where 0 or 1 is "
                        "wanted: of several label columns each says whether a row has the label"
                    )
                found[row, number] = truth
        self._found.append(found)

    @property
    def unlabelled(self) -> bool:
        return False

    def settle(self, given: Sequence[str] | None, notes: list[str]) -> Settled:
        """The columns are the labels, in their order or that of ``given``."""
        names = tuple(given or self.columns)
        _order(self.columns, names, f"{self.where}: --labels")
        truths = self._truths()
        if not truths.any():
            raise TinybertError(
                f"{self.where}: no row has a label: the columns {_shown(self.columns)} are all 0"
            )
        notes.append(f"{len(names)} labels: {_shown(names)}")
        never = [name for name, of in zip(self.columns, truths.T, strict=True) if not of.any()]
        if never:
            notes.append(f"no training row has {_shown(never)}: that cannot be learnt")
        return Settled(names)

    def matrix(self, settled: Settled, lines: Lines) -> NDArray[np.bool_]:
        """(rows, labels) in the order of the settled names."""
        order = _order(self.columns, settled.names, f"{self.where}: the model's labels are")
        return self._truths()[:, order]

    def _truths(self) -> NDArray[np.bool_]:
        empty = np.zeros((0, len(self.columns)), dtype=np.bool_)
        return np.concatenate([empty, *self._found])


def _order(columns: Sequence[str], names: Sequence[str], said: str) -> list[int]:
    """For each name its column."""
    order = []
    for name in names:
        found = [place for place, column in enumerate(columns) if same_name(column, name)]
        order += found[:1]
    if len(order) != len(names) or len(set(order)) != len(columns):
        raise TinybertError(
            f"{said} {_shown(names)} and the label columns are {_shown(columns)}: name the same "
            "ones, each once"
        )
    return order


@dataclass
class SetColumn:
    """Takes in one label column: lists of labels, or labels with separators.

    Attributes:
        where: file and column, for errors.
        cells: what each row says; an empty text or list is no label.
    """

    where: str
    cells: list[Cell] = field(default_factory=list)
    _lists: bool = False
    _words: bool = False

    def add(
        self,
        columns: Sequence[Sequence[Any]],
        place: Callable[[int], str],
        declared: Sequence[str],
    ) -> None:
        """Append some rows; ``declared`` names the classes where the values are numbers."""
        for row, value in enumerate(columns[0]):

            def name(label: Any, row: int = row) -> str:
                return self._name(label, declared, row, place)

            if isinstance(value, list | tuple):
                self._lists = True
                # A list names a label once, however often it is in it.
                self.cells.append(tuple(dict.fromkeys(name(label) for label in value)))
                if len(self.cells[-1]) < len(value) and not set(value) - {0, 1}:
                    raise TinybertError(
                        f"{self.where}, {place(row)}: a list of 0 and 1 does not say which label "
                        "each stands for: write a list of the labels' names, or a column of 0 and "
                        "1 for each label"
                    )
            else:
                nothing = value is None or value != value or value == ""
                self.cells.append("" if nothing else name(value).strip())
                self._words = self._words or self.cells[-1] != ""
            if self._lists and self._words:
                raise TinybertError(
                    f"{self.where}, {place(row)}: some rows have a list of labels and some a text: "
                    "write all of them as lists"
                )

    def _name(
        self, label: Any, declared: Sequence[str], row: int, place: Callable[[int], str]
    ) -> str:
        if isinstance(label, int) and not isinstance(label, bool) and declared:
            if not 0 <= label < len(declared):
                raise TinybertError(
                    f"{self.where}, {place(row)}: class {label} has no name; there are "
                    f"{len(declared)} classes"
                )
            return declared[label]
        listed = isinstance(label, list | tuple | dict) or label is None
        if listed or (self._lists and not str(label).strip()):
            said = "nothing" if label is None or label == "" else str(label)
            raise TinybertError(
                f"{self.where}, {place(row)}: a label is a word or a number, not {said}"
            )
        return str(label).strip() if isinstance(label, str) else str(label)

    @property
    def unlabelled(self) -> bool:
        """Whether no row has any label."""
        return not any(self.cells)

    def settle(self, given: Sequence[str] | None, notes: list[str]) -> Settled:
        """The separator and the labels, as these rows have them.

        Raises:
            TinybertError: no labels, one only, as many as no task has, or no row with several.
        """
        if self.unlabelled:
            raise TinybertError(
                f"{self.where}: no row has a label: name another column with --label, or leave the "
                "column out"
            )
        separator = None if self._lists else _separator(self.cells)
        if separator is None and not self._lists:
            raise TinybertError(
                f"{self.where}: no row has two labels with {' or '.join(SEPARATORS)} between them, "
                "so that each is one of a kind: say --task classification, name another column "
                "with --label, or several columns of 0 and 1"
            )
        labels, _ = self._flat(separator)
        if not given:
            labels, said = merged(labels)
            notes += said
        if len(labels.distinct) == 1:
            raise TinybertError(
                f"{self.where}: every label is '{labels.distinct[0]}': a task needs two at least"
            )
        if len(labels.distinct) > max(MOST_NAMES, len(self.cells) / 2):
            raise TinybertError(
                f"{self.where}: {len(labels.distinct)} different labels in {len(self.cells)} rows "
                "are no labels but a text: name the label column with --label"
            )
        names = tuple(given) if given else names_of(labels, self.where)
        if separator is not None:
            notes.append(f"labels are separated by '{separator}'")
        none = sum(not cell for cell in self.cells)
        several = len(labels) / len(self.cells)
        notes.append(
            f"{len(names)} labels: {_shown(names)}; {several:.2f} a row, {none:,} rows have none"
        )
        return Settled(names, separator, first_number(labels, names))

    def settled_by(self, names: Sequence[str]) -> Settled:
        """How the cells are read by a model of these labels: by the separator that fits them."""

        def strange(separator: str | None) -> int:
            distinct = self._flat(separator)[0].distinct
            return sum(not any(same_name(label, name) for name in names) for label in distinct)

        if self._lists:
            return Settled(tuple(names))
        choices = (_separator(self.cells), *SEPARATORS, None)
        return Settled(tuple(names), min(choices, key=strange))

    def matrix(self, settled: Settled, lines: Lines) -> NDArray[np.bool_]:
        """(rows, labels) in the order of the settled names.

        Raises:
            TinybertError: a label that is not among them.
        """
        separator = settled.separator
        if separator is None and not self._lists:  # the training rows' labels were lists
            separator = self.settled_by(settled.names).separator
        labels, counts = self._flat(separator)
        of = np.repeat(np.arange(len(self.cells)), counts)
        numbers = class_numbers(
            labels, settled.names, _ByLabel(lines, of), self.where, settled.first
        )
        found = np.zeros((len(self.cells), len(settled.names)), dtype=np.bool_)
        found[of, numbers] = True
        return found

    def _flat(self, separator: str | None) -> tuple[Labels, NDArray[np.int64]]:
        """All rows' labels one after the other, and how many each row has."""
        code: dict[str, int] = {}
        codes: list[int] = []
        counts = np.zeros(len(self.cells), dtype=np.int64)
        for row, cell in enumerate(self.cells):
            found = cell if isinstance(cell, tuple) else _split(cell, separator)
            codes += [code.setdefault(label, len(code)) for label in found]
            counts[row] = len(found)
        return Labels(list(code), np.asarray(codes, dtype=np.int32)), counts


@dataclass(frozen=True)
class _ByLabel:
    """Where each of all labels stands, from where each row does."""

    lines: Lines
    of: NDArray[np.int64]

    def __getitem__(self, index: int, /) -> Any:
        return self.lines[int(self.of[index])]


def _split(cell: str, separator: str | None) -> tuple[str, ...]:
    parts = [cell] if separator is None else cell.split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _separator(cells: Sequence[Cell]) -> str | None:
    """Of the separators in use the one that leaves the fewest different labels.

    A label may hold a comma of its own; split at that, it would make more labels of fewer.
    """
    texts = list(dict.fromkeys(cell for cell in cells if isinstance(cell, str) and cell))
    best: tuple[int, int] | None = None
    chosen = None
    for separator in SEPARATORS:
        parted = [_split(text, separator) for text in texts]
        several = sum(len(parts) > 1 for parts in parted)
        rank = (len({part for parts in parted for part in parts}), -several)
        if several and (best is None or rank < best):
            best, chosen = rank, separator
    return chosen


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
