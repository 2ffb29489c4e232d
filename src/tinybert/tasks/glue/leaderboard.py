"""Predictions in the format of GLUE's leaderboard: one file a test set, ``index`` and answer.

A submission is a zip of all of them; :data:`tinybert.tasks.glue.facts.GLUE` knows their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinybert.errors import TinybertError
from tinybert.outputs import check_output, whole_directory, whole_file
from tinybert.tasks.glue.facts import DIAGNOSTIC, GlueTask, find_glue_task

__all__ = ["check_leaderboard", "submission_files", "write_leaderboard"]

LOWEST, HIGHEST = 0.0, 5.0
"""Range of STS-B's values; the leaderboard takes no others."""


def submission_files(name: str) -> dict[str, str]:
    """Part → file name of a task's submission.

    >>> submission_files("mnli")
    {'matched': 'MNLI-m.tsv', 'mismatched': 'MNLI-mm.tsv', 'diagnostic': 'AX.tsv'}
    """
    task = find_glue_task(name)
    parts = (*task.tests, DIAGNOSTIC) if task.name == "mnli" else task.tests
    return {part.name: part.submission for part in parts}


def check_leaderboard(name: str, directory: str | Path, overwrite: bool = False) -> Path:
    """Check, before any work, that the files of a task can be written into ``directory``.

    It may exist and hold files of other tasks. Returns its absolute path.

    Raises:
        TinybertError: it is a file, may not be written, or holds files of this task already and
            ``overwrite`` is off.
    """
    path = Path(directory).expanduser().resolve()
    if not path.is_dir():
        return check_output(path)
    there = [file for file in submission_files(name).values() if (path / file).exists()]
    if there and not overwrite:
        raise TinybertError(
            f"{path} holds {', '.join(there)} already: choose another directory, or replace them "
            "with --overwrite"
        )
    return path


def write_leaderboard(
    name: str,
    predictions: Mapping[str, ArrayLike],
    directory: str | Path,
    *,
    index: Mapping[str, ArrayLike] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a task's part of a submission.

    Each file has the header ``index`` and ``prediction``, tab-separated, then a line a row in
    ascending order of the index: the label's name (MNLI, QNLI, RTE and the diagnostic set), its
    number (CoLA, SST-2, MRPC, QQP, WNLI), or a value cut to 0 … 5 with three digits (STS-B).

    Args:
        name: of the task.
        predictions: part (``test``; ``matched``, ``mismatched``, ``diagnostic``) → ``(rows,)``
            class numbers in the order of the task's label names, or values.
        directory: where to; made where it is missing.
        index: part → ``(rows,)`` distinct numbers of the rows; by default 0, 1, 2, …
        overwrite: replace files of this task that are there already.

    Returns:
        The files written, in the order of ``predictions``.

    Raises:
        TinybertError: as :func:`check_leaderboard`; values that are not finite; full disk.
        ValueError: an unknown part, no such class, or an index that does not fit.
    """
    task, files = find_glue_task(name), submission_files(name)
    directory = check_leaderboard(name, directory, overwrite)
    texts: dict[str, str] = {}
    for part, outputs in predictions.items():
        if part not in files:
            raise ValueError(f"{task.title} has no part '{part}', only {', '.join(files)}")
        answers = np.asarray(outputs)
        if answers.ndim != 1:
            raise ValueError(f"predictions are one number a row, not {answers.shape}")
        numbers = np.arange(len(answers)) if index is None else np.asarray(index[part])
        if numbers.shape != answers.shape or len(np.unique(numbers)) < len(numbers):
            raise ValueError(f"{part}: the index should have one number of its own for each row")
        texts[files[part]] = _text(task, answers, numbers)
    if not directory.is_dir():
        with whole_directory(directory) as partial:
            for file, text in texts.items():
                (partial / file).write_text(text, encoding="utf-8", newline="\n")
    else:
        with ExitStack() as all_written:  # none takes its name before every one is written
            for file, text in texts.items():
                path = all_written.enter_context(whole_file(directory / file))
                path.write_text(text, encoding="utf-8", newline="\n")
    return [directory / file for file in texts]


def _text(task: GlueTask, answers: NDArray[np.generic], index: NDArray[np.generic]) -> str:
    words = [_value(value) for value in answers.tolist()] if not task.label_names else []
    if task.label_names:
        if answers.dtype.kind not in "iu":
            raise ValueError(f"predictions of classes are whole numbers, not {answers.dtype}")
        classes = len(task.label_names)
        if len(answers) and not (answers.min() >= 0 and answers.max() < classes):
            raise ValueError(f"{task.title} has classes 0 … {classes - 1}")
        names = task.label_names if task.words else [str(number) for number in range(classes)]
        words = [names[number] for number in answers.tolist()]
    lines = [f"{int(index[place])}\t{words[place]}" for place in np.argsort(index, kind="stable")]
    return "\n".join(["index\tprediction", *lines]) + "\n"


def _value(value: float) -> str:
    """Within GLUE's range, three digits.

    >>> _value(5.2), _value(-0.3), _value(2.71828)
    ('5.000', '0.000', '2.718')
    """
    if not np.isfinite(value):
        raise TinybertError(
            "the model's outputs contain NaN or infinity: train again with a lower learning rate "
            "or in float32"
        )
    return f"{min(max(LOWEST, value), HIGHEST):.3f}"  # in this order -0.0 becomes 0.0
