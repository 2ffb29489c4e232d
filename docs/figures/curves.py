"""Curves of runs, side by side: one line a run, one panel a figure, minutes below.

    python docs/figures/curves.py general random layers --labels pca random layers --plot FILE.svg

Reads ``log.jsonl`` of each output directory (or the log of an unfinished run's newest checkpoint).
Needs matplotlib: pip install 'tinybert[plots]'.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PANELS = {
    "eval_hidden": "hidden states, held out",
    "eval_attention": "attention scores, held out",
    "eval_embedding": "embeddings, held out",
    "eval_similarity_spearman": "similarity against people, Spearman",
}


def entries(directory: Path, stage: str = "general") -> list[dict[str, Any]]:
    """The log of one stage, oldest entry first."""
    file = directory / "log.jsonl"
    if file.is_file():
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["stage"] == stage]
    states = sorted(
        Path(f"{directory}.run").glob(f"{stage}.unfinished/checkpoint-*/trainer_state.json"),
        key=lambda path: int(path.parent.name.split("-")[1]),
    )
    if not states:
        raise SystemExit(f"{directory} holds no log.jsonl, and no run of it is under way")
    log: list[dict[str, Any]] = json.loads(states[-1].read_text())["log_history"]
    return log


def draw(directories: Sequence[Path], labels: Sequence[str], file: Path, log: bool) -> None:
    """One SVG (or whatever the ending says) of all panels that any run has."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "tinybert"  # the same data, the same file
    runs = {label: entries(path) for label, path in zip(labels, directories, strict=True)}
    panels = [name for name in PANELS if any(name in e for run in runs.values() for e in run)]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.6 * columns, 3.2 * rows), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes.flat, panels, strict=False):
        for label, run in runs.items():
            points = [(e["seconds"] / 60, e[name]) for e in run if name in e and "seconds" in e]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axis.set_title(PANELS[name], fontsize=10)
        axis.set_xlabel("minutes of training")
        if log and "similarity" not in name:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    axes.flat[0].legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="output directories")
    parser.add_argument("--labels", nargs="+", help="names of the lines; default: the directories'")
    parser.add_argument("--plot", type=Path, required=True, help="file to write: .svg, .png, .pdf")
    parser.add_argument("--log", action="store_true", help="losses on a logarithmic scale")
    given = parser.parse_args()
    draw(given.runs, given.labels or [run.name for run in given.runs], given.plot, given.log)


if __name__ == "__main__":
    main()
