"""What a run says: plain lines in logs, a live line on terminals, tables on standard output."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.progress import Reporter, duration


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plain(clock: Clock | None = None, quiet: bool = False) -> Reporter:
    return Reporter(quiet, terminal=False, clock=clock or Clock())


def test_talk_goes_to_stderr_and_tables_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = plain()
    reporter.heading("General distillation")
    reporter.say("teacher [bold] 6x384")
    reporter.table("Result", ["model", "accuracy"], [["teacher", "0.91"], ["student", None]])
    captured = capsys.readouterr()
    assert captured.err == "\n== General distillation\nteacher [bold] 6x384\n"
    assert captured.out.splitlines() == [
        "Result",
        "model    accuracy",
        "-------  --------",
        "teacher      0.91",
        "student         -",
    ]


def test_quiet_leaves_only_tables(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = plain(clock, quiet=True)
    reporter.say("text")
    reporter.heading("text")
    with reporter.track(2, "work") as track:
        clock.now += 100
        track.advance()
    reporter.table("T", ["a"], [[1]])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "T" in captured.out


def test_line_every_fifteen_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with plain(clock).track(900, "general") as track:
        for step in range(60):
            clock.now += 0.5
            track.advance(note=f"loss {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "general 30/900 steps, 3 % · 7m15s left · loss 29",
        "general 60/900 steps, 7 % · 7m00s left · loss 59",
        "general 60/900 steps · took 30s · loss 59",
    ]


def test_line_every_ten_percent(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with plain(clock).track(20, "eval", unit="batches") as track:
        for _ in range(20):
            clock.now += 1
            track.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "eval 2/20 batches, 10 % · 18s left"
    assert len(lines) == 10
    assert lines[-1] == "eval 20/20 batches · took 20s"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with plain(clock).track(1000, "eval") as track:
        for _ in range(1000):
            clock.now += 0.0005
            track.advance()
    assert capsys.readouterr().err == ""


def test_resumed_work_counts_only_its_own_speed() -> None:
    clock = Clock()
    with plain(clock, quiet=True).track(100, "general", done=90) as track:
        assert track.seconds_left() is None
        clock.now += 10
        track.advance()
        assert track.seconds_left() == pytest.approx(90)


def test_resumed_work_that_says_so_late() -> None:
    clock = Clock()
    with plain(clock, quiet=True).track(100, "general") as track:
        clock.now += 30  # loading the checkpoint
        track.start_from(90)
        assert track.seconds_left() is None
        clock.now += 10
        track.advance()
        assert track.seconds_left() == pytest.approx(90)


def test_time_left_follows_the_recent_speed() -> None:
    clock = Clock()
    with plain(clock, quiet=True).track(1000, "general") as track:
        clock.now += 500  # a slow first step, as when a model is compiled
        track.advance()
        for _ in range(200):
            clock.now += 1
            track.advance()
        assert track.seconds_left() == pytest.approx(1000 - 201, rel=0.05)


def test_unknown_and_empty_totals() -> None:
    clock = Clock()
    with plain(clock, quiet=True).track(None, "read", unit="rows") as track:
        clock.now += 1
        track.advance(5)
        assert track.line() == "read 5 rows"
    with plain(clock).track(0, "nothing") as track:
        assert track.seconds_left() == 0
        assert track.line() == "nothing 0/0 steps · 0s left"


def test_error_inside_passes_through() -> None:
    def work(terminal: bool) -> None:
        with Reporter(terminal=terminal).track(3, "work"):
            raise KeyError("x")

    for terminal in (False, True):
        with pytest.raises(KeyError):
            work(terminal)


def test_live_display_and_nested_tracks(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reporter = Reporter(terminal=True, clock=clock)
    with reporter.track(2, "outer [x]") as outer:
        with reporter.track(4, "inner", unit="batches") as inner:
            clock.now += 2
            inner.advance(4, note="loss [1]")
        reporter.say("between [bold]")
        reporter.heading("part")
        outer.advance()
    assert reporter._live is None
    reporter.table("T", ["a"], [[1]])
    captured = capsys.readouterr()
    for text in ("outer [x]", "inner", "4/4 batches", "loss [1]", "between [bold]", "part"):
        assert text in captured.err
    assert "T" in captured.out


def test_table_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinybert.progress._is_terminal", lambda _: True)
    Reporter(terminal=True).table("Result [x]", ["model", "score"], [["a [b]", 0.5], ["c", None]])
    out = capsys.readouterr().out
    for text in ("Result [x]", "model", "a [b]", "0.5"):
        assert text in out


class Broken(io.TextIOBase):
    def write(self, _: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        raise ValueError("closed")


@pytest.mark.parametrize("terminal", [False, True])
def test_broken_streams_never_stop_the_work(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    monkeypatch.setattr(sys, "stdout", Broken())
    clock = Clock()
    reporter = Reporter(terminal=terminal, clock=clock)
    reporter.say("a")
    reporter.table("t", ["c"], [["x"]])
    with reporter.track(2, "work") as track:
        clock.now += 20
        track.advance()
    assert track.done == 1


def test_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    plain().say("λ · 1")
    assert raw.getvalue() == b"? ? 1\n"


def test_many_threads_lose_no_step() -> None:
    reporter = plain(quiet=True)
    with reporter.track(4000, "work") as track:
        threads = [
            threading.Thread(target=lambda: [track.advance() for _ in range(1000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert track.done == 4000


@given(st.floats(min_value=0, max_value=1e7))
def test_duration_is_short_and_never_sixty(seconds: float) -> None:
    text = duration(seconds)
    assert len(text) <= 7
    assert "60" not in text or seconds > 86_400 * 60


@pytest.mark.parametrize(("rank", "heard"), [("", True), ("0", True), ("1", False), ("7", False)])
def test_of_several_processes_the_main_one_is_heard(
    rank: str, heard: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    reporter = Reporter()
    reporter.say("talk")
    reporter.table("table", ["a"], [["1"]])
    with reporter.track(1, "track") as track:
        track.advance()
    out, err = capsys.readouterr()
    assert ("table" in out, "talk" in err) == (heard, heard)
