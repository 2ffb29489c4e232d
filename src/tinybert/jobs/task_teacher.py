"""The teacher of a task job: loaded or fine-tuned first, and its labels matched with the data's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.evaluation import predict
from tinybert.jobs.common import required
from tinybert.jobs.finetune import finetune_inputs, finetune_rows
from tinybert.jobs.rows import TaskRows, listed
from tinybert.label_matching import match_labels, match_sets, says_nothing
from tinybert.processes import this_device
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, FinetuneSettings
from tinybert.task_heads import SPAN_LABELS, Answering, are_entity_tags
from tinybert.tasks.metrics import default_metric, metric_kind
from tinybert.tasks.sets import SetReading
from tinybert.tasks.tagging import TaggedReading
from tinybert.tasks.task import Kind
from tinybert.teachers import (
    aligned_labels,
    check_head,
    has_head,
    head_labels,
    load_encoder,
    load_tokenizer,
    set_labels,
    tokenizer_print,
)

__all__ = ["fine_tuned", "kept_teacher", "other_teachers", "task_teacher"]

TESTED_ROWS, LEAST_OF_A_CLASS = 512, 12
"""Labelled rows on which the order of a teacher's labels is tested, and of one class at least."""


def task_teacher(
    settings: DistillSettings, rows: TaskRows, reporter: Reporter
) -> tuple[PreTrainedModel, TaskRows]:
    """The model to learn from, with the data's label names; and the rows with settled labels.

    A plain encoder comes with a new head, untrained: see :func:`fine_tuned`.

    Raises:
        TinybertError: teacher and data do not fit, or the order of its labels is suspicious.
    """
    path = str(settings.teacher)
    answering = rows.task.answering
    check_head(path, answering, "a plain encoder, which is fine-tuned first, or")
    if not has_head(path, answering):
        return _with_new_head(settings, rows, path), rows
    names = head_labels(path)
    if rows.task.ranked and len(names) != 1:
        raise TinybertError(
            f"{path} gives {len(names)} outputs ({', '.join(names[:10])}), and a ranking needs one "
            "value for each pair: give a cross-encoder with one output (num_labels 1), or a plain "
            "encoder, which is fine-tuned first."
        )
    given = listed(settings.teacher_labels, "--teacher-labels")
    if given is not None:
        if len(given) != len(names):
            raise TinybertError(
                f"--teacher-labels names {len(given)} labels, but {path} has {len(names)} "
                f"outputs ({', '.join(names[:10])}): name one for each, in their order."
            )
        names = tuple(given)
    if answering == "spans":  # starts and ends are what they are
        if settings.teacher_labels is not None:
            raise TinybertError(
                "--teacher-labels names classes, and a question-answering model has none: leave it "
                "out."
            )
        return _loaded(path, names, False, answering), rows
    rows = _settled(rows, names)
    if given is not None and not says_nothing(rows.task.label_names):
        known = {name.strip().casefold() for name in rows.task.label_names}
        if strange := [name for name in given if name.casefold() not in known]:
            raise TinybertError(
                f"--teacher-labels names {', '.join(strange)}, which the data does not have: its "
                f"labels are {', '.join(rows.task.label_names[:10])}."
            )
    regression = rows.task.kind == "regression"
    model = _loaded(path, names, regression, answering)
    if regression or rows.task.label_column is None:
        return model, rows
    return model, _matched(model, names, rows, reporter, given is not None)


def other_teachers(
    settings: DistillSettings,
    rows: TaskRows,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> list[PreTrainedModel]:
    """Models whose answers are averaged with the teacher's, their outputs named as the data's.

    Args:
        settings: ``ensemble`` names them.
        rows: with labels settled by the first teacher.
        tokenizer: of the first.
        reporter: tells how labels were matched.

    Raises:
        TinybertError: one has no head, another tokenizer, or other labels than the first.
    """
    found = []
    answering = rows.task.answering
    for path in settings.ensemble:
        check_head(path, answering, "a further teacher that is")
        if not has_head(path, answering):
            raise TinybertError(
                f"--ensemble {path} is an encoder without a task head: fine-tune it with `tinybert "
                "finetune` first, only --teacher may be plain."
            )
        if tokenizer_print(load_tokenizer(path)) != tokenizer_print(tokenizer):
            raise TinybertError(
                f"--ensemble {path} cuts text into other tokens than {settings.teacher} does: "
                "teachers of one student need one tokenizer."
            )
        names = head_labels(path)
        regression = rows.task.kind == "regression"
        expected = 1 if regression else len(rows.task.label_names)
        if answering == "spans":
            expected = len(SPAN_LABELS)
        if len(names) != expected:
            raise TinybertError(
                f"--ensemble {path} gives {len(names)} outputs ({', '.join(names[:10])}) where "
                f"{expected} are wanted: teachers of one student answer with the same labels."
            )
        model = _loaded(path, names, regression, answering)
        if regression or answering == "spans":
            found.append(model)
            continue
        if rows.task.label_column is not None:
            settled = _matched(model, names, rows, reporter, False)
            if settled.task.label_names != rows.task.label_names:
                raise TinybertError(
                    f"--ensemble {path} answers {', '.join(settled.task.label_names[:10])} and "
                    f"--teacher {', '.join(rows.task.label_names[:10])}: give that one as "
                    "--teacher whose labels are words, or name the data's classes with --labels."
                )
        else:
            _check_same_labels(path, names, rows.task.label_names)
        found.append(model)
    return found


def _check_same_labels(path: str, names: Sequence[str], first: Sequence[str]) -> None:
    """Rows without labels leave nothing but names to go by."""
    try:
        aligned_labels(names, first)
    except TinybertError:
        raise TinybertError(
            f"--ensemble {path} answers {', '.join(names[:10])} and --teacher "
            f"{', '.join(first[:10])}, and the rows have no labels to tell which is which: write "
            "the same names into id2label and label2id of its config.json."
        ) from None


def _loaded(
    path: str, names: Sequence[str], regression: bool, answering: Answering
) -> PreTrainedModel:
    model = load_encoder(path, labels=names, regression=regression, answering=answering)
    model.to(this_device())  # type: ignore[arg-type]
    return model


def _settled(rows: TaskRows, names: tuple[str, ...]) -> TaskRows:
    """The rows' task as the teacher's head allows it; without labels it is the teacher's."""
    task = rows.task
    if task.answering in ("tokens", "sets"):
        if task.label_column is not None:
            return rows
        metric = task.metric
        if task.answering == "tokens":
            metric = "entity_f1" if are_entity_tags(names) else "token_accuracy"
        return replace(
            _with_names(rows, names), task=replace(task, label_names=names, metric=metric)
        )
    kind: Kind = "regression" if len(names) == 1 else "classification"
    if task.label_column is None:
        metric = task.metric if metric_kind(task.metric) == kind else default_metric(kind)
        labels = () if kind == "regression" else names
        return replace(rows, task=replace(task, kind=kind, label_names=labels, metric=metric))
    if kind == task.kind:
        return rows
    if kind == "regression":
        raise TinybertError(
            f"the teacher gives one value and column '{task.label_column}' was read as "
            f"{len(task.label_names)} classes: say --task regression if its labels are values."
        )
    raise TinybertError(
        f"the teacher has {len(names)} classes and column '{task.label_column}' was read as "
        "values: say --task classification, or name another column with --label."
    )


def _matched(
    model: PreTrainedModel,
    names: tuple[str, ...],
    rows: TaskRows,
    reporter: Reporter,
    said: bool,
) -> TaskRows:
    sample = _labelled_sample(rows)
    logits: NDArray[np.float32] | None = None
    if sample is not None and len(names) == len(rows.task.label_names):
        with reporter.track(len(sample), "testing the teacher's labels", unit="rows") as progress:
            logits = predict(model, sample, advance=progress.advance)
            if sample.asked is not None:
                logits = logits[sample.asked]
    truth = None if sample is None else sample.labels
    if sample is not None and sample.asked is not None and truth is not None:
        truth = truth[sample.asked]
    match = match_sets if rows.task.answering == "sets" else match_labels
    matching = match(names, rows.task.label_names, logits, truth, said=said)
    reporter.say(f"teacher: {matching.note}")
    set_labels(model, matching.names)
    if rows.task.answering in ("tokens", "sets"):
        rows = _with_names(rows, matching.labels)
    return replace(rows, task=replace(rows.task, label_names=matching.labels))


def _with_names(rows: TaskRows, names: tuple[str, ...]) -> TaskRows:
    """Rows of tagged words or of sets of labels, whose tags or labels are called so."""

    def named(part: TokenRows) -> TokenRows:
        assert isinstance(part.reading, TaggedReading | SetReading)
        return replace(part, reading=replace(part.reading, names=names))

    return replace(
        rows,
        train=named(rows.train),
        dev=named(rows.dev),
        test=named(rows.test),
        extra={name: named(part) for name, part in rows.extra.items()},
    )


def _labelled_sample(rows: TaskRows) -> TokenRows | None:
    """Training rows to test label names on, of every class as many, as far as there are."""
    labels = rows.train.labels
    if labels is None:
        return None
    order = np.random.default_rng(0).permutation(len(rows.train))
    if rows.train.asked is not None:  # of tagged words whole sentences
        return rows.train.take(np.sort(order[:TESTED_ROWS]))
    if rows.task.answering == "sets":
        few = [order[labels[order, k]][:LEAST_OF_A_CLASS] for k in range(labels.shape[1])]
        return rows.train.take(np.unique(np.concatenate([order[:TESTED_ROWS], *few])))
    each = max(LEAST_OF_A_CLASS, TESTED_ROWS // len(rows.task.label_names))
    taken = [order[labels[order] == k][:each] for k in range(len(rows.task.label_names))]
    return rows.train.take(np.sort(np.concatenate(taken)))


def _with_new_head(settings: DistillSettings, rows: TaskRows, path: str) -> PreTrainedModel:
    if rows.task.label_column is None:
        raise TinybertError(
            f"{path} is an encoder without a task head, and the data has no labels to fine-tune "
            "it on: give a fine-tuned teacher, or name the label column with --label."
        )
    if settings.teacher_labels is not None:
        raise TinybertError(
            f"--teacher-labels names outputs, but {path} is an encoder without a task head: leave "
            "it out."
        )
    return load_encoder(
        path,
        labels=rows.task.label_names,
        regression=rows.task.kind == "regression",
        answering=rows.task.answering,
    )


def fine_tuned(
    settings: DistillSettings,
    rows: TaskRows,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> PreTrainedModel:
    """Fine-tune the plain encoder into ``OUTPUT-teacher``, or load the very same from there."""
    path = str(settings.teacher)
    output = kept_teacher(settings)
    regression = rows.task.kind == "regression"
    head: dict[str, Any] = {
        "labels": rows.task.label_names,
        "regression": regression,
        "answering": rows.task.answering,
    }
    own = FinetuneSettings(
        **{name: getattr(settings, name) for name in _SHARED},
        model=path,
        output=output,
        epochs=settings.teacher_epochs,
        learning_rate=settings.teacher_learning_rate,
    )
    encoder = load_encoder(path)
    if output.exists():
        if _inputs_of(output) == finetune_inputs(own, rows, encoder):
            reporter.say(f"{path} has no task head; taking the teacher made of it in {output}")
            return load_encoder(output, **head)
        if not settings.overwrite:
            raise TinybertError(
                f"{output} is there already and is not this encoder fine-tuned on these rows: "
                "move it, give it as --teacher, or replace it with --overwrite."
            )
    reporter.heading(f"Teacher: {path} has no task head, so it is fine-tuned first")
    finetune_rows(own, rows, encoder, tokenizer, reporter)
    return load_encoder(output, **head)


def kept_teacher(settings: DistillSettings) -> Path:
    """Where a teacher that is fine-tuned first is kept."""
    output = Path(required(settings.output, "--output", "the output directory"))
    return output.with_name(output.name + "-teacher")


_SHARED = (
    *("data", "dev", "test", "dev_share", "task", "labels", "rows", "text", "label", "metric"),
    *("max_length", "seed", "resume", "overwrite", "precision", "attention", "token_budget"),
    *("stride", "max_answer_length", "n_best", "null_threshold", "no_answer"),
    *("batch_size", "warmup", "log_every", "gradient_norms_every", "tensorboard"),
)
"""Settings of a distillation that its teacher's fine-tuning takes over."""


def _inputs_of(directory: Path) -> Any:
    """What a fine-tuned model was made from; None where it does not say."""
    try:
        return json.loads((directory / "results.json").read_text("utf-8")).get("inputs")
    except (OSError, ValueError, AttributeError):
        return None
