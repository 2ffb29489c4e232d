"""What a run tells while it runs: text, headings, tables, and progress with the time left.

Talk and progress go to standard error, tables (the result) to standard output, so that a result
can be piped. On a terminal progress is one live line; elsewhere (logs, CI) it is a plain line about
every 15 seconds or every 10 percent. Of several processes only the main one is heard.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Reporter", "Tracker", "duration"]

LINE_SECONDS = 15.0
LINE_SHARE = 0.1
LINE_GAP = 1.0  # never more than one line a second, however short the work
SPEED_WINDOW = 60.0  # the time left follows the speed of the last minute, not a slow first step


class Reporter:
    """Tells a person or a log what happens.

    Args:
        quiet: no talk and no progress; tables still appear, they are the result.
        terminal: live display; found out from standard error where not given.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        quiet: bool = False,
        *,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Of several processes (torchrun, accelerate launch) the main one talks for all.
        self.mute = os.environ.get("RANK", "0") not in ("", "0")
        self.quiet = quiet or self.mute
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Progress | None = None
        self._tracks = 0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        if terminal is None:
            terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        self.terminal = terminal

    def say(self, text: str) -> None:
        """One line of talk to standard error."""
        self._talk(text, escape(text))

    def markup(self, text: str) -> None:
        """One line of talk in rich's markup; without its colours where no terminal is."""
        self._talk(Text.from_markup(text).plain, text)

    def heading(self, text: str) -> None:
        """A line that opens a part of the run."""
        self._talk(f"\n== {text}", f"\n[bold]{escape(text)}[/bold]")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table to standard output; ``None`` shows as ``-``. Columns of numbers align right."""
        cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
        right = [_numeric([row[i] for row in cells if i < len(row)]) for i in range(len(columns))]
        if self.mute:
            return
        with self._lock:
            if self.terminal and _is_terminal(sys.stdout):
                table = Table(title=escape(title), title_justify="left", title_style="bold")
                for name, to_right in zip(columns, right, strict=True):
                    table.add_column(escape(name), justify="right" if to_right else "left")
                for row in cells:
                    table.add_row(*(escape(cell) for cell in row))
                with suppress(OSError, ValueError, UnicodeError):
                    Console().print(table)
                    return
            _write(sys.stdout, plain_table(title, columns, cells, right))

    @contextmanager
    def track(
        self, total: int | None, description: str, *, unit: str = "steps", done: int = 0
    ) -> Iterator[Tracker]:
        """Progress of ``total`` units of work, ``done`` of which were done by an earlier run.

        ``total=None`` counts without a share or a time left. Tracks may nest.

        >>> reporter = Reporter(quiet=True)
        >>> with reporter.track(3, "general") as track:
        ...     for loss in (3.0, 2.0, 1.0):
        ...         track.advance(note=f"loss {loss:.2f}")
        >>> track.line()
        'general 3/3 steps, 100 % · 0s left · loss 1.00'
        """
        tracker = Tracker(self, total, description, unit, done)
        self._enter(tracker)
        try:
            yield tracker
        finally:
            self._leave(tracker)

    def _talk(self, plain: str, marked: str) -> None:
        if self.quiet:
            return
        with self._lock:
            if self.terminal:
                with suppress(OSError, ValueError, UnicodeError):
                    self._console.print(marked)
                    return
            _write(sys.stderr, plain)

    def _enter(self, tracker: Tracker) -> None:
        if self.quiet or not self.terminal:
            return
        with self._lock, suppress(Exception):  # a display never stops the work
            if self._live is None:
                self._live = _live_display(self._console)
                self._live.start()
            self._tracks += 1
            tracker.task = self._live.add_task(
                tracker.description, total=tracker.total, completed=tracker.done, **tracker.fields()
            )

    def _leave(self, tracker: Tracker) -> None:
        if self.quiet:
            return
        with self._lock:
            if tracker.task is None:
                tracker.print_end()
                return
            with suppress(Exception):
                self._tracks -= 1
                if self._live is not None:
                    self._live.update(
                        tracker.task, completed=tracker.done, **tracker.fields(ended=True)
                    )
                    if self._tracks == 0:
                        self._live.stop()
                        self._live = None

    def _show(self, tracker: Tracker) -> None:
        if self.quiet:
            return
        if tracker.task is None:
            tracker.print_if_due()
        elif self._live is not None:
            with suppress(Exception):
                self._live.update(
                    tracker.task, total=tracker.total, completed=tracker.done, **tracker.fields()
                )


class Tracker:
    """One piece of work under way; made by :meth:`Reporter.track`."""

    def __init__(
        self, reporter: Reporter, total: int | None, description: str, unit: str, done: int
    ) -> None:
        self.total, self.description, self.unit, self.done = total, description, unit, done
        self.note = ""
        self.task: TaskID | None = None
        self._reporter = reporter
        self._clock = reporter._clock
        self._start = self._clock()
        self._recent: deque[tuple[float, int]] = deque([(self._start, done)])
        self._printed = (self._start, done)
        self._lines = 0

    def advance(self, n: int = 1, note: str = "") -> None:
        """``n`` more units are done; ``note`` (say the loss) stays until another comes."""
        with self._reporter._lock:
            self.done += n
            self.note = note or self.note
            now = self._clock()
            self._recent.append((now, self.done))
            while len(self._recent) > 2 and now - self._recent[0][0] > SPEED_WINDOW:
                self._recent.popleft()
            self._reporter._show(self)

    def start_from(self, done: int) -> None:
        """``done`` units were done by an earlier run: they tell nothing of this run's speed."""
        with self._reporter._lock:
            self.done = done
            now = self._clock()
            self._recent = deque([(now, done)])
            self._printed = (now, done)
            self._reporter._show(self)

    def seconds_left(self) -> float | None:
        """Seconds left at the speed of the last minute; None while unknown."""
        if self.total is None:
            return None
        if self.done >= self.total:
            return 0.0
        (t0, n0), (t1, n1) = self._recent[0], self._recent[-1]
        if n1 <= n0 or t1 <= t0:
            return None
        return (self.total - self.done) * (t1 - t0) / (n1 - n0)

    def line(self) -> str:
        """The state as one plain line."""
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        parts = [f"{self.description} {count} {self.unit}"]
        if self.total:
            parts[0] += f", {100 * self.done / self.total:.0f} %"
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        if self.note:
            parts.append(self.note)
        return " · ".join(parts)

    def fields(self, ended: bool = False) -> dict[str, Any]:
        """What the live display shows beside its bar."""
        left = self.seconds_left()
        clock = f"{duration(left)} left" if left is not None else ""
        if ended:
            clock = f"took {duration(self._clock() - self._start)}"
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        share = f"{100 * self.done / self.total:.0f} %" if self.total else ""
        return {"count": f"{count} {self.unit}", "share": share, "left": clock, "note": self.note}

    def print_if_due(self) -> None:
        """A plain line where the last one is long ago or much was done since."""
        now, (then, done) = self._clock(), self._printed
        much = bool(self.total) and (self.done - done) / (self.total or 1) >= LINE_SHARE
        waited = now - then
        ended = self.total is not None and self.done >= self.total  # print_end says that
        if not ended and (waited >= LINE_SECONDS or (much and waited >= LINE_GAP)):
            self._printed = (now, self.done)
            self._lines += 1
            _write(sys.stderr, self.line())

    def print_end(self) -> None:
        """The closing plain line, unless all was over at once."""
        took = self._clock() - self._start
        if self._lines == 0 and took < LINE_GAP:
            return
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        note = f" · {self.note}" if self.note else ""
        text = f"{self.description} {count} {self.unit} · took {duration(took)}{note}"
        _write(sys.stderr, text)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4.4), duration(65), duration(3720), duration(200_000)
    ('4s', '1m05s', '1h02m', '2d07h')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def plain_table(
    title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> str:
    """A table in plain characters, as wide as it needs to be.

    >>> print(plain_table("Size", ["model", "layers"], [["teacher", "12"]], [False, True]))
    Size
    model    layers
    -------  ------
    teacher      12
    """
    rows = [list(columns), *([*row, *[""] * (len(columns) - len(row))] for row in cells)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [title] if title else []
    for row in rows:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _live_display(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        *(TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in _LIVE_FIELDS),
        console=console,
        refresh_per_second=4,
    )


_LIVE_FIELDS = ("count", "share", "left", "note")
_NUMBER = re.compile(
    r"[-+−]?[\d.,\s]*\d(\.\d+)?(e[-+]?\d+)?\s*(%|×|x|k|M|G|ms|s|MB|GB)?(\s*[±].*)?"
)


def _numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers (with or without a unit) and nothing else.

    >>> _numeric(["0.91 ± 0.01", "-", "12 M"]), _numeric(["4x192"]), _numeric(["-"])
    (True, False, False)
    """
    present = [cell for cell in cells if cell not in ("", "-")]
    return bool(present) and all(_NUMBER.fullmatch(cell.strip()) for cell in present)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _write(stream: TextIO, text: str) -> None:
    """Print, whatever the stream's encoding or state."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with suppress(OSError, ValueError, LookupError, AttributeError):
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
