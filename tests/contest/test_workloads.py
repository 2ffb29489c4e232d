"""What the models are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from tinybert.contest.rows import as_they_come, real_texts
from tinybert.contest.workloads import Workload, fixed_feeds, read_feeds, row_feeds, write_feeds
from tinybert.progress import Reporter

QUIET = Reporter(quiet=True)


def test_fixed_rows_are_the_same_for_all_and_without_padding() -> None:
    (one,), (other,) = (fixed_feeds(Workload(3, 11), 50) for _ in range(2))
    np.testing.assert_array_equal(one["input_ids"], other["input_ids"])
    assert one["input_ids"].shape == (3, 11)
    assert one["attention_mask"].all()
    assert one["input_ids"].min() >= 25
    assert one["input_ids"].max() < 50


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 30), batch=st.integers(1, 9))
def test_real_rows_come_in_order_each_batch_as_long_as_its_longest(count: int, batch: int) -> None:
    rows = tiny.rows(count, seed=count)
    feeds = as_they_come(rows, batch)
    assert [len(feed["input_ids"]) for feed in feeds][:-1] == [batch] * (len(feeds) - 1)
    masks = [feed["attention_mask"] for feed in feeds]
    lengths = np.concatenate([mask.sum(axis=1) for mask in masks])
    np.testing.assert_array_equal(lengths, rows.lengths)
    assert all(mask.shape[1] == mask.sum(axis=1).max() for mask in masks)
    assert np.concatenate([f["input_ids"].ravel() for f in feeds]).sum() == rows.ids.sum()


def test_another_tokenizers_rows_fit_a_smaller_vocabulary() -> None:
    feeds = as_they_come(tiny.rows(9), 4)
    cut = row_feeds(feeds, 7)
    assert max(feed["input_ids"].max() for feed in cut) < 7
    for before, after in zip(feeds, cut, strict=True):
        np.testing.assert_array_equal(before["attention_mask"], after["attention_mask"])


def test_feeds_survive_the_way_to_a_process(tmp_path: Path) -> None:
    feeds = [fixed_feeds(Workload(1, 5), 30), as_they_come(tiny.rows(25), 2)]
    write_feeds(tmp_path / "feeds.npz", feeds)
    back = read_feeds(tmp_path / "feeds.npz")
    assert [len(of_one) for of_one in back] == [1, 13]  # 13: names of two digits sort otherwise
    for one, other in zip([feeds[0][0], *feeds[1]], [back[0][0], *back[1]], strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_embedded_sentences_are_drawn_alike() -> None:
    texts = real_texts(None, None, None, 40, QUIET)
    assert texts == real_texts(None, None, None, 40, QUIET)
    assert len(set(texts)) == 40
    lengths = {len(text.split()) for (text,) in texts}
    assert len(lengths) > 8


def test_rows_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    lines = [f"first text {i},second text {i},x" for i in range(30)]
    file.write_text("\n".join(["question,answer,label", *lines]) + "\n")
    texts = real_texts(str(file), None, None, 12, QUIET)
    assert len(texts) == 12
    assert all(len(text) == 2 for text in texts)
    (one, *_) = real_texts(str(file), None, "answer", 100, QUIET)
    assert one[0].startswith("second")
