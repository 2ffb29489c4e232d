"""Building a corpus: the same files however it is built, and clear words where it cannot be."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.corpus import build as module
from tinybert.corpus import (
    build_corpus,
    documents_of,
    find_sources,
    open_corpus,
    read_manifest,
    token_blocks,
)
from tinybert.corpus.build import Unit, build_directory, units
from tinybert.corpus.sources import read_all, sources_print
from tinybert.corpus.text import Piece, cut
from tinybert.errors import TinybertError


def build(place: Path, *names: Path | str, output: str = "corpus", **options: Any) -> Path:
    build_corpus(
        find_sources([str(name) for name in names]),
        tiny.tokenizer(),
        place / output,
        **({"max_length": 16, "unit": 400} | options),
    )
    return place / output


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()
    }


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return tiny.corpus_file(tmp_path / "text.txt", 40)


# --- what is in it --------------------------------------------------------------------------------


def test_blocks_are_those_made_in_memory(tmp_path: Path, text: Path) -> None:
    rows = open_corpus(build(tmp_path, text), tiny.tokenizer())
    wanted = token_blocks(documents_of(text.read_text().splitlines()), tiny.tokenizer(), 16)
    assert np.array_equal(rows.lengths, wanted.lengths)
    assert np.array_equal(np.concatenate(rows.parts()), wanted.ids)
    assert rows.parts()[0].dtype == np.uint16
    assert len(rows.manifest.shards) > 5
    assert rows.manifest.documents == 40
    assert rows.manifest.blocks == len(wanted)
    assert rows.manifest.tokens == wanted.lengths.sum()
    assert sum(n * c for n, c in rows.manifest.lengths.items()) == wanted.lengths.sum()
    assert (rows.pad_id, rows.takes_types) == (wanted.pad_id, wanted.takes_types)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(8, 40), st.integers(1, 300)
)
@settings(max_examples=25, deadline=None)
def test_documents_keep_their_blocks(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], max_length: int, unit: int
) -> None:
    place = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(len(counts))
    texts = [[str(w) for w in rng.choice(tiny.WORDS, n)] for n in counts]
    (place / "text").write_text("\n\n".join(" ".join(words) for words in texts) + "\n")
    room = max_length - 2
    wanted, starts = [], []
    for words in texts:
        pieces = [words[i : i + room] for i in range(0, len(words), room)]
        if kept := [p for p in pieces if len(p) >= 4]:
            starts.append(len(wanted))
        wanted += kept
    if not wanted:
        with pytest.raises(TinybertError, match=r"gives no tokens|holds no text"):
            build(place, place / "text", max_length=max_length, unit=unit)
        return
    rows = open_corpus(build(place, place / "text", max_length=max_length, unit=unit))
    assert rows.starts.tolist() == starts
    assert len(rows) == len(wanted)
    for i, words in enumerate(wanted):
        ids = tiny.tokenizer().convert_tokens_to_ids(words)
        assert rows.block(i).tolist() == [2, *ids, 3]


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 100))
def test_units_hold_all_pieces_in_order(lengths: list[int], size: int) -> None:
    pieces = [Piece(str(i % 10) * n, i % 3 == 0) for i, n in enumerate(lengths)]
    made = list(units(pieces, size))
    assert [p for unit in made for p in unit.pieces] == pieces
    assert [unit.number for unit in made] == list(range(len(made)))
    for unit in made[:-1]:
        held = sum(len(p.text) for p in unit.pieces)
        assert size <= held < size + len(unit.pieces[-1].text)


def test_a_long_document_is_cut_at_white_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words stay whole, and it stays one document, as one line and as one value of a row."""
    monkeypatch.setattr("tinybert.corpus.text.PIECE", 50)
    words = [tiny.WORDS[i % 20] for i in range(300)]
    (tmp_path / "line.txt").write_text(" ".join(words) + "\n\nlock thread queue wait\n")
    lines = list(read_all(find_sources([str(tmp_path / "line.txt")])))
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"text": " ".join(words)}) + '\n{"text": "lock thread queue wait"}\n'
    )
    rows = list(read_all(find_sources([str(tmp_path / "rows.jsonl")])))
    for pieces in (lines, rows):
        assert [w for p in pieces for w in p.text.split()] == [
            *words,
            *["lock", "thread", "queue", "wait"],
        ]
        assert [p.first for p in pieces] == [True, *[False] * (len(pieces) - 2), True]
        assert max(len(p.text) for p in pieces) <= 110
    assert len(rows) > 20


def test_cut_leaves_nothing_out() -> None:
    assert list(cut("")) == list(cut("  ")) == []
    assert list(cut("a b")) == [Piece("a b", True)]


# --- the same files, however ----------------------------------------------------------------------


def test_threads_change_nothing(tmp_path: Path, text: Path) -> None:
    one = files(build(tmp_path, text, output="one", threads=1))
    assert files(build(tmp_path, text, output="four", threads=4)) == one


@pytest.mark.parametrize("stop", [0, 3])
def test_a_stopped_build_goes_on(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    whole = files(build(tmp_path, text, output="whole"))
    real, written = module.write_shard, []

    def stopping(directory: Path, name: str, *rest: Any) -> Any:
        if int(name) >= stop:
            raise KeyboardInterrupt
        written.append(name)
        return real(directory, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_shard", stopping)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, text, threads=1)
    assert not (tmp_path / "corpus").exists()
    if stop == 0:
        assert not build_directory(tmp_path / "corpus").exists()  # nothing to go on with
    else:
        with pytest.raises(TinybertError, match="an unfinished build is in .* --resume"):
            build(tmp_path, text)
        with pytest.raises(TinybertError, match="begun differently \\(max_length\\)"):
            build(tmp_path, text, resume=True, max_length=20)
    again = []

    def counting(directory: Path, name: str, *rest: Any) -> Any:
        again.append(name)
        return real(directory, name, *rest)

    monkeypatch.setattr(module, "write_shard", counting)
    assert files(build(tmp_path, text, resume=True)) == whole
    assert not set(again) & set(written)
    assert not build_directory(tmp_path / "corpus").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support import tiny
from tinybert.corpus import build, build_corpus, find_sources
real, left = build.write_json_whole, [{after}]
def dying(path, value):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, value)
build.write_json_whole = dying
sources = find_sources([{text!r}])
build_corpus(sources, tiny.tokenizer(), {output!r}, max_length=16, unit=400, threads=2)
"""


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_build_goes_on(tmp_path: Path, text: Path, after: int) -> None:
    whole = files(build(tmp_path, text, output="whole"))
    program = _KILLED.format(
        tests=str(Path(tiny.__file__).parent.parent),
        text=str(text),
        output=str(tmp_path / "corpus"),
        after=after,
    )
    ended = subprocess.run([sys.executable, "-c", program], env={**os.environ}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "corpus").exists()
    assert files(build(tmp_path, text, resume=True)) == whole


def test_a_build_killed_before_its_last_step_is_published(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files(build(tmp_path, text, output="whole"))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "move_into_place", stop)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, text)
    assert files(build(tmp_path, text, resume=True)) == whole


def test_text_that_changed_is_noticed(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "fsync_tree", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(module.Manifest, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, text)
    content = text.read_text()
    text.write_text(
        "lock" + content[4:] if not content.startswith("lock") else "wait" + content[4:]
    )
    with pytest.raises(
        TinybertError, match="shard 00000 is another than when this build was begun"
    ):
        build(tmp_path, text, resume=True)
    text.write_text(content[: content.index("\n\n", 2000)])
    with pytest.raises(TinybertError, match=r"another than when|shorter than when"):
        build(tmp_path, text, resume=True)
    text.write_text(content)
    build(tmp_path, text, resume=True)


def test_overwrite_replaces_output_and_build(tmp_path: Path, text: Path) -> None:
    build(tmp_path, text)
    with pytest.raises(TinybertError, match="exists already"):
        build(tmp_path, text)
    other = tiny.corpus_file(tmp_path / "other.txt", 10, seed=5)
    build(tmp_path, other, overwrite=True)
    assert read_manifest(tmp_path / "corpus").sources == [str(other)]
    stranger = build_directory(tmp_path / "new")
    stranger.mkdir()
    (stranger / "mine.txt").write_text("x")
    with pytest.raises(TinybertError, match="was not made by tinybert"):
        build(tmp_path, text, output="new", overwrite=True)
    assert (stranger / "mine.txt").read_text() == "x"


# --- what is read ---------------------------------------------------------------------------------

DOCUMENTS = ["lock thread queue wait\nevent socket", "file path open read directory"]


def as_text(path: Path) -> Path:
    path.write_text("\n\n\n".join(DOCUMENTS) + "\n")
    return path


def as_parquet(path: Path, column: str = "text") -> Path:
    pq.write_table(pa.table({"id": [1, 2], column: DOCUMENTS}), path)
    return path


def read(*names: Path | str, column: str | None = None) -> list[str]:
    return [piece.text for piece in read_all(find_sources([str(n) for n in names], column))]


def test_formats(tmp_path: Path) -> None:
    plain = as_text(tmp_path / "a.txt")
    assert read(plain) == DOCUMENTS
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "bz2": bz2.compress,
        "zst": lambda raw: pa.Codec("zstd").compress(raw, asbytes=True),
    }
    lines = "".join(json.dumps({"text": d, "n": 1}) + "\n" for d in DOCUMENTS)
    for ending, pack in packers.items():
        (tmp_path / f"a.txt.{ending}").write_bytes(pack(plain.read_bytes()))
        (tmp_path / f"a.jsonl.{ending}").write_bytes(pack(lines.encode()))
        assert read(tmp_path / f"a.txt.{ending}") == DOCUMENTS
        assert read(tmp_path / f"a.jsonl.{ending}") == DOCUMENTS
    assert read(as_parquet(tmp_path / "a.parquet")) == DOCUMENTS
    assert read(as_parquet(tmp_path / "b.parquet", "body")) == DOCUMENTS  # the only one of words


def test_directories_and_globs_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.txt").write_text("c c")
    (tmp_path / "b.txt").write_text("b b")
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"a a"))
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert read(tmp_path) == ["a a", "b b", "c c"]
    assert "picture.png" in find_sources([str(tmp_path)])[0].notes[0]
    assert read(tmp_path / "*.txt", tmp_path / "**" / "c.*") == ["b b", "c c"]


def test_a_hub_data_set_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, configuration: str | None, *, split: str, streaming: bool) -> Any:
        asked.append((name, configuration, split, streaming))
        return [{"id": "1", "body": text} for text in DOCUMENTS]

    monkeypatch.setattr("datasets.load_dataset", load)
    assert read("owner/texts:20.en:test") == DOCUMENTS
    assert read("owner/texts", column="id") == ["1", "1"]
    assert asked == [("owner/texts", "20.en", "test", True), ("owner/texts", None, "train", True)]
    (source,) = find_sources(["owner/texts"])
    assert source.size is None
    assert "the text is in column 'body'" in source.notes[0]


def test_a_hub_data_set_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", load)
    with pytest.raises(TinybertError, match="Hugging Face Hub it cannot be read \\(no route\\)"):
        find_sources(["owner/texts"])


def _spoil(place: Path, name: str, content: bytes) -> Path:
    (place / name).write_bytes(content)
    return place / name


PACKED = gzip.compress(b"lock thread queue wait\n\n" * 3000, mtime=0)
BAD: dict[str, tuple[str, bytes, str]] = {
    "cut short": ("a.gz", PACKED[: len(PACKED) // 2], "is cut short or broken"),
    "not packed": ("a.xz", b"plain", "is cut short or broken"),
    "binary": ("a.txt", bytes(range(256)), "NUL byte"),
    "latin-1": ("a.txt", "lock\n\ncaf\xe9\n".encode("latin-1"), "byte 0xe9 in line 3"),
    "empty": ("a.txt", b"", "holds no text"),
    "blank": ("a.txt", b"\n \n\n", "holds no text"),
    "archive": ("a.zip", b"PK", "is no text file"),
    "no column": ("a.jsonl", b'{"n": 1}\n', "text column of .* cannot be told"),
    "two columns": ("a.jsonl", b'{"a": "x y", "b": "x y"}\n', "several columns look like it"),
    "numbers": ("a.jsonl", b'{"text": "x y"}\n{"text": 5}\n', "line 2: 'text' holds 5"),
    "broken row": ("a.jsonl", b'{"text": "x y"}\n{"text"\n', "line 2: not JSON"),
    "nothing in it": ("a.jsonl", b'{"text": null}\n', "holds no text in column 'text'"),
    "wrong ending": ("a.ndjson", b'{"text": "x y"}\n', "rename it to end in .jsonl"),
    "no character": ("a.jsonl", b'{"text": "lock \\ud800 x"}\n', "half of a surrogate pair"),
    "too short": ("a.txt", b"lock\n\nqueue\n", "gives no tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text(tmp_path: Path, case: str) -> None:
    name, content, message = BAD[case]
    path = _spoil(tmp_path, name, content)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(TinybertError, match=message):
        build(tmp_path, path, unit=1_000_000)
    assert set(tmp_path.rglob("*")) == before


def test_a_source_that_breaks_late_leaves_finished_shards(tmp_path: Path, text: Path) -> None:
    broken = _spoil(tmp_path, "b.txt", b"\xff\xfe\xfa")
    with pytest.raises(TinybertError, match="b.txt"):
        build(tmp_path, text, broken)
    assert list((build_directory(tmp_path / "corpus") / "shards").glob("*.json"))
    broken.write_text("lock thread queue wait\n")  # mended
    build(tmp_path, text, broken, resume=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.txt", "there is no file or directory"),
        ("*.nothing", "no file is named like"),
        ("empty", "holds no text files"),
    ],
)
def test_what_is_not_there(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TinybertError, match=message):
        find_sources([str(tmp_path / name)])


def test_no_text_is_named() -> None:
    with pytest.raises(TinybertError, match="no corpus was given"):
        find_sources([])


def test_a_full_disk_keeps_finished_shards(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files(build(tmp_path, text, output="whole"))
    real = np.save

    def full(file: Any, array: Any) -> None:
        if "00004" in str(getattr(file, "name", "")):
            raise OSError(28, "No space left on device")
        real(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(TinybertError, match="finished shards stay; free some and go on"):
            build(tmp_path, text, threads=1)
    assert files(build(tmp_path, text, resume=True)) == whole


def test_a_disk_too_small_is_noticed_before(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(TinybertError, match="not enough space"):
        build(tmp_path, text)


def test_memory_holds_few_units(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text is read no further than a unit a thread ahead of what is written."""
    read_units: list[int] = []
    ahead: list[int] = []
    real_units, real_write = module.units, module.write_shard

    def counted(*given: Any) -> Any:
        for unit in real_units(*given):
            assert isinstance(unit, Unit)
            read_units.append(unit.number)
            yield unit

    def noting(directory: Path, name: str, *rest: Any) -> Any:
        facts = real_write(directory, name, *rest)
        ahead.append(len(read_units) - int(name))
        return facts

    monkeypatch.setattr(module, "units", counted)
    monkeypatch.setattr(module, "write_shard", noting)
    build(tmp_path, text, threads=2)
    assert len(ahead) > 5
    assert max(ahead) <= 5


def test_text_that_was_moved_is_the_same_text(tmp_path: Path) -> None:
    for place, text in (("one", "a text\n"), ("two", "a text\n"), ("three", "b text\n")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "corpus.txt").write_text(text)
    one, two, three = (
        sources_print(find_sources([str(tmp_path / place / "corpus.txt")]))
        for place in ("one", "two", "three")
    )
    assert one == two != three
