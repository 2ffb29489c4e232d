"""Jobs in processes that are killed (SIGKILL) at the n-th call of a chosen function."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import warm


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


def job(verb: str, settings: dict[str, Any], kill: tuple[str, int, bool] | None) -> None:
    import torch

    from tinybert import settings as kinds
    from tinybert.progress import Reporter

    torch.set_num_threads(1)
    if kill is not None:
        _kill_at(*kill)
    kind = getattr(kinds, f"{verb.capitalize()}Settings")
    module = importlib.import_module(f"tinybert.jobs.{verb}")
    getattr(module, f"run_{verb}")(kind(**settings), Reporter(quiet=True))


def run_job(verb: str, settings: dict[str, Any], kill: tuple[str, int, bool] | None = None) -> int:
    """Run a job in a process of its own; returns its exit code (-9 if it was killed)."""
    asked = pickle.dumps((verb, settings, kill)).hex()
    code = "import pickle, sys; from support.killed import job; "
    code += "job(*pickle.loads(bytes.fromhex(sys.argv[1])))"
    return subprocess.run([warm.python(), "-c", code, asked], timeout=120).returncode


def weights(directory: Path) -> dict[str, bytes]:
    """The files that make a student, byte by byte."""
    names = ("model.safetensors", "projections.safetensors")
    return {n: (directory / n).read_bytes() for n in names if (directory / n).is_file()}
