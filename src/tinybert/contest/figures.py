"""From seconds to what is told: latency, throughput, ratios to the first that was named."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from tinybert.contest.processes import Contestant
from tinybert.contest.workloads import Feed, Workload

__all__ = ["described", "pace", "ratios"]


def pace(rounds: Sequence[Sequence[float]], feeds: Sequence[Feed]) -> dict[str, float]:
    """Figures of one workload.

    Args:
        rounds: seconds of every pass, a list a round: of the only batch, or of each once.
        feeds: the batches.

    Returns:
        ``median_ms`` and ``p95_ms`` (95th percentile) over all passes; ``seconds`` that all batches
        take once, each at its median; ``sequences_per_second`` and ``tokens_per_second`` at that
        pace, padding not counted.

    >>> import numpy as np
    >>> feed = {"attention_mask": np.array([[1, 1, 1], [1, 0, 0]])}
    >>> figures = pace([[0.1, 0.2], [0.3, 0.1]], [feed])
    >>> round(figures["median_ms"]), round(figures["tokens_per_second"], 2)
    (150, 26.67)
    """
    passes = [second for one in rounds for second in one]
    if len(feeds) == 1:
        seconds = median(passes)
    else:
        seconds = sum(median(of_one) for of_one in zip(*rounds, strict=True))
    masks = [feed["attention_mask"] for feed in feeds]
    return {
        "median_ms": 1e3 * median(passes),
        "p95_ms": 1e3 * float(np.percentile(passes, 95)),
        "seconds": seconds,
        "sequences_per_second": sum(len(mask) for mask in masks) / seconds,
        "tokens_per_second": float(sum(mask.sum() for mask in masks)) / seconds,
    }


def described(
    contestant: Contestant, workloads: Sequence[Workload], feeds: Sequence[Sequence[Feed]]
) -> dict[str, Any]:
    """All figures of one contestant, as the JSON file has them."""
    loaded = contestant.loaded
    return {
        "model": contestant.entry.name,
        "form": contestant.entry.form,
        "path": loaded["path"],
        "size": loaded["size"],
        "memory": {"after_load": loaded["resident"], "peak": contestant.peak},
        "workloads": [
            {
                "name": workload.name,
                "batch": workload.batch,
                "length": workload.length,
                **pace(contestant.seconds[number], feeds[number]),
            }
            for number, workload in enumerate(workloads)
        ],
    }


def ratios(results: Sequence[dict[str, Any]]) -> None:
    """Add to each result how it compares with the first model.

    ``smaller`` and a workload's ``speedup`` are over the very first result; ``smaller_like`` and
    ``speedup_like`` over the first model in the same form, None where it does not have that.
    """
    first = results[0]
    like = {each["form"]: each for each in results if each["model"] == first["model"]}
    for each in results:
        same = like.get(each["form"], {})
        each["smaller"] = _over(first["size"], each["size"])
        each["smaller_like"] = _over(same.get("size"), each["size"])
        for number, cell in enumerate(each["workloads"]):
            theirs = same["workloads"][number] if same else {}
            cell["speedup"] = _over(first["workloads"][number]["seconds"], cell["seconds"])
            cell["speedup_like"] = _over(theirs.get("seconds"), cell["seconds"])


def _over(reference: float | None, own: float | None) -> float | None:
    return reference / own if reference and own else None
