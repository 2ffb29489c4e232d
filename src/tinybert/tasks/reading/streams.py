"""A file's text as a stream, unpacked where it is packed; one sentence where it breaks."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa

from tinybert.errors import TinybertError

__all__ = ["PACKED", "Advance", "open_text"]

Advance = Callable[[int], object]
"""Told how many bytes of the file were read since it was last told."""

_CHUNK = 1 << 20


def _zstandard(raw: BinaryIO) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")


PACKED: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".zst": _zstandard,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
"""File ending → what unpacks it."""


class _Checked(io.RawIOBase):
    """Unpacked bytes; refuses what is not UTF-8 text at a glance, counts what is read."""

    def __init__(self, path: Path, raw: BinaryIO, advance: Advance | None) -> None:
        self._path, self._raw, self._advance = path, raw, advance
        unpack = PACKED.get(path.suffix.lower())
        self._inner = raw if unpack is None else unpack(raw)
        self._told = self._lines = 0
        self._first = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._inner.read(len(buffer))
        if self._first and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise TinybertError(f"{self._path} is UTF-16: save it as UTF-8")
        self._first = False
        if b"\0" in data:
            line = self._lines + data.count(b"\n", 0, data.index(b"\0")) + 1
            raise TinybertError(
                f"{self._path}, line {line}: a NUL byte, so it is no UTF-8 text (a binary file, or "
                "UTF-16): save it as UTF-8"
            )
        self._lines += data.count(b"\n")
        buffer[: len(data)] = data
        self._tell()
        return len(data)

    def _tell(self) -> None:
        if self._advance is not None and (now := self._raw.tell()) > self._told:
            self._advance(now - self._told)
            self._told = now


@contextmanager
def open_text(path: Path, advance: Advance | None = None) -> Iterator[TextIO]:
    r"""Open a UTF-8 text file, unpacking ``.gz``, ``.zst``, ``.xz`` and ``.bz2``.

    Line ends stay as they are, and each of ``\n``, ``\r`` and ``\r\n`` ends a line; a byte order
    mark is left out.

    Args:
        path: the file.
        advance: told of the bytes of the file itself, packed as they are.

    Raises:
        TinybertError: no such file, no right to read it; and, as it is read, cut short or broken,
            UTF-16, a NUL byte, not UTF-8 (with line and byte).
    """
    try:
        with path.open("rb") as raw:
            buffered = io.BufferedReader(_Checked(path, raw, advance), _CHUNK)
            yield io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except FileNotFoundError:
        raise TinybertError(f"{path} does not exist: check the path") from None
    except PermissionError as error:
        raise TinybertError(f"{path} cannot be read ({error.strerror}): check its rights") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise TinybertError(
            f"{path} is cut short or broken ({error}): copy or pack it again"
        ) from None


def _not_utf8(path: Path) -> TinybertError:
    """The error that names the first byte that is not UTF-8; reads the file once more."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = offset = 0
    with path.open("rb") as raw, io.BufferedReader(_Checked(path, raw, None), _CHUNK) as stream:
        while data := stream.read(_CHUNK):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(data)
            except UnicodeDecodeError as error:
                at, byte = offset - pending + error.start, error.object[error.start]
                line = lines + error.object.count(b"\n", 0, error.start) + 1
                return TinybertError(
                    f"{path} is not UTF-8: byte 0x{byte:02x} in line {line} (byte {at} of the "
                    "text); save it as UTF-8"
                )
            lines += data.count(b"\n")
            offset += len(data)
    return TinybertError(f"{path} is not UTF-8: it ends within a character; save it as UTF-8")
