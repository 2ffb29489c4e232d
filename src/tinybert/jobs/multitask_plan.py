"""What is asked of each of several tasks, and whether their teachers can have one student."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from tinybert.errors import TinybertError
from tinybert.jobs.common import required
from tinybert.settings import DistillSettings, MultitaskSettings
from tinybert.settings.kinds import own_task, row_task, word_task
from tinybert.students import shape_of
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.teachers import has_head, load_tokenizer, tokenizer_print

__all__ = ["PER_TASK", "about", "check_teachers", "own_settings", "task_names"]

PER_TASK = (
    *("teacher", "data", "dev", "test", "kind"),
    *("text", "label", "labels", "teacher_labels", "metric"),
)
"""Settings that a task may have of its own."""

_NAME = re.compile(r"\w[\w.-]*")
_NAMED = re.compile(r"(\w[\w.-]*)=(.*)", re.S)


@contextmanager
def about(task: str) -> Iterator[None]:
    """Let errors say which of several tasks they are about."""
    try:
        yield
    except TinybertError as error:
        said = str(error).replace("--task ", f"--kind {task}=")  # what one task's verbs call it
        raise TinybertError(f"{task}: {said}") from error


def task_names(settings: MultitaskSettings) -> list[str]:
    """The names of the tasks.

    Raises:
        TinybertError: there are none, one is there twice, or is no name for a directory.
    """
    names = [str(name) for name in required(settings.tasks, "--tasks", "the list of tasks")]
    for name in names:
        if not _NAME.fullmatch(name):
            raise TinybertError(
                f"--tasks: '{name}' cannot be a directory's name: take letters, digits, -, _ and "
                "dots, beginning with a letter or digit."
            )
        if (Path(name).suffix or name) in (".json", ".jsonl", "tensorboard"):
            raise TinybertError(f"--tasks: '{name}' is a file of the output: take another name.")
    folded = [name.casefold() for name in names]  # some disks do not tell cases apart
    if twice := [name for name in names if folded.count(name.casefold()) > 1]:
        raise TinybertError(f"--tasks names {twice[0]} twice: name each task once.")
    return names


def own_settings(settings: MultitaskSettings, names: Sequence[str]) -> list[DistillSettings]:
    """What ``tinybert distill`` would be told for each task alone.

    Raises:
        TinybertError: a place is the same for all tasks, a task is of no known kind, and the like.
    """
    required(settings.teacher, "--teacher", "a teacher for each task")
    required(settings.output, "--output", "the output directory")
    found = {name: _values(name, getattr(settings, name), names) for name in PER_TASK}
    own = [_own(settings, task, {k: found[k][task] for k in PER_TASK}) for task in names]
    _check_teachers_differ([str(each.teacher) for each in own], names)
    _check_rows_differ(own, names)
    return own


def _values(name: str, given: Sequence[str], tasks: Sequence[str]) -> dict[str, str | None]:
    """Task → what a setting says of it."""
    flag = f"--{name.replace('_', '-')}"
    plain: list[str] = []
    single: dict[str, str] = {}
    for text in map(str, given):
        match = _NAMED.fullmatch(text)
        if match is None:
            plain.append(text)
        elif match[1] in tasks:
            if match[1] in single:
                raise TinybertError(f"{flag} says two things of {match[1]}: say one.")
            single[match[1]] = match[2]
        else:
            near = difflib.get_close_matches(match[1], tasks, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(tasks)}."
            raise TinybertError(f"{flag} {text}: --tasks names no {match[1]}; {hint}")
    if len(plain) > 1:
        raise TinybertError(
            f"{flag} {' '.join(plain)}: give one for all tasks, with {{task}} where their names "
            "stand in it, and NAME=VALUE for single ones."
        )
    common = plain[0] if plain else None
    return {
        task: single.get(task, None if common is None else common.replace("{task}", task))
        for task in tasks
    }


def _own(settings: MultitaskSettings, task: str, asked: dict[str, str | None]) -> DistillSettings:
    assert settings.output is not None
    if asked["teacher"] is None:
        raise TinybertError(f"{task} has no teacher: give it with --teacher {task}=MODEL.")
    named = any(text.startswith(f"{task}=") for text in settings.data)
    pattern = any("{task}" in text and not _NAMED.fullmatch(text) for text in settings.data)
    file = asked["data"] is not None and Path(asked["data"]).expanduser().is_file()
    kind = asked.pop("kind") or ("auto" if named or pattern or file else task)
    _check_kind(task, kind, asked["data"])
    if own_task(kind) and asked["data"] is None:
        raise TinybertError(f"{task} has no data: give its rows with --data {task}=FILE.")
    shared = {field.name for field in fields(MultitaskSettings)} - {*PER_TASK, "output"}
    values: dict[str, Any] = {
        field.name: getattr(settings, field.name)
        for field in fields(DistillSettings)
        if field.name in shared
    }
    return DistillSettings(**values | asked, task=kind, output=settings.output / task)


def _check_kind(task: str, kind: str, place: str | None) -> None:
    if word_task(kind) is not None or row_task(kind) == "ranking":
        raise TinybertError(
            f"{task} is to be {kind}, and tasks that share a student are classification, "
            "regression or multi-label: distil it alone, with `tinybert distill`."
        )
    if own_task(kind):
        return
    try:
        find_glue_task(kind)
    except TinybertError as error:
        if kind != task:
            raise TinybertError(
                f"{task}: --kind is classification, regression, multi-label or a task of GLUE; "
                f"{error}"
            ) from None
        where = "there is no --data" if place is None else f"--data {place} is no file"
        raise TinybertError(
            f"{where}, and {task} is no task of GLUE: give a file, {{task}} where the names stand "
            f"in the places, or --data {task}=PLACE."
        ) from None


def _check_teachers_differ(paths: Sequence[str], tasks: Sequence[str]) -> None:
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise TinybertError(
                f"--teacher {path} is that of {tasks[paths.index(path)]} and of {tasks[place]}: "
                "write {task} where their names stand in it, or NAME=MODEL for each."
            )


def _check_rows_differ(own: Sequence[DistillSettings], tasks: Sequence[str]) -> None:
    """Two tasks may ask several columns of one file, but not the same one."""
    seen: dict[tuple[str | None, str | None], str] = {}
    for task, settings in zip(tasks, own, strict=True):
        if not own_task(settings.task):
            continue
        if (first := seen.get((settings.data, settings.label))) is not None:
            raise TinybertError(
                f"--data {settings.data} is that of {first} and of {task}: write {{task}} where "
                "their names stand in it, or name each task's label column with --label "
                "NAME=COLUMN."
            )
        seen[settings.data, settings.label] = task


def check_teachers(own: Sequence[DistillSettings], names: Sequence[str]) -> None:
    """Fail on a teacher without a head, or on two that one student cannot learn from."""
    first: tuple[str, str] | None = None
    for task, settings in zip(names, own, strict=True):
        path = str(settings.teacher)
        with about(task):
            if not has_head(path):
                raise TinybertError(
                    f"{path} is an encoder without a task head: fine-tune it with `tinybert "
                    "finetune` first."
                )
            shape = _shape(path)
            tokens = tokenizer_print(load_tokenizer(path))
            if first is None:
                first = shape, tokens
        if shape != first[0]:
            raise TinybertError(
                f"the teachers of {names[0]} and {task} differ in shape ({first[0]} and {shape}): "
                "one student learns the states of all, so fine-tune all from one encoder."
            )
        if tokens != first[1]:
            raise TinybertError(
                f"the teachers of {names[0]} and {task} cut text into different tokens: teachers "
                "of one student need one tokenizer, so fine-tune all from one encoder."
            )


def _shape(path: str) -> str:
    config = AutoConfig.from_pretrained(path)
    return f"{config.model_type} {shape_of(config)}, {config.vocab_size} pieces"
