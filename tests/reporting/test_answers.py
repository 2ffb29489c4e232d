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
    outputs, words = np.zeros((4, 2), np.float32), np.array(["a"] * 4)
    for labels in (np.array([0, 1, 2, 0]), np.array([0, 1, -1, 0]), np.zeros(4), words):
        (tmp_path / ANSWERS_FILE).write_bytes(Answers(outputs, None, labels, "p").packed())
        with pytest.raises(TinybertError, match="its labels are none .*: delete it"):
            Answers.load(tmp_path)
    np.savez(tmp_path / ANSWERS_FILE, student=np.array([["a"]]), rows=np.array(""))
    with pytest.raises(TinybertError, match="its answers are no numbers.*: delete it"):
        Answers.load(tmp_path)
    objects = np.array([{}], dtype=object)
    np.savez(tmp_path / ANSWERS_FILE, student=objects, rows=np.array(""))
    with pytest.raises(TinybertError, match="answers.npz is broken"):
        Answers.load(tmp_path)


def test_no_damage_is_any_other_error(tmp_path: Path) -> None:
    """Each byte changed in its turn: the file is told, or what it held comes back."""
    outputs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    whole = Answers(outputs, outputs, np.arange(6) % 3, "print").packed()
    told = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 129
        (tmp_path / ANSWERS_FILE).write_bytes(damaged)
        try:
            back = Answers.load(tmp_path)
        except TinybertError as error:
            told += "answers.npz is broken" in str(error)
        else:
            assert back is not None
            assert (back.student == outputs).all()
    assert told > len(whole) // 2
