"""Of ``tinybert bench``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import Checked, setting

__all__ = ["BenchSettings"]


@dataclass
class BenchSettings(Checked):
    """Models side by side, in every form that they have: latency, throughput, memory, size."""

    models: list[str] = setting(
        [],
        "model directories (a teacher, a student, what `tinybert export` wrote) or Hub names; all "
        "is compared with the first; NAME:random is a shape with random weights (BERT_BASE:random, "
        "12x768:random); may stand without the flag, before all flags",
    )
    forms: list[str] = setting(
        [],
        "which of pytorch-float32, pytorch-bfloat16, onnx-float32, onnx-int8, openvino; default: "
        "all that a model has",
    )
    json: Path | None = setting(None, "write the figures to this file")
    markdown: Path | None = setting(None, "write the tables to this file")
    plot: Path | None = setting(
        None,
        "draw latency against size to this file (.png, .svg, .pdf; the first batch at the last "
        "length)",
    )
    against: Literal["size", "score"] = setting(
        "size", "what the plot has to the right; score: of the models' results.json"
    )
    length: list[int] = setting(
        [32, 128], "tokens a sequence, all alike, without padding; each is measured", "what"
    )
    traffic: bool = setting(
        True,
        "also measure real rows in their own lengths, one at a time and in batches as they come",
        "what",
    )
    data: str | None = setting(
        None,
        "real rows: a file, directory or Hub dataset; with --task the directory of GLUE's files; "
        "default: sentences of Python's own documentation",
        "what",
    )
    task: str | None = setting(None, "GLUE task whose dev set gives the real rows", "what")
    text: str | None = setting(
        None, "text column of --data, or two with a comma; default: guessed", "what"
    )
    rows: int = setting(64, "real rows, drawn at random", "what", least=1)
    max_length: int = setting(128, "tokens a real row at most, specials included", "what", least=4)
    batch: list[int] = setting([1, 32], "sequences a pass; each is measured", "speed")
    repeats: int = setting(
        20,
        "timed passes of each batch, at least; real rows are passed through once for every 5",
        "speed",
        least=1,
    )
    threads: int | None = setting(
        None, "of every engine; default: this machine's cores", "speed", least=1
    )
