"""Answer rows: to a file of predictions, or to the files of GLUE's leaderboard."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import predict, scores_of
from tinybert.jobs.common import required
from tinybert.jobs.row_tasks import as_asked, read_for, scores_on
from tinybert.jobs.word_tasks import read_answered, word_tokens
from tinybert.measure.latency import check_length
from tinybert.outputs import whole_file
from tinybert.progress import Reporter
from tinybert.settings import EvaluateSettings, ExportSettings, PredictSettings, RowSettings
from tinybert.task_heads import HEADS, Answering
from tinybert.tasks.glue.facts import GlueTask, find_glue_task
from tinybert.tasks.glue.leaderboard import check_leaderboard, submission_files, write_leaderboard
from tinybert.tasks.glue.reader import HUB_NAME, read_glue_test
from tinybert.tasks.reading.columns import choose_columns
from tinybert.tasks.reading.rows import read_part
from tinybert.tasks.reading.sources import PartName, open_source
from tinybert.tasks.sets import set_columns
from tinybert.tasks.task import Rows, Task
from tinybert.teachers import (
    aligned_labels,
    check_head,
    has_head,
    head_labels,
    head_of,
    load_encoder,
    load_tokenizer,
)

__all__ = [
    "check_glue_flags",
    "check_outputs",
    "glue_outputs",
    "load_for_words",
    "load_with_head",
    "run_predict",
]

Columns = Mapping[str, NDArray[Any]]


def run_predict(settings: PredictSettings, reporter: Reporter) -> dict[str, Any]:
    """Write the predictions; returns the model, the files written, and the number of rows in each.

    Where a label column is named, also the scores on it.
    """
    settings = as_asked(settings)
    path = required(settings.model, "--model", "the model")
    output = Path(required(settings.output, "--output", "the output"))
    if settings.task is not None:
        return _answer_glue(settings.settled(questions=False), path, output, reporter)
    required(settings.data, "--data", "the file of rows")
    if (answering := head_of(path)) in ("tokens", "spans"):
        return _answer_words(settings, path, answering, output, reporter)
    settings = settings.settled(questions=False)
    if settings.metric is not None and settings.label is None:
        raise TinybertError("--metric scores against labels: name their column with --label.")
    write = _writer(output, settings.overwrite)
    model, tokenizer, names = load_with_head(path, settings.max_length)
    rows, task = _read(settings, names, answering, reporter)
    logits = _logits(model, tokenizer, rows, settings.max_length, reporter)
    columns = _columns(logits, names, answering)
    results: dict[str, Any] = {"model": path, "files": {str(output): len(rows)}}
    if rows.labels is not None and task is not None:
        results["scores"] = scores_on(task, rows, logits[:, outputs_of(names, task)])
    with whole_file(output) as partial:
        write(partial, columns)
    _show(results, columns, reporter)
    return results


def load_with_head(
    path: str, max_length: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, tuple[str, ...]]:
    """A model with its own head, its tokenizer, and its label names (one for regression).

    Raises:
        TinybertError: no such model, no head, or rows of ``max_length`` tokens are too long for it.
    """
    tokenizer = load_tokenizer(path)
    if not has_head(path):
        raise TinybertError(f"{path} has no task head: give a fine-tuned or distilled model.")
    answering: Answering = "sets" if head_of(path) == "sets" else "rows"
    check_head(path, answering)
    names = head_labels(path)
    regression = answering == "rows" and len(names) == 1
    model = load_encoder(path, labels=names, regression=regression, answering=answering)
    check_length(model, max_length)
    return model, tokenizer, names


def load_for_words(
    path: str, settings: EvaluateSettings | ExportSettings | PredictSettings, answering: Answering
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, tuple[str, ...], int]:
    """A model that answers in words, its tokenizer, its label names, and tokens a row.

    Raises:
        TinybertError: no such model, no such head, or rows of that many tokens are too long.
    """
    tokenizer = load_tokenizer(path)
    if not has_head(path):
        raise TinybertError(f"{path} has no task head: give a fine-tuned or distilled model.")
    check_head(path, answering)
    names = head_labels(path)
    model = load_encoder(path, labels=names, answering=answering)
    length = settings.settled(questions=answering == "spans").max_length
    check_length(model, length)
    return model, tokenizer, names, length


def _answer_words(
    settings: PredictSettings,
    path: str,
    answering: Answering,
    output: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write an object a line: the tags of a sentence's words, or a question's answer."""
    if settings.metric is not None and settings.label is None:
        raise TinybertError("--metric scores against labels: name their column with --label.")
    _writer(output, settings.overwrite)
    if output.suffix.lower() != ".jsonl":
        raise TinybertError(
            f"--output {output}: {HEADS[answering].called} gives more than a value a row: "
            "give a file that ends in .jsonl."
        )
    model, tokenizer, names, length = load_for_words(path, settings, answering)
    task, rows = read_answered(settings, names, answering, reporter, guess_label=False)
    tokens = word_tokens(tokenizer, rows, task, length, settings, None, reporter, "answered")
    cast(nn.Module, model).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    with reporter.track(len(tokens), "predicting rows", unit="rows") as progress:
        outputs = predict(model, tokens, advance=progress.advance)
    assert tokens.asked is not None
    assert tokens.reading is not None
    if not np.isfinite(outputs[tokens.asked]).all():
        raise TinybertError(
            "the model's outputs contain NaN or infinity: train it again with a lower learning "
            "rate or in float32."
        )
    answers = tokens.reading.answered(outputs)
    results: dict[str, Any] = {"model": path, "files": {str(output): len(answers)}}
    if tokens.labels is not None and settings.label is not None:
        results["scores"] = scores_of(task.metric, outputs, tokens)
    with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for answer in answers:
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")
    _show(results, {}, reporter)
    return results


def outputs_of(names: Sequence[str], task: Task) -> list[int]:
    """For each class of rows that were read for a model, which of the model's outputs it is."""
    return [list(names).index(name) for name in task.label_names] or [0]


def _read(
    settings: PredictSettings,
    names: tuple[str, ...],
    answering: Answering | None,
    reporter: Reporter,
) -> tuple[Rows, Task | None]:
    """The rows to answer, with labels and their task only where a label column is named."""
    data = str(settings.data)
    if settings.label is not None:
        task, rows = read_for(settings, names, answering or "rows", reporter)
        return rows, task
    source = open_source(data, reporter)
    order: tuple[PartName, ...] = ("test", "dev", "train")
    part = source.whole or next(source.parts[name] for name in order if name in source.parts)
    columns = choose_columns(part, settings.text, None, [])
    reporter.say(f"answered: {part.name}, text {' and '.join(columns.text)}")
    table = read_part(part, replace(columns, label=None), "rows", reporter)
    return Rows(table.texts, None), None


def _answer_glue(
    settings: PredictSettings, path: str, output: Path, reporter: Reporter
) -> dict[str, Any]:
    task = find_glue_task(cast(str, settings.task))
    check_glue_flags(settings)
    check_leaderboard(task.name, output, settings.overwrite)
    model, tokenizer, names = load_with_head(path, settings.max_length)
    order = glue_outputs(task, names)
    parts = read_glue_test(task.name, settings.data or HUB_NAME, reporter=reporter)
    files = submission_files(task.name)
    if absent := [files[part] for part in files if part not in parts]:
        reporter.say(f"GLUE's diagnostic set is not there: {', '.join(absent)} is not written")
    predictions: dict[str, NDArray[Any]] = {}
    for part, its in parts.items():
        logits = _logits(model, tokenizer, its.rows, settings.max_length, reporter, part)
        predictions[part] = logits[:, order].argmax(axis=1) if task.label_names else logits[:, 0]
    index = {part: its.index for part, its in parts.items()}
    written = write_leaderboard(
        task.name, predictions, output, index=index, overwrite=settings.overwrite
    )
    counts = [len(its) for its in predictions.values()]
    results = {
        "model": path,
        "files": {str(file): count for file, count in zip(written, counts, strict=True)},
    }
    _show(results, {}, reporter)
    return results


def check_glue_flags(settings: RowSettings) -> None:
    """Refuse what says how to read and score data of one's own: GLUE's tasks settle it."""
    own = {"--text": settings.text, "--label": settings.label, "--metric": settings.metric}
    for flag, value in own.items():
        if value is not None:
            raise TinybertError(f"{flag} is for data of one's own: leave it out with --task.")


def check_outputs(task: GlueTask, names: Sequence[str], whose: str = "the model") -> None:
    """Fail on a model that gives another number of outputs than the task asks for."""
    wanted = max(1, len(task.label_names))
    if len(names) != wanted:
        asked, given = ("one value" if n == 1 else f"{n} classes" for n in (wanted, len(names)))
        raise TinybertError(
            f"{task.title} asks for {asked} and {whose} gives {given}: give a model of this task."
        )


def glue_outputs(task: GlueTask, names: Sequence[str], whose: str = "the model") -> list[int]:
    """For each class of a GLUE task the output that stands for it; the only one for STS-B.

    Label names may differ from GLUE's in case, spaces and hyphens; where the official files number
    the classes, their numbers will do.

    Args:
        task: what is asked.
        names: of the outputs, in their order.
        whose: names the model in errors.

    Raises:
        TinybertError: another number of outputs, or names that are not the task's.
    """
    check_outputs(task, names, whose)
    if len(names) == 1:
        return [0]
    numbers = [str(number) for number in range(len(task.label_names))]
    if sorted(names) == numbers and not task.words:
        return aligned_labels(names, numbers)  # GLUE's files know these classes by number
    try:
        return aligned_labels([re.sub(r"[\s-]+", "_", name) for name in names], task.label_names)
    except TinybertError:
        raise TinybertError(
            f"{whose}'s labels ({', '.join(names[:10])}) are not those of {task.title} "
            f"({', '.join(task.label_names)}): give a model of this task, or write these names "
            "into id2label of its config.json, in the order of its outputs."
        ) from None


def _logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    max_length: int,
    reporter: Reporter,
    part: str = "rows",
) -> NDArray[np.float32]:
    cast(nn.Module, model).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    with reporter.track(len(rows), f"tokenizing {part}", unit="rows") as progress:
        tokens = tokenize(tokenizer, rows.texts, max_length, advance=progress.advance)
    with reporter.track(len(rows), f"predicting {part}", unit="rows") as progress:
        logits = predict(model, tokens, advance=progress.advance)
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise TinybertError(
            f"the model's outputs for row {row} of {part} contain NaN or infinity: train it again "
            "with a lower learning rate or in float32."
        )
    return logits


def _columns(
    logits: NDArray[np.float32], names: tuple[str, ...], answering: Answering | None
) -> Columns:
    """What is written of each row: its number, counted from 0, and the answer."""
    number = np.arange(len(logits))
    if answering == "sets":
        return {"row": number, **set_columns(logits, names)}
    if len(names) == 1:
        return {"row": number, "value": logits[:, 0]}
    shares = softmax(logits.astype(np.float64), axis=1)
    return {
        "row": number,
        "label": np.array(names, dtype=object)[logits.argmax(axis=1)],
        "probability": shares.max(axis=1),
    }


def _writer(output: Path, overwrite: bool) -> Callable[[Path, Columns], None]:
    """The writer of this file's ending, if a file can be written there."""
    writer = _WRITERS.get(output.suffix.lower())
    if writer is None:
        raise TinybertError(
            f"--output {output}: give a file that ends in {', '.join(_WRITERS)}, or with --task a "
            "directory."
        )
    output = output.expanduser()
    if output.is_dir():
        raise TinybertError(f"{output} is a directory: give a file's name.")
    if output.exists() and not overwrite:
        raise TinybertError(
            f"{output} exists already: choose another name, or replace it with --overwrite."
        )
    if not output.absolute().parent.is_dir():
        raise TinybertError(f"there is no directory {output.parent} for {output}.")
    if not os.access(output.absolute().parent, os.W_OK | os.X_OK):
        raise TinybertError(f"nothing may be written into {output.parent}: choose another place.")
    return writer


def _write_jsonl(path: Path, columns: Columns) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            record = dict(zip(columns, row, strict=True))
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _write_csv(path: Path, columns: Columns) -> None:
    columns = _flat(columns)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _flat(columns: Columns) -> Columns:
    """One value a cell: lists with ``;`` between their words, and a column for each of an
    object's fields."""
    flat: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        if isinstance(column[0], dict):
            for key in column[0]:
                flat[f"{name}.{key}"] = np.array([each[key] for each in column])
        elif isinstance(column[0], list):
            flat[name] = np.array([";".join(each) for each in column], dtype=object)
        else:
            flat[name] = column
    return flat


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path)


_WRITERS: dict[str, Callable[[Path, Columns], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def _show(results: dict[str, Any], columns: Columns, reporter: Reporter) -> None:
    reporter.table("Written", ["file", "rows"], [[f, n] for f, n in results["files"].items()])
    if "label" in columns:
        labels, counts = np.unique(columns["label"].astype(str), return_counts=True)
        shares = [f"{count / counts.sum():.1%}" for count in counts]
        reporter.table(
            "Predicted", ["label", "rows", "share"], list(zip(labels, counts, shares, strict=True))
        )
    if "labels" in columns:
        said = [label for labels in columns["labels"] for label in labels]
        labels, counts = np.unique(np.array(said, dtype=str), return_counts=True)
        shares = [f"{count / len(columns['labels']):.1%}" for count in counts]
        reporter.table(
            "Predicted", ["label", "rows", "share"], list(zip(labels, counts, shares, strict=True))
        )
    if "scores" in results:
        scores = [[name, f"{value:.4f}"] for name, value in results["scores"].items()]
        reporter.table("Against the labels", ["figure", "value"], scores)
