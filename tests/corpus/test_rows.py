"""Reading a corpus: equal to rows in memory; altered shards and other tokenizers are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from support import tiny
from tinybert.batching import StepSampler, TokenRows, step_loader
from tinybert.corpus import (
    CorpusRows,
    build_corpus,
    documents_of,
    find_sources,
    hold_out_documents,
    open_corpus,
    token_blocks,
)
from tinybert.errors import TinybertError


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rows")
    text = tiny.corpus_file(place / "text.txt", 60)
    sources = find_sources([str(text)])
    build_corpus(sources, tiny.tokenizer(), place / "corpus", max_length=16, unit=500)
    return place / "corpus"


@pytest.fixture(scope="module")
def corpus(directory: Path) -> CorpusRows:
    return open_corpus(directory, tiny.tokenizer())


@pytest.fixture(scope="module")
def memory(directory: Path) -> TokenRows:
    text = (directory.parent / "text.txt").read_text()
    return token_blocks(documents_of(text.splitlines()), tiny.tokenizer(), 16)


@given(data=st.data())
def test_batches_are_those_of_rows_in_memory(
    corpus: CorpusRows, memory: TokenRows, data: st.DataObject
) -> None:
    places = st.integers(0, len(memory) - 1)
    chosen = np.array(data.draw(st.lists(places, min_size=1, max_size=20)))
    for name, tensor in memory.batch(chosen).items():
        assert torch.equal(corpus.batch(chosen)[name], tensor), name
    assert corpus.take(chosen).fingerprint() == memory.take(chosen).fingerprint()
    inner = np.array(data.draw(st.lists(st.integers(0, len(chosen) - 1), min_size=1)))
    view = corpus.view(chosen).view(inner)
    assert view.take(range(len(view))).fingerprint() == memory.take(chosen[inner]).fingerprint()
    assert np.array_equal(view.lengths, memory.lengths[chosen[inner]])
    assert np.array_equal(corpus.lengths_of(chosen), memory.lengths_of(chosen))


def test_the_loader_reads_a_corpus_as_it_reads_memory(
    corpus: CorpusRows, memory: TokenRows
) -> None:
    def steps(rows: CorpusRows | TokenRows) -> list[torch.Tensor]:
        sampler = StepSampler(rows.lengths, 7, 5, seed=3)
        loader = step_loader(rows, sampler, 60)
        return [piece["input_ids"] for step in loader for piece in step["micro_batches"]]

    for one, other in zip(steps(corpus), steps(memory), strict=True):
        assert torch.equal(one, other)


def test_tokens_stay_on_disk(corpus: CorpusRows) -> None:
    assert all(isinstance(part, np.memmap) for part in corpus.parts())
    assert isinstance(corpus.block(3).base, np.memmap)
    assert corpus.lengths.dtype == np.uint16


@given(st.integers(1, 40), st.integers(0, 5))
def test_whole_documents_are_held_out(corpus: CorpusRows, blocks: int, seed: int) -> None:
    train, held = hold_out_documents(corpus, blocks, seed)
    assert 1 <= len(held) <= max(1, min(blocks, len(corpus) // 10))
    one, other = train._chosen, held._chosen
    assert one is not None
    assert other is not None
    assert sorted([*one, *other]) == list(range(len(corpus)))
    document = np.searchsorted(corpus.starts, np.arange(len(corpus)), side="right")
    sizes = np.bincount(document)[1:]
    if sizes.min() <= min(blocks, len(corpus) // 10):
        assert not set(document[one]) & set(document[other])
    again = hold_out_documents(corpus, blocks, seed)[1]
    assert again.fingerprint() == held.fingerprint()


def test_one_long_document_gives_its_end(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(" ".join(tiny.WORDS * 30))
    sources = find_sources([str(tmp_path / "text")])
    build_corpus(sources, tiny.tokenizer(), tmp_path / "corpus", max_length=16)
    rows = open_corpus(tmp_path / "corpus")
    train, held = hold_out_documents(rows, 3, seed=0)
    assert (len(train), len(held)) == (len(rows) - 3, 3)
    assert held.block(2).tolist() == rows.block(len(rows) - 1).tolist()


def test_fingerprints_tell_rows_apart(corpus: CorpusRows) -> None:
    prints = {
        corpus.fingerprint(),
        corpus.view(np.arange(5)).fingerprint(),
        corpus.view(np.arange(6)).fingerprint(),
    }
    assert len(prints) == 3


# --- what is refused ------------------------------------------------------------------------------


def altered(place: Path) -> None:
    file = place / "shards" / "00002.ids.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def cut_short(place: Path) -> None:
    file = place / "shards" / "00001.ids.npy"
    file.write_bytes(file.read_bytes()[:-4])


def missing(place: Path) -> None:
    (place / "shards" / "00000.npz").unlink()


def no_json(place: Path) -> None:
    (place / "corpus.json").write_text("{")


def lacking(place: Path) -> None:
    content = json.loads((place / "corpus.json").read_text())
    del content["lengths"]
    (place / "corpus.json").write_text(json.dumps(content))


def later(place: Path) -> None:
    content = json.loads((place / "corpus.json").read_text())
    (place / "corpus.json").write_text(json.dumps(content | {"tinybert_corpus": 99}))


def nothing(place: Path) -> None:
    (place / "corpus.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (altered, "00002.ids.npy was altered \\(its checksum differs\\)"),
        (cut_short, "00001.ids.npy has .* bytes instead of"),
        (missing, "00000.npz is missing"),
        (no_json, "corpus.json is broken"),
        (lacking, "corpus.json is broken"),
        (later, "has format 99, and this version reads 1"),
        (nothing, "is no corpus"),
    ],
)
def test_a_corpus_that_is_not_whole(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    text = tiny.corpus_file(tmp_path / "text.txt", 20)
    sources = find_sources([str(text)])
    build_corpus(sources, tiny.tokenizer(), tmp_path / "corpus", max_length=16, unit=400)
    open_corpus(tmp_path / "corpus")
    spoil(tmp_path / "corpus")
    with pytest.raises(TinybertError, match=message):
        open_corpus(tmp_path / "corpus")


def test_another_tokenizer_is_refused(directory: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *reversed(tiny.WORDS)]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    other = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    with pytest.raises(TinybertError, match="was built with another tokenizer than the teacher's"):
        open_corpus(directory, other)
    open_corpus(directory, tiny.tokenizer())
