"""Rows of several tasks: how many are drawn, in which order, in what batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support import tiny
from tinybert.batching import StepSampler, like_batches, step_loader
from tinybert.several_tasks import MixedRows, rows_drawn

SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=5)
BALANCE = st.floats(0, 1)


@given(SIZES, BALANCE)
def test_an_epoch_has_as_many_rows_as_there_are(sizes: list[int], balance: float) -> None:
    drawn = rows_drawn(sizes, balance)
    assert drawn.sum() == sum(sizes)
    assert (drawn > 0).all()
    smaller = np.argsort(sizes, kind="stable")
    assert (np.diff(drawn[smaller]) >= -1).all()  # to rounding, larger tasks show more
    exact = sum(sizes) * np.power(sizes, balance) / np.power(sizes, balance).sum()
    assert (np.abs(drawn - exact) < 1 + 1e-6).all()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), BALANCE, st.integers(0, 3))
def test_no_row_is_seen_twice_as_often(sizes: list[int], balance: float, seed: int) -> None:
    """Within a task counts differ by one at most, however many epochs there are."""
    rows = MixedRows([tiny.rows(size, seed=i) for i, size in enumerate(sizes)], balance)
    seen = np.zeros(len(rows), dtype=int)
    for epoch in range(4):
        order = rows.order(seed, epoch)
        assert (order == rows.order(seed, epoch)).all()
        np.add.at(seen, order, 1)
        drawn = np.bincount(rows.groups[order], minlength=len(sizes))
        assert (drawn == rows_drawn(sizes, balance)).all()
        for task in range(len(sizes)):
            own = seen[rows.groups == task]
            assert own.max() - own.min() <= 1


def test_alone_or_unbalanced_the_order_is_everyones() -> None:
    one, two = tiny.rows(20), tiny.rows(13, seed=1)
    for rows in (MixedRows([one], 0.3), MixedRows([one, two], 1.0)):
        steps = [StepSampler(rows.lengths, 8, 7, 3), StepSampler(rows.lengths, 8, 7, 3)]
        steps[1].order = rows.order
        assert [*steps[0]] == [*steps[1]]


def mixed() -> MixedRows:
    """A pair of tasks with 3 and 1 outputs, with and without token types."""
    rng = np.random.default_rng(0)
    one, two = tiny.rows(40), tiny.rows(25, seed=1)
    two = replace(two, type_ids=rng.integers(0, 2, len(two.ids)).astype(np.uint8))
    parts = [
        replace(part, targets=rng.normal(size=(len(part), width)).astype(np.float32))
        for part, width in ((one, 3), (two, 1))
    ]
    return MixedRows(parts, 0.5)


def test_micro_batches_are_of_one_task_and_have_its_rows() -> None:
    rows = mixed()
    sampler = StepSampler(rows.lengths, 16, 4, 0, order=rows.order)
    steps = [*sampler]
    widths = (3, 1)
    for numbers, step in zip(steps, step_loader(rows, sampler, 96), strict=True):
        batches = step["micro_batches"]
        assert sum(len(batch["input_ids"]) for batch in batches) == len(numbers) == 16
        for batch in batches:
            assert batch["teacher_logits"].shape[1] == widths[int(batch["task"])]
            assert batch["input_ids"].numel() <= 96
        assert len({int(batch["task"]) for batch in batches}) == 2  # a step mixes tasks
        pieces = like_batches(rows, np.asarray(numbers), 96)
        assert sorted(np.concatenate(pieces).tolist()) == sorted(numbers)
    parts = [tiny.rows(40), tiny.rows(25, seed=1)]
    for task, (part, start) in enumerate(zip(parts, (0, 40), strict=True)):
        own, found = part.batch([3, 7]), rows.batch([start + 3, start + 7])
        assert own["input_ids"].equal(found["input_ids"])
        assert int(found["task"]) == task
        assert "labels" not in found
    across = rows.batch([3, 43])  # of no task: to measure on, not to learn from
    assert across.keys() == {"input_ids", "attention_mask", "token_type_ids"}


def test_rows_are_known_by_all_that_is_in_them() -> None:
    one, two = tiny.rows(9), tiny.rows(9, seed=1)
    found = [MixedRows([one, two], 0.5), MixedRows([two, one], 0.5), MixedRows([one, two], 1.0)]
    assert len({rows.fingerprint() for rows in found}) == 3
