"""GLUE's nine tasks out of small files in the original layouts, out of a stand-in for the Hub, and
out of the official files where they are."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.glue.facts import GLUE, find_glue_task
from tinybert.tasks.glue.reader import (
    HUB_NAME,
    MOST_DEV_ROWS,
    read_glue,
    read_glue_dev,
    read_glue_test,
)
from tinybert.tasks.task import Rows, TaskData

QUOTED = '" Go , " he said , " and don\'t come back'
"""One quotation mark too many: the files know no quoting."""

HEADERS = {
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "sst-2": "sentence\tlabel",
    "sts-b": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    ),
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
    ),
}
DEV_HEADERS = {
    "mnli": HEADERS["mnli"].replace("label1", "label1\tlabel2\tlabel3\tlabel4\tlabel5"),
}
ROWS = {
    "cola": "gj04\t{label}\t{mark}\t{one}",
    "sst-2": "{one} \t{label}",
    "mrpc": "{label}\t70{n}\t80{n}\t{one}\t{two}",
    "sts-b": "{n}\tmain\tMSRvid\t2012test\t000{n}\tnone\tnone\t{one}\t{two}\t{label}",
    "qqp": "{n}\t1{n}\t2{n}\t{one}\t{two}\t{label}",
    "qnli": "{n}\t{one}\t{two}\t{label}",
    "rte": "{n}\t{one}\t{two}\t{label}",
    "wnli": "{n}\t{one}\t{two}\t{label}",
    "mnli": "{n}\t1c\t2e\tfiction\t( a )\t( b )\t(ROOT)\t(ROOT)\t{one}\t{two}\tneutral\t{label}",
}
DEV_ROWS = {"mnli": ROWS["mnli"].replace("neutral", "neutral\tentailment\tneutral\tneutral\t-")}
IN_FILES = {
    "cola": ("0", "1"),
    "sst-2": ("0", "1"),
    "mrpc": ("0", "1"),
    "qqp": ("0", "1"),
    "wnli": ("0", "1"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "mnli": ("entailment", "neutral", "contradiction"),
}
"""The spelling of the labels in the official files, in the order of the class numbers."""

TEST_HEADERS = {
    "cola": "index\tsentence",
    "sst-2": "index\tsentence",
    "mrpc": "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "sts-b": HEADERS["sts-b"].removesuffix("\tscore"),
    "qqp": "id\tquestion1\tquestion2",
    "qnli": "index\tquestion\tsentence",
    "rte": "index\tsentence1\tsentence2",
    "wnli": "index\tsentence1\tsentence2",
    "mnli": HEADERS["mnli"].removesuffix("\tlabel1\tgold_label"),
}
TEST_ROWS = {
    "cola": "{n}\t{one}",
    "sst-2": "{n}\t{one}",
    "mrpc": "{n}\t1089874\t1089925\t{one}\t{two}",
    "sts-b": ROWS["sts-b"].removesuffix("\t{label}"),
    "qqp": "{n}\t{one}\t{two}",
    "qnli": "{n}\t{one}\t{two}",
    "rte": "{n}\t{one}\t{two}",
    "wnli": "{n}\t{one}\t{two}",
    "mnli": ROWS["mnli"].removesuffix("\tneutral\t{label}"),
}
NAMES = sorted(GLUE)
BOM = "\ufeff"


def texts(part: str, n: int) -> tuple[str, str]:
    return f"{part} one {n} {QUOTED}", f'{part} two {n} "quoted"'


def labels(name: str, count: int) -> list[str]:
    if name == "sts-b":
        return [f"{n % 6}.{n % 4}00" for n in range(count)]
    spellings = IN_FILES[name]
    return [spellings[n % len(spellings)] for n in range(count)]


def written(name: str, part: str, count: int, spellings: list[str] | None = None) -> str:
    """A labelled file in the task's own layout."""
    header = HEADERS.get(name)
    row = ROWS[name]
    if part != "train":
        header, row = DEV_HEADERS.get(name, header), DEV_ROWS.get(name, row)
    lines = [] if header is None else [header]
    for n, label in enumerate(spellings or labels(name, count)):
        one, two = texts(part, n)
        lines.append(row.format(n=n, one=one, two=two, label=label, mark="*" if n % 2 else ""))
    return "\n".join(lines) + "\n"


def unlabelled(name: str, count: int, start: int = 0) -> str:
    lines = [TEST_HEADERS[name]]
    for n in range(start, start + count):
        one, two = texts("test", n)
        lines.append(TEST_ROWS[name].format(n=n, one=one, two=two))
    return "\n".join(lines) + "\n"


def made(folder: Path, name: str, train: int = 40, dev: int = 12) -> Path:
    """The directory of a task with all its labelled files."""
    folder.mkdir(parents=True)
    files = {"train.tsv": ("train", train)}
    for part in GLUE[name].dev:
        files[part.file] = (part.name, dev)
    for file, (part_name, count) in files.items():
        start = BOM if name == "mrpc" and part_name == "dev" else ""
        (folder / file).write_text(start + written(name, part_name, count), encoding="utf-8")
    return folder


def both(data: TaskData) -> tuple[list[tuple[str, ...]], list[Any]]:
    """Texts and labels of the official training rows, in no order."""
    rows = [*data.train.texts, *data.dev.texts]
    assert data.train.labels is not None
    assert data.dev.labels is not None
    return rows, [*data.train.labels.tolist(), *data.dev.labels.tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_in_its_own_layout(tmp_path: Path, name: str) -> None:
    data = read_glue(name, made(tmp_path / GLUE[name].title, name))
    task = GLUE[name]
    width = len(task.text_columns)
    assert data.task == task.task
    rows, numbers = both(data)
    assert len(rows) == 40
    assert len(data.dev) == 4
    main = task.dev[0].name
    assert data.test is not None
    assert list(data.test.texts) == [texts(main, n)[:width] for n in range(12)]
    assert data.test.labels is not None
    if name == "sts-b":
        assert data.test.labels.dtype == np.float32
        assert data.test.labels.tolist() == [pytest.approx(float(x)) for x in labels(name, 12)]
    else:
        classes = len(task.label_names)
        assert data.test.labels.dtype == np.int64
        assert data.test.labels.tolist() == [n % classes for n in range(12)]
        found = dict(zip(rows, numbers, strict=True))
        assert found == {texts("train", n)[:width]: n % classes for n in range(40)}
    assert set(data.extra) == ({"mismatched"} if name == "mnli" else set())
    assert any("official test set" in note and "(12 rows)" in note for note in data.notes)


@pytest.mark.parametrize("name", NAMES)
def test_the_dev_set_alone(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path / GLUE[name].title, name)
    data = read_glue(name, folder)
    (folder / "train.tsv").unlink()
    task, parts = read_glue_dev(name, tmp_path)
    assert task == data.task
    assert data.test is not None
    wanted = {"test": data.test} | data.extra
    assert list(parts) == list(wanted)
    for part, rows in wanted.items():
        assert list(parts[part].texts) == list(rows.texts)
        np.testing.assert_array_equal(parts[part].labels, rows.labels)  # type: ignore[arg-type]
    (folder / GLUE[name].dev[0].file).unlink()
    with pytest.raises(TinybertError, match=f"no {GLUE[name].dev[0].file}"):
        read_glue_dev(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sts-b"])
def test_words_and_numbers_are_the_same_labels(tmp_path: Path, name: str) -> None:
    names = GLUE[name].label_names
    numbers = [str(n % len(names)) for n in range(12)]
    words = [names[n % len(names)] for n in range(12)]
    found = []
    for spellings in (numbers, words, [word.upper() for word in words]):
        folder = made(tmp_path / spellings[0] / name, name)
        file = folder / GLUE[name].dev[0].file
        file.write_text(written(name, GLUE[name].dev[0].name, 12, spellings), encoding="utf-8")
        data = read_glue(name, folder)
        assert data.test is not None
        assert data.test.labels is not None
        found.append(data.test.labels.tolist())
    assert found == [[n % len(names) for n in range(12)]] * 3


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("cola", "unacceptable acceptable"),
        ("sst-2", "negative positive"),
        ("mrpc", "not_equivalent equivalent"),
        ("sts-b", ""),
        ("qqp", "not_duplicate duplicate"),
        ("mnli", "entailment neutral contradiction"),
        ("qnli", "entailment not_entailment"),
        ("rte", "entailment not_entailment"),
        ("wnli", "not_entailment entailment"),
    ],
)
def test_the_order_of_the_labels_is_that_of_the_hub(name: str, order: str) -> None:
    assert list(GLUE[name].task.label_names) == order.split()


def test_metrics() -> None:
    other = {"cola": "mcc", "mrpc": "f1", "qqp": "f1", "sts-b": "pearson_spearman"}
    assert {n: t.metric for n, t in GLUE.items()} == dict.fromkeys(NAMES, "accuracy") | other


@pytest.mark.parametrize("spelling", ["SST-2", "sst2", "sst_2", "SST", "Sst-2 "])
def test_spellings_of_a_name(spelling: str) -> None:
    assert find_glue_task(spelling).name == "sst-2"


def test_an_unknown_task() -> None:
    with pytest.raises(TinybertError, match="'mnlii' is no task of GLUE: did you mean mnli"):
        find_glue_task("mnlii")
    with pytest.raises(TinybertError, match="give one of cola, sst-2"):
        find_glue_task("xyzzy")


@pytest.mark.parametrize(("name", "folder"), [("sst-2", "sst2"), ("STSB", "STS-B"), ("cola", "x")])
def test_the_directory_or_its_parent(tmp_path: Path, name: str, folder: str) -> None:
    task = find_glue_task(name)
    made(tmp_path / "glue" / folder, task.name)
    made(tmp_path / "glue" / "RTE", "rte")
    here = read_glue(name, tmp_path / "glue" / folder)
    if folder != "x":
        above = read_glue(name, str(tmp_path / "glue"))
        assert list(above.train.texts) == list(here.train.texts)
    else:
        with pytest.raises(TinybertError, match="does not hold CoLA.*found: RTE, x"):
            read_glue(name, tmp_path / "glue")


def test_the_directory_of_another_task(tmp_path: Path) -> None:
    made(tmp_path / "WNLI", "wnli")
    with pytest.raises(TinybertError, match="does not hold RTE"):
        read_glue("rte", tmp_path / "WNLI")


def test_mnli_cut_down_to_three_columns(tmp_path: Path) -> None:
    folder = made(tmp_path / "MNLI", "mnli")
    lines = ["sentence1\tsentence2\tgold_label"]
    lines += [f"premise {n}\thypothesis {n}\t{label}" for n, label in enumerate(labels("mnli", 12))]
    (folder / "dev_matched.tsv").write_text("\r\n".join(lines) + "\r\n")
    (folder / "dev_mismatched.tsv").unlink()
    data = read_glue("MNLI", folder)
    assert data.test is not None
    assert data.test.texts[3] == ("premise 3", "hypothesis 3")
    assert data.extra == {}
    assert any("no dev_mismatched.tsv" in note for note in data.notes)


def test_rows_that_the_annotators_did_not_agree_on(tmp_path: Path) -> None:
    folder = made(tmp_path / "MNLI", "mnli")
    spellings = ["-", "neutral", "-", "contradiction"]
    (folder / "dev_matched.tsv").write_text(written("mnli", "matched", 4, spellings))
    data = read_glue("mnli", folder)
    assert data.test is not None
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [1, 2]
    assert [row[0] for row in data.test.texts] == [texts("matched", n)[0] for n in (1, 3)]
    assert any("2 rows without a gold label" in note for note in data.notes)


def test_broken_lines_of_qqp_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = made(tmp_path / "QQP", "qqp")
    lines = written("qqp", "train", 40).splitlines()
    lines[5:5] = ["133273\t213221\t213222\tHow is the life of a", "student\tHow is it?\t0", ""]
    lines[9:9] = ["7\t17\t27\tWhy?\tHow?\t"]
    (folder / "train.tsv").write_text("\n".join(lines))
    data = read_glue("qqp", folder)
    assert len(both(data)[0]) == 40
    assert any("train.tsv: 3 broken lines left out" in note for note in data.notes)
    whole = read_glue("qqp", made(tmp_path / "whole" / "QQP", "qqp"))
    assert list(whole.train.texts) == list(data.train.texts)


def test_an_empty_text_is_kept_and_told(tmp_path: Path) -> None:
    folder = made(tmp_path / "QQP", "qqp")
    text = (folder / "dev.tsv").read_text().replace(texts("dev", 3)[1], "")
    (folder / "dev.tsv").write_text(text)
    data = read_glue("qqp", folder)
    assert data.test is not None
    assert data.test.texts[3] == (texts("dev", 3)[0], "")
    assert any("dev.tsv: 1 rows with an empty text" in note for note in data.notes)


def test_held_out_rows(tmp_path: Path) -> None:
    folder = made(tmp_path / "RTE", "rte", train=100)
    data = read_glue("rte", folder, dev_share=0.2)
    rows, _ = both(data)
    assert len(data.dev) == 20
    assert sorted(rows) == sorted(texts("train", n) for n in range(100))
    again = read_glue("rte", folder, dev_share=0.2)
    assert list(again.dev.texts) == list(data.dev.texts)
    other = read_glue("rte", folder, dev_share=0.2, seed=7)
    assert list(other.dev.texts) != list(data.dev.texts)


def test_at_most_two_thousand_rows_are_held_out(tmp_path: Path) -> None:
    data = read_glue("sst-2", made(tmp_path / "SST-2", "sst-2", train=21_000))
    assert len(data.dev) == MOST_DEV_ROWS == 2_000
    assert len(data.train) == 19_000


def test_a_sample_of_the_training_rows(tmp_path: Path) -> None:
    folder = made(tmp_path / "RTE", "rte", train=100)
    data = read_glue("rte", folder, rows=30)
    rows, _ = both(data)
    assert (len(rows), len(data.dev)) == (30, 3)
    assert len(set(rows)) == 30
    assert any("30 of 100 training rows drawn (seed 42)" in note for note in data.notes)
    other, _ = both(read_glue("rte", folder, rows=30, seed=1))
    assert set(other) != set(rows)
    everything, _ = both(read_glue("rte", folder, rows=1000))
    assert len(everything) == 100


@pytest.mark.parametrize(
    ("values", "message"), [({"rows": 1}, "give 2 or more"), ({"dev_share": 1.0}, "between 0 and")]
)
def test_values_that_make_no_sense(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        read_glue("rte", made(tmp_path / "RTE", "rte"), **values)


BAD_FILES: list[tuple[str, bytes | None, str]] = [
    ("train.tsv", None, r"RTE.* has no train\.tsv .*of RTE"),
    ("dev.tsv", None, r"has no dev\.tsv"),
    ("dev.tsv", b"", r"dev\.tsv has no rows"),
    ("dev.tsv", b"index\tsentence1\tsentence2\tlabel\n", r"dev\.tsv has no rows"),
    ("dev.tsv", b"text,label\na,b\n", r"has no column 'sentence1'.*here are text,label"),
    ("dev.tsv", b"index\tsentence1\tsentence2\n0\ta\tb\n", r"has no column 'label'"),
    (
        "dev.tsv",
        b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta\tb\tmaybe\n",
        r"dev\.tsv, column 'label', line 3: label 'maybe' is none of.*entailment, not_entailment",
    ),
    ("dev.tsv", b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\t\n", r"1 of 1 rows have no label"),
    (
        "dev.tsv",
        b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta\tentailment\n",
        r"dev\.tsv, line 3: 3 fields where there should be 4",
    ),
    (
        "dev.tsv",
        b"index\tsentence1\tsentence2\tlabel\n0\tcaf\xe9\tb\tentailment\n",
        r"dev\.tsv is not UTF-8: byte 0xe9 in line 2",
    ),
    ("dev.tsv", "index\tsentence1".encode("utf-16"), r"dev\.tsv is UTF-16: save it as UTF-8"),
]


@pytest.mark.parametrize(("file", "content", "message"), BAD_FILES)
def test_bad_files(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    folder = made(tmp_path / "RTE", "rte")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(TinybertError, match=message):
        read_glue("rte", folder)


def test_a_value_that_is_none(tmp_path: Path) -> None:
    folder = made(tmp_path / "STS-B", "sts-b")
    text = (folder / "dev.tsv").read_text().replace("\t1.100\n", "\thigh\n")
    (folder / "dev.tsv").write_text(text)
    with pytest.raises(TinybertError, match="line 3: label 'high' is no finite number"):
        read_glue("sts-b", folder)


def test_places_that_are_no_directories(tmp_path: Path) -> None:
    (tmp_path / "file.tsv").write_text("x")
    with pytest.raises(TinybertError, match="is a file: give the directory"):
        read_glue("rte", tmp_path / "file.tsv")
    with pytest.raises(TinybertError, match="there is no directory"):
        read_glue("rte", tmp_path / "nothing")
    with pytest.raises(TinybertError, match="there is no directory"):
        read_glue("rte", "./nothing")


word = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r", exclude_categories=("Cs", "Z", "Cc")),
    min_size=1,
    max_size=12,
)


@given(rows=st.lists(st.tuples(word, word, st.integers(0, 1)), min_size=1, max_size=20))
def test_any_text_comes_back_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]]
) -> None:
    folder = made(tmp_path_factory.mktemp("any") / "WNLI", "wnli")
    lines = [HEADERS["wnli"], *(f"0\t{one}\t{two}\t{label}" for one, two, label in rows)]
    (folder / "dev.tsv").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    test = read_glue("wnli", folder).test
    assert test is not None
    assert test.labels is not None
    assert list(test.texts) == [(one, two) for one, two, _ in rows]
    assert test.labels.tolist() == [label for _, _, label in rows]


# Official test sets.


@pytest.mark.parametrize("name", NAMES)
def test_official_test_sets(tmp_path: Path, name: str) -> None:
    folder = tmp_path / GLUE[name].title
    folder.mkdir()
    for start, part in enumerate(GLUE[name].tests):
        (folder / part.file).write_text(unlabelled(name, 5, start), encoding="utf-8")
    found = read_glue_test(name, tmp_path)
    assert list(found) == [part.name for part in GLUE[name].tests]
    width = len(GLUE[name].text_columns)
    for start, rows in enumerate(found.values()):
        assert rows.index.tolist() == list(range(start, start + 5))
        assert rows.rows.labels is None
        assert list(rows.rows.texts) == [texts("test", n)[:width] for n in rows.index]


@pytest.mark.parametrize("place", ["MNLI/diagnostic.tsv", "diagnostic/diagnostic.tsv", "AX/AX.tsv"])
def test_the_diagnostic_set(tmp_path: Path, place: str) -> None:
    for name in ("MNLI", "AX", "diagnostic"):
        (tmp_path / name).mkdir()
    for part in GLUE["mnli"].tests:
        (tmp_path / "MNLI" / part.file).write_text(unlabelled("mnli", 3), encoding="utf-8")
    (tmp_path / place).write_text(unlabelled("rte", 4), encoding="utf-8")
    found = read_glue_test("mnli", tmp_path)
    assert list(found) == ["matched", "mismatched", "diagnostic"]
    assert found["diagnostic"].rows.texts[1] == texts("test", 1)
    assert len(found["diagnostic"]) == 4


def test_a_test_set_that_is_not_whole(tmp_path: Path) -> None:
    folder = tmp_path / "MNLI"
    folder.mkdir()
    (folder / "test_matched.tsv").write_text(unlabelled("mnli", 3), encoding="utf-8")
    with pytest.raises(TinybertError, match=r"has no test_mismatched\.tsv"):
        read_glue_test("mnli", folder)
    with pytest.raises(TinybertError, match=r"has no test\.tsv"):
        read_glue_test("rte", made(tmp_path / "RTE", "rte"))


@pytest.mark.parametrize("index", ["0", "one", "", "1.5"])
def test_a_broken_index(tmp_path: Path, index: str) -> None:
    folder = tmp_path / "RTE"
    folder.mkdir()
    (folder / "test.tsv").write_text(f"index\tsentence1\tsentence2\n0\ta\tb\n{index}\tc\td\n")
    with pytest.raises(TinybertError, match="index column should number the rows, each once"):
        read_glue_test("rte", folder)


# The Hub.


class FakeHub:
    """``datasets.load_dataset`` for GLUE as it is on the Hub, with few rows."""

    def __init__(self, lacks: tuple[str, ...] = ()) -> None:
        self.lacks = lacks
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, config: str) -> Any:
        datasets = pytest.importorskip("datasets")
        self.asked.append((name, config))
        if name != HUB_NAME or config in self.lacks:
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub (LocalEntryNotFound)")
        is_ax = config == "ax"
        task = find_glue_task("mnli" if is_ax else config)
        kind: Any = datasets.Value("float32")
        if task.label_names:
            kind = datasets.ClassLabel(names=list(task.label_names))
        features = {column: datasets.Value("string") for column in task.hub_columns}
        features |= {"label": kind, "idx": datasets.Value("int32")}
        parts = [("test", 4, True)] if is_ax else [("train", 40, False)]
        if not is_ax:
            parts += [(part.split, 12, False) for part in task.dev]
            parts += [(part.split, 5, True) for part in task.tests]
        made = {}
        for split, count, hidden in parts:
            columns: dict[str, Any] = {
                column: [texts(split, n)[i] for n in range(count)]
                for i, column in enumerate(task.hub_columns)
            }
            classes = max(len(task.label_names), 1)
            columns["label"] = [-1 if hidden else n % classes for n in range(count)]
            columns["idx"] = [n + 10 for n in range(count)]
            made[split] = datasets.Dataset.from_dict(columns, datasets.Features(features))
        return datasets.DatasetDict(made)


@pytest.mark.parametrize("name", NAMES)
def test_the_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hub = FakeHub()
    monkeypatch.setattr("datasets.load_dataset", hub)
    data = read_glue(name, "glue")
    task = GLUE[name]
    width = len(task.text_columns)
    assert hub.asked == [(HUB_NAME, task.config)]
    assert data.task == task.task
    assert len(both(data)[0]) == 40
    assert data.test is not None
    assert data.test.labels is not None
    split = task.dev[0].split
    assert list(data.test.texts) == [texts(split, n)[:width] for n in range(12)]
    assert data.test.labels.tolist() == [n % max(1, len(task.label_names)) for n in range(12)]
    assert list(data.extra) == [part.name for part in task.dev[1:]]
    found = read_glue_test(name)
    expected = [part.name for part in task.tests]
    assert list(found) == expected + (["diagnostic"] if name == "mnli" else [])
    assert found[expected[0]].index.tolist() == [10, 11, 12, 13, 14]
    assert all(rows.rows.labels is None for rows in found.values())


def test_labels_of_the_hub_go_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def other_order(name: str, config: str) -> Any:
        return datasets.DatasetDict(
            {
                split: part.cast_column(
                    "label", datasets.ClassLabel(names=["contradiction", "neutral", "entailment"])
                )
                for split, part in FakeHub()(name, config).items()
            }
        )

    monkeypatch.setattr("datasets.load_dataset", other_order)
    data = read_glue("mnli")
    assert data.test is not None
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [2, 1, 0] * 4


def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", FakeHub(lacks=("ax",)))
    with pytest.raises(TinybertError, match="some/glue is no directory here.*Couldn't reach"):
        read_glue("rte", "some/glue")
    assert list(read_glue_test("mnli")) == ["matched", "mismatched"]


def test_another_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def other(name: str, config: str) -> Any:
        part = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
        return datasets.DatasetDict({"train": part})

    monkeypatch.setattr("datasets.load_dataset", other)
    with pytest.raises(TinybertError, match="not laid out as GLUE.*no column 'sentence1'"):
        read_glue("rte", "some/other")


# The official files, where they are.

OFFICIAL = {
    "CoLA": (8_551, 1_043),
    "MRPC": (3_668, 408),
    "RTE": (2_490, 277),
    "SST-2": (67_349, 872),
    "STS-B": (5_749, 1_500),
    "MNLI": (12_808, 9_815),
}
SHARES: dict[str, dict[int, int]] = {
    "RTE": {0: 146, 1: 131},
    "MRPC": {0: 129, 1: 279},
    "SST-2": {0: 428, 1: 444},
    "MNLI": {0: 3_479, 1: 3_123, 2: 3_213},
    "CoLA": {0: 322, 1: 721},
}
"""Rows of each class in the official dev sets."""


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_official_files(name: str) -> None:
    place = os.environ.get("TINYBERT_DATA")
    if place is None or not (Path(place) / "glue" / name).is_dir():
        pytest.skip("TINYBERT_DATA names no directory with glue in it")
    data = read_glue(name, Path(place) / "glue")
    train, dev = OFFICIAL[name]
    assert len(data.train) + len(data.dev) == train
    assert len(data.dev) == min(MOST_DEV_ROWS, round(0.1 * train))
    assert data.test is not None
    assert len(data.test) == dev
    for rows in (data.train, data.dev, data.test):
        assert_sound(rows, data)
    if name in SHARES:
        assert data.test.labels is not None
        assert Counter(data.test.labels.tolist()) == SHARES[name]


def assert_sound(rows: Rows, data: TaskData) -> None:
    width = len(data.task.text_columns)
    assert all(len(row) == width and all(row) for row in rows.texts)
    assert rows.labels is not None
    if data.task.kind == "regression":
        assert rows.labels.min() >= 0
        assert rows.labels.max() <= 5
        assert len(np.unique(rows.labels)) > 10
    else:
        assert sorted(set(rows.labels.tolist())) == list(range(len(data.task.label_names)))
