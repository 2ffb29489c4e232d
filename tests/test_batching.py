"""Rows of tokens, the cut into micro-batches, and the rows of each step."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import BatchEncoding

from support import tiny
from tinybert import batching
from tinybert.batching import (
    StepSampler,
    TokenRows,
    length_batches,
    micro_batches,
    narrowest,
    step_loader,
    tokenize,
)
from tinybert.errors import TinybertError

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=40)


def cost(pieces: list[np.ndarray], lengths: np.ndarray, overhead: int) -> int:
    return sum(len(p) * int(lengths[p].max()) + overhead for p in pieces)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_every_row_once_within_the_budget(lengths: list[int], budget: int, overhead: int) -> None:
    sizes = np.array(lengths)
    pieces = micro_batches(sizes, budget, overhead)
    assert sorted(np.concatenate(pieces).tolist()) == list(range(len(sizes)))
    for piece in pieces:
        assert len(piece) * sizes[piece].max() <= budget or len(piece) == 1
    longest = [int(sizes[p].max()) for p in pieces]
    assert longest == sorted(longest, reverse=True)


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(10, 80), st.integers(0, 30)
)
@settings(max_examples=50, deadline=None)
def test_the_cut_costs_least(lengths: list[int], budget: int, overhead: int) -> None:
    sizes = np.array(lengths)
    order = np.argsort(-sizes, kind="stable")
    least = None
    for count in range(len(sizes)):
        for cuts in combinations(range(1, len(sizes)), count):
            pieces = np.split(order, cuts)
            if all(len(p) == 1 or len(p) * sizes[p].max() <= budget for p in pieces):
                price = cost(pieces, sizes, overhead)
                least = price if least is None else min(least, price)
    assert cost(micro_batches(sizes, budget, overhead), sizes, overhead) == least


def test_length_batches_take_every_row_once() -> None:
    rows = tiny.rows(100, longest=40)
    batches = list(length_batches(rows, token_budget=200, most_rows=9))
    assert sorted(np.concatenate(batches).tolist()) == list(range(100))
    for batch in batches:
        assert len(batch) <= 9
        assert len(batch) * rows.lengths[batch].max() <= 200
    tops = [rows.lengths[b].max() for b in batches]
    assert tops == sorted(tops, reverse=True)


@given(LENGTHS, st.integers(1, 12), st.integers(1, 25), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_ranks_share_out_each_step(
    lengths: list[int], batch_size: int, steps: int, world: int, seed: int
) -> None:
    sizes = np.array(lengths)
    alone = list(StepSampler(sizes, batch_size, steps, seed))
    assert len(alone) == steps
    ranks = [list(StepSampler(sizes, batch_size, steps, seed, r, world)) for r in range(world)]
    for step, whole in enumerate(alone):
        shares = [ranks[r][step] for r in range(world)]
        real = [i for share in shares for i in share if i >= 0]
        assert sorted(real) == sorted(whole)  # nothing lost, nothing twice
        if len(whole) >= world:
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
        for share in shares:
            stand_in = [i for i in share if i < 0]
            assert not stand_in or (len(share) == 1 and -share[0] - 1 in whole)


@given(st.integers(1, 30), st.integers(1, 10), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_every_row_once_an_epoch(count: int, batch_size: int, seed: int) -> None:
    sizes = np.ones(count, dtype=np.int64)
    per_epoch = StepSampler(sizes, batch_size, 1, seed).steps_per_epoch
    steps = list(StepSampler(sizes, batch_size, 3 * per_epoch, seed))
    for epoch in range(3):
        rows = [i for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for i in step]
        assert sorted(rows) == list(range(count))
    assert steps == list(StepSampler(sizes, batch_size, 3 * per_epoch, seed))


def test_seeds_and_epochs_shuffle_differently() -> None:
    sizes = np.ones(50, dtype=np.int64)
    steps = list(StepSampler(sizes, 50, 2, seed=1))
    assert steps[0] != steps[1]
    assert steps[0] != next(iter(StepSampler(sizes, 50, 2, seed=2)))


def test_a_batch_is_padded_to_its_longest_row() -> None:
    rows = TokenRows(
        ids=np.array([5, 6, 7, 8, 9, 10], dtype=np.uint16),
        offsets=np.array([0, 1, 4, 6]),
        pad_id=1,
        type_ids=np.array([0, 0, 1, 1, 0, 1], dtype=np.uint8),
        takes_types=True,
        labels=np.array([0, 1, 2]),
        targets=np.eye(3, dtype=np.float32),
    )
    batch = rows.batch([2, 1])
    assert batch["input_ids"].tolist() == [[9, 10, 1], [6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 0], [0, 1, 1]]
    assert batch["labels"].tolist() == [2, 1]
    assert torch.equal(batch["teacher_logits"], torch.eye(3)[[2, 1]])
    few = rows.take([2, 0])
    assert few.ids.tolist() == [9, 10, 5]
    assert few.lengths.tolist() == [2, 1]
    assert few.type_ids is not None
    assert few.type_ids.tolist() == [0, 1, 0]
    assert few.batch([0])["labels"].tolist() == [2]
    assert len(rows.take([])) == 0


def test_saved_rows_come_back(tmp_path: Path) -> None:
    rows = tiny.rows(20)
    rows.targets = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    rows.save(tmp_path / "rows")
    back = TokenRows.load(tmp_path / "rows")
    assert isinstance(back.ids, np.memmap)
    assert back.type_ids is None
    assert (back.pad_id, back.takes_types) == (rows.pad_id, rows.takes_types)
    for name, tensor in rows.batch(range(20)).items():
        assert torch.equal(tensor, back.batch(range(20))[name])


def test_tokenize_texts_and_pairs() -> None:
    tokenizer = tiny.tokenizer()
    single = tokenize(tokenizer, [("lock thread",), ("file path open read",)], 5)
    assert single.lengths.tolist() == [4, 5]  # the second one is cut
    assert single.type_ids is None
    assert single.batch([0])["token_type_ids"].tolist() == [[0, 0, 0, 0]]
    pairs = tokenize(tokenizer, [("lock", "file path"), ("wait", "read")], 16, np.array([1, 0]))
    whole = tokenizer("lock", "file path")
    batch = pairs.batch([0, 1])
    assert batch["input_ids"][0].tolist() == whole["input_ids"]
    assert batch["token_type_ids"][0].tolist() == whole["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    assert batch["labels"].tolist() == [1, 0]
    with pytest.raises(TinybertError, match="no rows to tokenize"):
        tokenize(tokenizer, [], 16)


@given(
    st.lists(st.lists(st.sampled_from(tiny.WORDS), min_size=1, max_size=30), min_size=1),
    st.integers(4, 12),
    st.integers(1, 5),
    st.integers(10, 60),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pieces_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
    texts: list[list[str]],
    max_length: int,
    rows: int,
    characters: int,
) -> None:
    """Tokenized in pieces or in one call; what is cut is counted."""
    tokenizer, half = tiny.tokenizer(), len(texts[0]) // 2
    pairs = [(" ".join(words[:half]) or "lock", " ".join(words[half:])) for words in texts]
    for given_rows in (pairs, [(first,) for first, _ in pairs]):
        monkeypatch.setattr(batching, "ROWS_AT_ONCE", rows)
        monkeypatch.setattr(batching, "CHARACTERS_AT_ONCE", characters)
        told: list[int] = []
        found = tokenize(tokenizer, given_rows, max_length, advance=told.append)
        columns = [list(column) for column in zip(*given_rows, strict=True)]
        whole = tokenizer(*columns, truncation=True, max_length=max_length)
        full = tokenizer(*columns)["input_ids"]
        for i, ids in enumerate(whole["input_ids"]):
            piece = slice(found.offsets[i], found.offsets[i + 1])
            assert found.ids[piece].tolist() == ids
            if found.type_ids is not None:
                assert found.type_ids[piece].tolist() == whole["token_type_ids"][i]
        assert (found.type_ids is None) == (len(given_rows[0]) == 1)
        assert found.cut == sum(len(ids) > max_length for ids in full)
        assert sum(told) == len(given_rows)
        assert max(told) <= rows


def test_what_a_tokenizer_without_a_trace_cuts_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.tokenizer()
    monkeypatch.setattr(BatchEncoding, "encodings", None)
    texts = [("lock " * 3,), ("lock " * 6,), ("lock " * 7,), ("lock",)]
    assert tokenize(tokenizer, texts, 8).cut == 1


def test_types_are_left_out_where_the_model_has_none() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    pairs = tokenize(tokenizer, [("lock", "file path")], 16)
    assert pairs.type_ids is None
    assert "token_type_ids" not in pairs.batch([0])


def test_ids_are_as_narrow_as_the_vocabulary_allows() -> None:
    assert narrowest(2**16) is np.uint16
    assert narrowest(2**16 + 1) is np.uint32


def test_the_loader_gives_whole_steps() -> None:
    rows = tiny.rows(30)
    sampler = StepSampler(rows.lengths, 8, 5, seed=0)
    state = torch.random.get_rng_state()
    items = list(step_loader(rows, sampler, token_budget=40))
    assert torch.equal(state, torch.random.get_rng_state())
    assert [sum(len(b["input_ids"]) for b in item["micro_batches"]) for item in items] == [
        *(8, 8, 8, 6, 8),
    ]
    assert not any(item["stand_in"] for item in items)
    last = StepSampler(rows.lengths, 29, 2, seed=0, rank=1, world_size=2)  # its 2nd step: 1 row
    items = list(step_loader(rows, last, token_budget=40))
    assert [item["stand_in"] for item in items] == [False, True]
    assert len(items[1]["micro_batches"]) == 1
