from __future__ import annotations

import numpy as np
import pytest

from tinybert.tasks.task import Rows


def test_take_keeps_rows_together() -> None:
    rows = Rows([("a", "b"), ("c", "d"), ("e", "f")], np.array([0, 1, 2]))
    taken = rows.take(np.array([2, 0]))
    assert len(taken) == 2
    assert taken.texts == [("e", "f"), ("a", "b")]
    assert taken.labels is not None
    assert taken.labels.tolist() == [2, 0]
    assert Rows([("a",)], None).take([0]).labels is None
    assert len(rows.take([])) == 0


def test_uneven_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 texts but 2 labels"):
        Rows([("a",)], np.array([0, 1]))
