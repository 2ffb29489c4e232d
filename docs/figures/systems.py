"""What `tinybert reproduce` found, drawn: scores against FLOPs, and ablations.

    python docs/figures/systems.py results.json --plot systems.svg
    python docs/figures/systems.py ablation-losses.json ablation-mapping.json --plot ablations.svg

A table of systems becomes one panel: the average score of each system over the operations of one
sequence of 128 tokens, its spread over seeds as a bar, those nobody beats at their cost joined by
a line. Ablations become a panel each: how far behind the whole method, with the 95 % interval.
Needs matplotlib: pip install 'tinybert[plots]'.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

TEACHER = "BERT_BASE"


def points(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A system each: ``name``, ``flops``, ``score`` (average x 100) and ``spread`` over seeds."""
    found = []
    for name, each in results["systems"].items():
        columns = list(each["scores"].values())
        if len(columns) < len(results["columns"]) or each["flops_128"] is None:
            continue
        seeds = set.intersection(*(set(column) for column in columns))
        averages = [100 * mean(column[seed] for column in columns) for seed in sorted(seeds)]
        if not averages:
            continue
        found.append(
            {
                "name": name,
                "flops": each["flops_128"],
                "score": mean(averages),
                "spread": stdev(averages) if len(averages) > 1 else 0.0,
                "own": each["start"] not in ("pca", "layers", "first"),
            }
        )
    return found


def frontier(some: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that no other one beats at the same or a lower cost, the cheapest first.

    >>> found = frontier([
    ...     {"flops": 1, "score": 50}, {"flops": 2, "score": 40}, {"flops": 3, "score": 60}
    ... ])
    >>> [each["score"] for each in found]
    [50, 60]
    """
    best: list[Mapping[str, Any]] = []
    for each in sorted(some, key=lambda one: (one["flops"], -one["score"])):
        if not best or each["score"] > best[-1]["score"]:
            best.append(each)
    return best


def differences(results: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """(variant, points behind the whole method, ends of the interval), as the table has them."""
    found = []
    for name, pair in results["paired"].items():
        low = pair["difference"] if pair["low"] is None else pair["low"]
        high = pair["difference"] if pair["high"] is None else pair["high"]
        variant = name.removeprefix(pair["against"]).strip() or name
        found.append((variant, 100 * pair["difference"], 100 * low, 100 * high))
    return found


def draw_systems(axis: Any, results: Mapping[str, Any]) -> None:
    """Scores over operations."""
    some = points(results)
    if not some:
        raise SystemExit("no system has a score in every column: the table was cut off too early")
    best = frontier(some)
    axis.plot([e["flops"] / 1e9 for e in best], [e["score"] for e in best], color="0.75", zorder=1)
    for each in some:
        x, y = each["flops"] / 1e9, each["score"]
        colour = "black" if each["name"] == TEACHER else "C1" if each["own"] else "C0"
        axis.errorbar(x, y, yerr=each["spread"], color=colour, fmt="o", markersize=5, capsize=2)
    _label(axis, [(e["flops"] / 1e9, e["score"], e["name"]) for e in some])
    for colour, text in (("C1", "starts at random"), ("C0", "starts on its teacher")):
        axis.plot([], [], "o", color=colour, label=text)
    axis.set_xscale("log")
    left, right = axis.get_xlim()
    axis.set_xlim(left, right * 1.6)  # room for names
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="x", which="minor", labelsize=7)
    axis.set_xlabel("GFLOPs of one sequence of 128 tokens")
    axis.set_ylabel(f"average of {', '.join(results['columns'])}, x 100")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=8)


def _label(axis: Any, some: Sequence[tuple[float, float, str]]) -> None:
    """Names to the right of their points; those of one cost are moved apart."""
    heights = [y for _, y, _ in some]
    least = max(1e-9, (max(heights) - min(heights)) * 0.035)
    for cost in sorted({x for x, _, _ in some}):
        last = float("-inf")
        for x, y, name in sorted((each for each in some if each[0] == cost), key=lambda e: e[1]):
            last = max(y, last + least)
            axis.annotate(
                name, (x, y), (x * 1.06, last), fontsize=7, va="center", annotation_clip=False
            )


def draw_ablation(axis: Any, results: Mapping[str, Any], title: str) -> None:
    """How far behind the whole method each variant is."""
    found = differences(results)[::-1]
    for row, (_, middle, low, high) in enumerate(found):
        axis.plot([low, high], [row, row], color="C0", linewidth=2)
        axis.plot(middle, row, "o", color="C0")
    axis.axvline(0, color="0.5", linewidth=1)
    axis.set_yticks(range(len(found)), [name for name, *_ in found], fontsize=8)
    axis.set_ylim(-0.6, len(found) - 0.4)
    axis.set_xlabel("points behind the whole method")
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3, axis="x")


def draw(files: Sequence[Path], file: Path) -> None:
    """One panel a file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "tinybert"  # the same data, the same file
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    sizes = [
        5.5 if _ablation(each) is None else 0.7 + 0.32 * len(each["paired"]) for each in tables
    ]
    figure, axes = pyplot.subplots(
        len(tables),
        figsize=(7.2, 0.9 * len(tables) + sum(sizes)),
        squeeze=False,
        height_ratios=sizes,
        layout="constrained",
    )
    for axis, results in zip(axes.flat, tables, strict=True):
        ablation = _ablation(results)
        if ablation is None:
            draw_systems(axis, results)
        else:
            draw_ablation(axis, results, f"ablation: {ablation}")
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _ablation(results: Mapping[str, Any]) -> str | None:
    name = results["settings"]["ablation"]
    return None if name == "none" else str(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path, help="results.json or ablation-NAME.json")
    parser.add_argument("--plot", type=Path, required=True, help="file to write: .svg, .png, .pdf")
    given = parser.parse_args()
    draw(given.tables, given.plot)


if __name__ == "__main__":
    main()
