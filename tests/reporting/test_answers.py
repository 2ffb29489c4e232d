"""Kept answers come back as they were, and broken ones are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinybert.errors import TinybertError
from tinybert.reporting import ANSWERS_FILE, Answers


def test_answers_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 7, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 7)
    (tmp_path / ANSWERS_FILE).write_bytes(Answers(student, teacher, labels, "print").packed())
    back = Answers.load(tmp_path)
    assert back is not None
    assert back.teacher is not None
    assert back.rows == "print"
    assert len(back) == 7
    assert (back.student == student).all()
    assert (back.teacher == teacher).all()
    assert (back.labels == labels).all()
    (tmp_path / ANSWERS_FILE).write_bytes(Answers(student, None, None, "").packed())
    back = Answers.load(tmp_path)
    assert back is not None
    assert back.teacher is None
    assert back.labels is None


def test_no_answers(tmp_path: Path) -> None:
    assert Answers.load(tmp_path) is None


def test_broken_answers(tmp_path: Path) -> None:
    whole = Answers(np.zeros((4, 2), np.float32), None, None, "p").packed()
    for data in (whole[: len(whole) // 2], b"", b"no archive at all"):
        (tmp_path / ANSWERS_FILE).write_bytes(data)
        with pytest.raises(TinybertError, match="answers.npz is broken"):
            Answers.load(tmp_path)
    short = Answers(np.zeros((4, 2), np.float32), None, np.zeros(3), "p")
    (tmp_path / ANSWERS_FILE).write_bytes(short.packed())
    with pytest.raises(TinybertError, match="its arrays differ in length"):
        Answers.load(tmp_path)
    objects = np.array([{}], dtype=object)
    np.savez(tmp_path / ANSWERS_FILE, student=objects, rows=np.array(""))
    with pytest.raises(TinybertError, match="answers.npz is broken"):
        Answers.load(tmp_path)
