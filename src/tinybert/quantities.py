"""Amounts as people write them: times, counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tinybert.errors import TinybertError

__all__ = ["parse_count", "parse_duration", "quantity"]

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


def quantity(
    text: str | float, units: Mapping[str, float], flag: str, what: str, examples: str
) -> float:
    """A positive number with one of ``units`` behind it.

    Args:
        text: as written; a bare number has the unit ``""``, if there is one.
        units: lower-case unit → factor.
        flag, what, examples: for the error's sentence.

    Raises:
        TinybertError: not a positive number, or another unit.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*([a-zµμ×]*)", str(text).strip().lower())
    value = math.nan
    if match and match[3] in units:
        value = float(match[1] + (match[2] or "")) * units[match[3]]
    if not 0 < value < math.inf:
        raise TinybertError(f"{flag} {text} is no {what}: give a positive one such as {examples}.")
    return value


def parse_duration(text: str | float, flag: str) -> float:
    """Seconds; parts may follow each other.

    Raises:
        TinybertError: not a positive time, or a number without a unit.

    >>> parse_duration("30m", "--budget"), parse_duration("1h30m", "--budget")
    (1800.0, 5400.0)
    """
    parts = re.findall(r"[\d.]+\s*[a-z]+", str(text).strip().lower())
    whole = "".join(parts).replace(" ", "") == str(text).strip().lower().replace(" ", "")
    pieces = parts if parts and whole else [str(text)]
    examples = "30m, 8h, or 1h30m"
    if len(pieces) == 1:
        return quantity(text, _SECONDS, flag, "time", examples)
    try:
        return sum(quantity(piece, _SECONDS, flag, "time", examples) for piece in pieces)
    except TinybertError:
        return quantity(text, {}, flag, "time", examples)


def parse_count(text: str | float, flag: str) -> int:
    """A whole number, thousands as k, M, G (or B), T.

    Raises:
        TinybertError: not a positive number.

    >>> parse_count("500M", "--tokens"), parse_count("3.3G", "--tokens"), parse_count(7, "--tokens")
    (500000000, 3300000000, 7)
    """
    value = round(quantity(text, _COUNTS, flag, "number", "500M or 3.3G"))
    if value < 1:
        raise TinybertError(f"{flag} {text} is less than one: give 1 or more.")
    return value
