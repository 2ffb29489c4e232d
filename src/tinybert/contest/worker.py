"""The process of one model in one form: loads it, passes when told to, tells time and memory.

    python -m tinybert.contest.worker DIRECTORY FORM THREADS FEEDS

Speaks lines of JSON. Asked for ``{"workload": 0}`` it answers with seconds a pass; at the end of
its input it leaves. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from tinybert.contest.workloads import Feed, read_feeds
from tinybert.errors import TinybertError
from tinybert.runtimes import Runtime, open_runtime

__all__ = ["PASSES_A_TURN", "converse", "main", "memory", "turn"]

PASSES_A_TURN = 5
"""Timed passes of a batch in a row, before the next model has its turn."""


def turn(runtime: Runtime, feeds: Sequence[Feed]) -> list[float]:
    """Seconds of every pass of one turn: a single batch several times, or each batch once.

    A pass goes before that is not timed: the model whose turn it was has emptied the caches, and
    a model that is at work finds its weights in them.
    """
    runtime(feeds[0])
    seconds = []
    for feed in [*feeds] * (PASSES_A_TURN if len(feeds) == 1 else 1):
        start = time.perf_counter()
        runtime(feed)
        seconds.append(time.perf_counter() - start)
    return seconds


def memory() -> dict[str, int | None]:
    """Bytes of this process in memory: ``resident`` now, and at the ``peak`` since it began.

    None where the system does not tell.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {"resident": None, "peak": _peak_elsewhere()}
    values = {
        line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.endswith("kB")
    }
    # Sandboxes of their own kernel leave lines out.
    peak = values["VmHWM"] if "VmHWM" in values else _peak_elsewhere()
    return {"resident": values.get("VmRSS"), "peak": peak}


def _peak_elsewhere() -> int | None:
    # Not on Linux, whose figure is at least that of the process that started this one.
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def converse(
    directory: str, form: str, threads: int, feeds: Path, requests: Iterator[str]
) -> Iterator[dict[str, Any]]:
    """What is answered: first what was loaded, then one answer a request.

    An ``error`` is one sentence, and the last answer.
    """
    try:
        runtime = open_runtime(directory, form, threads)
        loaded = memory()["resident"]
        yield {
            "path": str(runtime.path),
            "size": runtime.size,
            "resident": loaded,
            "torch": "torch" in sys.modules,
        }
        workloads = read_feeds(feeds)
        for line in requests:
            number = json.loads(line)["workload"]
            yield {"seconds": turn(runtime, workloads[number]), "peak": memory()["peak"]}
    except TinybertError as error:
        yield {"error": str(error)}
    except MemoryError:
        yield {"error": f"{directory} as {form} does not fit into memory: take smaller batches."}
    except Exception as error:  # noqa: BLE001 - engines raise what they like
        said = " ".join(str(error).split())[:300]
        yield {"error": f"{directory} as {form} cannot be run ({type(error).__name__}: {said})."}


def main(arguments: Sequence[str]) -> None:
    """Answer standard input on standard output until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    directory, form, threads, feeds = arguments
    for answer in converse(
        directory, form, int(threads), Path(feeds), iter(sys.stdin.readline, "")
    ):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
