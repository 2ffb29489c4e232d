"""The search among candidates: predicted times say where to look, measured times decide."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tinybert.errors import TinybertError
from tinybert.sizing.bounds import Bounds
from tinybert.sizing.candidates import Candidate

__all__ = ["Search", "Timer", "Timing"]

SEARCHES = 5  # rounds that try new shapes
TRIED = 4  # shapes in such a round
DOUBT = 1.1  # predictions may be so far off: where nothing else is to be tried, those just out
AGREEING = 0.05  # two rounds agree when they differ by no more than this part
ROUNDS = 4  # after so many careful rounds of a shape its median is believed anyway
TURNS = 24
HELD_MB = 2000.0  # of models in one round; three times the teacher where that is more


class Timer(Protocol):
    """Times the teacher and these candidates in turns: milliseconds of a pass of each."""

    def __call__(
        self, candidates: Sequence[Candidate], careful: bool
    ) -> tuple[float, list[float]]: ...


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a pass, both measured in the same round.

    ``careful`` rounds measure what was chosen again, with more passes.
    """

    student: float
    teacher: float
    careful: bool


class Search:
    """Finds the candidate of most FLOPs whose own measurements keep the bounds.

    Latency relative to the teacher's is predicted as ``a + b·L + c·L·W + d·L·W²`` (L layers, W
    width), coefficients not negative, fitted to the relative errors of what was measured so far,
    where times near the bound weigh more. A measured width passes its deviation on to its other
    depths; other widths take the mean deviation of those whose head size is, or is not, a
    multiple of 8, since processors like multiples. Each round measures the largest shapes that
    are predicted to fit, one a depth; at last those that are predicted just not to. The winner is
    then measured again beside its rivals until two rounds agree, and falls out when its median does
    not fit.

    Args:
        teacher: its shape as a candidate.
        family: by falling FLOPs; the last one is also the smallest and fastest.
        timer: measures.
        expired: whether the time for trying new shapes is over.
    """

    def __init__(
        self,
        teacher: Candidate,
        family: Sequence[Candidate],
        bounds: Bounds,
        timer: Timer,
        expired: Callable[[], bool] = lambda: False,
    ) -> None:
        self.teacher, self.bounds = teacher, bounds
        self.timings: dict[Candidate, list[Timing]] = defaultdict(list)
        self._family, self._timer, self._expired = list(family), timer, expired
        self._teacher_ms: list[float] = []

    def largest(self) -> Candidate:
        """The candidate of most FLOPs within the bounds.

        Raises:
            TinybertError: not even the smallest candidate keeps them.
        """
        smallest, size = self._family[-1], self.bounds.max_size_mb
        if size is not None:
            if smallest.megabytes > size:
                self._refuse_size(smallest, size)
            self._family = [c for c in self._family if c.megabytes <= size]
        if self.bounds.timed:
            self._measure([], careful=False)
            self._measure(self._probes(), careful=False)
        searches = 0
        for _ in range(TURNS):
            best = self.best()
            wanted = self._promising(best) if searches < SEARCHES else []
            if not wanted and best and searches < SEARCHES:
                wanted = self._promising(best, DOUBT)
            if best is None and self.bounds.timed:
                if not self._close(smallest):
                    break
                self._measure([smallest], careful=True)
            elif wanted and not (best and self._expired()):
                searches += 1
                self._measure(wanted, careful=False)
            elif best and not self._settled(best):
                self._measure([best, *self._rivals(best)], careful=True)
            else:
                break
        return self.best() or self._refuse_time(smallest)

    def best(self) -> Candidate | None:
        """The measured candidate of most FLOPs that fits so far."""
        return next((c for c in self._family if c in self.timings and self.fits(c)), None)

    def fits(self, candidate: Candidate) -> bool:
        """Whether what was measured of it keeps the bounds."""
        return self.bounds.met(
            latency_ms=self.milliseconds(candidate),
            megabytes=candidate.megabytes,
            speedup=self.speedup(candidate),
        )

    def milliseconds(self, candidate: Candidate) -> float:
        """Median over its rounds."""
        return median(timing.student for timing in self._believed(candidate))

    def speedup(self, candidate: Candidate) -> float:
        """Median over its rounds of the teacher's time over its own."""
        return median(timing.teacher / timing.student for timing in self._believed(candidate))

    def teacher_milliseconds(self) -> float:
        """Median over all rounds."""
        return median(self._teacher_ms)

    def _measure(self, candidates: Sequence[Candidate], *, careful: bool) -> None:
        for part in self._held_at_once(candidates):
            teacher, students = self._timer(part, careful)
            self._teacher_ms.append(teacher)
            for candidate, milliseconds in zip(part, students, strict=True):
                self.timings[candidate].append(Timing(milliseconds, teacher, careful))

    def _held_at_once(self, candidates: Sequence[Candidate]) -> list[list[Candidate]]:
        """Rounds whose models fit into memory together."""
        most, parts = max(HELD_MB, 3 * self.teacher.megabytes), [[*candidates[:1]]]
        for candidate in candidates[1:]:
            if sum(c.megabytes for c in parts[-1]) + candidate.megabytes > most:
                parts.append([])
            parts[-1].append(candidate)
        return parts

    def _believed(self, candidate: Candidate) -> list[Timing]:
        """Its careful rounds where it has some: the others are the luck it was chosen by."""
        timings = self.timings[candidate]
        return [timing for timing in timings if timing.careful] or timings

    def _target(self) -> float:
        """The bounds on time as a part of the teacher's."""
        latency, speedup = self.bounds.max_latency_ms, self.bounds.speedup
        return min(
            math.inf if latency is None else latency / self.teacher_milliseconds(),
            math.inf if speedup is None else 1 / speedup,
        )

    def _probes(self) -> list[Candidate]:
        """Where the prediction is fitted: deep and wide shapes of about the FLOPs that the bounds
        allow, of half and of twice as many, and the smallest."""
        middle = min(1.0, self._target())
        probes = {self._family[-1]: None}
        for part in (middle / 2, middle, min(1.0, 2 * middle)):
            wanted = max(1.0, part * self.teacher.flops)
            near = sorted(self._family, key=lambda c: abs(math.log(c.flops / wanted)))[:8]
            probes |= dict.fromkeys((min(near, key=_aspect), max(near, key=_aspect)))
        return list(probes)

    def _promising(self, best: Candidate | None, doubt: float = 1.0) -> list[Candidate]:
        """What has more FLOPs than ``best``, is not measured and should fit: one a depth.

        A prediction may be ``doubt`` times what is allowed.
        """
        predicted = self._prediction() if self.bounds.timed else lambda _: 0.0
        target = self._target() if self.bounds.timed else 1.0
        by_depth: dict[int, Candidate] = {}
        for candidate in self._family:
            if best and candidate.flops <= best.flops:
                break
            if candidate not in self.timings and predicted(candidate) <= doubt * target:
                by_depth.setdefault(candidate.shape.layers, candidate)
        return list(by_depth.values())[:TRIED]

    def _prediction(self) -> Callable[[Candidate], float]:
        target = self._target()
        known = [(self.teacher, 1.0)] + [(c, 1 / self.speedup(c)) for c in self.timings]
        weights = [math.exp(-abs(math.log(part / target))) / part for _, part in known]
        features = np.array([self._features(c) for c, _ in known])
        parts = np.array([part for _, part in known])
        scale = np.array(weights)
        coefficients, _ = nnls(features * scale[:, None], parts * scale)
        deviations: dict[tuple[str, int], list[float]] = defaultdict(list)
        for candidate, part in known:
            fitted = float(self._features(candidate) @ coefficients)
            for kind in _kinds(candidate):
                deviations[kind].append(math.log(part / max(fitted, 1e-12)))

        def predicted(candidate: Candidate) -> float:
            fitted = float(self._features(candidate) @ coefficients)
            found = next((deviations[k] for k in _kinds(candidate) if k in deviations), [0.0])
            return fitted * math.exp(fmean(found))

        return predicted

    def _features(self, candidate: Candidate) -> NDArray[np.float64]:
        layers = candidate.shape.layers / self.teacher.shape.layers
        width = candidate.shape.hidden / self.teacher.shape.hidden
        return np.array([1.0, layers, layers * width, layers * width**2])

    def _rivals(self, best: Candidate) -> list[Candidate]:
        """The next in FLOPs that fit too: they take over where the winner falls out."""
        return [
            c for c in self._family if c in self.timings and c.flops < best.flops and self.fits(c)
        ][:2]

    def _settled(self, best: Candidate) -> bool:
        if not self.bounds.timed:
            return True
        timings = [timing for timing in self.timings[best] if timing.careful]
        if len(timings) < 2 or len(timings) >= ROUNDS:
            return len(timings) >= ROUNDS
        one, two = timings[-2:]
        agree = abs(math.log(one.student / two.student)) <= AGREEING
        if self.bounds.speedup is not None:
            parts = one.teacher / one.student, two.teacher / two.student
            agree = agree and abs(math.log(parts[0] / parts[1])) <= AGREEING
        return agree

    def _close(self, smallest: Candidate) -> bool:
        """Whether measuring again may change that the smallest does not fit."""
        near = 1 / self.speedup(smallest) <= 1.25 * self._target()
        return near and len(self.timings[smallest]) <= ROUNDS

    def _refuse_size(self, smallest: Candidate, size: float) -> NoReturn:
        raise TinybertError(
            f"no student of this teacher is as small as {size:.4g} MB: the smallest, "
            f"{smallest.text}, takes {smallest.megabytes:.1f} MB; raise --max-size, or "
            "take a teacher with a smaller vocabulary."
        )

    def _refuse_time(self, smallest: Candidate) -> NoReturn:
        latency, reached = self.bounds.max_latency_ms, self.milliseconds(smallest)
        if latency is not None and reached > latency:
            raise TinybertError(
                f"no student of this teacher takes {latency:.4g} ms here: the fastest, "
                f"{smallest.text}, takes {reached:.2f} ms; raise --max-latency, or lower "
                "--latency-length or --latency-batch."
            )
        raise TinybertError(
            f"no student of this teacher is {self.bounds.speedup:.4g} times as fast here: the "
            f"fastest, {smallest.text}, is {self.speedup(smallest):.1f} times as fast; lower "
            "--speedup."
        )


def _aspect(candidate: Candidate) -> float:
    return candidate.shape.hidden / candidate.shape.layers


def _kinds(candidate: Candidate) -> tuple[tuple[str, int], ...]:
    """Whose deviations a candidate shares, the nearest kin first."""
    width, heads = candidate.shape.hidden, candidate.shape.heads
    return ("width", width), ("aligned", int(width // heads % 8 == 0))
