"""Nearest words: exact, the same whatever is asked with them, and kept for the next run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinybert.augmentation import word_vectors
from tinybert.augmentation.vector_files import read_vectors
from tinybert.augmentation.word_vectors import nearest_words
from tinybert.errors import TinybertError


def write(path: Path, rows: dict[str, list[float]]) -> Path:
    lines = (f"{word} " + " ".join(map(str, row)) for word, row in rows.items())
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain(path: Path, word: str, k: int) -> tuple[str, ...] | None:
    """Cosine to all in float64, sorted; equal ones in the file's order."""
    vectors = read_vectors(path)
    wide = vectors.matrix.astype(np.float64)
    name = word if word in vectors.words else word.lower()
    if name not in vectors.words:
        return None
    cosines = (wide * wide[vectors.words.index(name)]).sum(axis=1)
    order = np.lexsort((np.arange(len(wide)), -cosines))
    own = {word.casefold(), name.casefold()}
    near = (vectors.words[i] for i in order if vectors.words[i].casefold() not in own)
    return tuple(near)[:k]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More words than are sorted whole, some in two spellings, each vector of 20 there twice."""
    rng = np.random.default_rng(0)
    rows = {f"w{i}": row.round(4).tolist() for i, row in enumerate(rng.normal(size=(4000, 10)))}
    for i in range(20):
        rows[f"twin{i}"] = rows[f"w{i}"]
        rows[f"W{i}"] = (rng.normal(size=10) / 9 + rows[f"w{i}"]).round(4).tolist()
    return write(tmp_path / "many.txt", rows)


POOL = st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)


@given(st.lists(POOL, min_size=2, max_size=200), st.integers(1, 12), st.integers(1, 4))
def test_exact_with_many_ties(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], k: int, group: int
) -> None:
    """Small whole numbers: many vectors are equal, and many cosines of different ones are."""
    path = write(
        tmp_path_factory.mktemp("v") / "v.txt", {f"w{i}": row for i, row in enumerate(rows)}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_vectors, "_GROUPS_OF", group)
        patch.setattr(word_vectors, "_SPARE", 2)
        patch.setattr(word_vectors, "_BLOCK_WORDS", 7)
        found = nearest_words(path, [f"w{i}" for i in range(len(rows))], k=k, cache=False)
    assert found.unknown == 0
    for word in list(found.of)[:20]:
        assert found.of[word] == plain(path, word, k)


def test_exact_over_many_words(many: Path) -> None:
    asked = [f"w{i}" for i in range(0, 4000, 37)] + ["w1", "W1", "twin3", "W19", "TWIN5"]
    found = nearest_words(many, asked, k=30, cache=False)
    assert found.of == {word: plain(many, word, 30) for word in asked}
    # The same by another way: similarity falls, and no word that is left out is nearer.
    vectors = read_vectors(many)
    wide = vectors.matrix.astype(np.float64)
    row = {word: i for i, word in enumerate(vectors.words)}
    for word, near in found.of.items():
        cosines = wide @ wide[row.get(word, row[word.lower()])]
        taken = cosines[[row[w] for w in near]]
        assert np.all(np.diff(taken) < 1e-12)
        out = np.ones(len(wide), bool)
        out[[row[w] for w in near]] = False
        out[[i for w, i in row.items() if w.casefold() == word.casefold()]] = False
        assert cosines[out].max() <= taken[-1] + 1e-12


def test_equal_vectors_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """More equal ones than are taken to spare: which of them is nearest is still no chance."""
    rows = {f"w{i}": [1.0, 2.0, 3.0] for i in range(3000)}
    path = write(tmp_path / "v.txt", rows | {"far": [-1.0, 0.0, 0.0]})
    found = nearest_words(path, ["w7", "w2999"], k=10, cache=False)
    first = tuple(f"w{i}" for i in range(11))
    assert found.of["w2999"] == first[:10]
    assert found.of["w7"] == tuple(word for word in first if word != "w7")


def test_what_float32_cannot_tell_apart(tmp_path: Path) -> None:
    """Vectors so near that the product in float32 mixes them up, far more than are to spare."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=64)
    rows = {f"w{i}": (base + 3e-7 * rng.normal(size=64)).tolist() for i in range(2500)}
    path = write(tmp_path / "v.txt", rows)
    found = nearest_words(path, rows, k=5, cache=False)
    for word in list(rows)[::500]:
        assert found.of[word] == plain(path, word, 5)


def test_a_product_in_bfloat16_is_noticed(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may allow torch to multiply roughly; the neighbours stay."""
    asked = [f"w{i}" for i in range(50)]
    expected = nearest_words(many, asked, k=20, cache=False).of
    product = torch.mm

    def rough(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> None:
        out.copy_(product(a.bfloat16(), b.bfloat16()).float())

    monkeypatch.setattr(torch, "mm", rough)
    monkeypatch.setattr(word_vectors, "_SPARE", 1)
    assert nearest_words(many, asked, k=20, cache=False).of == expected


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_company_and_threads_change_nothing(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [f"w{i}" for i in range(600)] + ["twin1", "W2"]
    expected = nearest_words(many, asked, k=20, cache=False).of
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        assert nearest_words(many, reversed(asked), k=20, cache=False).of == expected
    for word in ("w0", "w599", "W2"):
        assert nearest_words(many, [word], k=20, cache=False).of == {word: expected[word]}
    monkeypatch.setattr(word_vectors, "_BLOCK_NUMBERS", 4040 * 3)
    monkeypatch.setattr(word_vectors, "_EXACT_NUMBERS", 1)
    assert nearest_words(many, asked[:40] + asked[-2:], k=20, cache=False).of == {
        word: expected[word] for word in asked[:40] + asked[-2:]
    }


SPELLINGS = {
    "Paris": [1.0, 0.0],
    "paris": [1.0, 0.1],
    "PARIS": [1.0, 0.2],
    "london": [1.0, 0.3],
    "straße": [0.0, 1.0],
    "STRASSE": [0.1, 1.0],
    "road": [0.2, 1.0],
}


def test_spellings(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", SPELLINGS)
    found = nearest_words(path, ["Paris", "PaRiS", "London", "ROME", "Straße", "ROME"], k=2)
    assert found.of == {
        "Paris": ("london", "road"),
        "PaRiS": ("london", "road"),
        "London": ("PARIS", "paris"),
        "Straße": ("road", "london"),
    }
    assert found.unknown == 1
    assert found.notes == []


def test_more_spellings_than_are_to_spare(tmp_path: Path) -> None:
    word = "aaaaaaaa"
    rows = {
        "".join(c.upper() if i >> at & 1 else c for at, c in enumerate(word)): [1.0, i / 1000]
        for i in range(250)
    }
    rows |= {f"w{i}": [0.5, 1.0 + i / 99] for i in range(2000)}
    path = write(tmp_path / "v.txt", rows)
    assert nearest_words(path, [word], k=3, cache=False).of == {word: ("w0", "w1", "w2")}


def test_fewer_words_than_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", SPELLINGS)
    found = nearest_words(path, ["road", "paris"], cache=False)
    assert len(found.of["road"]) == 6
    assert len(found.of["paris"]) == 4
    two = write(tmp_path / "two.txt", {"A": [1.0, 0.0], "a": [1.0, 1.0]})
    assert nearest_words(two, ["a"], cache=False).of == {"a": ()}


def test_no_words_and_only_unknown_words(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", SPELLINGS)
    assert nearest_words(path, [], cache=False).of == {}
    found = nearest_words(path, ["x", "y", "\ud800"], cache=False)
    assert (found.of, found.unknown) == ({}, 3)


def test_only_the_first_lines_count(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", SPELLINGS)
    assert nearest_words(path, ["london"], k=9, lines=4).of["london"] == ("PARIS", "paris", "Paris")
    assert len(nearest_words(path, ["london"], k=9).of["london"]) == 6


def test_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", SPELLINGS)
    with pytest.raises(TinybertError, match="k is 0: ask for at least 1"):
        nearest_words(path, ["paris"], k=0)
    for place in (tmp_path, tmp_path / "absent.txt"):
        with pytest.raises(TinybertError, match="is a directory|does not exist"):
            nearest_words(place, ["paris"])


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = write(tmp_path / "v.txt", SPELLINGS)
    with path.open("a") as file:
        file.write("uneven\n")
    return path


NOTE = ["v.txt: 1 of 8 lines were left out (1 uneven; line 8)"]


def kept(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.neighbours-*"))


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("the vectors are read")


def test_what_is_kept_is_not_searched_again(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["paris", "Road", "unknown", "\ud800", "a\nb", ""]
    first = nearest_words(vectors, words, k=3)
    assert first.notes == NOTE
    assert len(kept(vectors)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(word_vectors, "read_vectors", refuse)
        assert nearest_words(vectors, words, k=3) == first
        assert nearest_words(vectors, ["Road"], k=3).of == {"Road": first.of["Road"]}
        for other in ({"k": 4}, {"lines": 5}):
            with pytest.raises(AssertionError, match="are read"):
                nearest_words(vectors, words, **{"k": 3, **other})
    # One more word is found and kept beside those that were there.
    more = nearest_words(vectors, ["london", "paris"], k=3)
    assert more.of["paris"] == first.of["paris"]
    assert more.notes == NOTE
    monkeypatch.setattr(word_vectors, "read_vectors", refuse)
    both = nearest_words(vectors, [*words, "london"], k=3)
    assert both.of == first.of | more.of
    assert both.unknown == first.unknown == 4
    assert len(kept(vectors)) == 1


def test_other_vectors_under_the_same_name(vectors: Path) -> None:
    before = nearest_words(vectors, ["road"], k=1).of
    write(vectors, {word: row[::-1] for word, row in SPELLINGS.items()} | {"rode": [1.0, 0.2]})
    assert nearest_words(vectors, ["road"], k=1).of != before


def test_nothing_is_kept_where_that_is_not_wished(vectors: Path) -> None:
    nearest_words(vectors, ["road"], cache=False)
    assert kept(vectors) == []


def test_spoilt_files_are_made_anew(vectors: Path) -> None:
    """Each byte in turn is another one: what comes out is right, or the file is put aside."""
    words = ["paris", "road", "unknown"]
    expected = nearest_words(vectors, words, k=2)
    (file,) = kept(vectors)
    data = file.read_bytes()
    store = word_vectors._Store.beside(vectors, None, 2)
    assert store is not None
    ignored = 0
    for at in range(len(data)):
        file.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        known = store.load()
        ignored += known is None
        assert known is None or {w: n for w, n in known.found.items() if n} == expected.of
    assert ignored > len(data) / 4
    for spoilt in (b"", b"rubbish", data[:-30], data[:100], np.zeros(3).tobytes()):
        file.write_bytes(spoilt)
        assert nearest_words(vectors, words, k=2) == expected
        assert file.read_bytes() == data
    file.unlink()
    file.mkdir()
    found = nearest_words(vectors, words, k=2)
    assert found.of == expected.of


@pytest.mark.parametrize(
    "wrong",
    [
        {"near": np.array([99], np.int32)},
        {"asked": np.array([-1, 0, 1], np.int32)},
        {"counts": np.array([1], np.int32)},
        {"counts": np.array([5, 5, -1], np.int32)},
        {"key": np.zeros(32, np.uint8)},
        {"text": np.array([{}], object)},
        {"text": np.full(99, 0xFF, np.uint8)},
    ],
)
def test_whole_files_that_make_no_sense(vectors: Path, wrong: dict[str, np.ndarray]) -> None:
    words = ["paris", "road", "unknown"]
    expected = nearest_words(vectors, words, k=2)
    (file,) = kept(vectors)
    with np.load(file) as arrays:
        parts = dict(arrays)
    np.savez(file, **{**parts, **wrong})
    assert nearest_words(vectors, words, k=2) == expected
    with np.load(file) as arrays:
        assert all(np.array_equal(arrays[name], parts[name]) for name in parts)


def test_a_directory_that_cannot_be_written(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = nearest_words(vectors, ["paris"], cache=False)

    def forbid(path: Path) -> None:
        raise TinybertError(f"permission denied at {path}: choose another place")

    with monkeypatch.context() as patch:
        patch.setattr(word_vectors, "whole_file", forbid)
        found = nearest_words(vectors, ["paris"])
    assert found.of == expected.of
    assert found.notes[:-1] == NOTE
    assert found.notes[-1].startswith("neighbours are not kept for the next run: permission denied")
    assert kept(vectors) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_the_system_protects(vectors: Path) -> None:
    """The twin for root: test_a_directory_that_cannot_be_written."""
    vectors.parent.chmod(0o500)
    try:
        found = nearest_words(vectors, ["paris"])
    finally:
        vectors.parent.chmod(0o700)
    assert "paris" in found.of
    assert "permission denied" in found.notes[-1]


def test_several_that_write_at_once(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = nearest_words(vectors, SPELLINGS, k=2, cache=False).of
    jobs = [list(SPELLINGS)[i % 5 : i % 5 + 3] for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda words: nearest_words(vectors, words, k=2), jobs):
            assert found.of == {word: expected[word] for word in found.of}
            assert found.notes == NOTE
    assert [entry.name for entry in vectors.parent.iterdir() if ".partial" in entry.name] == []
    nearest_words(vectors, SPELLINGS, k=2)
    monkeypatch.setattr(word_vectors, "read_vectors", refuse)
    assert nearest_words(vectors, SPELLINGS, k=2).of == expected


def test_what_another_process_kept_meanwhile_stays(
    vectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = word_vectors._search

    def slow(*args: object) -> word_vectors.Found:
        with monkeypatch.context() as patch:
            patch.setattr(word_vectors, "_search", search)
            nearest_words(vectors, ["road"], k=2)
        return search(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(word_vectors, "_search", slow)
        nearest_words(vectors, ["paris"], k=2)
    monkeypatch.setattr(word_vectors, "read_vectors", refuse)
    assert set(nearest_words(vectors, ["paris", "road"], k=2).of) == {"paris", "road"}


@pytest.mark.skipif("TINYBERT_DATA" not in os.environ, reason="needs vectors in TINYBERT_DATA")
def test_real_vectors() -> None:
    """The twin on data of its own: test_exact_over_many_words."""
    path = Path(os.environ["TINYBERT_DATA"]) / "vectors" / "wiki.100d.txt.gz"
    asked = ["good", "Movie", "the", "qzxv"]
    found = nearest_words(path, asked, cache=False)
    assert found.unknown == 1
    assert found.of == {word: plain(path, word, 50) for word in asked[:3]}
    assert "bad" in found.of["good"]
