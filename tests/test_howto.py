"""The how-to pages do what they say: their blocks run, their lines, files and errors appear.

A page is read, not copied here: commands and Python are its blocks; under "What it prints" and
wherever a table is headed "line", the first column is looked for in the output ("…" stands for
anything); under "path" it is a file or directory that has to be there; under "error" every line is
provoked by a command below.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from transformers import AutoModel, AutoTokenizer, pipeline

from support import cuttable, forms, howto, tiny, tongues, web
from tinybert.cli import main
from tinybert.contest import random_models
from tinybert.jobs import (
    bench,
    distill,
    exported_forms,
    general,
    mlm,
    pace,
    profile,
    task_stages,
)
from tinybert.jobs.multitask_plan import PER_TASK
from tinybert.jobs.pace import Pace
from tinybert.jobs.word_tasks import USUAL_STRIDE
from tinybert.measure import Latency, flops
from tinybert.settings import DistillSettings, MultitaskSettings
from tinybert.settings.export import Int8
from tinybert.several_tasks import rows_drawn
from tinybert.sizing import fit
from tinybert.tasks.glue.facts import GLUE
from tinybert.tasks.reading import columns
from tinybert.webpage.third_party import packages

ROOT = Path(__file__).resolve().parent.parent / "docs" / "how-to"
HEAD_STEPS = mlm.DEFAULT_HEAD_STEPS
TABLE = "reproduce --teacher encoder --corpus text.txt --data glue --output new"
PAGES = sorted(path.stem for path in ROOT.glob("*.md") if path.name != "README.md")


@dataclass
class Page:
    """What a page has to be held to.

    Attributes:
        blocks: (language, text) in their order.
        tables: heading of the first column → what is in it as code, in all tables of that heading.
    """

    blocks: list[tuple[str, str]] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)


def read(text: str) -> Page:
    page = Page()
    tokens = MarkdownIt().enable("table").parse(text)
    heading, column = "", 0
    for token, inside in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type in ("fence", "code_block"):
            page.blocks.append((token.info, token.content))
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            if token.type == "th_open" and column == 0:
                heading = inside.content
            elif token.type == "td_open" and column == 0:
                spans = [t.content for t in inside.children or [] if t.type == "code_inline"]
                page.tables.setdefault(heading, []).extend(spans or [inside.content])
            column += 1
    return page


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return howto.make(tmp_path_factory.mktemp("howto"))


@pytest.fixture(scope="session")
def graphs() -> Callable[..., bool]:
    """Exports of the pages' one teacher are traced once."""
    return forms.graphs_once({})


# Page → error, as the page has it → the command that ends with it, after the page's own.
DISTILL = "distill --teacher bert-base-uncased --output new"
CONVERT = "convert --output new --model TinyBERT_4L_312D/SST-2"
HUB = "distill --teacher textattack/bert-base-uncased-SST-2 --output new"
PREDICT = "predict --model mrpc --data glue --output submission"
SIZED = "distill --teacher teacher --data train.csv --output new"
BUILD = "corpus build --teacher bert-base-uncased --output new"
LEARN = "general --teacher bert-base-uncased --corpus text.txt --output new"
ALIKE = "evaluate --model student-encoder"
FILL = "mlm --model student-encoder --corpus text.txt --output new"
SHOW = "page --output new"
LONG = "distill --teacher modernbert --data documents.csv --output new"
TRIM = "trim student --output new"
OWN = "distill --teacher teacher --data train.csv --output new"
COPY = "augment --data train.csv --masked-lm masked-lm --output new"
TAG = "distill --task ner --teacher bert-base-uncased --output new"
ASK = "distill --task squad --teacher bert-base-uncased --output new"
EMBED = "embedder --teacher sentence-encoder --corpus text.txt --output new"
SETS = "distill --task multi-label --teacher bert-base-uncased --output new"
RANK = "distill --task ranking --teacher bert-base-uncased --label relevance --output new"
MANY = "multitask --tasks mood score --output new --student 2x16"
MINE = f"{MANY} --data mood=reviews.csv score=scores.csv --teacher teachers/{{task}}"
ERRORS: dict[str, dict[str, str]] = {
    "own-csv": {
        "which column is the text? name it with --text": f"{DISTILL} --data two-texts.csv",
        "separate columns with commas, not with ';'": f"{DISTILL} --data semicolons.csv",
        "rows have no label": f"{DISTILL} --data gaps.csv",
        "different labels in … rows are no classes": f"{DISTILL} --data numbered.csv",
        "is none of the task's labels": f"{DISTILL} --data reviews.csv --dev neutral.csv",
        "output directory … exists already": (
            "distill --teacher bert-base-uncased --data reviews.csv --output student"
        ),
        "is there already and is not this encoder fine-tuned on these rows": (
            "distill --teacher bert-base-uncased --data reviews.csv --output kept"
        ),
    },
    "no-labels": {
        "is an encoder without a task head, and the data has no labels to fine-tune it on": (
            f"{DISTILL} --data texts.csv"
        ),
        "rows have no label": "distill --teacher teacher --output new --data gaps.csv",
        "--controls are scored against labels, and the data has none": (
            "distill --teacher teacher --output new --data texts.csv --controls"
        ),
    },
    "several-labels": {
        "no row has two labels with ; or | or , between them": f"{SETS} --data slashes.csv",
        "different labels in … rows are no labels but a text": (
            f"{SETS} --data prose.csv --label note"
        ),
        "every label is 'files': a task needs two at least": f"{SETS} --data one-label.jsonl",
        "'2' where 0 or 1 is wanted": f"{SETS} --data twos.csv --label files,network",
        "is none of the task's labels": f"{SETS} --data subjects.jsonl --dev unheard.csv",
        "and this task asks for a multi-label classifier": (
            "distill --task multi-label --teacher teacher --data subjects.jsonl --output new"
        ),
        "is a multi-label classifier, and this task asks for": (
            "distill --teacher subjects --data train.csv --output new"
        ),
    },
    "ranking": {
        "ranking needs two texts a row": f"{RANK} --data queries.csv --text query",
        "every query has a single passage, so there is nothing to rank": (
            f"{RANK} --data singles.csv"
        ),
        "has both a relevant passage and one more": f"{RANK} --data queries.csv --dev "
        "irrelevant.csv",
        "a ranking needs one value for each pair": (
            "distill --task ranking --label relevance --teacher teacher --data queries.csv "
            "--output new"
        ),
        "a passage has the relevance -1, and none is less than 0": f"{RANK} --data negative.csv",
    },
    "entities": {
        "2 words and 1 tag: give each word a tag": f"{TAG} --data uneven.jsonl",
        "is not among the training rows' tags": f"{TAG} --data train.conll --dev strange.conll",
        "and this task asks for a token classifier": (
            "distill --task ner --teacher teacher --data train.conll --output new"
        ),
        "is not for --task token-classification": (
            "augment --task ner --data train.conll --masked-lm masked-lm --output new"
        ),
    },
    "questions": {
        "is not in its passage at character": f"{ASK} --data moved.json",
        "for its passage, where windows share": (f"{ASK} --data squad --max-length 8 --stride 3"),
        "gives more than a value a row: give a file that ends in .jsonl": (
            "predict --model answerer --data squad --output new.csv"
        ),
    },
    "regression": {
        "the teacher gives one value and column 'stars' was read as 5 classes": (
            "distill --teacher regressor --output new --data stars.csv --label stars"
        ),
        "is no finite number, and regression needs numbers": (
            f"{DISTILL} --data holes.csv --task regression"
        ),
        "metric 'accuracy' is for classification, the task is regression": (
            f"{DISTILL} --data scores.csv --task regression --metric accuracy"
        ),
        "the teacher has 2 classes and column 'score' was read as values": (
            "distill --teacher teacher --output new --data scores.csv"
        ),
    },
    "two-texts": {
        "has no text column 'answers': there are question, answer, label": (
            f"{DISTILL} --data pairs.csv --text question,answers"
        ),
        "name one column, or two different ones": (
            f"{DISTILL} --data pairs.csv --text question,answer,label"
        ),
        "rows have no text": f"{DISTILL} --data empty.csv",
    },
    "several-teachers": {
        "is an encoder without a task head: fine-tune it": (
            f"{SIZED} --ensemble bert-base-uncased"
        ),
        "teachers of one student need one tokenizer": f"{SIZED} --ensemble other-tokens",
        "teachers of one student answer with the same labels": f"{SIZED} --ensemble regressor",
    },
    "several-tasks": {
        "is an encoder without a task head: fine-tune it": f"{MINE} score=bert-base-uncased",
        "differ in shape": f"{MINE} score=narrow",
        "cut text into different tokens": f"{MINE} mood=other-tokens",
        "--teacher teacher is that of mood and of score": (
            f"{MANY} --data mood=reviews.csv score=scores.csv --teacher teacher"
        ),
        "reviews.csv is that of mood and of score: write {task}": (
            f"{MANY} --data reviews.csv --teacher teachers/{{task}}"
        ),
        "is no file, and mood is no task of GLUE": (
            f"{MANY} --data glue --teacher teachers/{{task}}"
        ),
        "--tasks names no moods; did you mean mood?": f"{MINE} --label moods=label",
        "mood is to be ner, and tasks that share a student are": f"{MINE} --kind mood=ner",
    },
    "hub-teacher": {
        "no order of the data's labels is clearly right": f"{HUB} --data few.csv",
        "the order of the teacher's labels is suspicious": (
            "distill --teacher lying-teacher --output new --data reviews.csv"
        ),
        "the teacher's labels (negative, positive) are not the data's (bad, good)": (
            "distill --teacher teacher --output new --data other.csv"
        ),
        "the teacher has 2 outputs (LABEL_0, LABEL_1) and the data has 4 labels": (
            f"{HUB} --data topics.csv"
        ),
        "as a model of the Hugging Face Hub it cannot be loaded": (
            "distill --teacher textattack/bert-base-uncased-SST-3 --output new --data reviews.csv"
        ),
    },
    "glue": {
        "glue does not hold RTE: there should be a directory RTE": (
            f"{DISTILL} --task rte --data glue"
        ),
        "was made with other settings (prediction_epochs)": (
            "glue --teacher bert-base-uncased --data glue --output results --prediction-epochs 4"
        ),
        "--text is for data of one's own": f"{DISTILL} --task mrpc --data glue --text sentence1",
        "holds MRPC.tsv already": f"{PREDICT} --task mrpc",
        "are not those of RTE": f"{PREDICT} --task rte",
    },
    "original-checkpoints": {
        "has no config.json or bert_config.json": "convert --output new --model TinyBERT_4L_312D",
        "there is no vocabulary": f"{CONVERT} --vocab words.txt",
        "the classifier has 2 outputs and --labels names 3": f"{CONVERT} --labels a,b,c",
        "is an encoder without a classifier: leave out --labels": (
            "convert --output new --model General_TinyBERT_4L_312D --labels a,b"
        ),
    },
    "size-by-need": {
        "no student of this teacher is … times as fast here": f"{SIZED} --speedup 5000",
        "no student of this teacher takes … ms here": f"{SIZED} --max-latency 0.001ms",
        "no student of this teacher is as small as … MB": f"{SIZED} --max-size 1KB",
        "names a student, and --max-latency, --max-size and --speedup ask for one to be found": (
            f"{SIZED} --student half --speedup 2"
        ),
        "--max-latency fast is no time": f"{SIZED} --max-latency fast",
    },
    "report": {
        "there is no directory nowhere: give the directory of a finished student": "report nowhere",
        "has no results.json": "report bert-base-uncased",
        "results.json is no JSON": "report half-written",
        "page.html exists already: choose another name": "report student --output page.html",
        "give one in quotes, or two of a pair": "report student --sentence lock the queue",
    },
    "another-vocabulary": {
        "the text gives … pieces and --vocabulary-size asks for 5,000": (
            f"{OWN} --vocabulary-size 5000"
        ),
        "both say which vocabulary the student has": (
            f"{OWN} --vocabulary-size 60 --tokenizer own-tokenizer"
        ),
        "say of how many pieces with --vocabulary-size": f"{OWN} --corpus text.txt",
        "has a tokenizer of its own already: leave out --vocabulary-size": (
            f"{OWN} --student student --vocabulary-size 60"
        ),
        "--max-size finds a student with the teacher's vocabulary": (
            f"{OWN} --vocabulary-size 60 --max-size 1MB"
        ),
        "does not write a text as [CLS] … [SEP]": f"{OWN} --tokenizer unframed",
        "attention in sliding windows (…) cannot be compared between two tokenizers": (
            "distill --teacher modernbert --data train.csv --student 2x32 --output new "
            "--tokenizer own-tokenizer"
        ),
        "is for classification and regression so far, not for": (
            "distill --task multi-label --teacher bert-base-uncased --data subjects.jsonl "
            "--output new --tokenizer own-tokenizer"
        ),
    },
    "vocabulary": {
        "the text is missing: give text with --corpus, or rows with --data": TRIM,
        "--pieces 20 is too few: … pieces stay always": f"{TRIM} --corpus text.txt --pieces 20",
        "% of this text is [UNK] to the tokenizer of student": f"{TRIM} --corpus greek.txt",
        "is of the kind WordLevel, whose vocabulary cannot be cut": (
            "trim teacher --output new --corpus text.txt"
        ),
        "has no tokenizer": "trim bare --output new --corpus text.txt",
        "student answers with negative, positive and the rows' labels are bad, good": (
            f"{TRIM} --data other.csv"
        ),
        "output directory … exists already": "trim student --corpus text.txt --output small",
    },
    "corpus": {
        "there is no file or directory nowhere.txt": f"{BUILD} --corpus nowhere.txt",
        "texts/broken.txt.gz is cut short or broken": f"{BUILD} --corpus spoilt/texts/*.gz",
        "the text column of … cannot be told": f"{BUILD} --corpus two-texts.csv",
        "output directory … exists already": (
            "corpus build --teacher bert-base-uncased --corpus texts --output corpus"
        ),
    },
    "general-student": {
        "--budget and --steps both say how long to train": f"{LEARN} --steps 5 --budget 5m",
        "--budget 30 is no time": f"{LEARN} --budget 30",
        "there is no file or directory nowhere.txt": f"{LEARN} --corpus nowhere.txt",
        "output directory … exists already": f"{LEARN} --output general",
    },
    "augment": {
        "has no output head to guess words with": f"{COPY} --masked-lm student-encoder",
        "is no file of word vectors": f"{COPY} --vectors train.csv",
        "holds copies of other rows than these training rows": (
            f"{SIZED} --augment augmented --seed 7"
        ),
        "is no augmentation": f"{SIZED} --augment student",
        "output directory … exists already": f"{COPY} --output augmented",
    },
    "sentence-embeddings": {
        "is a classifier, whose vectors say what its labels say": f"{EMBED} --teacher teacher",
        "pools its states by lasttoken, and there are mean and cls here": (
            f"{EMBED} --teacher last-token"
        ),
        "has a size that is not below the 32 numbers of the whole vector": (
            f"{EMBED} --matryoshka 64,16"
        ),
        "give different sizes from the largest to the smallest": f"{EMBED} --matryoshka 8,16",
        "different sentences: give text of 16 or more": f"{EMBED} --sentences few-lines.txt",
        "--budget and --steps both say how long to train": f"{EMBED} --budget 5m --steps 5",
    },
    "masked-lm": {
        "has no mask token, as those of causal language models": f"{FILL} --model stranger",
        "has an output head already, and nothing says how long all weights learn": (
            f"{FILL} --model filler"
        ),
        "--epochs and --steps both say how long to train": f"{FILL} --steps 5 --epochs 1",
        "there is no file or directory nowhere.txt": f"{FILL} --corpus nowhere.txt",
        "output directory … exists already": f"{FILL} --output filler",
    },
    "browser-page": {
        "is not exported, and the page runs an int8 ONNX model": f"{SHOW} teacher",
        "has no int8 model": f"{SHOW} float-only",
        "has no tokenizer.json, which the page reads": f"{SHOW} tokenless",
        "is an encoder without a classifier": f"{SHOW} exported-encoder",
        "the page asks for two texts with … between them": (
            f"{SHOW} exported --texts 2 --examples lock"
        ),
        "holds no onnxruntime-web": f"{SHOW} exported --assets texts",
        "output directory … exists already": "page exported --output page",
    },
    "many-machines": {
        "was built with another tokenizer than the teacher's": (
            "general --teacher stranger --corpus corpus --output new"
        ),
        "is a built corpus, which stands alone": f"{LEARN} --corpus corpus text.txt",
    },
    "check-a-general-student": {
        "has no scores: name their column with --label, or give a teacher": (
            f"{ALIKE} --similarity unscored.tsv"
        ),
        "has one text a row": f"{ALIKE} --similarity texts.csv",
        "all scores are the same, which ranks nothing": f"{ALIKE} --similarity flat.tsv",
        "--similarity needs no --data": f"{ALIKE} --similarity similar.tsv --data train.csv",
    },
    "reproduce": {
        "has no output head": f"{TABLE} --teacher student-encoder --systems DistilBERT_4",
        "are pre-trained on text: give it with --corpus": "reproduce --teacher encoder --data glue "
        "--output new",
        "is fine-tuned for a task": f"{TABLE} --teacher teacher --systems TinyBERT_4",
        "was made of something else (task_flops changed)": "reproduce --teacher encoder --corpus "
        "text.txt --data glue --corpus-flops 40M --task-flops 30M --systems TinyBERT_4 --output "
        "table",
        "there is no system TinyBERT_5: did you mean": f"{TABLE} --systems TinyBERT_5",
    },
    "bench": {
        "there is no form onnx-int4: did you mean onnx-int8?": "bench teacher --forms onnx-int4",
        "has no form onnx-int8, it has pytorch-float32, pytorch-bfloat16": (
            "bench teacher exported --forms onnx-int8"
        ),
        "takes 128 tokens at most, --length 512 was asked for": "bench teacher --length 512",
        "is no model directory": "bench glue",
        "means no shape": "bench BERT_HUGE:random",
        "give a file that ends in .png, .svg, .pdf": "bench teacher --plot bench.gif",
        "there is no directory nowhere": "bench teacher --json nowhere/bench.json",
        "no score of bert-base-uncased is known": (
            "bench bert-base-uncased --plot new.svg --against score"
        ),
    },
    "export": {
        "--to tflite is no form": "export teacher --output new --to tflite",
        "output directory … exists already": "export teacher --output exported",
        "has no task head, so it has no score on --data": (
            "export student-encoder --output new --data test.csv"
        ),
        "has no label column": "export teacher --output new --data texts.csv",
        "points less where --max-drop allows": "export teacher --output new --data all.csv",
        "--int8-keep 9 is no part of this model": "export teacher --output new --int8-keep 9",
        "--calibration is for static scales": "export teacher --output new --calibration texts.csv",
        "nobody is logged in to the Hugging Face Hub": (
            "export teacher --output new --push-to-hub me/student"
        ),
    },
    "long-inputs": {
        "the model takes 8192 tokens at most": f"{LONG} --max-length 9000",
        "so its heads are of even size": f"{LONG} --student 2x20",
        "computes attention in its own way": (
            "distill --teacher deberta-v3-base --data documents.csv --output new --student 2x32 "
            "--attention-transfer heads"
        ),
    },
    "run-anywhere": {
        "output directory … exists already": "export teacher --output exported",
    },
    "systems": {
        "there is no system TinyBERT_5: did you mean": "systems show TinyBERT_5",
        "systems what? Say": "systems TinyBERT_4",
        "the model takes … tokens at most": "profile --systems TinyBERT_4 --length 513",
        "--batch 0 makes no sense": "profile --batch 0",
        "there is no directory nowhere": "profile --json nowhere/figures.json",
    },
}


# The longest pages whose verbs have tests of their own in tests/jobs and tests/sizing.
SLOW = ("another-vocabulary", "bench", "masked-lm", "reproduce", "sentence-embeddings")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PAGES],
)
def test_page(
    name: str,
    inputs: Path,
    graphs: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = read((ROOT / f"{name}.md").read_text("utf-8"))
    assert {"sh", "python"} == {language for language, _ in page.blocks if language != "js"}
    place = tmp_path / "place"
    shutil.copytree(inputs, place)
    monkeypatch.chdir(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(exported_forms, "write_graph", graphs)
    if name == "size-by-need":
        tiny.saved_classifier(place / "teacher", labels=howto.SENTIMENT, layers=6, width=128)
        monkeypatch.setattr(fit, "latency", by_flops)
    if name == "general-student":  # so slow a machine that half an hour is a dozen steps
        slow = Pace(step_seconds=150.0, tokens_per_step=1e3, evaluation_seconds=0.1, peak_bytes=0)
        monkeypatch.setattr(pace, "measure_pace", lambda *_: slow)
        monkeypatch.setattr(general, "measure_pace", lambda *_: slow)
    if name == "browser-page":  # scripts of others are not fetched in a test
        web.stand_in(monkeypatch, tmp_path / "npm")
    if name == "vocabulary":
        cuttable.for_the_page(place)
    if name == "another-vocabulary":
        tongues.for_the_page(place)
    if name != "own-csv":  # whose proof reads how many there are
        few_epochs(monkeypatch)
    if name == "augment":  # 20 copies of each row
        rows = (place / "train.csv").read_text().splitlines(keepends=True)
        (place / "train.csv").write_text("".join(rows[:17]))
    if name == "bench":
        one_small_round(monkeypatch)
    if name == "systems":
        monkeypatch.setattr(profile, "latency", by_flops)
    if name == "masked-lm":  # fewer steps than a real head takes
        monkeypatch.setattr(mlm, "DEFAULT_HEAD_STEPS", 20)
    if name == "export":
        spoil_int8(monkeypatch)
    space: dict[str, Any] = {"__name__": "page"}
    for language, text in page.blocks:
        if language == "python":
            exec(compile(text, f"{name}.md", "exec"), space)
        if language != "sh":
            continue
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            assert words[0] == "tinybert", f"only tinybert commands run here: {line}"
            assert main(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
    printed = one_spaced("".join(capsys.readouterr()))
    for line in page.tables["line"]:
        assert pattern(line).search(printed), f"never printed: {line}\n{printed}"
    for path in page.tables["path"]:
        assert not (inputs / path).exists(), f"{path} is an input"
        check_output(place / path)
    if name in PROOFS:
        PROOFS[name](place, space, (ROOT / f"{name}.md").read_text("utf-8"))
    there = set(place.rglob("*"))
    assert set(page.tables["error"]) == set(ERRORS[name])
    for error, command in ERRORS[name].items():
        assert main(shlex.split(command)) == 2
        said = one_spaced(capsys.readouterr().err)
        assert pattern(error).search(said), f"{command}\n{said}"
        assert set(place.rglob("*")) == there, f"{command} left something behind"


def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the paper's 20 epochs on states two: the pages do not say what students score."""
    real = task_stages.epochs_of

    def epochs_of(settings: DistillSettings, rows: int) -> tuple[float, str]:
        epochs, why = real(settings, rows)
        return min(epochs, 2.0), why

    for module in (task_stages, distill):
        monkeypatch.setattr(module, "epochs_of", epochs_of)


def one_small_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contest in this process, of few passes and rows, whose shape is small."""
    real_config, real_texts = bench.random_config, bench.real_texts

    def config(name: str) -> Any:
        return tiny.config(num_labels=2) if name == "12x768" else real_config(name)

    def texts(data: Any, task: Any, text: Any, count: int, reporter: Any) -> Any:
        return real_texts(data, task, text, min(count, 8), reporter)

    def export(directory: Path, *_: Any) -> None:
        shutil.copytree("exported/onnx", directory / "onnx")

    monkeypatch.setattr(bench, "running", forms.here)
    monkeypatch.setattr(bench, "PASSES_A_TURN", 20)
    monkeypatch.setattr(bench, "export_random", export)
    monkeypatch.setattr(bench, "real_texts", texts)
    for module in (bench, random_models):
        monkeypatch.setattr(module, "random_config", config)


def spoil_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the largest file of rows int8 gives the wrong class throughout; nobody is logged in."""
    real = exported_forms.answers

    def answers(runtime: Any, rows: Any, advance: Any) -> Any:
        found = real(runtime, rows, advance)
        return -found if len(rows) == 240 and runtime.form == "onnx-int8" else found

    monkeypatch.setattr(exported_forms, "answers", answers)
    monkeypatch.setattr("tinybert.export.hub.get_token", lambda: None)


def by_flops(models: Mapping[str, Any], **options: Any) -> dict[str, Latency]:
    """Invented times, 1 ms for 10⁷ operations: small models are all overhead."""
    length, batch = options["length"], options["batch"]
    return {
        name: Latency(
            median=batch * flops(model, length=length) / 1e7,
            p95=0.0,
            length=length,
            batch=batch,
            repeats=options["repeats"],
            threads=1,
            device="cpu",
            precision="float32",
        )
        for name, model in models.items()
    }


def pattern(line: str) -> re.Pattern[str]:
    """``…`` stands for anything within a line."""
    return re.compile(".+?".join(re.escape(part) for part in line.split("…")))


def one_spaced(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def check_output(path: Path) -> None:
    """It is there, and what its name says."""
    assert path.exists(), f"{path.name} is not there"
    if path.name == "README.md":
        exported = (path.parent / "export.json").exists()
        own = "sentence-transformers" if (path.parent / "modules.json").exists() else "transformers"
        library = "transformers.js" if exported else own
        assert ModelCard.load(path).data.library_name == library
    elif path.name == "results.json":
        assert json.loads(path.read_text("utf-8"))["versions"]
    elif path.is_dir() and (path / "config.json").exists():
        AutoModel.from_pretrained(path)
        assert len(AutoTokenizer.from_pretrained(path)) > 20
    else:
        assert path.is_file(), f"{path.name} is no model"
        assert path.stat().st_size > 0


# --- what a page claims beyond its tables ---------------------------------------------------------


def own_csv(place: Path, space: dict[str, Any], text: str) -> None:
    """The teacher was made once; trained, chosen and reported rows are told apart."""
    results = results_in(place / "student")
    assert results == json.loads(json.dumps(space["results"], default=str))
    assert results["rows"] == {"train": 31, "dev": 1, "test": 2}
    assert results["teacher_fine_tuned"]
    stages = [stage["schedule"]["epochs"] for stage in results["stages"]]
    assert stages == [20, 3]
    assert results_in(place / "student-teacher")["stages"][0]["schedule"]["epochs"] == 3
    assert not (place / "student-2").exists()
    lines = (place / "predictions.csv").read_text().splitlines()
    assert lines[0] == "row,label,probability"
    assert len(lines) == len((place / "texts.csv").read_text().splitlines())


def no_labels(place: Path, space: dict[str, Any], text: str) -> None:
    results = space["results"]
    assert 0 <= results["agreement"] <= 1
    assert results["metric"] is results["retention"] is results["student"]["score"] is None
    assert set(labels_of(place / "student")) == set(howto.SENTIMENT)


def regression(place: Path, space: dict[str, Any], text: str) -> None:
    """Pipeline and ``predict`` give the same value; every metric of values is among the scores."""
    results = results_in(place / "student")
    wanted = {"pearson_spearman", "pearson", "spearman"}
    assert set(results["student"]["scores"]["test"]) == wanted
    rows = (place / "values.csv").read_text().splitlines()
    assert rows[0] == "row,value"
    first = (place / "scores.csv").read_text().splitlines()[1].split(",")[0]
    assert space["rate"](first)[0]["score"] == pytest.approx(float(rows[1].split(",")[1]), abs=1e-4)


def two_texts(place: Path, space: dict[str, Any], text: str) -> None:
    """The columns known by name are those that the page lists."""
    listed = re.findall(r"`(\w+)` and `(\w+)`", text.split("if they are called")[1].split(".")[0])
    assert listed == [*columns._PAIRS]
    assert results_in(place / "student")["text_columns"] == ["question", "answer"]


def hub_teacher(place: Path, space: dict[str, Any], text: str) -> None:
    results = results_in(place / "student")
    assert not results["teacher_fine_tuned"]
    assert not (place / "student-teacher").exists()
    assert set(labels_of(place / "student")) == set(howto.SENTIMENT)


def several_tasks(place: Path, space: dict[str, Any], text: str) -> None:
    """One body answers as each whole model; drawn rows and parts are those of the page."""
    for task, model in space["models"].items():
        with torch.inference_mode():
            whole = model(**space["tokens"]).logits
        torch.testing.assert_close(space["answers"][task], whole)
        again = AutoModel.from_pretrained(place / "student" / task).state_dict()
        assert all(value.equal(again[name]) for name, value in space["body"].state_dict().items())
    assert set(results_in(place / "student")["tasks"]) == {"mood", "score"}
    assert rows_drawn([900, 100], MultitaskSettings().balance).tolist() == [750, 250]
    flags = {name.replace("_", "-") for name in PER_TASK}
    assert flags <= set(re.findall(r"`--([a-z-]+)`", text))


def size_by_need(place: Path, space: dict[str, Any], text: str) -> None:
    size = results_in(place / "student")["size"]["speedup"]
    assert size.keys() == {"bound", "reached", "kept"}
    assert size["kept"]
    assert size["reached"] >= size["bound"] == 6
    assert set(results_in(place / "small")["size"]) == {"max_latency", "max_size"}


def glue(place: Path, space: dict[str, Any], text: str) -> None:
    """All tasks are named; the second call made nothing anew."""
    assert re.findall(r"`([a-z0-9-]+)`", text.split("Tasks: ")[1].split(".")[0]) == [*GLUE]
    assert space["table"]["columns"]["MRPC"]["rows"] == 12
    assert space["table"]["seconds"] == results_in(place / "results")["seconds"]
    runs = sorted(path.name for path in (place / "results" / "mrpc").iterdir())
    assert runs == [f"seed-{seed}{end}" for seed in (42, 43, 44) for end in ("", "-teacher")]
    table = (place / "results" / "results.md").read_text()
    assert "±" in table
    answers = (place / "submission" / "MRPC.tsv").read_text().splitlines()
    assert answers[0] == "index\tprediction"
    assert len(answers) == 10


def vocabulary(place: Path, space: dict[str, Any], text: str) -> None:
    """Known words score as before; the keys are those that the page explains."""
    found = space["found"]
    assert found["scores"]["before"] == found["scores"]["after"]
    assert found["coverage"]["share_of_words_kept"] == 1
    assert not found.keys() - set(re.findall(r"`(\w+)`", text))
    sizes = [len(AutoTokenizer.from_pretrained(place / f"small{n}")) for n in ("", "-2", "-3")]
    assert sizes[2] <= 80 < len(AutoTokenizer.from_pretrained(place / "student"))
    assert sizes[0] == found["after"]["pieces"]


def another_vocabulary(place: Path, space: dict[str, Any], text: str) -> None:
    """Each student has the tokenizer that was asked for; the keys are those of the page."""
    names = ("student", "student-2", "student-3", "student-4", "own-tokenizer")
    sizes = [len(AutoTokenizer.from_pretrained(place / name)) for name in names]
    assert sizes == [60, 70, sizes[4], 60, sizes[4]]
    assert not space["told"].keys() - set(re.findall(r"`(\w+)`", text))


def masked_lm(place: Path, space: dict[str, Any], text: str) -> None:
    """What the page says of masks are the defaults; the encoder is the same to the bit."""
    results = results_in(place / "filler")
    asked = results["settings"]
    shares = [asked["mask_share"], asked["random_share"], asked["kept_share"]]
    assert [f"{100 * share:g} %" in text for share in shares] == [True] * 3
    (stage,) = results["stages"]
    assert (stage["name"], stage["schedule"]["batch_size"]) == ("head", 64)
    assert f"{HEAD_STEPS} steps of 64 blocks" in text
    before, after = (AutoModel.from_pretrained(place / n) for n in ("student-encoder", "filler"))
    for name, tensor in after.state_dict().items():
        assert name.startswith("pooler") or tensor.equal(before.state_dict()[name]), name


def browser_page(place: Path, space: dict[str, Any], text: str) -> None:
    """The versions that the page names are those that are fetched; titles and examples arrive."""
    install = " ".join(package.exact for package in packages())
    assert f"`npm install --ignore-scripts {install}`" in text
    assert web.told(place / "page")["title"] == "Film reviews"
    assert web.told(place / "page-2")["examples"] == [["lock the file"], ["wait for the server"]]
    assert space["made"]["bytes"] == sum(space["made"]["files"].values())


def bench_page(place: Path, space: dict[str, Any], text: str) -> None:
    """All names of forms are on the page; the files hold what was printed."""
    written = json.loads((place / "bench.json").read_text("utf-8"))
    assert {each["model"] for each in written["results"]} == {
        "bert-base-uncased", "teacher", "exported",
    }  # fmt: skip
    assert "| 12x768:random | onnx-int8 |" in (place / "bench.md").read_text("utf-8")
    assert [each["form"] for each in space["found"]["results"]] == ["pytorch-float32", "onnx-int8"]


def run_anywhere(place: Path, space: dict[str, Any], text: str) -> None:
    """The ten lines need neither torch nor transformers, and answer as they do."""
    code = "\n".join(block for language, block in read(text).blocks if language == "python")
    forbid = "import sys\nsys.modules |= dict.fromkeys(('torch', 'transformers', 'tinybert'))\n"
    lines = [line for line in code.splitlines() if line.strip() and "import" not in line]
    assert len(lines) <= 10
    words = [sys.executable, "-c", forbid + code]
    answered = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=120)
    assert answered.returncode == 0, answered.stderr
    texts = ["lock thread queue", "open file path"]
    classify = pipeline("text-classification", str(place / "teacher"))
    labels = [each["label"] for each in classify(texts)]
    assert answered.stdout.strip() == str(labels)
    tokens = AutoTokenizer.from_pretrained(place / "exported")(
        texts, padding=True, return_tensors="np"
    )
    for name, array in space["inputs"].items():
        assert (tokens[name] == array).all()
    session, ids = space["session"], space["inputs"]["input_ids"]
    wrong = {
        "Unexpected input data type": ids.astype("int32"),
        "indices element out of data bounds": ids + 10_000,
        "Invalid rank for input": ids[0],
    }
    for said, given in wrong.items():
        assert f"`{said}`" in text
        with pytest.raises(Exception, match=said):
            session.run(None, space["inputs"] | {"input_ids": given})


def export(place: Path, space: dict[str, Any], text: str) -> None:
    """The ways are those that the setting has; the page's session answered both rows."""
    ways = re.findall(r"^\| `(\w+)`.* \| (?:the same|differs) \|", text, re.M)
    assert ways == ["rows", "blocks", "static", "dynamic"]
    assert {"auto", *ways} == set(get_args(Int8))
    assert space["logits"].shape == (2, 2)
    assert space["results"]["int8"]["way"] == "rows"
    small = json.loads((place / "small" / "export.json").read_text("utf-8"))
    assert small["int8"]["kept"] == ["classifier"]
    assert [*small["forms"]] == ["onnx-int8"]


def several_labels(place: Path, space: dict[str, Any], text: str) -> None:
    """Labels, separators and probabilities are written as the page says."""
    assert results_in(place / "subjects")["metric"] == "micro_f1"
    assert set(labels_of(place / "subjects-2")) == set(tiny.LABELS)
    rows = [json.loads(line) for line in (place / "labels.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["labels"] == [name for name, p in row["probabilities"].items() if p > 0.5]
    head = (place / "labels.csv").read_text().splitlines()[0]
    assert head.startswith("row,labels,probabilities.concurrency")
    assert {each["label"] for each in space["shares"]} == set(tiny.LABELS)


def ranking(place: Path, space: dict[str, Any], text: str) -> None:
    """Whole queries are held out; the pipeline's value is the one that is written."""
    results = results_in(place / "ranker")
    assert results["metric"] == "ndcg@10"
    assert results["rows"]["test"] % 4 == 0
    assert results["ranking"]["queries"] == results["rows"]["test"] // 4
    assert (place / "values.csv").read_text().startswith("row,value\n")
    assert isinstance(space["value"], float)


def entities(place: Path, space: dict[str, Any], text: str) -> None:
    """What is printed is what is kept; a line of predictions has a tag a word."""
    results = results_in(place / "tagger")
    assert results["metric"] == "entity_f1"
    assert set(labels_of(place / "tagger")) == {"O", "B-A", "B-B", "B-C", "B-D", "I-A"}
    rows = [json.loads(line) for line in (place / "tags.jsonl").read_text().splitlines()]
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert space["tagged"]


def questions(place: Path, space: dict[str, Any], text: str) -> None:
    """Answers are spans of their passages; the numbers named are the defaults."""
    results = results_in(place / "answerer")
    assert results["metric"] == "answer_f1"
    for line in (place / "answers.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["answer"] or row["start"] == -1
    assert DistillSettings(task="squad").max_length == 384
    assert f"{USUAL_STRIDE} tokens" in text
    assert space["answer"] in space["passage"]


PROOFS: dict[str, Callable[[Path, dict[str, Any], str], None]] = {
    "own-csv": own_csv,
    "no-labels": no_labels,
    "regression": regression,
    "two-texts": two_texts,
    "several-labels": several_labels,
    "ranking": ranking,
    "entities": entities,
    "questions": questions,
    "hub-teacher": hub_teacher,
    "several-tasks": several_tasks,
    "size-by-need": size_by_need,
    "glue": glue,
    "masked-lm": masked_lm,
    "bench": bench_page,
    "export": export,
    "run-anywhere": run_anywhere,
    "vocabulary": vocabulary,
    "browser-page": browser_page,
    "another-vocabulary": another_vocabulary,
}


def results_in(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "results.json").read_text("utf-8"))
    return found


def labels_of(directory: Path) -> list[str]:
    return [*json.loads((directory / "config.json").read_text("utf-8"))["label2id"]]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"\]\((\S+)\.md\)", index)) == PAGES
    assert "how-to/README.md" in (ROOT.parent / "README.md").read_text("utf-8")


def test_every_page_has_the_same_shape() -> None:
    for name in PAGES:
        text = (ROOT / f"{name}.md").read_text("utf-8")
        heads = re.findall(r"^## (.+)$", text, re.M)
        ordered = [
            h for h in heads if h in ("What it prints", "What comes out", "What can go wrong")
        ]
        assert ordered == ["What it prints", "What comes out", "What can go wrong"], name


def test_a_page_is_read_as_a_reader_would() -> None:
    text = (
        "```sh\ntinybert x\n```\n\n    indented\n\n| line | a |\n| --- | --- |\n| `b` `c` | d |\n"
    )
    page = read(text + "| plain | `e` |\n")
    assert page.blocks == [("sh", "tinybert x\n"), ("", "indented\n")]
    assert page.tables == {"line": ["b", "c", "plain"]}
    assert pattern("a … (b)").search("x a 12 (b)")
    assert not pattern("a … (b)").search("a (b)")
    assert not pattern("a … (b)").search("a 1\n2 (b)")
