"""Bad rows, teachers, GLUE files, sizes, predictions and checkpoints: one clear sentence each.

As in ``test_bad_input.py``: exit code 2, nothing half-written. What only looks bad has to work.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

import tinybert
from support import spoiled, tiny
from support.mistakes import sentence, tree, working_directory
from tinybert.cli import main

DISTILL = "distill --teacher teacher --data good.csv --max-length 24 --output out"
SHAPED = f"{DISTILL} --student 2x16"
FINETUNE = "finetune --model encoder --data good.csv --max-length 24 --output out"
GLUE = "glue --teacher encoder --data glue --student 2x16 --max-length 24 --output out"
PREDICT = "predict --model teacher --data good.csv --max-length 24 --output out.csv"
LEADERBOARD = "predict --model two --data glue --max-length 24 --output out"
CONVERT = "convert --output out --model"
LONG = "a" * 300


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and files, good and bad."""
    where = tmp_path_factory.mktemp("inputs")
    spoiled.write_all(where)
    return where


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with links to all inputs, on a machine without network."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with working_directory(inputs, tmp_path, monkeypatch) as where:
        yield where


def rows(file: str) -> str:
    return f"{SHAPED} --data {file}"


COLUMNS: list[tuple[str, str]] = [
    # the shape of a table
    (rows("few.csv"), "few.csv, line 42: 1 field"),
    (rows("many.tsv"), "many.tsv, line 42: 3 fields where the header has 2"),
    (rows("semicolons.csv"), "separate columns with commas, not with ';'"),
    (rows("open-quote.csv"), "the field that begins in line 42 has a broken quotation"),
    (rows("twice.csv"), "column 'label' is there twice; rename one"),
    (rows("pandas.csv"), "column 1 has no name in the header"),
    (rows("array.jsonl"), "array.jsonl, entry 1: not an object"),
    (rows("json-list.json"), "json-list.json, entry 2: not an object"),
    (rows("open.json"), "open.json is a broken JSON list"),
    (rows("spaces.jsonl"), "spaces.jsonl is empty: give a file with rows"),
    # which columns
    (rows("odd-names.csv"), "which column is the text? name it with --text; there are was_gesagt,"),
    (rows("label-alone.csv"), "which column is the text? name it with --text; there are label"),
    (rows("ids.csv"), "(that 'label' is the label was guessed: name another column with --label)"),
    (rows("later-label.jsonl"), "column 'label' begins in line 201, and the rows before have no"),
    (f"{SHAPED} --data three.csv --text a,b,c", "'a,b,c': name one column, or two different"),
    (f"{SHAPED} --text text,text", "'text,text': name one column, or two different ones"),
    (f"{SHAPED} --text ,", "text columns ',': name one column"),
    (f"{SHAPED} --text label --label label", "'label' cannot be both text and label"),
    (f"{SHAPED} --dev unlabelled.csv", "unlabelled.csv has no label column 'label'"),
    (f"{SHAPED} --test unlabelled.csv", "unlabelled.csv has no labels in a column 'label' to"),
    # cells
    (rows("empty-label.csv"), "1 of 41 rows have no label (first in line 42)"),
    (rows("nan-label.csv"), "1 of 41 rows have no label (first in line 42)"),
    (rows("null-label.jsonl"), "1 of 2 rows have no label (first in line 2)"),
    (rows("nan.parquet"), "1 of 40 rows have no label (first in row 1)"),
    (rows("list-label.jsonl"), "line 1: a label is a word or a number, not ['files']"),
    (rows("list-text.jsonl"), "list-text.jsonl, line 1: 'text' "),
    (rows("half-a-pair.jsonl"), "line 1: 'text' holds half of a surrogate pair"),
    (rows("nested.parquet"), "column 'text' holds list<element: string>, not texts or numbers"),
    (rows("bytes.parquet"), "column 'text' holds binary, not texts or numbers"),
    (f"{SHAPED} --dev unseen.csv", "line 3: label 'weather' is none of the task's labels"),
    (f"{SHAPED} --test unseen.csv", "line 3: label 'weather' is none of the task's labels"),
]

FILES: list[tuple[str, str]] = [
    # encodings
    (rows("latin1.tsv"), "latin1.tsv is not UTF-8: byte 0xe9 in line 2"),
    (rows("latin1.jsonl"), "latin1.jsonl is not UTF-8: byte 0xe9 in line 1"),
    (rows("latin1.csv.gz"), "latin1.csv.gz is not UTF-8: byte 0xe9 in line 2"),
    (rows("utf16.tsv"), "utf16.tsv is UTF-16: save it as UTF-8"),
    (rows("utf16-no-mark.csv"), "line 1: a NUL byte, so it is no UTF-8 text"),
    # cut short, broken, not what the name says
    (rows("cut.csv.gz"), "cut.csv.gz is cut short or broken"),
    (rows("cut.csv.xz"), "cut.csv.xz is cut short or broken"),
    (rows("cut.csv.bz2"), "cut.csv.bz2 is cut short or broken"),
    (rows("cut.csv.zst"), "cut.csv.zst is cut short or broken"),
    (rows("broken.csv.zst"), "broken.csv.zst is cut short or broken"),
    (rows("plain.csv.gz"), "plain.csv.gz is cut short or broken (Not a gzipped file"),
    (rows("cut.parquet"), "cut.parquet is no whole Parquet file"),
    (rows("csv.parquet"), "csv.parquet is no whole Parquet file"),
    (rows("packed.parquet.gz"), "is a packed Parquet file: unpack it"),
    (rows("zip.csv"), "zip.csv, line 1: a NUL byte, so it is no UTF-8 text (a binary file"),
    (rows("json.csv"), "json.csv: which column is the text?"),
    (rows("csv.jsonl"), "csv.jsonl, line 1: not JSON"),
    (rows("pipe.csv"), "pipe.csv is no regular file"),
    (rows(f"{LONG}.csv"), "(File name too long)"),
    # directories
    (rows("nothing"), "nothing holds no files of rows (.csv, .tsv, .jsonl, .json, .parquet;"),
    (rows("notes-only"), "notes-only holds no files of rows"),
    (rows("mixed"), "holds files of several formats (train-0.csv and train-1.tsv)"),
    (rows("shards"), "train-1.csv has the columns sentence, label, and shards/train-0.csv has"),
    (rows("no-train"), "no-train has no train rows, only test"),
    (rows("one-bad"), "one-bad/train-1.csv, line 42: 1 field"),
    # the Hub, without network
    (rows("nobody/nothing"), "no local path, and the Hugging Face Hub cannot be reached"),
    (rows("nobody/nothing:de"), "nobody/nothing:de is no local path, and the Hugging Face Hub"),
    (rows("goodcsv"), "goodcsv is no local path, and the Hugging Face Hub cannot be reached"),
    (f"{SHAPED} --dev nobody/nothing", "nobody/nothing is no local path"),
    (
        f"{SHAPED} --teacher nobody/bert",
        "there is no directory nobody/bert, and as a model",
    ),
    # parts and shares
    (f"{SHAPED} --dev good.csv", "dev and train rows are the same file (good.csv): leave --dev"),
    (f"{SHAPED} --test ./good.csv", "test and train rows are the same file"),
    (f"{SHAPED} --dev unseen.csv --test unseen.csv", "test and dev rows are the same file"),
    (f"{SHAPED} --rows 3", "--rows 3 makes no sense: it has to be 10 or more"),
    (f"{SHAPED} --dev-share 0.9", "--dev-share 0.9 makes no sense"),
    (rows("few-rows.csv"), "has too few different rows (3) to hold some out: give a dev file"),
    (rows("same.csv"), "has too few different rows (2) to hold some out: give a dev file"),
]

TASKS: list[tuple[str, str]] = [
    # what kind of task
    (f"{SHAPED} --task clasification", "--task clasification is unknown: did you mean class"),
    (f"{SHAPED} --task mood --text text", "or question-answering, or nothing; 'mood'"),
    (f"{SHAPED} --task sst-22", "'sst-22' is no task of GLUE: did you mean sst-2?"),
    (f"{SHAPED} --data words.csv --task regression", "label 'good' is no finite number"),
    (f"{SHAPED} --data words.csv --metric pearson", "'good' is no finite number, and regression"),
    (f"{SHAPED} --data fractions.csv --metric accuracy", "40 different labels in 40 rows are no"),
    (f"{FINETUNE} --data fractions.csv --metric f1", "40 different labels in 40 rows are no"),
    (f"{FINETUNE} --data constant.csv --task regression", "every label is 0.5: nothing to learn"),
    # labels that are named
    (f"{SHAPED} --labels a", "--labels 'a' is no list: give two names or more"),
    (f"{SHAPED} --labels a,b", "is none of the task's labels (a, b)"),
    (f"{SHAPED} --labels files,network,text", "'concurrency' is none of the task's labels"),
    (f"{SHAPED} --labels files,network,text,sport", "'concurrency' is none of the task's labels"),
    (f"{SHAPED} --labels a,b,c,c", "--labels 'a,b,c,c' has a name twice"),
    (f"{SHAPED} --labels concurrency,files,network,text,sport", "and the data has 5 labels"),
    # labels that are missing
    (f"{SHAPED} --data unlabelled.csv --teacher encoder", "the data has no labels to fine-tune it"),
    (f"{SHAPED} --data unlabelled.csv --controls", "--controls are scored against labels"),
    # teachers
    (f"{SHAPED} --teacher colours", "the teacher's labels (red, green, blue, grey) are not the"),
    (f"{SHAPED} --teacher numbered", "no order of the data's labels is clearly right"),
    (f"{SHAPED} --teacher liar --data topics.csv", "the order of the teacher's labels is suspici"),
    (f"{SHAPED} --teacher value", "gives one value and column 'label' was read as 4 classes"),
    (f"{SHAPED} --teacher broken-weights", "broken-weights cannot be loaded as a model"),
    (f"{SHAPED} --teacher no-weights", "no-weights cannot be loaded as a model"),
    (f"{SHAPED} --teacher broken-config", "config.json is no JSON"),
    (f"{SHAPED} --teacher {LONG}", "(File name too long)"),
    (f"{SHAPED} --teacher-labels a,b", "names 2 labels, but teacher has 4 outputs (concurrency,"),
    (f"{SHAPED} --teacher-labels a,a,b,c", "--teacher-labels 'a,a,b,c' has a name twice"),
    (f"{SHAPED} --teacher-labels a,,b,c", "--teacher-labels 'a,,b,c' is no list"),
    (
        f"{SHAPED} --teacher-labels concurrency,topics,text,network",
        "--teacher-labels names topics, which the data does not have: its labels are concurrency,",
    ),
    (f"{SHAPED} --teacher encoder --teacher-labels a,b", "an encoder without a task head: leave"),
    # sizes
    (f"{DISTILL} --max-latency abc", "--max-latency abc is no time: give a positive one such as"),
    (f"{DISTILL} --max-latency 0", "--max-latency 0 is no time"),
    (f"{DISTILL} --max-latency 5GB", "--max-latency 5GB is no time"),
    (f"{DISTILL} --max-latency 1us", "no student of this teacher takes 0.001 ms here: the fastest"),
    (f"{DISTILL} --max-size small", "--max-size small is no size"),
    (f"{DISTILL} --max-size 1KB", "no student of this teacher is as small as 0.001 MB"),
    (f"{DISTILL} --speedup 0.5", "--speedup 0.5 would be slower than the teacher: give 1 or more"),
    (f"{DISTILL} --speedup 10000", "times as fast here: the fastest"),
    (f"{DISTILL} --speedup 2 --latency-length 4000", "takes 128 tokens at most, 4000 were"),
    (f"{DISTILL} --speedup 2 --latency-batch 0", "--latency-batch 0 makes no sense"),
    (f"{DISTILL} --speedup 2 --student teacher", "--student teacher names a student, and --max-l"),
    (f"{SHAPED} --max-size 20MB", "--student 2x16 names a student, and --max-latency"),
]

VERBS: list[tuple[str, str]] = [
    # GLUE: one task
    (f"{SHAPED} --task sst-2", "good.csv is a file: give the directory with SST-2's files"),
    (f"{SHAPED} --task sst-2 --data glue --text text", "--text is for data of one's own"),
    (f"{SHAPED} --task sst-2 --data glue --dev good.csv", "--dev is for data of one's own"),
    (f"{SHAPED} --task sst-2 --data glue --metric pearson", "is for regression, sst-2 is class"),
    (f"{SHAPED} --task sst-2 --data glue", "and the data has 2 labels (negative, positive)"),
    (f"{SHAPED} --task sst-2 --data nothing", "should be a directory SST-2 with train.tsv in it"),
    (f"{SHAPED} --task sst-2 --data no-dev", "no-dev has no dev.tsv"),
    (f"{SHAPED} --task sst-2 --data odd-label", "label '7' is none of the task's labels"),
    (f"{SHAPED} --task sst-2 --data nobody/glue", "nobody/glue is no directory here, and its"),
    (f"{SHAPED} --task mnli --data glue", "does not hold MNLI"),
    (f"{SHAPED} --task rte --data glue", "RTE/train.tsv has no column 'sentence1': GLUE's layout"),
    (f"{SHAPED} --task qnli --data glue", "QNLI/train.tsv, line 3: 5 fields where there should"),
    (f"{SHAPED} --task cola --data glue", "CoLA/train.tsv, line 1: 2 fields where there should"),
    # GLUE: the table
    (f"{GLUE} --tasks sst2 SST-2", "--tasks sst2 SST-2 names a task twice"),
    (f"{GLUE} --tasks weather", "'weather' is no task of GLUE: give one of cola, sst-2"),
    (f"{GLUE} --tasks mnil", "'mnil' is no task of GLUE: did you mean mnli?"),
    (f"{GLUE} --task sst-2", "--task is for one task: name those of GLUE with --tasks"),
    (f"{GLUE} --tasks mnli", "glue does not hold MNLI"),
    (f"{GLUE} --data nothing", "nothing holds no GLUE task"),
    (f"{GLUE} --tasks sst-2 --output good.csv", "good.csv is a file: give a directory"),
    (f"{GLUE} --seeds 0", "--seeds 0 makes no sense"),
    # predictions
    (f"{PREDICT} --output out.xlsx", "give a file that ends in .jsonl, .csv, .parquet"),
    (f"{PREDICT} --output good.csv", "good.csv exists already: choose another name, or replace"),
    (f"{PREDICT} --output nowhere/out.csv", "there is no directory nowhere"),
    (f"{PREDICT} --output good.csv/out.csv", "there is no directory good.csv"),
    (f"{PREDICT} --output {LONG}.csv", "(File name too long)"),
    (f"{PREDICT} --model encoder", "encoder has no task head"),
    (f"{PREDICT} --metric accuracy", "--metric scores against labels: name their column"),
    (f"{PREDICT} --label topic", "good.csv has no label column 'topic'"),
    (f"{PREDICT} --label label --metric pearson", "'pearson' is for regression, the task is"),
    (f"{PREDICT} --model value --label label", "is no finite number"),
    (f"{LEADERBOARD} --task weather", "'weather' is no task of GLUE"),
    (f"{LEADERBOARD} --task mnli", "MNLI asks for 3 classes and the model gives 2"),
    (f"{LEADERBOARD} --task sst-2", "labels (a, b) are not those of SST-2 (negative, positive)"),
    (f"{LEADERBOARD} --task sst-2 --label label", "--label is for data of one's own"),
    ("evaluate --model teacher --data good.csv --json nothing", "nothing is a directory"),
    # checkpoints of the authors' code
    (f"{CONVERT} nowhere", "there is no directory nowhere"),
    (f"{CONVERT} nothing", "nothing has no config.json or bert_config.json"),
    (f"{CONVERT} half-a-checkpoint", "half-a-checkpoint has no pytorch_model.bin"),
    (f"{CONVERT} code", "holds more than tensors and is not read, since that could run code"),
    (f"{CONVERT} other-sizes", "tensors that the configuration asks for are not among the weigh"),
    (f"{CONVERT} other-sizes --output nothing", "exists already: choose another one"),
    # where it goes
    (f"{FINETUNE} --output {LONG}", "(File name too long)"),
]

BAD = COLUMNS + FILES + TASKS + VERBS


@pytest.mark.parametrize(
    ("line", "message"), BAD, ids=[line.replace(LONG, "LONG") for line, _ in BAD]
)
def test_one_sentence_and_nothing_left(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    before = tree(here)
    assert message in sentence(capsys, line.split())
    assert tree(here) == before


@pytest.mark.parametrize("line", [SHAPED, FINETUNE, PREDICT, f"{GLUE} --tasks sst-2"])
def test_a_place_without_the_right_to_write(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """What ``access`` says is made up, since the superuser may write anywhere."""
    (here / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path).name != "locked")
    before = tree(here)
    said = sentence(capsys, line.replace("--output out", "--output locked/out").split())
    assert "nothing may be written into" in said
    assert "choose another" in said
    assert tree(here) == before


@pytest.mark.parametrize("line", [SHAPED, FINETUNE, f"{GLUE} --tasks sst-2"])
def test_a_place_that_refuses_although_the_rights_are_there(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """As network disks and those mounted read-only do."""
    (here / "locked").mkdir()
    real = os.mkdir

    def refused(path: str | Path, *more: Any, **named: Any) -> None:
        if "locked" in Path(path).parts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        real(path, *more, **named)

    monkeypatch.setattr(os, "mkdir", refused)
    before = tree(here)
    said = sentence(capsys, line.replace("--output out", "--output locked/out").split())
    assert "(Read-only file system): check name and rights, or choose another place" in said
    assert tree(here) == before


SOUND = [
    *("newlines.csv", "returns.csv", "mark.csv", "mark.jsonl", "long.csv", "quotes.tsv"),
    *("cases.csv", "emoji.csv", "good.parquet"),
]


@pytest.mark.parametrize("file", SOUND)
def test_what_looks_bad_and_is_not(
    here: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """Four classes, 40 rows (one more in the file with the long text), and a tenth held out."""
    before = tree(here)
    assert main([*rows(file).split(), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "labels matched by name" in said
    count = 41 if file == "long.csv" else 40
    assert f"4 of {count} rows held out" in said
    assert tree(here) == before


def test_a_label_that_is_a_number_in_several_spellings(here: Path) -> None:
    plan = tinybert.distill(
        teacher="numbered",
        data="digits.csv",
        output="out",
        student="2x16",
        dry_run=True,
        quiet=True,
    )
    assert plan["training rows"] == 36
    figures = tinybert.evaluate(model="numbered", data="digits.csv", max_length=24, quiet=True)
    assert figures["rows"] == 40


def test_a_text_far_too_long_and_no_line_feeds(here: Path) -> None:
    """Through the whole of a run: cut to what the models take, answered row by row."""
    quick = "--intermediate-epochs 1 --prediction-epochs 1 --precision float32 --attention direct"
    assert main([*rows("long.csv").split(), *quick.split(), "--quiet"]) == 0
    results = json.loads((here / "out" / "results.json").read_text())
    assert sum(results["rows"].values()) == 41
    answer = f"predict --model out --data returns.csv --max-length 24 --output {here}/a.jsonl"
    assert main([*answer.split(), "--quiet"]) == 0
    answers = [json.loads(line) for line in (here / "a.jsonl").read_text().splitlines()]
    assert [each["row"] for each in answers] == list(range(40))
    assert {each["label"] for each in answers} <= set(tiny.LABELS)
