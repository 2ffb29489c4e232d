"""What a student may cost: how users write it, and how it is held against a measurement."""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.errors import TinybertError
from tinybert.quantities import quantity

__all__ = ["Bounds", "parse_latency", "parse_size", "parse_speedup"]

_MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}
_MEGABYTES = {
    "": 1.0,
    "b": 1e-6,
    "k": 1e-3,
    "kb": 1e-3,
    "m": 1.0,
    "mb": 1.0,
    "g": 1e3,
    "gb": 1e3,
    "kib": 2**10 / 1e6,
    "mib": 2**20 / 1e6,
    "gib": 2**30 / 1e6,
}


@dataclass(frozen=True)
class Bounds:
    """What a student may cost at most, and how much faster than its teacher it has to be.

    Attributes:
        max_latency_ms: milliseconds of one forward pass.
        max_size_mb: its weights on disk, in megabytes of 10⁶ bytes.
        speedup: the teacher's latency over the student's, both measured in the same rounds.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    speedup: float | None = None

    @property
    def timed(self) -> bool:
        """Whether a bound needs a measurement of time."""
        return self.max_latency_ms is not None or self.speedup is not None

    def __bool__(self) -> bool:
        return self.timed or self.max_size_mb is not None

    def __str__(self) -> str:
        parts = []
        if self.max_latency_ms is not None:
            parts.append(f"{self.max_latency_ms:.4g} ms")
        if self.max_size_mb is not None:
            parts.append(f"{self.max_size_mb:.4g} MB")
        if self.speedup is not None:
            parts.append(f"a speed-up of {self.speedup:.4g}")
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

    def met(self, *, latency_ms: float, megabytes: float, speedup: float) -> bool:
        """Whether these figures keep every bound."""
        return (
            (self.max_latency_ms is None or latency_ms <= self.max_latency_ms)
            and (self.max_size_mb is None or megabytes <= self.max_size_mb)
            and (self.speedup is None or speedup >= self.speedup)
        )


def parse_latency(text: str | float) -> float:
    """Milliseconds.

    Raises:
        TinybertError: not a positive time.

    >>> parse_latency("5ms"), parse_latency("0.005s"), parse_latency("5"), parse_latency(2.5)
    (5.0, 5.0, 5.0, 2.5)
    """
    return quantity(text, _MILLISECONDS, "--max-latency", "time", "5ms, 0.005s, or 5 (ms)")


def parse_size(text: str | float) -> float:
    """Megabytes of 10⁶ bytes; ``MiB`` and ``GiB`` are 2²⁰ and 2³⁰ bytes.

    Raises:
        TinybertError: not a positive size.

    >>> parse_size("20MB"), parse_size("20M"), parse_size("0.02GB"), parse_size("1MiB")
    (20.0, 20.0, 20.0, 1.048576)
    """
    return quantity(text, _MEGABYTES, "--max-size", "size", "20MB, 0.02GB, or 20 (MB)")


def parse_speedup(text: str | float) -> float:
    """How many times as fast as its teacher the student has to be.

    Raises:
        TinybertError: not a number of 1 or more.

    >>> parse_speedup("8"), parse_speedup("8x"), parse_speedup(2)
    (8.0, 8.0, 2.0)
    """
    value = quantity(text, {"": 1.0, "x": 1.0, "×": 1.0}, "--speedup", "speed-up", "8 or 8x")
    if value < 1:
        raise TinybertError(f"--speedup {text} would be slower than the teacher: give 1 or more.")
    return value
