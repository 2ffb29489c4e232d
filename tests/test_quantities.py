"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.quantities import parse_count, parse_duration


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_parts_of_a_time_add_up(hours: int, minutes: int, seconds: int) -> None:
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + f"{seconds}s"
    assert parse_duration(text, "--budget") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(("text", "seconds"), [("1.5h", 5400), ("1h 30m", 5400), ("2D", 172_800)])
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text, "--budget") == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "h", "-3m", "0s", "3 weeks", "1h30", "nan", "m30", "1h;2m"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(TinybertError, match=r"--budget .*is no time: give a positive one such as"):
        parse_duration(text, "--budget")


@pytest.mark.parametrize(
    ("text", "count"), [("5", 5), ("1.5k", 1500), ("2e3", 2000), ("3.3B", 3_300_000_000), (12, 12)]
)
def test_counts(text: str, count: int) -> None:
    assert parse_count(text, "--tokens") == count


@pytest.mark.parametrize("text", ["", "-1", "0", "0.1", "many", "5 apples", "inf"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(TinybertError, match=f"--tokens {text} is"):
        parse_count(text, "--tokens")
