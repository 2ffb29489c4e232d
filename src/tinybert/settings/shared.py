"""What several verbs share: running, the student, losses, rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from tinybert.settings.base import Checked, setting
from tinybert.settings.kinds import QUESTION_LENGTH, ROW_LENGTH, word_task

__all__ = [
    "Attention",
    "DataSettings",
    "LossSettings",
    "Precision",
    "QuestionSettings",
    "RowSettings",
    "RunSettings",
    "StageSettings",
    "Start",
    "StudentSettings",
    "Transfer",
]

Start = Literal["auto", "pca", "layers", "random"]
Precision = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "direct", "fused"]
Transfer = Literal["auto", "heads", "mean", "relations"]


@dataclass
class RunSettings(Checked):
    """What every run shares."""

    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    overwrite: bool = setting(
        False,
        "replace the output directory (distill: and OUTPUT-teacher) and any unfinished run",
        "run",
    )
    resume: bool = setting(False, "go on with the unfinished run of this output directory", "run")
    dry_run: bool = setting(False, "check everything, print the plan, train nothing", "run")
    seed: int = setting(42, "seed of splits, starts, data order and dropout", "run", least=0)
    precision: Precision = setting(
        "auto", "of the student's training; auto: the faster one here, measured once a run", "speed"
    )
    teacher_precision: Precision = setting(
        "auto", "of the teacher; auto: bfloat16 where this machine is fast at it", "speed"
    )
    attention: Attention = setting(
        "auto", "how the student runs attention; auto: the faster one here, measured once", "speed"
    )
    token_budget: int = setting(
        4096, "padded tokens a micro-batch; bounds memory", "speed", least=1
    )
    tensorboard: bool = setting(False, "also log for TensorBoard, in OUTPUT/tensorboard", "run")
    log_every: int = setting(50, "steps between log lines", "run", least=1)
    gradient_norms_every: int = setting(
        0,
        "steps between gradient norms per term in the log; 0: never",
        "run",
        least=0,
    )


@dataclass
class StudentSettings(Checked):
    """Which student, and what it starts from."""

    student: str = setting(
        "auto",
        "layers x width (4x312), full form layers x width x feed-forward x heads "
        "(4x312x1200x12), a name (tinybert-4), a student's directory or Hub name (the authors' "
        "TinyBERT_General_4L_312D and 6L_768D too); auto: follows from the teacher and the data, "
        "and says why",
        "student",
    )
    start: Start = setting(
        "auto",
        "pca, layers or random (the paper's); auto: pca where the architecture allows it, else "
        "layers at the teacher's width, else random",
        "student",
    )
    layer_mapping: str = setting(
        "uniform", "g(m): uniform (the paper's), top, bottom, or a list such as 2,4,6", "student"
    )
    dropout: float | None = setting(
        None,
        "dropout of the student while it trains; default: the teacher's",
        "student",
        least=0,
        most=0.99,
    )
    shared_projection: bool = setting(
        True, "one W_h for all layers (the paper's formula) or one a layer", "student"
    )


@dataclass
class LossSettings(Checked):
    """Weights of the intermediate terms."""

    attention_weight: str = setting(
        "1",
        "λ of attention scores (of each of three relations): one number, or one a layer "
        "(1,1,0.5,0)",
        "losses",
    )
    attention_transfer: Transfer = setting(
        "auto",
        "heads: scores head by head (the paper's), for students with as many heads as the teacher; "
        "relations: among queries, keys and values (MiniLMv2's); mean: scores averaged over heads; "
        "auto: heads where there are as many, else relations, or mean where no number of them "
        "divides both widths",
        "losses",
    )
    hidden_weight: str = setting("1", "λ of hidden states: one number, or one a layer", "losses")
    embedding_weight: float = setting(1.0, "λ of the embedding output", "losses", least=0)


@dataclass
class StageSettings(Checked):
    """The two stages of a task: how long, how fast, in what batches."""

    intermediate_epochs: float | None = setting(
        None,
        "passes of the intermediate stage; default: 20, the paper's, fewer for more than 50,000 "
        "rows; in a GLUE task what the paper takes for it",
        "training",
        least=0,
    )
    prediction_epochs: float = setting(3.0, "passes of the prediction stage", "training", least=0)
    intermediate_learning_rate: float = setting(
        5e-5, "of the intermediate stage", "training", above=0
    )
    prediction_learning_rate: float = setting(3e-5, "of the prediction stage", "training", above=0)
    batch_size: int = setting(32, "rows an optimiser step", "training", least=1)
    warmup: float = setting(
        0.1, "share of the steps with rising learning rate", "training", least=0, most=1
    )
    temperature: float = setting(1.0, "of the prediction loss", "losses", above=0)
    head: Literal["teacher", "random"] = setting(
        "random",
        "the head that the prediction stage starts from: random, the one the student carries (the "
        "paper's), or the teacher's, read through W_h",
        "student",
    )
    evaluations: int = setting(
        1, "evaluations an epoch of the prediction stage", "training", least=0
    )


def _is_open(value: int | None) -> bool:
    """Whether a number that is settled before it is used has not been given."""
    return value is None


@dataclass
class RowSettings(Checked):
    """How rows are read."""

    text: str | None = setting(
        None, "text column, or two with a comma; default: guessed and told", "data"
    )
    label: str | None = setting(
        None,
        "label column; of several labels a row also all columns of 0 and 1, with commas; default: "
        "guessed and told",
        "data",
    )
    metric: str | None = setting(
        None,
        "accuracy, f1, macro_f1, mcc, pearson, spearman, pearson_spearman; of sets of labels "
        "micro_f1, macro_f1, exact_match; of rankings ndcg@10, mrr@10, map; of tags entity_f1, "
        "token_accuracy; of answers answer_f1, exact_match",
        "data",
    )
    max_length: int = setting(
        None,
        "tokens a row, specials included (paper: 64, pairs 128); default: 128, questions with "
        "their passages 384",
        "data",
        least=4,
        usual=ROW_LENGTH,
    )

    def settled(self, *, questions: bool) -> Self:
        """With the usual ``max_length`` where none is given: of rows, or of questions."""
        if not _is_open(self.max_length):
            return self
        return replace(self, max_length=QUESTION_LENGTH if questions else ROW_LENGTH)


@dataclass
class QuestionSettings(Checked):
    """How answers are found in passages."""

    stride: int | None = setting(
        None,
        "tokens that two windows of a long passage share; default: a third of --max-length, 128 at "
        "most",
        "questions",
        least=0,
    )
    max_answer_length: int = setting(30, "tokens an answer at most", "questions", least=1)
    n_best: int = setting(1, "answers that predict lists for each question", "questions", least=1)
    no_answer: Literal["auto", "yes", "no"] = setting(
        "auto",
        "whether a question may be left without an answer; auto: where some of the rows' questions "
        "have none",
        "questions",
    )
    null_threshold: float = setting(
        0.0,
        "how much better, as a sum of logits, no answer must score than the best span to be given "
        "(data with unanswerable questions)",
        "questions",
    )


@dataclass
class DataSettings(RowSettings):
    """Task rows to learn from."""

    data: str | None = setting(
        None,
        "training rows: a file (CSV, TSV, JSONL, Parquet; .gz, .zst, .xz, .bz2; tagged words also "
        "in CoNLL columns, questions in SQuAD's JSON), a directory of them, or a Hub dataset "
        "(owner/name, owner/name:config); for a GLUE task the directory of its files",
        "data",
    )
    dev: str | None = setting(
        None, "rows to choose the model on; default: the data's own, or split off", "data"
    )
    test: str | None = setting(
        None, "rows to report on; default: the data's own, or a half of the dev rows", "data"
    )
    dev_share: float = setting(
        0.1,
        "share of the training rows to split off where there are no dev rows",
        "data",
        above=0,
        most=0.5,
    )
    task: str = setting(
        "auto",
        "classification or regression (auto: read from the labels); multi-label (several labels a "
        "row); ranking (pairs of a query and a passage); token-classification (ner) or "
        "question-answering (squad); or a GLUE task: cola, sst-2, mrpc, sts-b, qqp, mnli, qnli, "
        "rte, wnli",
        "data",
    )
    labels: str | None = setting(
        None, "names of the classes, in the order of their numbers: negative,positive", "data"
    )
    rows: int | None = setting(
        None, "train on so many rows at most, drawn by the seed", "data", least=10
    )

    def __post_init__(self) -> None:
        if _is_open(self.max_length):
            asked = word_task(self.task)
            self.max_length = QUESTION_LENGTH if asked == "question-answering" else ROW_LENGTH
        super().__post_init__()
