"""Texts of many rows, kept in a file that is mapped into memory.

A million short sentences as Python strings take several times their size. Here they lie in one
file, and a row becomes Python strings when it is asked for.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tinybert.errors import TinybertError

__all__ = ["TextWriter", "Texts"]

_AT_ONCE = 4096


class Texts(Sequence[tuple[str, ...]]):
    """Rows of one or two texts over Arrow arrays; equal to any sequence of the same tuples.

    Slices and :meth:`take` copy no text.

    Args:
        columns: one or two Arrow string arrays of equal length.
        places: ``(rows,)`` int64, which of their rows these are; all where ``None``.

    >>> texts = Texts([pa.array(["a", "b", "c"], pa.large_string())])
    >>> texts[1], list(texts.take([2, 0])), texts[1:] == [("b",), ("c",)]
    (('b',), [('c',), ('a',)], True)
    """

    def __init__(self, columns: Sequence[Any], places: NDArray[np.int64] | None = None) -> None:
        self._columns = tuple(columns)
        self._places = np.arange(len(columns[0])) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> tuple[str, ...] | Texts:
        if isinstance(index, slice):
            return Texts(self._columns, self._places[index])
        place = int(self._places[index])
        return tuple(column[place].as_py() for column in self._columns)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for start in range(0, len(self), _AT_ONCE):
            places = pa.array(self._places[start : start + _AT_ONCE])
            yield from zip(
                *(column.take(places).to_pylist() for column in self._columns), strict=True
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3])) + (", ..." if len(self) > 3 else "")
        return f"<{len(self)} rows: {shown}>"

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Texts:
        """The rows at ``indices``, in that order."""
        return Texts(self._columns, self._places[np.asarray(indices, dtype=np.int64)])


class TextWriter:
    """Writes one column of texts to a file without a name, which is gone when nobody reads it."""

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="tinybert-")  # noqa: SIM115 - closed by finish
        except OSError as error:
            raise _no_room(error) from None
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        """Append some texts.

        Raises:
            UnicodeEncodeError: a text holds half of a surrogate pair.
            TinybertError: the temporary directory is full.
        """
        encoded = [text.encode() for text in texts]
        try:
            self._file.write(b"".join(encoded))
        except OSError as error:
            raise _no_room(error) from None
        self._lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))

    def finish(self) -> Any:
        """All texts as one Arrow array (``large_string``) over the mapped file."""
        ends = np.cumsum(np.concatenate([[0], *self._lengths]), dtype=np.int64)
        try:
            self._file.flush()
            size = int(ends[-1])
            data: Any = b""
            if size:  # an empty file cannot be mapped
                data = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise _no_room(error) from None
        self._file.close()  # the mapping holds it
        return pa.LargeStringArray.from_buffers(
            len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data)
        )


def _no_room(error: OSError) -> TinybertError:
    return TinybertError(
        f"texts cannot be kept in the temporary directory ({error.strerror or error}): set TMPDIR "
        "to a directory with room for them"
    )
