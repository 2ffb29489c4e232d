"""Which output of a teacher is which label of the data: by name, and tested on labelled rows.

A teacher whose classes stand in another order than the data's is the quietest of all faults: every
loss goes down and every answer is wrong. Names decide where they say something; whatever they say
is held against the teacher's answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tinybert.errors import TinybertError

__all__ = ["Matching", "match_labels", "says_nothing"]

LIMIT = 3.0
"""Standard errors by which one reading of the outputs must beat another to count as better."""

_WAY_OUT = "name the teacher's outputs in their order with --teacher-labels"


@dataclass(frozen=True)
class Matching:
    """``names[i]`` is the data's label that output i of the teacher stands for; why is in ``note``.

    ``labels`` are the names of the data's classes in their order from now on: its own, or the
    teacher's words where the data has numbers only.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    note: str


def says_nothing(names: Sequence[str]) -> bool:
    """Whether these label names are only numbers: ``LABEL_0``, ``class 1``, ``2``.

    >>> says_nothing(["LABEL_0", "LABEL_1"]), says_nothing(["0", "1"]), says_nothing(["a", "b"])
    (True, True, False)
    """
    return all(re.fullmatch(r"((label|class)[ _-]?)?\d+", name.strip(), re.I) for name in names)


def match_labels(
    own: Sequence[str],
    labels: Sequence[str],
    logits: NDArray[np.floating] | None = None,
    truth: NDArray[np.integer] | None = None,
    *,
    said: bool = False,
) -> Matching:
    """Match a teacher's outputs with the data's labels, and test it on labelled rows.

    * The same names, in any order or case: matched by name.
    * Numbers on one side or on both (``LABEL_0``, ``0``): output i is the i-th number. Where the
      data's labels are words and the teacher's names numbers, no order can be presumed (the
      alphabet is no order): the assignment that is right most often on the rows is taken.

    Args:
        own: the teacher's names in the order of its outputs.
        labels: the data's names in the order of their class numbers.
        logits: (rows, outputs) of the teacher.
        truth: (rows,) class numbers of the same rows.
        said: the user gave ``own``: what the rows say against it is told, and no error.

    Raises:
        TinybertError: the names have nothing in common; or on the rows another assignment is
            right significantly more often than the one the names give; or no assignment is
            clearly the best.

    >>> match_labels(["Sport", "politics"], ["politics", "sport"]).names
    ('sport', 'politics')
    """
    if len(own) != len(labels):
        raise TinybertError(
            f"the teacher has {len(own)} outputs ({_some(own)}) and the data has {len(labels)} "
            f"labels ({_some(labels)}): fine-tune a teacher on this data (give the plain encoder "
            "as --teacher), or check that the label column is the right one (--label)."
        )
    folded = {name.strip().casefold(): number for number, name in enumerate(labels)}
    places = [folded.get(name.strip().casefold()) for name in own]
    named = tuple(labels)
    if len(folded) == len(labels) and None not in places and len(set(places)) == len(places):
        expected, note = _order(places), "labels matched by name"
    elif says_nothing(labels):
        expected, note = list(range(len(own))), "output i of the teacher taken as the i-th label"
        if not says_nothing(own):
            named = tuple(own)
    elif says_nothing(own):
        return _best(own, labels, logits, truth)
    else:
        raise TinybertError(
            f"the teacher's labels ({_some(own)}) are not the data's ({_some(labels)}): "
            f"{_WAY_OUT}, or give the plain encoder as --teacher, which is then fine-tuned."
        )
    if logits is not None and truth is not None:
        note += _tested(expected, labels, logits, truth, said)
    return Matching(tuple(named[place] for place in expected), named, note)


def _order(places: Sequence[int | None]) -> list[int]:
    return [place for place in places if place is not None]


def _tested(
    expected: list[int],
    labels: Sequence[str],
    logits: NDArray[np.floating],
    truth: NDArray[np.integer],
    said: bool,
) -> str:
    """Hold the expected assignment against the best one; say how it did.

    The best one is found on every second row and tried on the others: of many classes some order
    is always better on the very rows that it was made for.
    """
    shuffled = np.random.default_rng(0).permutation(len(truth))
    found, tried = shuffled[::2], shuffled[1::2]
    best = _assignment(_confusion(logits[found], truth[found]))
    answers = logits.argmax(axis=1)
    right, better = (np.asarray(order)[answers] == truth for order in (expected, best))
    if _ahead(better[tried], right[tried]) > LIMIT:
        doubt = (
            f"as named the teacher is right on {right.mean():.1%} of {len(truth)} rows, and on "
            f"{better.mean():.1%} if its outputs are {_some([labels[place] for place in best])}"
        )
        if said:
            return f"; but {doubt}"
        raise TinybertError(
            f"the order of the teacher's labels is suspicious: {doubt}: {_WAY_OUT}."
        )
    return f", right on {right.mean():.1%} of {len(truth)} labelled rows"


def _best(
    own: Sequence[str],
    labels: Sequence[str],
    logits: NDArray[np.floating] | None,
    truth: NDArray[np.integer] | None,
) -> Matching:
    """The assignment that is right most often, if it is so beyond doubt."""
    if logits is None or truth is None:
        raise TinybertError(
            f"the teacher's label names say nothing ({_some(own)}) and there are no labelled rows "
            f"to test them on: {_WAY_OUT}."
        )
    table = _confusion(logits, truth)
    best = _assignment(table)
    answers = logits.argmax(axis=1)
    right = np.asarray(best)[answers] == truth
    # What has to be beaten: the next best assignment, and always saying the commonest label.
    others = [np.asarray(other)[answers] == truth for other in _runners_up(table, best)]
    others.append(truth == np.bincount(truth, minlength=len(labels)).argmax())
    if any(_ahead(right, other) < LIMIT for other in others):
        raise TinybertError(
            f"the teacher's label names say nothing ({_some(own)}), and on {len(truth)} labelled "
            f"rows no order of the data's labels is clearly right (the best is on "
            f"{right.mean():.1%}): {_WAY_OUT}."
        )
    names = tuple(labels[place] for place in best)
    found = ", ".join(f"{mine} is {name}" for mine, name in zip(own, names, strict=True))
    return Matching(
        names,
        tuple(labels),
        f"the teacher's label names say nothing; the assignment right most often "
        f"({right.mean():.1%} of {len(truth)} labelled rows) is: {found}",
    )


def _confusion(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> NDArray[np.int64]:
    """(outputs, labels): on how many rows output i is highest and the label is j."""
    outputs = logits.shape[1]
    pairs = logits.argmax(axis=1) * outputs + truth
    counts: NDArray[np.int64] = np.bincount(pairs, minlength=outputs**2).reshape(outputs, outputs)
    return counts


def _assignment(table: NDArray[np.int64]) -> list[int]:
    """For each output the label that makes the most rows right, all labels used once."""
    # Among equals the order as it stands: outputs that are never highest keep their place.
    scores = table * (len(table) + 1) + np.eye(len(table), dtype=np.int64)
    return [int(place) for place in linear_sum_assignment(scores, maximize=True)[1]]


def _runners_up(table: NDArray[np.int64], best: Sequence[int]) -> list[list[int]]:
    """The best assignments that differ from ``best`` in at least one output."""
    found = []
    for output, label in enumerate(best):
        without = table.copy()
        without[output, label] = -int(table.sum()) - 1
        found.append(_assignment(without))
    return found


def _ahead(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """By how many standard errors one is right more often, on the same rows (McNemar)."""
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    return float((wins - losses) / max(1, wins + losses) ** 0.5)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
