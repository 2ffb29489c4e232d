"""Word vectors from real files' formats, with what is wrong in real files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.augmentation import vector_files
from tinybert.augmentation.vector_files import read_vectors
from tinybert.errors import TinybertError
from tinybert.progress import Reporter

PLAIN = b"cat 3 4\ndog 0.6 0.8\nstone 0 -2\n"


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def zstandard(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "vectors.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def test_plain_text(file: Callable[..., Path]) -> None:
    vectors = read_vectors(file(PLAIN))
    assert vectors.words == ["cat", "dog", "stone"]
    assert vectors.matrix.dtype == np.float32
    np.testing.assert_allclose(vectors.matrix, [[0.6, 0.8], [0.6, 0.8], [0, -1]], rtol=1e-6)
    report = vectors.report
    assert (report.lines, report.kept, report.width) == (3, 3, 2)
    assert not report.header
    assert not report.cut
    assert report.sentence() is None


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("v.txt.gz", gzip.compress),
        ("v.txt.xz", lzma.compress),
        ("v.txt.bz2", bz2.compress),
        ("v.txt.zst", zstandard),
        ("v.zip", lambda data: zipped({"v": data})),
        ("two.zip", lambda data: zipped({"README": b"about", "v.vec": data})),
        ("mac.zip", lambda data: zipped({"v.txt": data, "__MACOSX/v.txt": b"\0"})),
    ],
)
@pytest.mark.parametrize("renamed", [False, True])
def test_packed_files_are_told_by_their_first_bytes(
    file: Callable[..., Path], name: str, pack: Callable[[bytes], bytes], renamed: bool
) -> None:
    vectors = read_vectors(file(pack(PLAIN), "vectors.txt" if renamed else name))
    assert vectors.words == ["cat", "dog", "stone"]


def test_an_ending_alone_packs_nothing(file: Callable[..., Path]) -> None:
    assert len(read_vectors(file(PLAIN, "v.gz")).words) == 3


HEADER = b"4 2\ncat 3 4\ndog 1 2\nstone 0 -2\nrock 1 0\n"

AWKWARD: dict[str, tuple[bytes, list[str]]] = {
    "header": (HEADER, ["cat", "dog", "stone", "rock"]),
    "header of a number too many words": (b"9" + HEADER[1:], ["cat", "dog", "stone", "rock"]),
    "trailing spaces": (HEADER.replace(b"\n", b" \n"), ["cat", "dog", "stone", "rock"]),
    "Windows": (HEADER.replace(b"\n", b"\r\n"), ["cat", "dog", "stone", "rock"]),
    "byte order mark": (b"\xef\xbb\xbf" + HEADER, ["cat", "dog", "stone", "rock"]),
    "byte order mark, no header": (b"\xef\xbb\xbf" + PLAIN, ["cat", "dog", "stone"]),
    "tabs": (PLAIN.replace(b" ", b"\t"), ["cat", "dog", "stone"]),
    "tab after the word": (b"cat\t3 4\ndog\t1 2\n", ["cat", "dog"]),
    "columns": (b"cat   3   4\ndog   1  -2\n", ["cat", "dog"]),
    "empty lines": (b"\n\n" + PLAIN.replace(b"\n", b"\n\n  \n"), ["cat", "dog", "stone"]),
    "no last line end": (PLAIN[:-1], ["cat", "dog", "stone"]),
    "dots": (PLAIN + b". . . 1 2\n", ["cat", "dog", "stone", ". . ."]),
    "spaces": (PLAIN + b"at name@domain.com 1 2\n", ["cat", "dog", "stone", "at name@domain.com"]),
    "two spaces in a word": (PLAIN + b"new  york 1 2\n", ["cat", "dog", "stone", "new  york"]),
    "a number as a word": (PLAIN + b"2008 1 2\n", ["cat", "dog", "stone", "2008"]),
    "numbers as words only": (b"1 1 2\n2 3 4\n3 3 1\n", ["1", "2", "3"]),
    "nan as a word": (PLAIN + b"nan 1 2\n", ["cat", "dog", "stone", "nan"]),
    "odd blanks": (
        PLAIN + "a\u00a0b 1 2\nc\u2028d 1 3\n\u0085 1 4\n\u3000 2 1\n".encode(),
        ["cat", "dog", "stone", "a\u00a0b", "c\u2028d", "\u0085", "\u3000"],
    ),
    "form feed in a word": (PLAIN + b"a\x0cb 1 2\n", ["cat", "dog", "stone", "a\x0cb"]),
    "exponents": (PLAIN + b"a 1e-3 -2.5E+2\nb .5 1.\n", ["cat", "dog", "stone", "a", "b"]),
}


@pytest.mark.parametrize("name", list(AWKWARD))
def test_awkward_lines_that_can_be_read(file: Callable[..., Path], name: str) -> None:
    data, words = AWKWARD[name]
    vectors = read_vectors(file(data))
    assert vectors.words == words
    assert vectors.report.lines == vectors.report.kept == len(words)
    np.testing.assert_allclose(np.linalg.norm(vectors.matrix, axis=1), 1, rtol=1e-6)


LEFT_OUT = {
    "too few numbers": (b"x 1\n", "uneven"),
    "a word alone": (b"x\n", "uneven"),
    "numbers without a word": (b" 1 2\n", "uneven"),
    "a number too many, or a word with a space": (b"5 000 1 2\n", "uneven"),
    "a number too many": (b"x 1 2 3\n", "uneven"),
    "no number": (b"x 1 two\n", "unreadable"),
    "decimal comma": (b"x 0,5 1\n", "unreadable"),
    "rubbish after a number": (b"x 1 2abc\n", "unreadable"),
    "two numbers in one": (b"x 1-2 3\n", "unreadable"),
    "two in one beside a gap": (b"x 1-2\n", "uneven"),
    "NaN": (b"x nan 1\n", "unreadable"),
    "infinity": (b"x 1 -inf\n", "unreadable"),
    "beyond float32": (b"x 1 1e300\n", "unreadable"),
    "zeros": (b"x 0 -0.0\n", "zero"),
    "twice": (b"cat 9 9\n", "duplicates"),
    "not UTF-8": (b"caf\xe9 1 2\n", "undecodable"),
    "half a character": (b"\xe2\x80 1 2\n", "undecodable"),
}


@pytest.mark.parametrize("name", list(LEFT_OUT))
@pytest.mark.parametrize("at_end", [False, True])
def test_what_is_left_out_is_counted(file: Callable[..., Path], name: str, at_end: bool) -> None:
    line, kind = LEFT_OUT[name]
    data = PLAIN + line[:-1] if at_end else PLAIN + line + b"rock 1 0\n"
    vectors = read_vectors(file(data))
    assert vectors.words == ["cat", "dog", "stone"] + ["rock"] * (not at_end)
    np.testing.assert_allclose(vectors.matrix[0], [0.6, 0.8], rtol=1e-6)
    report = vectors.report
    counts = {
        each: getattr(report, each)
        for each in ("uneven", "unreadable", "undecodable", "zero", "duplicates")
    }
    assert counts == {each: int(each == kind) for each in counts}
    assert report.places == [4]
    sentence = report.sentence()
    assert sentence is not None
    assert f"1 of {report.lines} lines were left out (1 " in sentence
    assert sentence.endswith("line 4)")


def test_a_last_line_cut_within_a_number(file: Callable[..., Path]) -> None:
    assert read_vectors(file(PLAIN + b"rock 1 -")).report.unreadable == 1
    assert read_vectors(file(PLAIN + b"ro")).report.uneven == 1


def test_rows_that_make_up_for_each_other(file: Callable[..., Path]) -> None:
    """A number too many and one too few in a chunk: their sum alone would look right."""
    vectors = read_vectors(file(PLAIN + b"x 1-2 3\ny  4\nz  5 \n"))
    assert vectors.words == ["cat", "dog", "stone"]
    assert vectors.report.places == [4, 5, 6]


def test_huge_and_tiny_numbers_have_a_direction(file: Callable[..., Path]) -> None:
    vectors = read_vectors(file(b"big 3e38 3e38\nsmall 1e-42 0\n"))
    np.testing.assert_allclose(vectors.matrix, [[0.5**0.5] * 2, [1, 0]], rtol=1e-6)


def test_places_are_the_first_few_of_the_file(file: Callable[..., Path]) -> None:
    lines = [b"9 2", b""] + [b"w%d 1 %d" % (i, i) for i in range(30)] + [b"w1 1 1", b"x"] * 5
    report = read_vectors(file(b"\n".join(lines))).report
    assert report.places == [33, 34, 35, 36, 37]
    assert report.sentence() == (
        "vectors.txt: 10 of 40 lines were left out (5 uneven, 5 of a word that was there before; "
        "line 33, 34, 35, 36, 37, …); its header promises 9 words, it has 40 lines"
    )


def test_only_the_first_lines(file: Callable[..., Path]) -> None:
    path = file(b"500 2\n" + b"".join(b"w%d 1 %d\n" % (i, i) for i in range(500)))
    for lines in (2, 199, 200, 201, 499):
        vectors = read_vectors(path, lines=lines)
        assert vectors.words == [f"w{i}" for i in range(lines)]
        assert vectors.report.cut
        assert vectors.report.sentence() is None
    for lines in (500, 501, None):
        vectors = read_vectors(path, lines=lines)
        assert len(vectors.words) == 500
        assert not vectors.report.cut


def test_the_commonest_width_counts(file: Callable[..., Path]) -> None:
    data = b"a 1 2\n" * 3 + b"".join(b"w%d 1 2 %d\n" % (i, i) for i in range(5))
    report = read_vectors(file(data)).report
    assert (report.width, report.uneven, report.kept) == (3, 3, 5)


@given(
    st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3).filter(any),
        min_size=2,
        max_size=30,
    ),
    st.integers(1, 7),
    st.integers(1, 40),
)
def test_chunks_and_reads_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], chunk: int, read: int
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "v.txt"
    lines = [f"w{i} " + " ".join(map(repr, row)) for i, row in enumerate(rows)]
    lines.insert(1, "uneven")
    path.write_text("\n".join(lines) + "\n")
    whole = read_vectors(path)
    expected = np.array(rows, np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(whole.matrix, expected, rtol=1e-6, atol=1e-30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "_CHUNK_LINES", chunk)
        patch.setattr(vector_files, "_READ", read)
        parts = read_vectors(path)
    assert parts.words == whole.words == [f"w{i}" for i in range(len(rows))]
    assert parts.matrix.tobytes() == whole.matrix.tobytes()
    assert parts.report == whole.report


def test_progress_reaches_the_end(
    file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    lines = (f"w{i} " + " ".join(map(str, row)) for i, row in enumerate(rng.random((9000, 20))))
    path = file("\n".join(lines).encode())
    reporter, tracks = Reporter(quiet=True), []
    track = reporter._enter
    monkeypatch.setattr(reporter, "_enter", lambda it: (tracks.append(it), track(it)))
    read_vectors(path, reporter=reporter)
    (seen,) = tracks
    assert seen.unit == "MB"
    assert seen.done == seen.total == -(-path.stat().st_size // 10**6)


def word2vec_binary() -> bytes:
    words = ((b"cat ", (0.1, 1e-9, 2.0)), (b"dog ", (0.0, 1.0, -1.0)))
    return b"2 3\n" + b"".join(word + struct.pack("<3f", *row) + b"\n" for word, row in words)


PROSE = b"It was the best of times, it was the worst of times.\n" * 300
MANY = b"".join(b"w%d 1 %d\n" % (i, i) for i in range(5000))

ERRORS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty: fetch"),
    "empty, packed": (gzip.compress(b""), "is empty once unpacked: fetch"),
    "empty lines": (b"\n \n\n", "no file of word vectors .*: give GloVe's"),
    "header alone": (b"5 3\n", "no file of word vectors .*: give GloVe's"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99), r"\(it is a binary file\): give GloVe's"),
    "control characters": (b"\x01\x02\x03" * 99, r"\(it is a binary file\): give GloVe's"),
    "word2vec binary": (word2vec_binary(), "word2vec's binary format: save it as text"),
    "fastText binary": (struct.pack("<ii", 793712314, 12), "fastText model: give the .vec file"),
    "UTF-16": ("cat 1 2\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
    "prose": (PROSE, "do not end in two numbers or more"),
    "counts of words": (b"the 100\nof 50\nand 20\n", "do not end in two numbers or more"),
    "no spaces": (b"cat,1,2\ndog,3,4\n", "do not end in two numbers or more"),
    "one long line": (b"x" * (18 << 20), "line 1 is longer than 16 MB"),
    "header of another width": (b"2 5\ncat 1 2\ndog 1 3\n", "says 5 numbers a word, its lines ha"),
    "numbers out of range": (b"cat 1e99 2\ndog inf 2\n", "none of its first lines"),
    "mostly rubbish": (PLAIN * 99 + PROSE, "300 of 597 lines are not a word and 2 numbers"),
    "one word": (b"cat 1 2\n", "has 1 usable word: .* give a larger file"),
    "one word, twice": (b"cat 1 2\ncat 1 3\n", "has 1 usable word: .* give a larger file"),
    "zeros": (b"a 1 2\nb 0 0\nc 0 0\n", "has 1 usable word: .* give a larger file"),
    "cut .gz": (gzip.compress(MANY)[:-20], "is cut short or broken .*: fetch it again"),
    "spoilt .gz": (
        (lambda data: data[:2000] + b"\xff" * 50 + data[2050:])(gzip.compress(MANY)),
        "is cut short or broken .*: fetch it again",
    ),
    "cut .xz": (lzma.compress(MANY)[:-20], "is cut short or broken .*: fetch it again"),
    "cut .bz2": (bz2.compress(MANY)[:-20], "is cut short or broken .*: fetch it again"),
    "cut .zst": (zstandard(MANY)[:-20], "is cut short or broken .*: fetch it again"),
    "cut .zip": (zipped({"v": MANY})[:-40], "is cut short or broken .*: fetch it again"),
    "spoilt .zip": (
        (lambda data: data[:2000] + b"\xff" * 50 + data[2050:])(zipped({"v": MANY})),
        "is cut short or broken .*: fetch it again",
    ),
    "empty .zip": (zipped({}), "holds no file: fetch"),
    "several in a .zip": (
        zipped({"g50.txt": PLAIN, "g100.txt": PLAIN, "about": b""}),
        r"holds 2 files that could be meant \(g50.txt, g100.txt\): unpack the one you want",
    ),
    "several unknown in a .zip": (
        zipped({"a": PLAIN, "b": PLAIN}),
        "holds 2 files that could be meant",
    ),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_errors_help(file: Callable[..., Path], name: str) -> None:
    data, message = ERRORS[name]
    path = file(data)
    with pytest.raises(TinybertError, match=message) as caught:
        read_vectors(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_zip_with_a_password(file: Callable[..., Path]) -> None:
    data = bytearray(zipped({"v": PLAIN}))
    data[6] |= 1  # the flag for encryption, in the file's and the archive's header
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(TinybertError, match="unpack it, give the file in it"):
        read_vectors(file(bytes(data)))


def test_errors_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TinybertError, match="does not exist or is no file: check the path"):
        read_vectors(tmp_path / "absent.txt")
    with pytest.raises(TinybertError, match="is a directory: give the file"):
        read_vectors(tmp_path)
    (path := tmp_path / "v.txt").write_bytes(PLAIN)
    with pytest.raises(TinybertError, match="1 lines .* read at least 2"):
        read_vectors(path, lines=1)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(TinybertError, match="cannot be read .*: check its rights"):
        read_vectors(path)


@pytest.mark.skipif("TINYBERT_DATA" not in os.environ, reason="needs vectors in TINYBERT_DATA")
def test_real_vectors() -> None:
    """The twins on data of their own: all the others."""
    path = Path(os.environ["TINYBERT_DATA"]) / "vectors" / "wiki.100d.txt.gz"
    vectors = read_vectors(path)
    assert vectors.matrix.shape == (57_477, 100)
    assert vectors.words[:3] == ["the", "of", "and"]
    assert vectors.report.sentence() is None
