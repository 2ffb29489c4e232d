"""Latency against size, or against score, as a picture."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.outputs import whole_file

__all__ = ["PICTURES", "check_picture", "draw"]

PICTURES = (".png", ".svg", ".pdf")

# Okabe and Ito's, which people who see colours otherwise can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = {
    "pytorch-float32": "o",
    "pytorch-bfloat16": "s",
    "onnx-float32": "^",
    "onnx-int8": "D",
    "openvino": "v",
}


def check_picture(path: Path) -> None:
    """Refuse, before any work, a picture that cannot be drawn.

    Raises:
        TinybertError: matplotlib is not installed; an ending that stands for no picture; a place
            that cannot be written.
    """
    if path.suffix.lower() not in PICTURES:
        raise TinybertError(f"--plot {path}: give a file that ends in {', '.join(PICTURES)}.")
    if path.is_dir():
        raise TinybertError(f"{path} is a directory: give a file's name.")
    parent = path.expanduser().absolute().parent
    if not parent.is_dir():
        raise TinybertError(f"there is no directory {path.parent} for {path}.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise TinybertError(f"nothing may be written into {parent}: choose another place.")
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise TinybertError(
            "matplotlib is not installed: pip install 'tinybert[plots]' brings it, or leave out "
            "--plot."
        ) from error


def draw(
    path: Path,
    results: Sequence[Mapping[str, Any]],
    title: str,
    scores: Mapping[str, float] | None = None,
) -> None:
    """One point a result: latency of the workload ``title`` upwards, in ms, logarithmic.

    Args:
        path: where to; its ending says how.
        results: with ``model``, ``form``, ``size`` and ``workloads``.
        title: name of the workload.
        scores: model → score, which goes to the right; default: size in MB, logarithmic.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    backend: Any = importlib.import_module("matplotlib.backends.backend_agg")
    figures: Any = importlib.import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(7.2, 4.5), layout="constrained")
    backend.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    models = list(dict.fromkeys(each["model"] for each in results))
    seen: set[str] = set()
    for each in results:
        cell = next(cell for cell in each["workloads"] if cell["name"] == title)
        across = each["size"] / 1e6 if scores is None else scores[each["model"]]
        colour = _COLOURS[models.index(each["model"]) % len(_COLOURS)]
        form = each["form"]
        axes.plot(across, cell["median_ms"], _MARKERS.get(form, "o"), color=colour, markersize=8)
        if form not in seen:  # an empty point a form, for the legend alone
            seen.add(form)
            axes.plot([], [], _MARKERS.get(form, "o"), color="#777777", label=form)
        near = {"xytext": (7, 4), "textcoords": "offset points", "color": colour, "fontsize": 9}
        near["parse_math"] = False  # a dollar in a name is a dollar
        axes.annotate(each["model"], (across, cell["median_ms"]), **near)
    axes.set_yscale("log")
    if scores is None:
        axes.set_xscale("log")
    axes.margins(0.15)
    axes.set_xlabel("size on disk, MB" if scores is None else "score")
    axes.set_ylabel("milliseconds a pass, median")
    axes.set_title(title, loc="left", fontsize=11)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            for place in (axis.set_major_formatter, axis.set_minor_formatter):
                place(
                    importlib.import_module("matplotlib.ticker").LogFormatter(
                        labelOnlyBase=False, minor_thresholds=(2, 0.5)
                    )
                )
    axes.grid(True, which="both", linewidth=0.4, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    kind = path.suffix.lower().lstrip(".")
    # Without the date the same figures are the same file.
    extra = {"metadata": {"Date": None}} if kind == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "tinybert"}), whole_file(path) as partial:
        figure.savefig(partial, format=kind, dpi=160, **extra)
