"""Of ``tinybert systems``, ``tinybert systems show`` and ``tinybert profile``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.settings.base import Checked, setting

__all__ = ["ProfileSettings", "SystemsSettings", "SystemsShowSettings"]


@dataclass
class SystemsSettings(Checked):
    """The systems of the paper's table, and two more."""

    json: Path | None = setting(None, "write them to this file, with all that is known of each")


@dataclass
class SystemsShowSettings(Checked):
    """How one system is made: shape, start, steps with their hyper-parameters, sources."""

    name: str | None = setting(
        None, "the system; may stand without its flag: `tinybert systems show TinyBERT_4`"
    )
    teacher: str | None = setting(
        None, "also its shape and parameters beside this teacher: directory or Hub name"
    )


@dataclass
class ProfileSettings(Checked):
    """Parameters, FLOPs and speed of the systems beside the paper's."""

    systems: list[str] = setting([], "which; default: all")
    teacher: str | None = setting(
        None,
        "sizes beside this teacher, directory or Hub name; default: the paper's, with BERT's "
        "vocabulary of 30,522",
    )
    json: Path | None = setting(None, "write the figures to this file, one object a system")
    speed: bool = setting(
        True, "also measure the speed-up over BERT_BASE, on this machine's processor", "speed"
    )
    batch: list[int] = setting([1, 32], "sequences a pass; one measurement for each", "speed")
    length: int = setting(
        128, "tokens a sequence while speed is measured; FLOPs are of 128", "speed", least=1
    )
    repeats: int = setting(
        10, "timed passes of each shape and batch, all shapes in turns", "speed", least=1
    )
    threads: int | None = setting(
        None, "of PyTorch while speed is measured; default: as many as it takes", "speed", least=1
    )
