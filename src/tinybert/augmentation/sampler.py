"""Copies of a row: words replaced at random by their candidates (TinyBERT, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tinybert.augmentation.recipe import Recipe
from tinybert.augmentation.words import Word

__all__ = ["Change", "Copy", "RowCopies", "Slots", "copies_of", "draws", "spelled_like"]


@dataclass(frozen=True)
class Slots:
    """One text of a row: its words, and what may stand for each (nothing: it stays)."""

    text: str
    words: Sequence[Word]
    candidates: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Change:
    """``word``, which began at character ``start`` of the original's text, became ``to``."""

    text: int
    start: int
    word: str
    to: str


@dataclass(frozen=True)
class Copy:
    """One copy of a row, and which of its words are new."""

    texts: tuple[str, ...]
    changes: tuple[Change, ...] = ()


@dataclass
class RowCopies:
    """Different copies of one row, the original left out.

    ``words`` counts the words of all copies that might have been replaced (in ``copies`` or
    dropped), ``changed`` those that were, ``duplicates`` the copies that were dropped because
    they were the original or an earlier one.
    """

    copies: list[Copy] = field(default_factory=list)
    words: int = 0
    changed: int = 0
    duplicates: int = 0


def draws(
    seed: int, row: int, copies: int, counts: NDArray[np.int64], probability: float
) -> NDArray[np.int64]:
    """Which candidate stands for each word of each copy; -1: the word stays.

    A function of the seed and the row's number alone, so that a row gets the same copies whatever
    else is drawn.

    Args:
        counts: (words,) number of candidates of each word.

    Returns:
        (copies, words).
    """
    shares = np.random.default_rng((seed, row)).random((2, copies, len(counts)))
    picks: NDArray[np.int64] = np.minimum((shares[1] * counts).astype(np.int64), counts - 1)
    picks[(shares[0] >= probability) | (counts == 0)] = -1
    return picks


def copies_of(row: int, texts: Sequence[Slots], recipe: Recipe, *, uncased: bool) -> RowCopies:
    """The copies of one row.

    In ``paper`` mode the texts of a row are one sequence of words, and a copy changes all of them;
    in ``reference`` mode a copy changes one text, and the others are the original's.

    Args:
        row: its number.
        texts: one, or two of a pair.
        uncased: the tokenizer knows no capitals, so that those of the word replaced are kept.
    """
    turns = [[i] for i in range(len(texts))] if recipe.reference else [list(range(len(texts)))]
    counts = np.array([len(c) for slots in texts for c in slots.candidates], dtype=np.int64)
    owner = np.array([i for i, slots in enumerate(texts) for _ in slots.candidates], dtype=np.int64)
    picks = draws(recipe.seed, row, recipe.copies * len(turns), counts, recipe.probability)
    found = RowCopies()
    seen = {tuple(slots.text for slots in texts)}
    for number in range(len(picks)):
        turn = turns[number // recipe.copies]
        mine = np.isin(owner, turn)
        found.words += int((mine & (counts > 0)).sum())
        copy = _copy(texts, np.where(mine, picks[number], -1), uncased)
        found.changed += len(copy.changes)
        if copy.texts in seen:
            found.duplicates += 1
            continue
        seen.add(copy.texts)
        found.copies.append(copy)
    return found


def _copy(texts: Sequence[Slots], picks: NDArray[np.int64], uncased: bool) -> Copy:
    written: list[str] = []
    changes: list[Change] = []
    first = 0
    for i, slots in enumerate(texts):
        parts: list[str] = []
        done = 0
        for word, offered, pick in zip(
            slots.words, slots.candidates, picks[first:].tolist(), strict=False
        ):
            if pick < 0:
                continue
            to = (
                spelled_like(word.text, offered[pick], first=word.start == 0)
                if uncased
                else offered[pick]
            )
            if to == word.text:
                continue
            parts += [slots.text[done : word.start], to]
            done = word.end
            changes.append(Change(i, word.start, word.text, to))
        written.append("".join([*parts, slots.text[done:]]))
        first += len(slots.words)
    return Copy(tuple(written), tuple(changes))


def spelled_like(word: str, candidate: str, *, first: bool = True) -> str:
    """A candidate of a vocabulary without capitals, with the capitals of the word it stands for.

    A single letter (I) tells nothing, but at the beginning of a text.

    >>> spelled_like("Good", "great"), spelled_like("IT", "they"), spelled_like("a", "the")
    ('Great', 'THEY', 'the')
    """
    if not candidate.islower():
        return candidate
    if len(word) > 1 and word.isupper():
        return candidate.upper()
    if word[:1].isupper() and (first or len(word) > 1):
        return candidate[0].upper() + candidate[1:]
    return candidate
