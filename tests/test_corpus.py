"""Raw text to token blocks."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.corpus import documents_of, read_documents, token_blocks
from tinybert.errors import TinybertError

TEXT = "lock thread\nqueue\n\n\n  file path  \n"
DOCUMENTS = [["lock thread", "queue"], ["file path"]]


def test_documents_end_at_blank_lines_and_files(tmp_path: Path) -> None:
    assert list(documents_of(TEXT.splitlines())) == DOCUMENTS
    for name, pack in {
        "a.txt": bytes, "a.txt.gz": gzip.compress, "a.xz": lzma.compress, "a.bz2": bz2.compress,
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(pack(TEXT.encode()))
        assert list(read_documents([tmp_path / name])) == DOCUMENTS
    both = list(read_documents([tmp_path / "a.txt", str(tmp_path / "a.xz")]))
    assert both == DOCUMENTS + DOCUMENTS


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(8, 40))
@settings(max_examples=40, deadline=None)
def test_blocks_hold_the_text_in_order(lengths: list[int], max_length: int) -> None:
    tokenizer = tiny.tokenizer()
    rng = np.random.default_rng(len(lengths))
    texts = [[str(w) for w in rng.choice(tiny.WORDS, n)] for n in lengths]
    documents = [[" ".join(words)] for words in texts]
    room = max_length - 2
    expected = []
    for words in texts:
        pieces = [words[i : i + room] for i in range(0, len(words), room)]
        expected += [p for p in pieces if len(p) >= 4]
    if not expected:
        with pytest.raises(TinybertError, match="gives no tokens"):
            token_blocks(documents, tokenizer, max_length)
        return
    rows = token_blocks(documents, tokenizer, max_length, at_once=3)
    assert len(rows) == len(expected)
    for i, piece in enumerate(expected):
        ids = rows.ids[rows.offsets[i] : rows.offsets[i + 1]].tolist()
        assert ids == [2, *tokenizer.convert_tokens_to_ids(piece), 3]  # [CLS] … [SEP]
    assert rows.takes_types
    assert rows.ids.dtype == np.uint16


def test_progress_is_told_in_documents() -> None:
    seen: list[int] = []
    documents = [["lock thread queue wait"]] * 7
    token_blocks(documents, tiny.tokenizer(), 16, at_once=3, advance=seen.append)
    assert seen == [3, 3, 1]


def test_blocks_too_short_for_text() -> None:
    with pytest.raises(TinybertError, match="leave no room"):
        token_blocks([["lock"]], tiny.tokenizer(), 5)


def missing(path: Path) -> None:
    pass


def directory(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_text("\n  \n\n")


def latin1(path: Path) -> None:
    path.write_bytes("lock\n\ncaf\xe9\n".encode("latin-1"))


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "there is no text file"),
        (directory, "is a directory: name the text files"),
        (empty, "holds no text"),
        (blank, "holds no text"),
        (latin1, "is not UTF-8 text \\(byte 0xe9\\)"),
        (binary, "is not UTF-8 text"),
    ],
)
def test_bad_files(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "corpus.txt"
    make(path)
    with pytest.raises(TinybertError, match=message):
        list(read_documents([path]))


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files_that_are_cut_short_or_not_packed(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{ending}"
    packed = pack(("lock thread\n" * 500).encode())
    for content in (packed[: len(packed) // 2], b"plain text"):
        path.write_bytes(content)
        with pytest.raises(TinybertError, match="cannot be read to its end"):
            list(read_documents([path]))


def test_no_files() -> None:
    with pytest.raises(TinybertError, match="no corpus was given"):
        read_documents([])


@pytest.mark.parametrize(
    ("make", "message"), [(missing, "there is no text file"), (directory, "is a directory")]
)
def test_all_files_are_looked_at_before_one_is_read(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    (tmp_path / "first.txt").write_text(TEXT)
    make(tmp_path / "second.txt")
    with pytest.raises(TinybertError, match=message):
        read_documents([tmp_path / "first.txt", tmp_path / "second.txt"])  # not iterated
