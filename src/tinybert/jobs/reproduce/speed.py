"""How much faster than the teacher each system of a table is, measured once a table."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tinybert.jobs.profile import speedups_over
from tinybert.measure.latency import longest_input
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.systems import SYSTEMS, System, student_config
from tinybert.teachers import load_encoder

__all__ = ["SPEED_FILE", "speed_of"]

SPEED_FILE = "speed.json"
_LENGTH, _REPEATS = 128, 15


def speed_of(
    systems: Mapping[str, System], teacher: str, output: Path, reporter: Reporter
) -> dict[str, Any]:
    """Speed-up over the teacher, kept in ``speed.json`` of the table's directory.

    One sequence of 128 tokens (or as many as the teacher takes), PyTorch float32 on the processor,
    random weights, all shapes in turns. Figures that are there are kept, so that what is added to
    a table changes nothing in it; on another machine, or with other threads, all are measured anew.

    Returns:
        ``speedups`` (system → times as fast) and ``measured`` (what they hold for).
    """
    model = load_encoder(teacher)
    length = min(_LENGTH, longest_input(model) or _LENGTH)
    measured = {
        "length": length,
        "batch": 1,
        "repeats": _REPEATS,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "precision": "float32",
        "device": "cpu",
    }
    file = output / SPEED_FILE
    kept = _kept(file)
    known: dict[str, float] = kept["speedups"] if kept else {}
    if kept and known.keys() >= systems.keys():
        return kept
    if kept and kept["measured"] != measured:  # of another machine: all anew, in one column
        systems = {name: SYSTEMS[name] for name in known if name in SYSTEMS} | dict(systems)
        known = {}
    configs = {
        name: student_config(system, model.config)
        for name, system in systems.items()
        if name not in known
    }
    found = known | speedups_over(model.config, configs, length, _REPEATS, reporter)
    result = {"speedups": found, "measured": measured}
    write_json_whole(file, result)
    return result


def _kept(file: Path) -> dict[str, Any] | None:
    """What was measured before; None where there is nothing that reads."""
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return kept if kept["speedups"] and kept["measured"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
