"""Of ``tinybert multitask``: one student for several tasks."""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.settings.base import setting
from tinybert.settings.kinds import ROW_LENGTH
from tinybert.settings.shared import LossSettings, RunSettings, StageSettings, StudentSettings

__all__ = ["MultitaskSettings"]


@dataclass
class MultitaskSettings(StageSettings, LossSettings, StudentSettings, RunSettings):
    """One student for several tasks, each with a teacher and a head of its own.

    What may differ by task is said once for all, with {task} where a task's name stands in it, or
    for single tasks as NAME=VALUE: `--data glue reviews=reviews.csv`.
    """

    tasks: list[str] = setting(
        [], "names of the tasks, which are the directories below OUTPUT: mrpc sts-b reviews"
    )
    teacher: list[str] = setting(
        [],
        "fine-tuned model of each task, all of one shape and with one tokenizer: "
        "teachers/{task}; the student begins from the mean of their bodies",
    )
    data: list[str] = setting(
        [],
        "rows of each task: files, directories or Hub datasets as of distill, data/{task}.csv; one "
        "file whose columns are the labels of all (--label); or the directory of GLUE's files, for "
        "tasks of GLUE's names",
        "data",
    )
    dev: list[str] = setting(
        [], "rows to choose the model on; default: the data's own, or split off", "data"
    )
    test: list[str] = setting(
        [], "rows to report on; default: the data's own, or a half of the dev rows", "data"
    )
    dev_share: float = setting(
        0.1,
        "share of a task's training rows to split off where there are no dev rows",
        "data",
        above=0,
        most=0.5,
    )
    kind: list[str] = setting(
        [],
        "classification, regression (default: read from the labels) or multi-label; or the task of "
        "GLUE that a task of another name is",
        "data",
    )
    text: list[str] = setting(
        [], "text column, or two with a comma; default: guessed and told", "data"
    )
    label: list[str] = setting([], "label column; default: guessed and told", "data")
    labels: list[str] = setting(
        [], "names of the classes, in the order of their numbers: negative,positive", "data"
    )
    teacher_labels: list[str] = setting(
        [],
        "what a teacher's outputs stand for, in their order, where its names say nothing or lie: "
        "c,a,b",
        "data",
    )
    metric: list[str] = setting(
        [],
        "accuracy, f1, macro_f1, mcc, pearson, spearman, pearson_spearman; of sets of labels "
        "micro_f1, macro_f1, exact_match",
        "data",
    )
    max_length: int = setting(
        ROW_LENGTH, "tokens a row, specials included (paper: 64, pairs 128)", "data", least=4
    )
    rows: int | None = setting(
        None, "train on so many rows of a task at most, drawn by the seed", "data", least=10
    )
    balance: float = setting(
        0.5,
        "an epoch draws as many rows as there are, of each task by its size to this power: 1: each "
        "row once; 0: as many of every task; between: small tasks more often than once",
        "training",
        least=0,
        most=1,
    )
    report: bool = setting(
        True, "also write report.html, a page on each task's student, into its directory", "run"
    )
