"""From figures to places on a chart: linear and logarithmic scales, and round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Scale", "apart", "fitted", "shown"]

LOGARITHMIC_FROM = 30.0
"""Curves whose highest figure is so many times the lowest are drawn on a logarithmic scale."""

TINY = 1e-200
"""Nothing that is drawn is smaller, and the arithmetic of scales stays finite."""


@dataclass(frozen=True)
class Scale:
    """``low`` … ``high`` to 0 … 1."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` stands, 0 … 1; outside of the scale it is beyond.

        >>> Scale(1, 100, logarithmic=True).place(10)
        0.5
        """
        if self.high == self.low:
            return 0.5
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, about: int = 4) -> list[float]:
        """Round figures within the scale, ``about`` that many.

        >>> Scale(0, 350).ticks(), Scale(0.02, 3, logarithmic=True).ticks()
        ([0.0, 100.0, 200.0, 300.0], [0.03, 0.1, 0.3, 1.0, 3.0])
        """
        if self.high == self.low:
            return [self.low]
        if self.logarithmic:
            first, last = math.log10(self.low), math.log10(self.high)
            decades = last - first
            every = max(1, math.ceil(decades / 6))
            powers = range(math.floor(first), math.ceil(last) + 1, every)
            steps = (1, 2, 5) if decades < 1.2 else (1, 3) if decades < 2.6 else (1,)
            found = [float(f"{k}e{power}") for power in powers for k in steps]
            return [tick for tick in found if self.low <= tick <= self.high]
        step = _round_step((self.high - self.low) / about)
        first_tick = math.ceil(self.low / step - 1e-9)
        last_tick = math.floor(self.high / step + 1e-9)
        return [float(f"{k * step:.12g}") for k in range(first_tick, last_tick + 1)]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= step * 0.999)


def fitted(values: Iterable[float]) -> Scale:
    """A scale that holds all values with a little room; logarithmic where they differ by orders.

    >>> fitted([0.001, 1.0]).logarithmic, fitted([0.5, 1.0]).logarithmic
    (True, False)
    """
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    found = [0.0 if abs(value) < TINY else value for value in found]
    low, high = min(found), max(found)
    if low > 0 and high / low >= LOGARITHMIC_FROM:
        return Scale(low / 1.15, high * 1.15, logarithmic=True)
    spread = high - low
    room = spread * 0.08 if spread > abs(high) * 1e-9 else abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room)


def apart(places: list[float], gap: float, highest: float = 1.0) -> list[float]:
    """The same places moved as little as needed for a distance of ``gap`` between neighbours.

    >>> apart([0.5, 0.5], 0.1)
    [0.45, 0.55]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[float]] = []  # of each: sum of wanted first places, members
    for member in order:
        groups.append([places[member], 1.0])
        while len(groups) > 1:
            (one, n), (other, k) = groups[-2:]
            if one / n + gap * n <= other / k:
                break
            groups[-2:] = [[one + other - gap * n * k, n + k]]
    found: list[float] = []
    for total, n in groups:
        first = max(0.0, min(total / n, highest - gap * (n - 1)))
        if found:
            first = max(first, found[-1] + gap)
        found += [first + gap * k for k in range(int(n))]
    result = [0.0] * len(places)
    for member, place in zip(order, found, strict=True):
        result[member] = round(place, 6)
    return result


def shown(value: float | None) -> str:
    """A figure in as few characters as say it.

    >>> shown(0.123456), shown(12345.6), shown(0.00001), shown(None)
    ('0.123', '12,346', '1e-05', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
