"""The rows of a job: what is chosen on is not what is reported on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.jobs.rows import halves
from tinybert.tasks.task import Rows


@given(st.lists(st.integers(0, 20), min_size=2, max_size=80), st.integers(0, 10))
def test_equal_texts_stay_in_one_half(numbers: list[int], seed: int) -> None:
    rows = Rows([(f"text {n}",) for n in numbers], np.array(numbers))
    if len(set(numbers)) < 2:
        with pytest.raises(TinybertError, match="only one different row"):
            halves(rows, seed)
        return
    one, other = halves(rows, seed)
    assert len(one) + len(other) == len(rows)
    assert min(len(one), len(other)) > 0
    assert not set(one.texts) & set(other.texts)
    commonest = max(numbers.count(n) for n in numbers)
    assert abs(len(one) - len(other)) <= max(2 * commonest, 2)
    assert halves(rows, seed)[0].texts == one.texts
