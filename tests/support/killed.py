"""Jobs in processes that are killed (SIGKILL) at the n-th call of a chosen function."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
# Imported once, so that each process starts in milliseconds.
_SERVER.set_forkserver_preload(
    [f"tinybert.jobs.{verb}" for verb in ("general", "distill", "finetune", "mlm", "augment")]
)


def _kill_at(target: str, call: int, after: bool) -> None:
    """Let the ``call``-th call of ``module:Name.attribute`` be this process's last act."""
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if calls == call and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def _job(verb: str, settings: dict[str, Any], kill: tuple[str, int, bool] | None) -> None:
    import torch

    from tinybert import settings as kinds
    from tinybert.progress import Reporter

    torch.set_num_threads(1)
    if kill is not None:
        _kill_at(*kill)
    kind = getattr(kinds, f"{verb.capitalize()}Settings")
    job = importlib.import_module(f"tinybert.jobs.{verb}")
    getattr(job, f"run_{verb}")(kind(**settings), Reporter(quiet=True))


def run_job(verb: str, settings: dict[str, Any], kill: tuple[str, int, bool] | None = None) -> int:
    """Run a job in a process of its own; returns its exit code (-9 if it was killed)."""
    process = _SERVER.Process(target=_job, args=(verb, settings, kill))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the job did not end")
    return process.exitcode


def weights(directory: Path) -> dict[str, bytes]:
    """The files that make a student, byte by byte."""
    names = ("model.safetensors", "projections.safetensors")
    return {n: (directory / n).read_bytes() for n in names if (directory / n).is_file()}
