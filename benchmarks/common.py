"""What the benchmarks share: the machine in words, fair timing, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "available_memory",
    "describe_machine",
    "interleaved_medians",
    "medians",
    "write_json",
]


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU and versions; nothing that names the machine or its user."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(_meminfo("MemTotal") / 1e9, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _meminfo(field: str) -> int:
    """Bytes of one line of /proc/meminfo, 0 where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


def available_memory() -> int:
    """Bytes that a new process may take without swapping, 0 where unknown."""
    return _meminfo("MemAvailable")


def interleaved_medians(
    functions: dict[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of every call, the functions taking turns so that noise meets all of them alike.

    One call of each goes before and is not counted. Take the median of each list
    (``statistics.median``); the whole list is given so that the spread can be shown.

    Args:
        functions: What to time, by name.
        repeats: Counted calls of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(repeats + 1):
        # Whoever comes after a large one finds the caches cold: each takes every place.
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            functions[name]()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median of each list of :func:`interleaved_medians`."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def write_json(path: str | Path, payload: dict[str, Any]) -> None:
    """Write a benchmark's result, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(payload, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)
