"""The processes of all contestants: started together, asked in turns, ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinybert.contest.workloads import Feed, write_feeds
from tinybert.errors import TinybertError
from tinybert.progress import Reporter

__all__ = ["Contestant", "Entry", "measure", "running"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Entry:
    """What enters the contest.

    Attributes:
        name: as it is shown.
        directory: where it lies, or a Hub name.
        form: see :data:`tinybert.runtimes.FORMS`.
    """

    name: str
    directory: str
    form: str


@dataclass
class Contestant:
    """An entry whose process runs.

    Attributes:
        entry: what it is.
        loaded: ``path``, ``size`` and ``resident`` bytes, ``torch`` (whether its process has it).
        seconds: workload → round → seconds of its passes.
        peak: bytes of its process at most; None where the system does not tell.
    """

    entry: Entry
    process: subprocess.Popen[str]
    complaints: Any
    loaded: dict[str, Any] = field(default_factory=dict)
    seconds: dict[int, list[list[float]]] = field(default_factory=dict)
    peak: int | None = None

    def answer(self) -> dict[str, Any]:
        """The next line of its process.

        Raises:
            TinybertError: it has an error to tell, or ended.
        """
        line = self._line()
        if not line:
            raise TinybertError(
                f"the process of {self.entry.name} as {self.entry.form} ended{self._why()}: leave "
                "it out with --forms, or take smaller batches if memory ran out."
            )
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise TinybertError(found["error"])
        return found

    def ask(self, workload: int) -> list[float]:
        """Seconds of the passes of one turn."""
        self._send(json.dumps({"workload": workload}))
        answer = self.answer()
        self.peak = answer["peak"]
        seconds: list[float] = answer["seconds"]
        return seconds

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the answer says that it ended
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _why(self) -> str:
        code = self.process.wait()
        self.complaints.seek(0)
        lines = self.complaints.read().decode("utf-8", "replace").strip().splitlines()
        said = f", {lines[-1][:200]}" if lines else ""
        return f" (signal {-code}{said})" if code < 0 else f" (exit code {code}{said})"


@contextmanager
def running(
    entries: Sequence[Entry],
    feeds: Sequence[Sequence[Sequence[Feed]]],
    threads: int,
    reporter: Reporter,
) -> Iterator[list[Contestant]]:
    """All entries, loaded, each in its process; none is left when the block ends.

    Args:
        entries: who.
        feeds: for each entry, for each workload, its batches.
        threads: of each process.
        reporter: told who is loaded.

    Raises:
        TinybertError: one of them cannot be loaded.
    """
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinybert-bench-")))
        contestants = []
        for number, (entry, of_one) in enumerate(zip(entries, feeds, strict=True)):
            file = place / f"{number}.npz"
            write_feeds(file, of_one)
            contestants.append(_started(entry, file, threads, stack))
        with reporter.track(len(entries), "loading", unit="models") as progress:
            for one in contestants:
                one.loaded = one.answer()
                progress.advance(note=f"{one.entry.name} {one.entry.form}")
        yield contestants


def measure(
    contestants: Sequence[Contestant], workloads: Sequence[str], rounds: int, reporter: Reporter
) -> None:
    """Give every contestant its turn in every round, of every workload.

    Who comes after a large one finds the processor warm and the caches cold: each takes every
    place. Nobody works while another one does.
    """
    total = len(workloads) * rounds * len(contestants)
    with reporter.track(total, "measuring", unit="turns") as progress:
        for number, name in enumerate(workloads):
            for round_ in range(rounds):
                shift = round_ % len(contestants)
                for one in [*contestants[shift:], *contestants[:shift]]:
                    one.seconds.setdefault(number, []).append(one.ask(number))
                    progress.advance(note=name)


def _started(entry: Entry, feeds: Path, threads: int, stack: ExitStack) -> Contestant:
    complaints = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    words = [entry.directory, entry.form, str(threads), str(feeds)]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tinybert.contest.worker", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        encoding="utf-8",
        env=os.environ | dict.fromkeys(_THREADS, str(threads)),
    )
    stack.callback(_end, process)
    return Contestant(entry, process, complaints)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
