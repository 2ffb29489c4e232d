from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tinybert.errors import TinybertError
from tinybert.tasks.bag_of_words import bag_of_words_score
from tinybert.tasks.demo.near_duplicates import NEAR, bigrams, normalised
from tinybert.tasks.demo.task import TOPICS, demo_task, general_text
from tinybert.tasks.task import Rows, TaskData


@pytest.fixture(scope="module")
def data() -> TaskData:
    return demo_task()


def parts(data: TaskData) -> list[Rows]:
    assert data.test is not None
    return [data.train, data.dev, data.test]


def test_counts_and_balance(data: TaskData) -> None:
    train, dev, test = parts(data)
    total = len(train) + len(dev) + len(test)
    assert 9_000 < total < 13_000
    assert len(dev) == pytest.approx(0.1 * total, rel=0.02)
    assert len(test) == pytest.approx(0.1 * total, rel=0.02)
    assert data.task.label_names == tuple(TOPICS)
    assert len(TOPICS) == 10
    for part in (train, dev, test):
        assert part.labels is not None
        share = np.bincount(part.labels, minlength=10) / len(part)
        assert share.min() > 0.025
        assert share.max() < 0.2


def test_rows_are_distinct(data: TaskData) -> None:
    texts = [normalised(row[0]) for part in parts(data) for row in part.texts]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("seed", [42, 7])
def test_no_near_duplicate_crosses(seed: int) -> None:
    """Every pair of rows in different parts, by plain sets over an inverted index."""
    holders: dict[tuple[str, str], list[int]] = defaultdict(list)
    sets, part_of = [], []
    for number, part in enumerate(parts(demo_task(seed))):
        for (text,) in part.texts:
            sets.append(bigrams(text))
            part_of.append(number)
            for pair in sets[-1]:
                holders[pair].append(len(sets) - 1)
    where = np.array(part_of)
    size = np.array([len(pairs) for pairs in sets])
    postings = {pair: np.array(rows) for pair, rows in holders.items()}
    for row in np.flatnonzero(where > 0):
        shared = np.bincount(
            np.concatenate([postings[pair] for pair in sets[row]]), minlength=len(sets)
        )
        near = shared >= NEAR * (size + size[row] - shared)
        assert set(where[near].tolist()) == {int(where[row])}


def test_the_sentences_read_as_sentences(data: TaskData) -> None:
    texts = [row[0] for part in parts(data) for row in part.texts]
    assert all(len(text.split()) >= 3 and text[0] in "\"'" + text[0].upper() for text in texts)
    assert not any(mark in text for text in texts for mark in (">>>", "\n", "``"))
    length = np.array([len(text.split()) for text in texts])
    assert 10 < length.mean() < 20


def test_the_same_from_run_to_run(data: TaskData) -> None:
    """Another process, another hash seed."""
    program = (
        "import hashlib; from tinybert.tasks.demo.task import demo_task; d = demo_task();"
        "print(hashlib.sha256(repr((d.train.texts, d.dev.texts, d.test.labels.tolist()))"
        ".encode()).hexdigest())"
    )
    import hashlib

    _, dev, test = parts(data)
    assert test.labels is not None
    here = repr((data.train.texts, dev.texts, test.labels.tolist())).encode()
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_the_seed_moves_the_split_only(data: TaskData) -> None:
    other = demo_task(1)
    assert set(other.dev.texts) != set(data.dev.texts)
    assert {row for part in parts(other) for row in part.texts} == {
        row for part in parts(data) for row in part.texts
    }


def test_bag_of_words_is_neither_hopeless_nor_enough(data: TaskData) -> None:
    assert 0.68 < bag_of_words_score(data) < 0.82
    assert bag_of_words_score(data, "dev") != bag_of_words_score(data, "test")


def test_general_text_without_what_is_held_out(data: TaskData) -> None:
    everything = general_text()
    assert len(everything) > 10_000
    assert len(set(everything)) == len(everything)
    assert any("yield" in text for text in everything)  # a help topic's text
    _, dev, test = parts(data)
    rest = set(general_text([dev, test]))
    held_out = {normalised(text) for part in (dev, test) for (text,) in part.texts}
    assert not any(normalised(text) in held_out for text in rest)
    joined = "\n".join(rest)
    # Short ones may still be the beginning of another sentence.
    long = [text for (text,) in test.texts if len(text) > 60]
    assert np.mean([text in joined for text in long]) < 0.02
    assert len(rest) > 0.85 * len(everything)


def test_no_topic_shares_a_module() -> None:
    modules = [module for names in TOPICS.values() for module in names.split()]
    assert len(set(modules)) == len(modules)
    assert all(list(names.split()) for names in TOPICS.values())
    assert all(a != b for a, b in pairwise(sorted(modules)))


def test_a_python_without_sources(tmp_path: Path) -> None:
    (tmp_path / "os.py").write_text('"""Nothing much."""')
    with pytest.raises(TinybertError, match=r"only 0 sentences.*\.py files"):
        demo_task(library=tmp_path)
    assert general_text(library=tmp_path) == []
