"""Size by need: the largest student whose measured latency and size stay within bounds."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.measure import latency
from tinybert.measure.latency import check_length
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter, Tracker
from tinybert.sizing.bounds import Bounds
from tinybert.sizing.candidates import Candidate, build, candidates, described, weights_mb
from tinybert.sizing.search import Search
from tinybert.students import shape_of

__all__ = ["Fitted", "Row", "fit_shape", "reached", "read_fit", "table", "write_fit"]

SEARCH_SECONDS = 45.0  # after that no new shapes are tried; the winner is still measured again
ROUND_SECONDS, CAREFUL_SECONDS = 2.5, 4.0
REPEATS = (3, 25)  # passes of each model in a round, at least and at most
FINAL_ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """What is known of one model.

    Attributes:
        shape: as text.
        parameters: with its head.
        megabytes: its weights as float32 safetensors, 10⁶ bytes.
        flops: of one sequence of the fit's length.
        latency_ms: of one pass of the fit's batch, median over rounds.
        speedup: the teacher's time over its own, median over rounds.
        fits: whether it keeps every bound.
    """

    shape: str
    parameters: int
    megabytes: float
    flops: int
    latency_ms: float
    speedup: float
    fits: bool


@dataclass(frozen=True)
class Fitted:
    """The student that the bounds allow, and how it was found.

    Attributes:
        shape: as :func:`tinybert.students.parse_shape` reads it.
        reason: one sentence.
        bounds: what was asked for.
        teacher: measured in every round.
        candidates: every shape that was measured, most FLOPs first.
        measured: the chosen one of them.
        length, batch: tokens a sequence and sequences a pass.
        device, threads, precision: what it was measured on.
    """

    shape: str
    reason: str
    bounds: Bounds
    teacher: Row
    candidates: tuple[Row, ...]
    measured: Row
    length: int
    batch: int
    device: str
    threads: int
    precision: str = "float32"


def fit_shape(
    teacher: PreTrainedModel,
    *,
    max_latency_ms: float | None = None,
    max_size_mb: float | None = None,
    speedup: float | None = None,
    length: int = 128,
    batch: int = 1,
    reporter: Reporter,
) -> Fitted:
    """The largest student of ``teacher`` within the bounds, measured on this machine.

    Largest is most FLOPs among the shapes of :func:`tinybert.sizing.candidates.candidates`. Shapes
    are measured with random weights (numbers do not change the time), float32, without padding, on
    the teacher's device, always in turns with the teacher; what is chosen has kept the bounds in
    its own measurements (:class:`tinybert.sizing.search.Search`). On one core of a busy machine
    this took 8 seconds for a 6x384 teacher and 26 for BERT_BASE; large batches take longer.

    Args:
        teacher: with the head that its student is to have.
        max_latency_ms: milliseconds of one pass.
        max_size_mb: megabytes (10⁶ bytes) of weights.
        speedup: the teacher's latency over the student's.
        length: tokens a sequence.
        batch: sequences a pass.
        reporter: told what is under way.

    Raises:
        TinybertError: no student keeps the bounds (the message names the nearest one), or the
            teacher takes no sequence that long.
        ValueError: no bound is given.
    """
    bounds = Bounds(max_latency_ms, max_size_mb, speedup)
    if not bounds:
        raise ValueError("fit_shape needs a bound")
    check_length(teacher, length)
    own = described(teacher, shape_of(teacher.config), length)
    families = candidates(teacher, length)
    end = time.monotonic() + SEARCH_SECONDS
    with reporter.track(None, f"student within {bounds}", unit="shapes measured") as tracker:
        timer = _Timer(teacher, own, length, batch, tracker)
        for family in families:
            search = Search(own, family, bounds, timer, lambda: time.monotonic() > end)
            try:
                chosen = search.largest()
                break
            except TinybertError:
                if family is families[-1]:
                    raise
    rows = {c: _row(search, c) for c in sorted(search.timings, key=lambda c: -c.flops)}
    teacher_row = _teacher_row(search, own)
    return Fitted(
        shape=chosen.text,
        reason=_reason(rows[chosen], teacher_row, bounds, len(family), family is not families[-1]),
        bounds=bounds,
        teacher=teacher_row,
        candidates=tuple(rows.values()),
        measured=rows[chosen],
        length=length,
        batch=batch,
        device=str(teacher.device),
        threads=torch.get_num_threads(),
    )


def reached(
    fitted: Fitted,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    directory: str | Path | None = None,
) -> dict[str, dict[str, float | bool]]:
    """What the trained student measures beside each bound, for ``results.json``.

    Measured as the shapes were: in turns with the teacher, same length, batch, device and
    precision, median over three rounds. A machine that is busier now than then moves ``reached``.

    Args:
        teacher: as loaded from its directory.
        student: the final one.
        directory: where its weights lie; without one their size is computed.

    Returns:
        Setting (``max_latency`` in ms, ``max_size`` in MB, ``speedup``) → ``bound``, ``reached``
        and ``kept``, for the bounds that were given.
    """
    models = {"teacher": _on(teacher, fitted.device), "student": _on(student, fitted.device)}
    figures: dict[str, float] = {}
    if fitted.bounds.timed:
        expected = fitted.teacher.latency_ms + fitted.measured.latency_ms
        times = [
            latency(
                models,
                length=fitted.length,
                batch=fitted.batch,
                repeats=_repeats(expected, CAREFUL_SECONDS),
            )
            for _ in range(FINAL_ROUNDS)
        ]
        figures["max_latency"] = median(t["student"].median for t in times)
        figures["speedup"] = median(t["teacher"].median / t["student"].median for t in times)
    figures["max_size"] = weights_mb(student) if directory is None else _files_mb(Path(directory))
    bounds = fitted.bounds
    asked = {
        "max_latency": bounds.max_latency_ms,
        "max_size": bounds.max_size_mb,
        "speedup": bounds.speedup,
    }
    return {
        name: {
            "bound": bound,
            "reached": figures[name],
            "kept": figures[name] >= bound if name == "speedup" else figures[name] <= bound,
        }
        for name, bound in asked.items()
        if bound is not None
    }


def table(reporter: Reporter, fitted: Fitted) -> None:
    """Print the shapes that were measured."""
    rows = "row" if fitted.batch == 1 else "rows"
    title = (
        f"students measured: {fitted.batch} {rows} of {fitted.length} tokens, {fitted.device}, "
        f"{fitted.threads} threads, {fitted.precision}"
    )
    columns = ["model", "parameters", "MB", "FLOPs", "ms", "speed-up", f"within {fitted.bounds}"]

    def cells(row: Row, name: str, verdict: str) -> list[str]:
        return [
            name,
            f"{row.parameters / 1e6:.2f}M",
            f"{row.megabytes:.1f}",
            f"{row.flops / 1e9:.2f}G",
            f"{row.latency_ms:.2f}",
            f"{row.speedup:.2f}x",
            verdict,
        ]

    def verdict(row: Row) -> str:
        if row.shape == fitted.shape:
            return "yes, the largest"
        return "yes" if row.fits else "no"

    lines = [cells(fitted.teacher, f"teacher {fitted.teacher.shape}", verdict(fitted.teacher))]
    lines += [cells(row, row.shape, verdict(row)) for row in fitted.candidates]
    reporter.table(title, columns, lines)


def write_fit(file: str | Path, fitted: Fitted) -> None:
    """Keep a fit, so that a resumed run takes the same student."""
    write_json_whole(file, asdict(fitted))


def read_fit(file: str | Path) -> Fitted:
    """The fit that :func:`write_fit` kept."""
    plain: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    plain |= {
        "bounds": Bounds(**plain["bounds"]),
        "teacher": Row(**plain["teacher"]),
        "candidates": tuple(Row(**row) for row in plain["candidates"]),
        "measured": Row(**plain["measured"]),
    }
    return Fitted(**plain)


class _Timer:
    """Builds shapes with random weights and measures them in turns with the teacher."""

    def __init__(
        self, teacher: PreTrainedModel, own: Candidate, length: int, batch: int, tracker: Tracker
    ) -> None:
        self._teacher, self._own, self._tracker = teacher, own, tracker
        self._length, self._batch = length, batch
        self._teacher_ms: float | None = None

    def __call__(self, candidates: Sequence[Candidate], careful: bool) -> tuple[float, list[float]]:
        models: dict[str, PreTrainedModel] = {"teacher": self._teacher}
        models |= {shape.text: build(self._teacher, shape.shape) for shape in candidates}
        repeats, warm_up = 3, 2
        if self._teacher_ms is not None:
            work = 1 + sum(shape.flops for shape in candidates) / self._own.flops
            seconds = CAREFUL_SECONDS if careful else ROUND_SECONDS
            repeats = _repeats(self._teacher_ms * work, seconds)
        found = latency(
            models, length=self._length, batch=self._batch, repeats=repeats, warm_up=warm_up
        )
        self._teacher_ms = found["teacher"].median
        for shape in candidates:
            self._tracker.advance(note=f"{shape.text} {found[shape.text].median:.2f} ms")
        return self._teacher_ms, [found[shape.text].median for shape in candidates]


def _repeats(milliseconds: float, seconds: float) -> int:
    """Turns of that length that fit into the seconds."""
    least, most = REPEATS
    return max(least, min(most, int(1e3 * seconds / milliseconds)))


def _row(search: Search, candidate: Candidate) -> Row:
    return Row(
        candidate.text,
        candidate.parameters,
        candidate.megabytes,
        candidate.flops,
        search.milliseconds(candidate),
        search.speedup(candidate),
        search.fits(candidate),
    )


def _teacher_row(search: Search, own: Candidate) -> Row:
    milliseconds = search.teacher_milliseconds()
    fits = search.bounds.met(latency_ms=milliseconds, megabytes=own.megabytes, speedup=1.0)
    return Row(own.text, own.parameters, own.megabytes, own.flops, milliseconds, 1.0, fits)


def _reason(chosen: Row, teacher: Row, bounds: Bounds, considered: int, copied: bool) -> str:
    figures = f"{chosen.latency_ms:.2f} ms, {chosen.megabytes:.1f} MB, {chosen.speedup:.2f}x"
    if teacher.fits:
        reason = (
            f"the teacher itself keeps {bounds}, so this is the largest student smaller than it "
            f"({figures})"
        )
    else:
        reason = f"the largest of {considered} shapes within {bounds} ({figures})"
    if copied:
        reason += ", at the teacher's width since a narrower one would start at random"
    return reason


def _on(model: PreTrainedModel, device: str) -> PreTrainedModel:
    if model.device == torch.device(device):
        return model
    moved = copy.deepcopy(model)
    moved.to(device=torch.device(device))  # type: ignore[call-arg]
    return moved


def _files_mb(directory: Path) -> float:
    """Of the model's safetensors, in one file or several; not of what else lies there."""
    files = [*directory.glob("model.safetensors"), *directory.glob("model-*.safetensors")]
    if not files:
        raise TinybertError(f"{directory} has no model.safetensors: give a student's directory.")
    return sum(file.stat().st_size for file in files) / 1e6
