"""The rows of a task job: read, checked, as tokens, in three parts and more."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows, TrainingRows, length_batches
from tinybert.errors import TinybertError
from tinybert.jobs.common import required
from tinybert.jobs.row_tasks import ranking_metric, row_tokens
from tinybert.jobs.word_tasks import read_words, word_tokens
from tinybert.progress import Reporter
from tinybert.settings import (
    AugmentSettings,
    DistillSettings,
    FinetuneSettings,
    QuestionSettings,
    TrimSettings,
)
from tinybert.settings.kinds import OWN_TASKS, RowTask, own_task, row_task, word_task
from tinybert.tasks.files import read_task
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.glue.reader import HUB_NAME, read_glue
from tinybert.tasks.metrics import metric_kind
from tinybert.tasks.sets import read_sets
from tinybert.tasks.splits import text_hashes
from tinybert.tasks.task import Rows, Task, TaskData

CALIBRATION_TOKENS = 16384


@dataclass
class TaskRows:
    """A task's rows as tokens: trained on, chosen on, reported on, and further parts to report."""

    task: Task
    train: TokenRows
    dev: TokenRows
    test: TokenRows
    extra: dict[str, TokenRows] = field(default_factory=dict)
    texts: str = ""  # of the training rows, see texts_print

    @property
    def reported(self) -> dict[str, TokenRows]:
        """The parts that figures are given for."""
        return {"test": self.test} | self.extra

    def fingerprint(self) -> str:
        """Of all parts."""
        parts = (self.train, self.dev, self.test, *self.extra.values())
        return " ".join(part.fingerprint() for part in parts)

    def counts(self) -> dict[str, int]:
        """Number of rows of each part."""
        parts = {"train": self.train, "dev": self.dev, "test": self.test} | self.extra
        return {
            name: len(part) if part.reading is None else len(part.reading)
            for name, part in parts.items()
        }


def halves(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Two seeded halves: the model is chosen on one and reported on the other.

    Rows with the same texts stay together.
    """
    groups = np.unique(text_hashes(rows.alike), return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise TinybertError(
            "only one different row is left to choose and to report on: give more rows, or a "
            "larger --dev-share."
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    filled = np.cumsum(sizes[order])
    chosen = order[: max(1, int(np.searchsorted(filled, len(rows) // 2, side="right")))]
    first = np.isin(groups, chosen)
    return rows.take(np.flatnonzero(first)), rows.take(np.flatnonzero(~first))


def task_rows(
    settings: FinetuneSettings | DistillSettings,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> TaskRows:
    """Read, check and tokenize the rows that the settings name."""
    data = task_texts(settings, reporter)
    assert data.test is not None
    return tokenized(
        data.task,
        data.train,
        data.dev,
        data.test,
        tokenizer,
        settings.max_length,
        data.extra,
        reporter,
        settings,
    )


def task_texts(
    settings: FinetuneSettings | DistillSettings | AugmentSettings | TrimSettings,
    reporter: Reporter,
) -> TaskData:
    """Read and check the rows that the settings name, all three parts of them, as texts."""
    data = _read(settings, reporter)
    for note in data.notes:
        reporter.say(note)
    train, dev, test = data.train, data.dev, data.test
    if settings.rows is not None and len(train) > settings.rows:
        order = np.random.default_rng(settings.seed).permutation(len(train))
        reporter.say(f"training on {settings.rows:,} of {len(train):,} rows (seed {settings.seed})")
        train = train.take(np.sort(order[: settings.rows]))
    if test is None:
        dev, test = halves(dev, settings.seed)
        reporter.say(
            f"the model is chosen on {len(dev)} of the dev rows and reported on the other "
            f"{len(test)}"
        )
    return replace(data, train=train, dev=dev, test=test)


def texts_print(rows: Rows) -> str:
    """A hash of the texts of rows, in their order."""
    return hashlib.sha256(text_hashes(rows.texts).tobytes()).hexdigest()[:16]


def _read(
    settings: FinetuneSettings | DistillSettings | AugmentSettings | TrimSettings,
    reporter: Reporter,
) -> TaskData:
    if word_task(settings.task) is not None:
        assert isinstance(settings, FinetuneSettings | DistillSettings)
        return read_words(settings, reporter)
    if own_task(settings.task):
        return _own(settings, row_task(settings.task), reporter)
    _check_glue(settings.task, [*OWN_TASKS])
    own = {"--text": settings.text, "--label": settings.label, "--labels": settings.labels}
    own |= {"--dev": settings.dev, "--test": settings.test}
    for name, value in own.items():
        if value is not None:
            raise TinybertError(
                f"{name} is for data of one's own: the GLUE task {settings.task} has its columns, "
                "labels and parts; leave it out."
            )
    data = read_glue(
        settings.task,
        settings.data or HUB_NAME,
        seed=settings.seed,
        dev_share=settings.dev_share,
        rows=settings.rows,
        reporter=reporter,
    )
    if settings.metric is not None:
        if metric_kind(settings.metric) != data.task.kind:
            raise TinybertError(
                f"metric '{settings.metric}' is for {metric_kind(settings.metric)}, "
                f"{settings.task} is {data.task.kind}."
            )
        data = replace(data, task=replace(data.task, metric=settings.metric))
    return data


def _own(
    settings: FinetuneSettings | DistillSettings | AugmentSettings | TrimSettings,
    asked: RowTask | None,
    reporter: Reporter,
) -> TaskData:
    """Rows of whole texts of the user's."""
    given: dict[str, Any] = {
        "train": required(settings.data, "--data", "the training data"),
        "dev": settings.dev,
        "test": settings.test,
        "text": settings.text,
        "label": settings.label,
        "metric": settings.metric,
        "label_names": listed(settings.labels, "--labels"),
        "seed": settings.seed,
        "dev_share": settings.dev_share,
        "reporter": reporter,
    }
    if asked == "multi-label":
        return read_sets(**given)
    if asked == "ranking":
        given |= {"metric": ranking_metric(settings.metric), "kind": "regression"}
        return read_task(**given)
    return read_task(**given, kind=asked)


def _check_glue(task: str, kinds: list[str]) -> None:
    known = [*kinds, "ner", "squad"]
    if near := difflib.get_close_matches(task.strip().casefold(), known, n=1):
        raise TinybertError(f"--task {task} is unknown: did you mean {near[0]}?")
    try:
        find_glue_task(task)
    except TinybertError as error:
        raise TinybertError(
            f"--task: for data of one's own say {', '.join(kinds[:-1])} or {kinds[-1]}, or "
            f"nothing; {error}"
        ) from None


def listed(names: str | None, flag: str) -> list[str] | None:
    """The names of a setting such as ``negative,positive``; None where it is not given."""
    if names is None:
        return None
    found = [name.strip() for name in names.split(",")]
    if not all(found) or len(found) < 2:
        raise TinybertError(f"{flag} '{names}' is no list: give two names or more, with commas.")
    if len(set(found)) < len(found):
        raise TinybertError(f"{flag} '{names}' has a name twice: name each class once.")
    return found


def tokenized(
    task: Task,
    train: Rows,
    dev: Rows,
    test: Rows,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    extra: Mapping[str, Rows] | None = None,
    reporter: Reporter | None = None,
    settings: QuestionSettings | None = None,
) -> TaskRows:
    """Token rows of a task's parts; ``settings`` say how passages are cut and answers found."""
    reporter = reporter or Reporter(quiet=True)
    parts = {"train": train, "dev": dev, "test": test} | dict(extra or {})
    done: dict[str, TokenRows] = {}
    with reporter.track(sum(map(len, parts.values())), "tokenizing", unit="rows") as progress:
        for name, rows in parts.items():
            if task.answering in ("tokens", "spans"):
                done[name] = word_tokens(
                    tokenizer, rows, task, max_length, settings, progress.advance, reporter, name
                )
                continue
            what = "" if name == "train" else name
            done[name] = row_tokens(
                tokenizer, rows, task, max_length, progress.advance, reporter, what
            )
    cut = sum(part.cut for part in done.values())
    if cut and task.answering in ("rows", "sets"):
        total = sum(map(len, done.values()))
        reporter.say(f"{cut:,} of {total:,} rows are longer than {max_length} tokens and are cut")
    return TaskRows(
        task,
        done.pop("train"),
        done.pop("dev"),
        done.pop("test"),
        extra=done,
        texts=texts_print(train),
    )


def calibration(rows: TrainingRows, seed: int) -> list[dict[str, Tensor]]:
    """A few thousand tokens of the training rows, for the PCA start."""
    order = np.random.default_rng(seed).permutation(len(rows))[:CALIBRATION_TOKENS]
    count = int(np.searchsorted(np.cumsum(rows.lengths[order]), CALIBRATION_TOKENS)) + 1
    few = rows.take(order[:count])
    few.labels = few.targets = None
    return [few.batch(indices) for indices in length_batches(few)]
