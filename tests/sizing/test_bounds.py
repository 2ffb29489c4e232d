from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.sizing import Bounds, parse_latency, parse_size, parse_speedup


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5ms", 5), ("5 MS", 5), ("0.005s", 5), ("5", 5), (5, 5), ("500us", 0.5), ("1e-2s", 10)],
)
def test_latencies(text: str | float, milliseconds: float) -> None:
    assert parse_latency(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        ("20MB", 20),
        ("20M", 20),
        ("20 mb", 20),
        ("20", 20),
        (20.5, 20.5),
        ("0.02GB", 20),
        (".02G", 20),
        ("1GiB", 2**30 / 1e6),
        ("20MiB", 20 * 2**20 / 1e6),
        ("500kB", 0.5),
        ("1000000B", 1),
    ],
)
def test_sizes(text: str | float, megabytes: float) -> None:
    assert parse_size(text) == pytest.approx(megabytes)


@pytest.mark.parametrize(("text", "times"), [("8", 8), ("8x", 8), ("2.5×", 2.5), (3, 3)])
def test_speedups(text: str | float, times: float) -> None:
    assert parse_speedup(text) == times


WRONG = ["", "fast", "-5", "0", "5 5", "5,5", "nan", "inf", "1e999", "five ms", "ms", "--5", "0x"]


@pytest.mark.parametrize("text", [*WRONG, "5MB", "5x", "5 days"])
def test_what_is_no_latency(text: str) -> None:
    with pytest.raises(TinybertError, match="--max-latency .* is no time: .* such as 5ms"):
        parse_latency(text)


@pytest.mark.parametrize("text", [*WRONG, "5ms", "5x", "5 elephants"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(TinybertError, match="--max-size .* is no size: .* such as 20MB"):
        parse_size(text)


@pytest.mark.parametrize("text", [*WRONG, "5ms", "5MB"])
def test_what_is_no_speedup(text: str) -> None:
    with pytest.raises(TinybertError, match="--speedup .* is no speed-up"):
        parse_speedup(text)


def test_a_speedup_below_one_is_refused() -> None:
    with pytest.raises(TinybertError, match="slower than the teacher"):
        parse_speedup("0.5")


@given(st.floats(1e-3, 1e6))
def test_units_agree(value: float) -> None:
    assert parse_latency(f"{value}s") == pytest.approx(1000 * parse_latency(f"{value}ms"))
    assert parse_size(f"{value}GB") == pytest.approx(1000 * parse_size(f"{value}MB"))


def test_every_bound_has_to_be_kept() -> None:
    figures = {"latency_ms": 5.0, "megabytes": 20.0, "speedup": 8.0}
    assert Bounds(5, 20, 8).met(**figures)
    assert not Bounds(4.9, 20, 8).met(**figures)
    assert not Bounds(5, 19.9, 8).met(**figures)
    assert not Bounds(5, 20, 8.1).met(**figures)
    assert Bounds().met(**figures)


def test_bounds_in_words() -> None:
    assert str(Bounds(5)) == "5 ms"
    assert str(Bounds(5, 20)) == "5 ms and 20 MB"
    assert str(Bounds(5, 20, 8)) == "5 ms, 20 MB and a speed-up of 8"
    assert not Bounds()
    assert Bounds(max_size_mb=3)
    assert not Bounds(max_size_mb=3).timed
    assert Bounds(speedup=3).timed
