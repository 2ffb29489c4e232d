"""A finished run as its directory keeps it: results, log, labels, and the mapping of layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.export.figures import number, part
from tinybert.mapping import layer_mapping
from tinybert.task_heads import Answering, answering_of

__all__ = ["FinishedRun", "read_run"]

RESULTS_FILE, LOG_FILE = "results.json", "log.jsonl"


@dataclass(frozen=True)
class FinishedRun:
    """What a student's directory says of how it was made.

    Attributes:
        directory: the student's.
        results: what ``results.json`` holds; any field may be missing.
        log: entries of ``log.jsonl``, oldest first; empty where there is none.
        labels: names of the head's outputs; empty for an encoder.
        regression: the head gives one value.
        answering: what the head answers; of an encoder ``rows``.
    """

    directory: Path
    results: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    regression: bool
    answering: Answering = "rows"

    @property
    def name(self) -> str:
        return self.directory.resolve().name

    @property
    def settings(self) -> Mapping[str, Any]:
        return part(self.results, "settings")

    @property
    def has_head(self) -> bool:
        return bool(self.labels)

    @property
    def ranked(self) -> bool:
        """Whether its values were read as an order of each query's passages."""
        return bool(part(self.results, "ranking"))

    @property
    def mapping(self) -> tuple[int, ...]:
        """g(1) … g(M), the teacher's layer of each student layer; empty where it is not told."""
        told = self.results.get("layer_mapping")
        if isinstance(told, list | tuple) and told:
            return tuple(int(layer) for layer in told)
        stages = self.results.get("stages")
        for stage in stages if isinstance(stages, list | tuple) else []:
            pairs = {
                int(term["m"]): int(term["n"])
                for term in stage.get("objective") or []
                if number(term.get("m")) and number(term.get("n"))
            }
            if sorted(pairs) == list(range(1, len(pairs) + 1)) and pairs:
                return tuple(pairs[m] for m in sorted(pairs))
        student, teacher = (
            number(part(self.results, name).get("layers")) for name in ("student", "teacher")
        )
        asked = self.settings.get("layer_mapping")
        if asked is None or not student or not teacher:
            return ()
        try:
            return layer_mapping(asked, int(student), int(teacher))
        except TinybertError:
            return ()


def read_run(directory: str | Path) -> FinishedRun:
    """Read a student's directory.

    Raises:
        TinybertError: it is no finished student's directory, or its ``results.json`` is missing or
            broken.
    """
    directory = Path(directory).expanduser()
    if directory.is_file():
        raise TinybertError(f"{directory} is a file: give the directory of a finished student.")
    whole = directory.resolve()  # "." and "/" have no name of their own
    unfinished = whole.parent / f"{whole.name}.run"
    if not directory.is_dir():
        way = "give the directory of a finished student."
        if unfinished.is_dir():
            way = "its run is not finished: go on with it by the same command and --resume."
        raise TinybertError(f"there is no directory {directory}: {way}")
    results = _results(directory)
    if "columns" in results:
        raise _of_many(directory, "reproduce" if "systems" in results else "glue")
    if "tasks" in results:
        raise TinybertError(
            f"{directory} holds one student of several tasks (`tinybert multitask`): give the "
            f"directory of one, such as {directory / str(next(iter(results['tasks']), 'TASK'))}."
        )
    if not (directory / "config.json").is_file():
        raise TinybertError(
            f"{directory} is no student directory: it has no config.json; give the directory that "
            "`tinybert distill`, `general`, `finetune` or `demo` wrote."
        )
    if not part(results, "student"):
        raise TinybertError(
            f"{directory / RESULTS_FILE} tells of no student: it was not written by `tinybert "
            "distill`, `general`, `finetune` or `demo`."
        )
    labels, regression, answering = _head(directory)
    return FinishedRun(directory, results, _log(directory), labels, regression, answering)


def _of_many(directory: Path, verb: str) -> TinybertError:
    runs = sorted(p.parent for p in directory.glob("*/*/results.json") if "teacher" not in str(p))
    such = f", such as {runs[0]}" if runs else ""
    return TinybertError(
        f"{directory} is a table of many runs (`tinybert {verb}`): give the directory of one "
        f"student{such}."
    )


def _results(directory: Path) -> Mapping[str, Any]:
    file = directory / RESULTS_FILE
    try:
        results = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise TinybertError(
            f"{directory} has no {RESULTS_FILE}: give the directory of a finished student, as "
            "`tinybert distill` leaves it."
        ) from None
    except ValueError as error:
        raise TinybertError(
            f"{file} is no JSON ({error}): make the run again, or bring the file back."
        ) from None
    if not isinstance(results, dict):
        raise TinybertError(f"{file} holds no object: bring the file back that the run wrote.")
    return results


def _log(directory: Path) -> tuple[Mapping[str, Any], ...]:
    """The log's entries; what is no entry is passed over, as the log is no more than a curve."""
    entries = []
    try:
        lines = (directory / LOG_FILE).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return ()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "stage" in entry and number(entry.get("step")) is not None:
            entries.append(entry)
    return tuple(entries)


def _head(directory: Path) -> tuple[tuple[str, ...], bool, Answering]:
    """Names of the head's outputs, whether it gives one value, and what it answers."""
    file = directory / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
        named: Mapping[str, Any] = config.get("id2label") or {}
        names = tuple(str(named[key]) for key in sorted(named, key=int))
        classes = [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError) as error:
        raise TinybertError(
            f"{file} cannot be read ({error}): give the directory of a finished student."
        ) from None
    answering = answering_of(classes, config.get("problem_type"))
    if answering is None:
        return (), False, "rows"
    if answering != "rows":
        return names or ("0", "1"), False, answering
    regression = config.get("problem_type") == "regression" or len(names) == 1
    return names or ("0", "1"), regression, answering
