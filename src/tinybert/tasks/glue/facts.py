"""The nine tasks of GLUE as facts: names, columns, labels, metrics, parts and files.

Source: Wang et al. 2019, "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language
Understanding" (arXiv:1804.07461). The order of the labels is that of the data set on the Hugging
Face Hub, ``nyu-mll/glue``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from tinybert.errors import TinybertError
from tinybert.tasks.metrics import metric_kind
from tinybert.tasks.task import Task

__all__ = ["DIAGNOSTIC", "GLUE", "TRAIN", "GlueTask", "Part", "find_glue_task", "plain_name"]


@dataclass(frozen=True)
class Part:
    """Rows that are reported on, or handed in.

    Attributes:
        name: of the part, such as ``matched``.
        file: in the task's directory.
        split: on the Hub.
        submission: the leaderboard's name for its predictions; empty for labelled parts.
    """

    name: str
    file: str
    split: str
    submission: str = ""


@dataclass(frozen=True)
class GlueTask:
    """One task.

    Attributes:
        name: as told and in result files, such as ``sst-2``.
        title: as written in papers; also the name of its directory.
        config: its name on the Hub.
        text_columns: of the original files, one or two.
        label_column: of the original files.
        label_names: in the order of the class numbers; empty for STS-B, which scores values.
        metric: a name in :data:`tinybert.tasks.metrics.METRICS`.
        hub_columns: the text columns on the Hub, in the order of ``text_columns``.
        dev: the official labelled parts beside train; the first is the main one.
        tests: the official unlabelled parts.
        index_column: number of a test row.
        train_columns: of train and dev files where these have no header.
        words: whether the leaderboard takes label names; else class numbers (STS-B: values).
        ragged: whether the official files hold broken lines, which every reader leaves out.
        aliases: further spellings, without case and punctuation.
    """

    name: str
    title: str
    config: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...]
    label_column: str = "label"
    metric: str = "accuracy"
    hub_columns: tuple[str, ...] = ("sentence1", "sentence2")
    dev: tuple[Part, ...] = (Part("dev", "dev.tsv", "validation"),)
    tests: tuple[Part, ...] = ()
    index_column: str = "index"
    train_columns: tuple[str, ...] = ()
    words: bool = False
    ragged: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """What the rest of the package knows of it."""
        return Task(
            name=self.name,
            kind=metric_kind(self.metric),
            label_names=self.label_names,
            metric=self.metric,
            text_columns=self.text_columns,
            label_column=self.label_column,
        )


def _test(submission: str) -> tuple[Part, ...]:
    return (Part("test", "test.tsv", "test", submission),)


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")

TRAIN = Part("train", "train.tsv", "train")
"""The official training rows, of every task."""

DIAGNOSTIC = Part("diagnostic", "diagnostic.tsv", "test", "AX.tsv")
"""GLUE's diagnostic set, answered by MNLI models; on the Hub its config is ``ax``."""

GLUE: dict[str, GlueTask] = {
    task.name: task
    for task in (
        GlueTask(
            name="cola",
            title="CoLA",
            config="cola",
            text_columns=("sentence",),
            label_column="acceptable",
            label_names=("unacceptable", "acceptable"),
            metric="mcc",
            hub_columns=("sentence",),
            tests=_test("CoLA.tsv"),
            train_columns=("source", "acceptable", "mark", "sentence"),
        ),
        GlueTask(
            name="sst-2",
            title="SST-2",
            config="sst2",
            text_columns=("sentence",),
            label_names=("negative", "positive"),
            hub_columns=("sentence",),
            tests=_test("SST-2.tsv"),
            aliases=("sst",),
        ),
        GlueTask(
            name="mrpc",
            title="MRPC",
            config="mrpc",
            text_columns=("#1 String", "#2 String"),
            label_column="Quality",
            label_names=("not_equivalent", "equivalent"),
            metric="f1",
            tests=_test("MRPC.tsv"),
        ),
        GlueTask(
            name="sts-b",
            title="STS-B",
            config="stsb",
            text_columns=_PAIR,
            label_column="score",
            label_names=(),
            metric="pearson_spearman",
            tests=_test("STS-B.tsv"),
            aliases=("sts",),
        ),
        GlueTask(
            name="qqp",
            title="QQP",
            config="qqp",
            text_columns=("question1", "question2"),
            label_column="is_duplicate",
            label_names=("not_duplicate", "duplicate"),
            metric="f1",
            hub_columns=("question1", "question2"),
            tests=_test("QQP.tsv"),
            index_column="id",
            ragged=True,
        ),
        GlueTask(
            name="mnli",
            title="MNLI",
            config="mnli",
            text_columns=_PAIR,
            label_column="gold_label",
            label_names=("entailment", "neutral", "contradiction"),
            hub_columns=("premise", "hypothesis"),
            dev=(
                Part("matched", "dev_matched.tsv", "validation_matched"),
                Part("mismatched", "dev_mismatched.tsv", "validation_mismatched"),
            ),
            tests=(
                Part("matched", "test_matched.tsv", "test_matched", "MNLI-m.tsv"),
                Part("mismatched", "test_mismatched.tsv", "test_mismatched", "MNLI-mm.tsv"),
            ),
            words=True,
        ),
        GlueTask(
            name="qnli",
            title="QNLI",
            config="qnli",
            text_columns=("question", "sentence"),
            label_names=_ENTAILMENT,
            hub_columns=("question", "sentence"),
            tests=_test("QNLI.tsv"),
            words=True,
        ),
        GlueTask(
            name="rte",
            title="RTE",
            config="rte",
            text_columns=_PAIR,
            label_names=_ENTAILMENT,
            tests=_test("RTE.tsv"),
            words=True,
        ),
        GlueTask(
            name="wnli",
            title="WNLI",
            config="wnli",
            text_columns=_PAIR,
            label_names=("not_entailment", "entailment"),
            tests=_test("WNLI.tsv"),
        ),
    )
}
"""The nine tasks by name."""


def plain_name(name: str) -> str:
    """A name without case and punctuation: ``SST-2``, ``sst_2`` and ``sst2`` are one.

    >>> plain_name("SST-2")
    'sst2'
    """
    return re.sub(r"[^a-z0-9]", "", name.casefold())


_BY_PLAIN = {name: task for task in GLUE.values() for name in (task.config, *task.aliases)}


def find_glue_task(name: str) -> GlueTask:
    """The task of that name, whatever the spelling.

    Raises:
        TinybertError: GLUE has no such task.

    >>> find_glue_task("STS-B").config, find_glue_task("CoLA").metric
    ('stsb', 'mcc')
    """
    found = _BY_PLAIN.get(plain_name(name))
    if found is not None:
        return found
    near = difflib.get_close_matches(plain_name(name), _BY_PLAIN, n=1, cutoff=0.5)
    hint = f"did you mean {_BY_PLAIN[near[0]].name}?" if near else "give one of " + ", ".join(GLUE)
    raise TinybertError(f"'{name}' is no task of GLUE: {hint}")
