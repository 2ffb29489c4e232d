"""When a stage is evaluated and saved."""

from __future__ import annotations

import dataclasses
import types

import pytest

from tinybert import schedule as module
from tinybert.schedule import Due, Schedule


def walk(schedule: Schedule, total: int, per_epoch: int = 10, agreed=lambda wish: wish):
    """Steps at which ``Due`` evaluates, and at which it saves."""
    due = Due(schedule, per_epoch, total, True, agreed)
    due.on_train_begin(None, None, None)
    evaluated, saved = [], []
    for step in range(1, total + 1):
        control = types.SimpleNamespace(should_log=False, should_evaluate=False, should_save=False)
        due.on_step_end(None, types.SimpleNamespace(global_step=step), control)
        if control.should_evaluate:
            evaluated.append(step)
        if control.should_save:
            saved.append(step)
            due.on_save(None, None, control)
    return evaluated, saved


def test_evaluations_an_epoch() -> None:
    assert walk(Schedule(evaluations=2, checkpoints=1), 25)[0] == [5, 10, 15, 20, 25]


@pytest.mark.parametrize("total", [3, 7, 40, 101])
def test_evaluations_over_the_whole_stage(total: int) -> None:
    evaluated, _ = walk(Schedule(evaluations_in_all=5), total, per_epoch=1000)
    assert evaluated[-1] == total
    assert min(total, 5) / 2 < len(evaluated) <= 5


def test_no_evaluations_but_the_last() -> None:
    assert walk(Schedule(evaluations=0), 12)[0] == [12]


def test_checkpoints_by_steps_leave_out_the_last() -> None:
    assert walk(Schedule(checkpoints=2), 20)[1] == [5, 10, 15]


def test_checkpoints_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 7))  # every look at the clock is seven seconds later
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(now)))
    _, saved = walk(Schedule(checkpoints=0, checkpoint_seconds=20), 12)
    assert saved == [3, 6, 9]


def test_the_main_process_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes: list[bool] = []

    def agreed(wish: bool) -> bool:
        wishes.append(wish)
        return len(wishes) == 2

    _, saved = walk(Schedule(checkpoints=0, checkpoint_seconds=1e9), 5, agreed=agreed)
    assert (saved, wishes) == ([2], [False] * 4)  # the last step asks nobody


def test_steps_follow_from_epochs() -> None:
    schedule = Schedule(epochs=2.5, batch_size=4)
    assert schedule.total_steps(10) == 8
    assert dataclasses.replace(schedule, steps=3).total_steps(10) == 3
