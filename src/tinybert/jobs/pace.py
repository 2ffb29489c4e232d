"""How fast a stage runs here: a few of its steps, timed and thrown away."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback

from tinybert.outputs import write_json_whole
from tinybert.stages import Run, Stage

__all__ = ["Pace", "kept_pace", "measure_pace"]

PACE_FILE = "pace.json"
"""In the work directory: measured once a run, since the number of steps may follow from it."""

STEPS = 8
WARM_UP = 2
PATIENCE = 30.0
"""Seconds after which a single process measures no further step."""


@dataclass(frozen=True)
class Pace:
    """What steps and evaluations cost here.

    Attributes:
        step_seconds: median time of an optimiser step, reading and teacher included.
        tokens_per_step: tokens of the timed steps, all processes together, a step.
        evaluation_seconds: time of one evaluation.
        peak_bytes: largest memory of this process so far; on a GPU, of its allocator.
    """

    step_seconds: float
    tokens_per_step: float
    evaluation_seconds: float
    peak_bytes: int

    @property
    def tokens_per_second(self) -> float:
        return self.tokens_per_step / self.step_seconds


class _Clock(TrainerCallback):
    """Notes when each step ended; stops when there are enough."""

    def __init__(self, alone: bool, advance: Callable[[int], None]) -> None:
        self.alone, self.advance = alone, advance
        self.begun = time.perf_counter()
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(time.perf_counter())
        self.advance(1)
        # Processes of several have to stop at the same step: they do them all.
        if self.alone and len(self.ends) > 2 and self.ends[-1] - self.begun > PATIENCE:
            control.should_training_stop = True

    def seconds(self) -> float:
        """Median time between ends of steps, without those that warm up."""
        taken = [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]
        return median(taken[min(WARM_UP, len(taken)) - 1 :])


def measure_pace(run: Run, stage: Stage, student: Any) -> Pace:
    """Time a few steps and one evaluation of ``stage``; what was trained is thrown away.

    Random states are set anew where a stage begins: the stage itself will not feel it.
    """
    short = replace(
        stage,
        name=f"{stage.name}-pace",
        schedule=replace(
            stage.schedule,
            steps=STEPS,
            evaluations=0,
            evaluations_in_all=None,
            checkpoints=0,
            checkpoint_seconds=None,
        ),
        evaluation=None,
        metric=None,
    )
    trainer, *_ = run.trainer(short, student)
    with run.reporter.track(STEPS, "measuring the speed") as progress:
        clock = _Clock(run.state.num_processes == 1, progress.advance)
        trainer.add_callback(clock)
        trainer.train()
    begun = time.perf_counter()
    if stage.evaluation is not None:
        trainer.evaluation = stage.evaluation
        trainer.evaluate()
    evaluation_seconds = time.perf_counter() - begun
    if run.is_main:
        shutil.rmtree(trainer.directory, ignore_errors=True)
    run.state.wait_for_everyone()
    rows_a_step = min(stage.schedule.batch_size, len(stage.rows))
    return Pace(
        step_seconds=clock.seconds(),
        tokens_per_step=float(stage.rows.lengths.mean()) * rows_a_step,
        evaluation_seconds=evaluation_seconds,
        peak_bytes=_peak_bytes(run.device),
    )


def kept_pace(run: Run, stage: Stage, student: Any, name: str = PACE_FILE) -> Pace:
    """The pace of this run: measured when it began, the main process's for all, and kept.

    ``name`` of the file, where a run has several stages whose pace matters.
    """
    file = run.work / name
    if not file.is_file():
        pace = measure_pace(run, stage, student)
        if run.is_main:
            write_json_whole(file, asdict(pace))
        run.state.wait_for_everyone()
    return Pace(**json.loads(file.read_text()))


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not POSIX
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else 1024 * int(peak)
