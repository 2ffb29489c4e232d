"""How much faster than the teacher each system of a table is, measured once a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tinybert.jobs.profile import speedups_over
from tinybert.measure.latency import longest_input
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.systems import System, student_config
from tinybert.teachers import load_encoder

__all__ = ["SPEED_FILE", "speed_of"]

SPEED_FILE = "speed.json"
_LENGTH, _REPEATS = 128, 15


def speed_of(
    systems: Mapping[str, System], teacher: str, output: Path, reporter: Reporter
) -> dict[str, Any]:
    """Speed-up over the teacher, kept in ``speed.json`` of the table's directory.

    One sequence of 128 tokens (or as many as the teacher takes), PyTorch float32 on the processor,
    random weights, all shapes in turns. Figures that are there are kept: what is added to a table
    changes nothing in it.

    Returns:
        ``speedups`` (system → times as fast) and ``measured`` (what they hold for).
    """
    model = load_encoder(teacher)
    file = output / SPEED_FILE
    known: dict[str, float] = {}
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = kept["speedups"]
        if known.keys() >= systems.keys():
            return kept
    configs = {
        name: student_config(system, model.config)
        for name, system in systems.items()
        if name not in known
    }
    length = min(_LENGTH, longest_input(model) or _LENGTH)
    found = {
        "speedups": known | speedups_over(model.config, configs, length, _REPEATS, reporter),
        "measured": {
            "length": length,
            "batch": 1,
            "repeats": _REPEATS,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "precision": "float32",
            "device": "cpu",
        },
    }
    write_json_whole(file, found)
    return found
