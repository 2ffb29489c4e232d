"""Word vectors from files: GloVe's text, word2vec's text and fastText's ``.vec``, packed or not.

A line is a word and its D numbers, with spaces or tabs between. Real files have words with spaces
in them (glove.840B), words that are no UTF-8, and ends cut off: such lines are read where their
meaning is plain, and left out and counted where it is not.
"""

from __future__ import annotations

import lzma
import math
import os
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.reading.streams import PACKED

__all__ = ["ReadingReport", "Vectors", "read_vectors"]

_READ = 1 << 20
_LONGEST_LINE = 16 << 20
_CHUNK_LINES = 2000
_SAMPLE_LINES = 200
_PLACES = 5

_MAGIC = {b"\x1f\x8b": ".gz", b"\xfd7zXZ\0": ".xz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_FASTTEXT = struct.pack("<i", 793712314)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f]")
_HEADER = re.compile(rb"(\d+)[ \t]+(\d+)")
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.I)


@dataclass
class ReadingReport:
    """What was read and what was left out."""

    path: Path
    lines: int = 0
    """Lines that should hold a vector: without the header and empty lines."""
    kept: int = 0
    uneven: int = 0
    """Not a word and ``width`` numbers."""
    unreadable: int = 0
    """What should be a number is none, or is NaN or infinite."""
    undecodable: int = 0
    """The word is not UTF-8."""
    zero: int = 0
    """All numbers are 0: no direction to compare."""
    duplicates: int = 0
    """The word was there before; the first one is kept."""
    width: int = 0
    header: bool = False
    promised: int | None = None
    """Number of words that the header names."""
    cut: bool = False
    """Whether ``lines`` ended the reading."""
    places: list[int] = field(default_factory=list)
    """Numbers of the first lines that were left out, counted in the file from 1."""

    def sentence(self) -> str | None:
        """What the user should know, in one sentence; None where nothing was odd.

        >>> report = ReadingReport(Path("a.vec"), lines=9, kept=7, uneven=2, width=3, places=[2, 4])
        >>> report.sentence()
        'a.vec: 2 of 9 lines were left out (2 uneven; line 2, 4)'
        >>> ReadingReport(Path("a.vec"), lines=9, kept=9, width=3).sentence() is None
        True
        """
        parts = []
        if left_out := self.lines - self.kept:
            kinds = {
                "uneven": self.uneven,
                "with unreadable numbers": self.unreadable,
                "whose word is not UTF-8": self.undecodable,
                "all zeros": self.zero,
                "of a word that was there before": self.duplicates,
            }
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
            more = ", …" if left_out > len(self.places) else ""
            numbers = ", ".join(map(str, self.places)) + more
            which = f"{told}; line {numbers}"
            parts.append(f"{left_out} of {self.lines} lines were left out ({which})")
        if self.promised is not None and not self.cut and self.promised != self.lines:
            parts.append(f"its header promises {self.promised} words, it has {self.lines} lines")
        return f"{self.path.name}: {'; '.join(parts)}" if parts else None

    def leave_out(self, kind: str, place: int) -> None:
        """Count a line that is left out."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.places.append(place)


@dataclass
class Vectors:
    """Words, all different, and their vectors of length 1: row ``i`` of ``matrix`` (words, D)."""

    words: list[str]
    matrix: NDArray[np.float32]
    report: ReadingReport


def read_vectors(
    path: str | Path, *, lines: int | None = None, reporter: Reporter | None = None
) -> Vectors:
    r"""Read word vectors and scale each to length 1.

    Read are GloVe's text, word2vec's text and fastText's ``.vec`` (both with a first line
    ``words D``), as they are or packed with gzip, zip, xz, bzip2 or zstd; what a file is packed
    with is told by its first bytes. D is the header's, else the commonest number of numbers at the
    end of the first 200 lines. A word may hold spaces: the last D fields are the numbers.

    Args:
        path: the file; of a zip archive its only file, or its only ``.txt`` or ``.vec`` file.
        lines: read only the first so many vectors (files list frequent words first).
        reporter: told of the progress, in MB of the file itself.

    Raises:
        TinybertError: no such file, a directory, an empty or binary file, no vector file, fewer
            than half its lines usable, fewer than 2 words, a broken archive, or an archive of
            several files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "small.txt"
    ...     _ = file.write_text("cat 3 4\nnew york 0 -2\n")
    ...     vectors = read_vectors(file)
    >>> vectors.words, vectors.matrix.tolist()
    (['cat', 'new york'], [[0.6000000238418579, 0.800000011920929], [0.0, -1.0]])
    """
    path = Path(path).expanduser()
    if lines is not None and lines < 2:
        raise TinybertError(f"{lines} lines of word vectors hold no neighbours: read at least 2")
    reporter = reporter or Reporter(quiet=True)
    with _readable(path) as raw, _unpacked(path, raw) as stream:
        size = os.fstat(raw.fileno()).st_size
        if size == 0:
            raise TinybertError(f"{path} is empty: fetch the word vectors again")
        total = math.ceil(size / 1e6)
        with reporter.track(total, f"reading {path.name}", unit="MB") as track:

            def tell() -> None:
                now = raw.tell()
                done = total if now == size else int(now / 1e6)
                track.advance(max(done - track.done, 0))

            return _parse(path, _lines(path, stream, tell), lines)


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.is_dir():
            raise TinybertError(f"{path} is a directory: give the file of word vectors in it")
        if not path.is_file():
            raise TinybertError(f"{path} does not exist or is no file: check the path")
        with path.open("rb") as raw:
            yield raw
    except PermissionError as error:
        raise TinybertError(f"{path} cannot be read ({error.strerror}): check its rights") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise TinybertError(f"{path} is cut short or broken ({error}): fetch it again") from None


@contextmanager
def _unpacked(path: Path, raw: BinaryIO) -> Iterator[Any]:
    start = raw.read(8)
    raw.seek(0)
    if start.startswith(_ZIP):
        with zipfile.ZipFile(raw) as archive:
            try:
                stream = archive.open(_member(path, archive))
            except RuntimeError as error:  # a password, or a packing that Python does not know
                raise TinybertError(f"{path} ({error}): unpack it, give the file in it") from None
            with stream:
                yield stream
        return
    kinds = [kind for magic, kind in _MAGIC.items() if start.startswith(magic)]
    yield PACKED[kinds[0]](raw) if kinds else raw


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    """The one file of an archive that holds vectors."""
    # macOS adds a folder of its own to each archive.
    names = [n for n in archive.namelist() if n[-1:] != "/" and not n.startswith("__MACOSX/")]
    if len(names) > 1:
        names = [n for n in names if n.lower().endswith((".txt", ".vec"))] or names
    if len(names) == 1:
        return names[0]
    if not names:
        raise TinybertError(f"{path} holds no file: fetch the word vectors again")
    raise TinybertError(
        f"{path} holds {len(names)} files that could be meant ({', '.join(names[:6])}): "
        "unpack the one you want and give that"
    )


def _lines(path: Path, stream: Any, tell: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not empty, its end and trailing spaces left out."""
    rest, number, first = b"", 0, True
    while data := stream.read(_READ):
        tell()
        if first:
            _check_text(path, data)
            data, first = data.removeprefix(b"\xef\xbb\xbf"), False
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            number += 1
            if line := line.rstrip(b" \t\r"):
                yield number, line
        if len(rest) > _LONGEST_LINE:
            raise _no_vectors(path, f"line {number + 1} is longer than 16 MB")
    if rest := rest.rstrip(b" \t\r"):
        yield number + 1, rest
    if first:
        raise TinybertError(f"{path} is empty once unpacked: fetch the word vectors again")


def _check_text(path: Path, data: bytes) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TinybertError(f"{path} is UTF-16: save it as UTF-8")
    if data.startswith(_FASTTEXT):
        raise TinybertError(f"{path} is a fastText model: give the .vec file that goes with it")
    # A word of a real file may hold an odd character; raw numbers hold them all over.
    if b"\0" in data or 1000 * len(_CONTROL.findall(data)) > len(data):
        if _HEADER.match(data):
            raise TinybertError(
                f"{path} is in word2vec's binary format: save it as text (in gensim "
                "save_word2vec_format with binary=False)"
            )
        raise _no_vectors(path, "it is a binary file")


def _no_vectors(path: Path, why: str) -> TinybertError:
    return TinybertError(
        f"{path} is no file of word vectors ({why}): "
        "give GloVe's or word2vec's text format, or fastText's .vec"
    )


def _parse(path: Path, numbered: Iterator[tuple[int, bytes]], limit: int | None) -> Vectors:
    report = ReadingReport(path)
    head = list(islice(numbered, _SAMPLE_LINES))
    # A vector line has at least three fields: two whole numbers can only be a header.
    if head and (match := _HEADER.fullmatch(head[0][1])):
        report.header, report.promised, report.width = True, int(match[1]), int(match[2])
        head = head[1:]
    guess = _guess_width([line for _, line in head])
    report.width = report.width or guess
    if report.width < 2:
        raise _no_vectors(path, "its lines do not end in two numbers or more")

    sample = ReadingReport(path, width=report.width)
    if not _parse_chunk(head, sample)[0]:
        if report.width != guess > 1:
            header = f"its header says {report.width} numbers a word"
            raise _no_vectors(path, f"{header}, its lines have {guess}")
        raise _no_vectors(path, "none of its first lines is a word and its numbers")

    parts: list[NDArray[np.float32]] = []
    words: dict[str, None] = {}
    stream = chain(head, numbered)
    left = sys.maxsize if limit is None else limit
    while chunk := list(islice(stream, min(_CHUNK_LINES, left - report.lines))):
        report.lines += len(chunk)
        places, names, rows = _parse_chunk(chunk, report)
        fresh = []
        for i, name in enumerate(names):
            if name in words:
                report.leave_out("duplicates", places[i])
            else:
                words[name] = None
                fresh.append(i)
        parts.append(rows if len(fresh) == len(names) else rows[fresh])
        report.places = sorted(report.places)[:_PLACES]
    report.cut = report.lines == limit and next(stream, None) is not None
    report.kept = len(words)

    unusable = report.uneven + report.unreadable + report.undecodable
    if 2 * unusable > report.lines:
        shape = f"a word and {report.width} numbers"
        raise _no_vectors(path, f"{unusable} of {report.lines} lines are not {shape}")
    if len(words) < 2:
        raise TinybertError(
            f"{path} has {len(words)} usable word{'s' * (len(words) != 1)}: "
            "neighbours need at least 2, give a larger file"
        )
    return Vectors(list(words), _joined(parts, report), report)


def _joined(parts: list[NDArray[np.float32]], report: ReadingReport) -> NDArray[np.float32]:
    """The parts as one matrix; each part goes as it is copied, so nothing is held twice."""
    matrix = np.empty((report.kept, report.width), np.float32)
    end = len(matrix)
    while parts:
        start = end - len(parts[-1])
        matrix[start:end] = parts.pop()
        end = start
    return matrix


def _guess_width(lines: list[bytes]) -> int:
    """The commonest number of numbers at the end of a line; of equals the largest."""
    counts: Counter[int] = Counter()
    for line in lines:
        # The first field is the word, also where it is a number.
        fields = reversed(line.replace(b"\t", b" ").split()[1:])
        counts[sum(1 for _ in takewhile(_NUMBER.fullmatch, fields))] += 1
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _split(line: bytes, width: int) -> tuple[bytes, list[bytes]]:
    """The last ``width`` fields, and before them the word."""
    # Only spaces and tabs part fields: other blanks (U+00A0, U+2028) belong to words.
    fields = line.replace(b"\t", b" ").split(b" ")
    numbers: list[bytes] = []
    while fields and len(numbers) < width:
        numbers += filter(None, [fields.pop()])
    return b" ".join(fields).rstrip(b" "), numbers[::-1]


def _parse_chunk(
    chunk: list[tuple[int, bytes]], report: ReadingReport
) -> tuple[list[int], list[str], NDArray[np.float32]]:
    """Places, words and unit vectors of the lines that can be used; the rest goes to ``report``."""
    width = report.width
    places, names, numbers = [], [], []
    for place, line in chunk:
        name, _, tail = line.partition(b" ")
        # Most lines are plain: counting is far faster than splitting.
        if not name or tail.count(b" ") != width - 1 or b"  " in line or b"\t" in line:
            name, fields = _split(line, width)
            tail = b" ".join(fields)
            # '5 000 0.1 …' may be a word of two pieces, or have a number too many.
            first, _, last = name.rpartition(b" ")
            if not name or (first and _NUMBER.fullmatch(last)):
                report.leave_out("uneven", place)
                continue
        places.append(place)
        names.append(name)
        numbers.append(tail)

    if not names:
        return [], [], np.empty((0, width), np.float32)
    rows = _numbers(b" ".join(numbers), len(names) * width)
    if rows is None:
        # Some line has what is no number: find it.
        each = [_numbers(tail, width) for tail in numbers]
        rows = np.stack([np.full(width, np.nan, np.float32) if r is None else r for r in each])
    rows = rows.reshape(len(names), width)
    wide = rows.astype(np.float64)  # squares of float32 overflow
    lengths = np.sqrt((wide * wide).sum(axis=1))

    kept, texts = [], []
    for i, length in enumerate(lengths.tolist()):
        if not math.isfinite(length):
            report.leave_out("unreadable", places[i])
        elif length == 0:
            report.leave_out("zero", places[i])
        else:
            try:
                texts.append(names[i].decode("utf-8"))
                kept.append(i)
            except UnicodeDecodeError:
                report.leave_out("undecodable", places[i])
    unit = (wide[kept] / lengths[kept, None]).astype(np.float32)
    return [places[i] for i in kept], texts, unit


def _numbers(text: bytes, count: int) -> NDArray[np.float32] | None:
    """``count`` numbers; None where there are more, fewer, or something else."""
    # A number beyond float32 becomes infinite, which is found later.
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy only warns of rubbish
        try:
            found = np.fromstring(text, dtype=np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    return found if len(found) == count else None
