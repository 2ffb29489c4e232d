"""The words nearest to a word by the cosine of their vectors (TinyBERT, Algorithm 1).

Candidates are found by one matrix product in float32, whose last bits depend on the number of
threads and on what is computed together. So more candidates than needed are taken, their cosines
are computed again in float64 in a fixed order of summation, and where float32's error could have
kept out a word that belongs in, that row is done again with wider bounds. What comes out is the
order of the float64 cosines; equal ones keep the order of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinybert.augmentation.vector_files import Vectors, read_vectors
from tinybert.errors import TinybertError
from tinybert.outputs import whole_file
from tinybert.progress import Reporter

__all__ = ["Neighbours", "nearest_words"]

_SPARE = 16
_GROUPS_OF = 32
_BLOCK_WORDS = 512
_BLOCK_NUMBERS = 1 << 25
"""Cosines in memory at once, 128 MiB."""
_EXACT_NUMBERS = 1 << 19
"""Products in float64 at once, 4 MiB: they stay in the processor's cache."""
_VERSION = 1
_EDGE = 1 << 20

Found = dict[str, tuple[str, ...] | None]
"""Asked word → its neighbours, None where it is not in the vectors."""


@dataclass
class Neighbours:
    """Neighbours of the words that were asked for."""

    of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Word → its nearest words, nearest first; words that are not in the vectors are absent."""
    unknown: int = 0
    """Different words asked for that are not in the vectors."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""


def nearest_words(
    path: str | Path,
    words: Iterable[str],
    *,
    k: int = 50,
    lines: int | None = None,
    reporter: Reporter | None = None,
    cache: bool = True,
) -> Neighbours:
    r"""The ``k`` words nearest to each of ``words`` by the cosine of their vectors.

    A word is looked up as it is written, else in lower case. Its neighbours are neither itself nor
    another spelling of it (equal by ``str.casefold``). They depend on the file, ``lines`` and ``k``
    alone: not on the words asked for with it, nor on the number of threads.

    Args:
        path: a file that :func:`~tinybert.augmentation.vector_files.read_vectors` can read.
        words: any words; those that repeat count once.
        k: at most so many neighbours of a word.
        lines: read only the first so many vectors.
        reporter: told of the progress.
        cache: keep what was found in a file beside ``path``, and read it from there next time.

    Raises:
        TinybertError: ``k`` is below 1; as ``read_vectors``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "small.txt"
    ...     _ = file.write_text("cat 3 4\ndog 3 5\nCat 3 4\nstone 1 -9\n")
    ...     found = nearest_words(file, ["cat", "DOG", "unheard-of"], k=2)
    >>> found.of, found.unknown
    ({'cat': ('dog', 'stone'), 'DOG': ('cat', 'Cat')}, 1)
    """
    path = Path(path).expanduser()
    if k < 1:
        raise TinybertError(f"k is {k}: ask for at least 1 neighbour of a word")
    reporter = reporter or Reporter(quiet=True)
    asked = list(dict.fromkeys(words))
    store = _Store.beside(path, lines, k) if cache else None
    known = store.load() if store else None
    found = known.found if known else {}
    notes = list(known.notes) if known else []
    new = [word for word in asked if word not in found]
    if new:
        vectors = read_vectors(path, lines=lines, reporter=reporter)
        sentence = vectors.report.sentence()
        notes = [sentence] if sentence else []
        found = found | _search(vectors, new, k, reporter)
        del vectors
        if store:
            try:
                store.add(found, notes)
            except (TinybertError, OSError) as error:
                notes.append(f"neighbours are not kept for the next run: {error}")
    of = {word: near for word in asked if (near := found[word]) is not None}
    return Neighbours(of, len(asked) - len(of), notes)


def _search(vectors: Vectors, asked: list[str], k: int, reporter: Reporter) -> Found:
    row_of = {word: row for row, word in enumerate(vectors.words)}
    found: Found = {}
    rows, words = [], []
    for word in asked:
        row = row_of.get(word, row_of.get(word.lower()))
        if row is None:
            found[word] = None
        else:
            rows.append(row)
            words.append(word)
    del row_of
    # Two spellings that were looked up in the same row share one search.
    folds = {word: word.casefold() for word in words}
    pairs = list(dict.fromkeys(zip(rows, folds.values(), strict=True)))
    near = dict(zip(pairs, _Search(vectors, pairs, k).run(reporter), strict=True))
    for row, word in zip(rows, words, strict=True):
        found[word] = tuple(vectors.words[i] for i in near[row, folds[word]])
    return found


class _Search:
    """Neighbours of some rows of the vectors.

    Args:
        pairs: row, and the folded spelling of the word that was asked for.
    """

    def __init__(self, vectors: Vectors, pairs: list[tuple[int, str]], k: int) -> None:
        self.matrix, self.k = vectors.matrix, k
        self.count, width = self.matrix.shape
        self.rows = np.array([row for row, _ in pairs], np.int64)
        # A number for each folded spelling that counts; -1 is all others.
        numbers: dict[str, int] = {}
        own = [
            (numbers.setdefault(fold, len(numbers)), numbers.setdefault(name, len(numbers)))
            for row, fold in pairs
            for name in [vectors.words[row].casefold()]
        ]
        self.own = np.array(own, np.int64).reshape(-1, 2)
        self.spelling = np.fromiter(
            (numbers.get(word.casefold(), -1) for word in vectors.words), np.int64, self.count
        )
        # Twice the bound of a sum of D products in float32, for vectors of length 1.
        self.slack = (width + 8) * 2.0**-23

    def run(self, reporter: Reporter) -> Iterator[list[int]]:
        """For each pair the rows of its neighbours, nearest first."""
        take = min(self.k + _SPARE, self.count)
        block = max(1, min(_BLOCK_WORDS, _BLOCK_NUMBERS // self.count))
        few = max(1, _EXACT_NUMBERS // (take * self.matrix.shape[1]))
        columns = torch.from_numpy(self.matrix).T
        buffer = torch.full((min(block, len(self.rows)), _padded(self.count)), -torch.inf)
        with reporter.track(len(self.rows), "finding neighbours", unit="words") as track:
            for start in range(0, len(self.rows), block):
                rows = self.rows[start : start + block]
                cosines = buffer[: len(rows)]
                torch.mm(torch.from_numpy(self.matrix[rows]), columns, out=cosines[:, : self.count])
                values, ids = (part.numpy() for part in _top(cosines, take))
                for at in range(0, len(rows), few):
                    part = slice(at, at + few)
                    yield from self._exact(start + at, values[part], ids[part])
                track.advance(len(rows))

    def _exact(
        self, start: int, values: NDArray[np.float32], ids: NDArray[np.int64]
    ) -> Iterator[list[int]]:
        """Candidates in their true order, after a check that none is missing."""
        exact = self._cosines(self.rows[start : start + len(ids)], ids)
        off = np.abs(exact - values).max(axis=1)  # a machine told to multiply in bfloat16
        own = self.own[start : start + len(ids), :, None]
        exact[(self.spelling[ids][:, None] == own).any(axis=1)] = -np.inf
        order = np.lexsort((ids, -exact), axis=-1)[:, : self.k]
        exact, near = np.take_along_axis(exact, order, 1), np.take_along_axis(ids, order, 1)
        # Whatever was not taken is at most the last value that was, but for float32's error.
        sure = (exact[:, -1] > values.min(axis=1) + self.slack) & (off <= self.slack)
        everything = ids.shape[1] == self.count
        for i in range(len(ids)):
            if everything or sure[i]:
                yield near[i][exact[i] > -np.inf].tolist()
            else:
                yield self._one(start + i)

    def _one(self, at: int) -> list[int]:
        """As :meth:`_exact` for one row, with all that could belong in: many are equally near."""
        row = self.rows[at]
        others = np.flatnonzero(~np.isin(self.spelling, self.own[at]))
        cosines = (self.matrix @ self.matrix[row])[others]
        if len(others) > self.k:
            least = np.partition(cosines, -self.k)[-self.k]
            others = others[cosines >= least - 2 * self.slack]
        pieces = np.array_split(others, len(others) // 4096 + 1)
        exact = np.concatenate([self._cosines(row[None], piece[None])[0] for piece in pieces])
        near: list[int] = others[np.lexsort((others, -exact))[: self.k]].tolist()
        return near

    def _cosines(self, rows: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cosines (rows, n) of rows and their candidates ``ids``, alike whatever is beside them."""
        products = np.multiply(self.matrix[ids], self.matrix[rows][:, None], dtype=np.float64)
        # The sum over the last axis of an array in C order depends on that axis alone; a product
        # of matrices would not.
        cosines: NDArray[np.float64] = products.sum(axis=-1)
        return cosines


def _padded(count: int) -> int:
    return -(-count // _GROUPS_OF) * _GROUPS_OF


def _top(cosines: Tensor, take: int) -> tuple[Tensor, Tensor]:
    """The ``take`` largest of each row (rows, columns) and their columns, in any order.

    A column outside the groups with the largest maxima is no larger than any of those maxima, so
    only these groups are searched; equal values may go either way.
    """
    rows, groups = len(cosines), cosines.shape[1] // _GROUPS_OF
    if groups <= take:
        values, ids = cosines.topk(take, dim=1, sorted=False)
        return values, ids
    # Column c is in group c mod groups: the maximum then runs over whole stretches of memory.
    grouped = cosines.view(rows, _GROUPS_OF, groups)
    best = grouped.amax(dim=1).topk(take, dim=1, sorted=False).indices
    at = best[:, None] + torch.arange(_GROUPS_OF)[:, None] * groups
    at = at.view(rows, -1)
    values, which = cosines.gather(1, at).topk(take, dim=1, sorted=False)
    return values, at.gather(1, which)


class _Known(NamedTuple):
    found: Found
    notes: list[str]


@dataclass(frozen=True)
class _Store:
    """What was found before, in a file beside the vectors; no pickle, so nothing runs from it."""

    file: Path
    key: bytes

    @classmethod
    def beside(cls, path: Path, lines: int | None, k: int) -> _Store | None:
        """Where the neighbours of this file are kept; None where it cannot be read."""
        if not path.is_file():
            return None
        try:
            with path.open("rb") as raw:
                size = os.fstat(raw.fileno()).st_size
                digest = hashlib.sha256(repr((_VERSION, size, lines, k)).encode())
                digest.update(raw.read(_EDGE))
                raw.seek(max(0, size - _EDGE))
                digest.update(raw.read(_EDGE))
        except OSError:
            return None
        name = f"{path.name}.neighbours-{digest.hexdigest()[:16]}.npz"
        return cls(path.parent / name, digest.digest())

    def load(self) -> _Known | None:
        """What is in the file; None where there is none or it cannot be read."""
        try:
            with np.load(self.file, allow_pickle=False) as arrays:
                if arrays["key"].tobytes() != self.key:
                    return None
                texts = _texts(arrays["text"], arrays["ends"])
                asked, counts, near = (arrays[n].tolist() for n in ("asked", "counts", "near"))
                notes = _texts(arrays["notes"], arrays["notes_ends"])
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is made anew
            return None
        if len(asked) != len(counts) or sum(max(count, 0) for count in counts) != len(near):
            return None
        if any(not 0 <= i < len(texts) for i in (*asked, *near)):
            return None
        found: Found = {}
        start = 0
        for word, count in zip(asked, counts, strict=True):
            end = start + max(count, 0)
            found[texts[word]] = None if count < 0 else tuple(texts[i] for i in near[start:end])
            start = end
        return _Known(found, notes)

    def add(self, found: Found, notes: list[str]) -> None:
        """Write ``found`` and what another process may have put there meanwhile."""
        if other := self.load():
            found = other.found | found
        numbers: dict[str, int] = {}
        asked = [numbers.setdefault(word, len(numbers)) for word in found]
        counts = [-1 if near is None else len(near) for near in found.values()]
        near = [numbers.setdefault(w, len(numbers)) for ws in found.values() for w in ws or ()]
        text, ends = _packed(numbers)
        notes_text, notes_ends = _packed(notes)
        with whole_file(self.file) as partial, partial.open("wb") as raw:
            np.savez(
                raw,
                key=np.frombuffer(self.key, np.uint8),
                text=text,
                ends=ends,
                asked=np.array(asked, np.int32),
                counts=np.array(counts, np.int32),
                near=np.array(near, np.int32),
                notes=notes_text,
                notes_ends=notes_ends,
            )


def _packed(texts: Iterable[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as one array of bytes and where each ends."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), ends


def _texts(blob: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[str]:
    data, start = blob.tobytes(), 0
    texts = []
    for end in ends.tolist():
        texts.append(data[start:end].decode("utf-8", "surrogatepass"))
        start = end
    return texts
