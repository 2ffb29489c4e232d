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

__all__ = ["Matching", "match_labels", "match_sets", "says_nothing"]

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
    named = _named(own, labels)
    if named is None:
        return _best(own, labels, logits, truth)
    expected, words, note = named
    if logits is not None and truth is not None:
        note += _tested(expected, labels, logits, truth, said)
    return Matching(tuple(words[place] for place in expected), words, note)


def match_sets(
    own: Sequence[str],
    labels: Sequence[str],
    logits: NDArray[np.floating] | None = None,
    truth: NDArray[np.bool_] | None = None,
    *,
    said: bool = False,
) -> Matching:
    """The same for a teacher that gives every row a set of labels.

    An assignment costs the mean binary cross-entropy of every output against the label that it is
    assigned, over rows and labels.

    Args:
        own, labels, said: as of :func:`match_labels`.
        logits: (rows, outputs) of the teacher.
        truth: (rows, labels), which row has which label.

    Raises:
        TinybertError: the names have nothing in common; or on the rows another assignment costs
            significantly less than the one the names give; or no assignment is clearly the best.

    >>> match_sets(["Rude", "threat"], ["threat", "rude"]).names
    ('rude', 'threat')
    """
    named = _named(own, labels)
    if named is not None:
        expected, words, note = named
        if logits is not None and truth is not None:
            note += _sets_tested(expected, labels, logits, truth, said)
        return Matching(tuple(words[place] for place in expected), words, note)
    if logits is None or truth is None:
        raise TinybertError(
            f"the teacher's label names say nothing ({_some(own)}) and there are no labelled rows "
            f"to test them on: {_WAY_OUT}."
        )
    table = _gains(logits, truth)
    best = _most(table)
    paid = _costs(best, logits, truth)
    worse = [_costs(other, logits, truth) - paid for other in _other_sets(table, best)]
    if any(_above(each) < LIMIT for each in worse):
        raise TinybertError(
            f"the teacher's label names say nothing ({_some(own)}), and on {len(truth)} labelled "
            f"rows no order of the data's labels is clearly the best: {_WAY_OUT}."
        )
    names = tuple(labels[place] for place in best)
    found = ", ".join(f"{mine} is {name}" for mine, name in zip(own, names, strict=True))
    return Matching(
        names,
        tuple(labels),
        f"the teacher's label names say nothing; the assignment that fits {len(truth)} labelled "
        f"rows best is: {found}",
    )


def _named(
    own: Sequence[str], labels: Sequence[str]
) -> tuple[list[int], tuple[str, ...], str] | None:
    """For each output its label as the names have it, the labels' words, and how that was found.

    None where the names leave it to the rows.
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
        return None
    else:
        raise TinybertError(
            f"the teacher's labels ({_some(own)}) are not the data's ({_some(labels)}): "
            f"{_WAY_OUT}, or give the plain encoder as --teacher, which is then fine-tuned."
        )
    return expected, named, note


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


def _sets_tested(
    expected: list[int],
    labels: Sequence[str],
    logits: NDArray[np.floating],
    truth: NDArray[np.bool_],
    said: bool,
) -> str:
    """As :func:`_tested`, by the cost of each assignment."""
    shuffled = np.random.default_rng(0).permutation(len(truth))
    found, tried = shuffled[::2], shuffled[1::2]
    best = _most(_gains(logits[found], truth[found]))
    paid, less = (_costs(order, logits, truth) for order in (expected, best))
    if len(tried) > 1 and _above((paid - less)[tried]) > LIMIT:
        doubt = (
            f"as named the teacher's mean cross-entropy on {len(truth)} rows is {paid.mean():.3f}, "
            f"and {less.mean():.3f} if its outputs are {_some([labels[place] for place in best])}"
        )
        if said:
            return f"; but {doubt}"
        raise TinybertError(
            f"the order of the teacher's labels is suspicious: {doubt}: {_WAY_OUT}."
        )
    return f", with a mean cross-entropy of {paid.mean():.3f} on {len(truth)} labelled rows"


def _costs(
    order: Sequence[int], logits: NDArray[np.floating], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(rows,) mean binary cross-entropy, output i being label ``order[i]``."""
    z, y = logits.astype(np.float64), truth[:, list(order)]
    return np.asarray((np.logaddexp(0, z) - y * z).mean(axis=1))


def _gains(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(outputs, labels): what of the cost depends on the assignment, with its sign turned."""
    return np.asarray(logits.T.astype(np.float64) @ truth.astype(np.float64) / len(truth))


def _most(table: NDArray[np.float64]) -> list[int]:
    """For each output the label of the assignment that costs least, all labels used once."""
    return [int(place) for place in linear_sum_assignment(table, maximize=True)[1]]


def _other_sets(table: NDArray[np.float64], best: Sequence[int]) -> list[list[int]]:
    """The best assignments that differ from ``best`` in at least one output."""
    found = []
    for output, label in enumerate(best):
        without = table.copy()
        without[output, label] = table.min() - len(table) * (np.ptp(table) + 1)
        found.append(_most(without))
    return found


def _above(difference: NDArray[np.float64]) -> float:
    """By how many standard errors the mean of a difference is above 0."""
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return float(difference.mean()) / max(error, 1e-12)


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
