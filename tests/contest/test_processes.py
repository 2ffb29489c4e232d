"""Processes: fresh, in turns, gone in the end; one sentence from each that fails."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import forms, tiny
from tinybert.contest import worker
from tinybert.contest.processes import Contestant, Entry, measure, running
from tinybert.contest.workloads import Feed, Workload, fixed_feeds, write_feeds
from tinybert.errors import TinybertError
from tinybert.progress import Reporter

QUIET = Reporter(quiet=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("processes") / "model"
    return str(forms.add_onnx(tiny.saved_classifier(directory)))


def feeds() -> list[Sequence[Feed]]:
    small = fixed_feeds(Workload(1, 6), tiny.VOCABULARY)
    return [small, [*small, *fixed_feeds(Workload(2, 9), tiny.VOCABULARY)]]


class Answers:
    """A runtime that notes the batches it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, inputs: Feed) -> Any:
        self.seen.append(inputs["input_ids"].shape)


def test_a_turn_warms_up_and_times_the_rest() -> None:
    one, several = feeds()
    runtime: Any = Answers()
    assert len(worker.turn(runtime, one)) == worker.PASSES_A_TURN
    assert runtime.seen == [(1, 6)] * (worker.PASSES_A_TURN + 1)
    runtime.seen.clear()
    seconds = worker.turn(runtime, several)
    assert runtime.seen == [(1, 6), (1, 6), (2, 9)]
    assert len(seconds) == 2
    assert min(seconds) >= 0


def test_processes_of_their_own(model: str) -> None:
    entries = [Entry("a", model, "pytorch-float32"), Entry("a", model, "onnx-int8")]
    with running(entries, [feeds(), feeds()], 1, QUIET) as contestants:
        measure(contestants, ["one", "two"], 3, QUIET)
        pids = {one.process.pid for one in contestants}
        assert len(pids | {os.getpid()}) == 3
    plain, int8 = contestants
    assert plain.loaded["torch"]
    assert not int8.loaded["torch"]
    assert int8.loaded["size"] == Path(int8.loaded["path"]).stat().st_size
    for one in contestants:
        assert [len(one.seconds[0]), len(one.seconds[1])] == [3, 3]
        assert {len(passes) for passes in one.seconds[0]} == {worker.PASSES_A_TURN}
        assert all(second > 0 for passes in one.seconds[1] for second in passes)
        assert one.process.poll() is not None
    if Path("/proc/self/status").exists():
        assert plain.peak >= plain.loaded["resident"] > 1e7
        assert int8.peak < plain.peak  # no torch in it


def test_everyone_takes_every_place() -> None:
    order: list[str] = []

    class Noted(Contestant):
        def ask(self, workload: int) -> list[float]:
            order.append(self.entry.name)
            return [1.0]

    contestants = [Noted(Entry(name, "", ""), None, None) for name in "abc"]  # type: ignore[arg-type]
    measure(contestants, ["one"], 4, QUIET)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"


def test_a_process_that_cannot_load(model: str, tmp_path: Path) -> None:
    entries = [Entry("a", model, "onnx-int8"), Entry("b", str(tmp_path / "none"), "onnx-int8")]
    with (
        pytest.raises(TinybertError, match="there is no model directory"),
        running(entries, [feeds(), feeds()], 1, QUIET),
    ):
        raise AssertionError("it began")


def test_a_process_that_is_killed(model: str) -> None:
    entry = Entry("a", model, "onnx-int8")
    with running([entry], [feeds()], 1, QUIET) as (one,):
        os.kill(one.process.pid, signal.SIGKILL)
        with pytest.raises(TinybertError, match=r"a as onnx-int8 ended \(signal 9\): leave it out"):
            measure([one], ["one"], 1, QUIET)


def test_an_engine_that_fails(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "feeds.npz"
    write_feeds(file, [[{"input_ids": np.array([[10_000]]), "attention_mask": np.array([[1]])}]])
    talk = worker.converse(model, "onnx-float32", 1, file, iter([json.dumps({"workload": 0})]))
    assert next(talk)["size"] > 0
    assert "cannot be run (" in next(talk)["error"]

    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(worker, "turn", full)
    talk = worker.converse(model, "onnx-float32", 1, file, iter([json.dumps({"workload": 0})]))
    next(talk)
    assert "does not fit into memory" in next(talk)["error"]


def test_memory_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    found = worker.memory()
    assert found["resident"] is None
    assert found["peak"] is None or found["peak"] > 1e7
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Name:\tworker\nVmRSS:\t   2 kB\n")
    found = worker.memory()
    assert found["resident"] == 2048
    assert found["peak"] is None or found["peak"] > 1e7
