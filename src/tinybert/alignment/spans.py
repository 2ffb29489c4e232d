"""The finest spans of text that two tokenizations have in common.

A text is cut wherever both tokenizations have a boundary: at every character position that no token
of either one straddles. "un|believ|able" and "unbeliev|able" share the spans "unbeliev" and "able".
Tokens around the text (CLS, SEP) are spans of their own, matched by role and order.

Positions are those of the original text, so that case, accents and other normalisation, which may
differ, do not matter. What only one of the two sees (white space, control characters, or text that
the other one cut off) is in no span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from transformers import BatchEncoding, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.spans import NO_SPAN

__all__ = ["Offsets", "align", "check_alignable", "offsets_of"]

_AROUND = -1
_CLS, _SEP, _OTHER = 0, 1, 2


@dataclass(frozen=True)
class Offsets:
    """Where the tokens of some rows lie in their texts; all arrays but two are (tokens,), flat.

    Attributes:
        rows: row of each token, ascending.
        texts: 0 for the first text of a row, 1 for the second, -1 for tokens around them.
        starts, ends: characters; the end is the position after the last one.
        roles: of tokens around texts: 0 CLS, 1 SEP, 2 anything else.
        cut: (rows,) bool, rows that were longer than they may be.
        lengths: (rows,) tokens a row.
    """

    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    roles: NDArray[np.int64]
    cut: NDArray[np.bool_]
    lengths: NDArray[np.int64]


def check_alignable(tokenizer: PreTrainedTokenizerBase, whose: str) -> None:
    """Fail before the run on a tokenizer whose tokens cannot be found in the text.

    Raises:
        TinybertError: it is written in Python, has no token for padding, or puts no CLS and SEP
            around a text.
    """
    if not tokenizer.is_fast:
        raise TinybertError(
            f"{whose} tokenizer ({type(tokenizer).__name__}) is written in Python and does not "
            "tell where in the text a token lies: save it as a fast one (tokenizer.json)."
        )
    roles = {"cls": "cls_token", "sep": "sep_token", "pad": "pad_token"}
    if missing := [role for role, name in roles.items() if getattr(tokenizer, name) is None]:
        raise TinybertError(
            f"{whose} tokenizer has no {' and no '.join(missing)} token: name it in its "
            "tokenizer_config.json (cls_token, sep_token, pad_token)."
        )
    ids = tokenizer("a", verbose=False)["input_ids"]
    if len(ids) < 3 or ids[0] != tokenizer.cls_token_id or ids[-1] != tokenizer.sep_token_id:
        raise TinybertError(
            f"{whose} tokenizer does not write a text as {tokenizer.cls_token} … "
            f"{tokenizer.sep_token}, so that its tokens cannot be matched with another one's: give "
            "one that does (the post_processor of its tokenizer.json)."
        )


def offsets_of(
    tokenizer: PreTrainedTokenizerBase, encoded: BatchEncoding, cut: NDArray[np.bool_]
) -> Offsets:
    """Where the tokens of encoded rows lie.

    Args:
        tokenizer: a fast one.
        encoded: what it made of the rows, without padding.
        cut: (rows,), which of them it cut.
    """
    encodings = encoded.encodings
    assert encodings is not None
    lengths = np.fromiter(map(len, encodings), dtype=np.int64, count=len(encodings))
    total = int(lengths.sum())
    flat = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
    places = np.fromiter(flat, dtype=np.int64, count=2 * total).reshape(-1, 2)
    texts = np.fromiter(
        (_AROUND if t is None else t for e in encodings for t in e.sequence_ids),
        dtype=np.int64,
        count=total,
    )
    ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=np.int64, count=total)
    roles = np.full(total, _OTHER, dtype=np.int64)
    roles[ids == tokenizer.sep_token_id] = _SEP
    roles[ids == tokenizer.cls_token_id] = _CLS
    return Offsets(
        rows=np.repeat(np.arange(len(lengths)), lengths),
        texts=texts,
        starts=places[:, 0],
        ends=places[:, 1],
        roles=roles,
        cut=cut,
        lengths=lengths,
    )


def align(ours: Offsets, theirs: Offsets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The span of every token, on both sides.

    Args:
        ours, theirs: the same rows under two tokenizers.

    Returns:
        (our tokens,) and (their tokens,): number of the span in its row, counted from 0 in the
        order of our tokens; -1 for tokens that are in none.
    """
    sides = (ours, theirs)
    in_text = _components(sides)
    keys = list(in_text)
    offset = 1 + max((int(k.max(initial=NO_SPAN)) for k in keys), default=NO_SPAN)
    for side, around in enumerate(_around(sides)):
        keys[side] = np.where(around >= 0, offset + around, keys[side])
    shared = np.intersect1d(keys[0], keys[1])
    shared = shared[shared >= 0]
    ok = np.isin(keys[0], shared)
    found, first = np.unique(keys[0][ok], return_index=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(found), dtype=np.int64)
    rank[order] = np.arange(len(found))
    # Spans of a row follow one another in this order: its first one is where it begins.
    rows = ours.rows[ok][first]
    begin = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(ours.lengths)))])
    number = rank - begin[rows]
    return _numbered(keys[0], found, number), _numbered(keys[1], found, number)


def _numbered(
    keys: NDArray[np.int64], found: NDArray[np.int64], number: NDArray[np.int64]
) -> NDArray[np.int64]:
    spans = np.full(len(keys), NO_SPAN, dtype=np.int64)
    if len(found):
        at = np.searchsorted(found, keys).clip(max=len(found) - 1)
        same = found[at] == keys
        spans[same] = number[at[same]]
    return spans


def _components(sides: Sequence[Offsets]) -> list[NDArray[np.int64]]:
    """For each token of a text the piece of text that it lies in, numbered over all rows."""
    rows = len(sides[0].lengths)
    # Texts one after the other on one line, so that positions of different texts never meet.
    longest = np.zeros(2 * rows, dtype=np.int64)
    for side in sides:
        inside = side.texts >= 0
        np.maximum.at(longest, (2 * side.rows + side.texts)[inside], side.ends[inside])
    base = np.concatenate([[0], np.cumsum(longest + 1)])[:-1]
    starts, ends, wide = [], [], []
    for side in sides:
        wide.append((side.texts >= 0) & (side.ends > side.starts))
        at = base[(2 * side.rows + side.texts)[wide[-1]]]
        starts.append(at + side.starts[wide[-1]])
        ends.append(at + side.ends[wide[-1]])
    all_starts, all_ends = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(all_starts, kind="stable")
    reached = np.maximum.accumulate(all_ends[order]) if len(order) else all_ends
    fresh = np.ones(len(order), dtype=np.int64)
    fresh[1:] = all_starts[order][1:] >= reached[:-1]  # else a token before it straddles the place
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(fresh) - 1
    split = len(starts[0])
    found = []
    for side, own, some in zip(sides, (number[:split], number[split:]), wide, strict=True):
        component = np.full(len(side.rows), NO_SPAN, dtype=np.int64)
        component[some] = own
        found.append(_beside(side, component))
    _drop_torn(sides, found)
    return found


def _beside(side: Offsets, component: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens of no width, such as a lone "▁", go with the next one of their text, or the last."""
    empty = np.flatnonzero((side.texts >= 0) & (component == NO_SPAN))
    if not len(empty):
        return component
    group = 2 * side.rows + side.texts
    group[side.texts < 0] = -1
    known = component != NO_SPAN
    places = np.arange(len(component))
    after = np.minimum.accumulate(np.where(known, places, len(places))[::-1])[::-1]
    before = np.maximum.accumulate(np.where(known, places, -1))
    filled = component.copy()
    for i in empty:
        for j in (int(after[i]), int(before[i])):
            if 0 <= j < len(places) and group[j] == group[i]:
                filled[i] = component[j]
                break
    return filled


def _drop_torn(sides: Sequence[Offsets], found: list[NDArray[np.int64]]) -> None:
    """Where a row was cut, the last piece that both have may be whole on one side alone."""
    cut = sides[0].cut | sides[1].cut
    if not cut.any():
        return
    size = 1 + max(int(f.max(initial=NO_SPAN)) for f in found)
    ends = np.full((2, size), -1, dtype=np.int64)
    place = np.full(size, -1, dtype=np.int64)
    for k, (side, component) in enumerate(zip(sides, found, strict=True)):
        some = component >= 0
        np.maximum.at(ends[k], component[some], side.ends[some])
        place[component[some]] = (2 * side.rows + side.texts)[some]
    both = (ends >= 0).all(axis=0)
    last = np.full(2 * len(cut), -1, dtype=np.int64)
    np.maximum.at(last, place[both], np.flatnonzero(both))
    last = last[last >= 0]
    torn = last[(ends[0, last] != ends[1, last]) & cut[place[last] // 2]]
    for component in found:
        component[np.isin(component, torn)] = NO_SPAN


def _around(sides: Sequence[Offsets]) -> list[NDArray[np.int64]]:
    """For each CLS and SEP around texts a number that its twin on the other side has too; else -1.

    The k-th SEP is the other side's k-th where a row has as many. Else runs of them are matched:
    some tokenizers write two between a pair of texts.
    """
    rows = len(sides[0].lengths)
    room = 1 + max(int(side.lengths.max(initial=0)) for side in sides)
    keys = [np.full(len(side.rows), NO_SPAN, dtype=np.int64) for side in sides]
    for role in (_CLS, _SEP):
        by_each, by_run, counts, runs, places = [], [], [], [], []
        for side in sides:
            mine = (side.texts == _AROUND) & (side.roles == role)
            begins = mine.copy()
            begins[1:] &= ~(mine[:-1] & (side.rows[1:] == side.rows[:-1]))
            by_each.append(_counted(mine, side)[mine])
            by_run.append(_counted(begins, side)[mine])
            counts.append(np.bincount(side.rows[mine], minlength=rows))
            runs.append(np.bincount(side.rows[begins], minlength=rows))
            places.append(np.flatnonzero(mine))
        each, run = counts[0] == counts[1], runs[0] == runs[1]
        for k, side in enumerate(sides):
            row = side.rows[places[k]]
            chosen = np.where(each[row], by_each[k], np.where(run[row], by_run[k], NO_SPAN))
            key = (2 * row + role) * room + chosen
            keys[k][places[k]] = np.where(chosen >= 0, key, NO_SPAN)
    return keys


def _counted(marked: NDArray[np.bool_], side: Offsets) -> NDArray[np.int64]:
    """How many marked tokens of its row come before each marked token; run on for the others."""
    total = np.cumsum(marked)
    begin = np.concatenate([[0], np.cumsum(side.lengths)])[:-1]
    before = np.concatenate([[0], total])[begin]
    return np.asarray(total - before[side.rows] - 1, dtype=np.int64)
