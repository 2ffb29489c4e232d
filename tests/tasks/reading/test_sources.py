"""Files of every format, packed and not; directories; data sets on the Hub."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.tasks.files import read_task
from tinybert.tasks.reading.formats import READERS
from tinybert.tasks.reading.sources import open_source

Row = dict[str, Any]


def rows(count: int, start: int = 0) -> list[Row]:
    return [
        {"text": f'the "{n}th", text', "label": "ab"[n % 2]} for n in range(start, start + count)
    ]


def separated(found: list[Row], separator: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerows([found[0].keys(), *(row.values() for row in found)])
    return file.getvalue().encode()


def parquet(found: list[Row]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found), file, row_group_size=7)
    return file.getvalue()


FORMATS: dict[str, Callable[[list[Row]], bytes]] = {
    ".csv": lambda found: separated(found, ","),
    ".tsv": lambda found: separated(found, "\t"),
    ".jsonl": lambda found: "\n".join(json.dumps(row) for row in found).encode(),
    ".json": lambda found: json.dumps(found, indent=1).encode(),
    ".parquet": parquet,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
ENDINGS = [
    form + packed for form in FORMATS for packed in PACKERS if not (packed and form == ".parquet")
]


def write(path: Path, found: list[Row]) -> Path:
    """A file in the format that its name says."""
    suffixes = path.suffixes
    packed = suffixes[-1] if suffixes[-1] in PACKERS else ""
    form = suffixes[-2] if packed else suffixes[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PACKERS[packed](FORMATS[form](found)))
    return path


def texts(found: list[Row]) -> list[tuple[str]]:
    return [(row["text"],) for row in found]


def test_every_format_is_tested() -> None:
    assert set(FORMATS) == set(READERS)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_says_the_same(tmp_path: Path, ending: str) -> None:
    train = write(tmp_path / f"my.rows{ending}", rows(30))
    dev = write(tmp_path / f"dev{ending}", rows(4, 50))
    data = read_task(train, dev)
    assert data.train.texts == texts(rows(30))
    assert data.dev.texts == texts(rows(4, 50))
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1] * 15
    assert data.task.label_names == ("a", "b")
    assert data.task.name == "my.rows"


@pytest.mark.parametrize("ending", [".gz", ".zst", ".xz", ".bz2"])
@pytest.mark.parametrize("keep", [0.6, 0.01])
def test_packed_files_cut_short(tmp_path: Path, ending: str, keep: float) -> None:
    path = write(tmp_path / f"t.csv{ending}", rows(3000))
    packed = path.read_bytes()
    path.write_bytes(packed[: int(keep * len(packed))])
    with pytest.raises(TinybertError, match=rf"t\.csv\{ending} is cut short or broken"):
        read_task(path)


@pytest.mark.parametrize("ending", [".gz", ".zst", ".xz", ".bz2"])
def test_files_that_are_not_packed_as_they_say(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.jsonl{ending}"
    path.write_bytes(FORMATS[".jsonl"](rows(30)))
    with pytest.raises(TinybertError, match="is cut short or broken"):
        read_task(path)
    path.write_bytes(PACKERS[ending]("text,label\ncafé,a\n".encode("latin-1")))
    with pytest.raises(TinybertError, match=r"0xe9 in line 2 \(byte 14 of the text\)"):
        read_task(path)


def test_broken_parquet(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.parquet", rows(500)).read_bytes()
    broken = {
        "without its end": whole[:-40],
        "without its beginning": whole[100:],
        "with other bytes inside": whole[:60] + b"\xff" * 200 + whole[260:],
        "empty": b"",
    }
    for what, data in broken.items():
        (tmp_path / "t.parquet").write_bytes(data)
        with pytest.raises(TinybertError, match=r"t\.parquet is no whole Parquet file") as caught:
            read_task(tmp_path / "t.parquet")
        assert "\n" not in str(caught.value), what


PARQUET_COLUMNS: list[tuple[list[Row], dict[str, str], str]] = [
    ([{"text": ["a", "b"], "label": 1}], {}, "column 'text' holds list<.*--text"),
    ([{"text": {"en": "a"}, "label": 1}], {}, "column 'text' holds struct<"),
    ([{"text": b"a", "label": 1}], {}, "column 'text' holds binary"),
    ([{"text": "a", "label": [1]}], {}, "column 'label' holds list<"),
    ([{"body": "a b", "tokens": ["a"], "label": 1}], {"text": "tokens"}, "'tokens' holds list<"),
]


@pytest.mark.parametrize(("found", "asked", "message"), PARQUET_COLUMNS)
def test_parquet_columns_that_are_no_texts(
    tmp_path: Path, found: list[Row], asked: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "t.parquet", found * 5)
    with pytest.raises(TinybertError, match=message):
        read_task(path, **asked)  # type: ignore[arg-type]


def test_parquet_types(tmp_path: Path) -> None:
    """Numbers are texts as they are written; nested columns that nobody asks for do not matter."""
    table = pa.table(
        {
            "text": pa.array(["a", "b", "c", "d"]).dictionary_encode(),
            "nested": [[1], [2], [3], []],
            "image": [b"\x89PNG"] * 4,
            "score": pa.array([0.0, 1.0, 1.0, 0.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    data = read_task(tmp_path / "t.parquet", label="score")
    assert data.task.label_names == ("0", "1")
    pq.write_table(pa.table({"text": ["a", None, "c"], "label": [1, 0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(TinybertError, match="no text .first in row 2"):
        read_task(tmp_path / "t.parquet")
    pq.write_table(
        pa.table({"text": ["a", "b", "c"], "label": [1, 0, None]}), tmp_path / "l.parquet"
    )
    with pytest.raises(TinybertError, match="no label .first in row 3"):
        read_task(tmp_path / "l.parquet")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "e.parquet")
    with pytest.raises(TinybertError, match="no rows"):
        read_task(tmp_path / "e.parquet")


def hub_rows(count: int, classes: list[str], labels: list[int] | None = None) -> datasets.Dataset:
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=classes),
            "words": datasets.Sequence(datasets.Value("string")),
        }
    )
    table = {
        "sentence": [f"text {count} {n}" for n in range(count)],
        "label": labels or [n % len(classes) for n in range(count)],
        "words": [["a"]] * count,
    }
    return datasets.Dataset.from_dict(table, features=features)


def test_class_names_in_parquet_files_of_the_hub(tmp_path: Path) -> None:
    hub_rows(20, ["world", "art", "sport"]).to_parquet(tmp_path / "train.parquet")
    data = read_task(tmp_path / "train.parquet")
    assert data.task.label_names == ("world", "art", "sport")  # their order, not the alphabet's


# --- directories ----------------------------------------------------------------------------------

LAYOUTS: dict[str, dict[str, tuple[int, int]]] = {
    "a file each": {"train.csv": (0, 20), "dev.csv": (20, 4), "test.csv": (30, 5)},
    "other names": {"my_train.csv": (0, 20), "valid.csv": (20, 4), "my-test-1.csv": (30, 5)},
    "shards": {
        "train-00000-of-00002.parquet": (0, 12),
        "train-00001-of-00002.parquet": (12, 8),
        "validation-00000-of-00001.parquet": (20, 4),
        "test-00000-of-00001.parquet": (30, 5),
    },
    "folders": {
        "train/a.jsonl.gz": (0, 3),
        "train/b.jsonl.gz": (3, 10),
        "train/deep/c.jsonl.gz": (13, 7),
        "dev/test.jsonl.gz": (20, 4),
        "TEST/train.jsonl.gz": (30, 5),
    },
    "a folder above": {
        "data/train.csv.zst": (0, 20),
        "data/dev.csv.zst": (20, 4),
        "data/test.csv.zst": (30, 5),
    },
    "a format each": {"train.csv": (0, 20), "dev.jsonl": (20, 4), "test.parquet": (30, 5)},
    "packed and not": {
        "train-1.csv": (0, 5),
        "train-2.csv.xz": (5, 15),
        "dev.csv": (20, 4),
        "test.csv": (30, 5),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_parts_of_a_directory(tmp_path: Path, layout: dict[str, tuple[int, int]]) -> None:
    for name, (start, count) in layout.items():
        write(tmp_path / "set" / name, rows(count, start))
    data = read_task(tmp_path / "set")
    assert data.task.name == "set"
    assert data.train.texts == texts(rows(20))
    assert data.dev.texts == texts(rows(4, 20))
    assert data.test is not None
    assert data.test.texts == texts(rows(5, 30))
    assert any(note.startswith("train: ") for note in data.notes)


def test_files_without_names_of_parts_are_all_train(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / f"part-{n}.jsonl", rows(10, 10 * n))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-0.jsonl.crc").touch()
    (tmp_path / "README.md").write_text("about")
    data = read_task(tmp_path)
    assert sorted([*data.train.texts, *data.dev.texts]) == sorted(texts(rows(30)))
    assert any("not read: README.md" in note for note in data.notes)


def test_named_files_go_before_those_of_the_directory(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("dev", 20), ("test", 40)):
        write(tmp_path / f"set/{name}.csv", rows(20, start))
    dev = write(tmp_path / "other.csv", rows(3, 70))
    data = read_task(tmp_path / "set", dev, tmp_path / "set" / "test.csv")
    assert data.dev.texts == texts(rows(3, 70))
    assert data.test is not None
    assert data.test.texts == texts(rows(20, 40))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "set", elsewhere)
    assert read_task(tmp_path / "set" / "train.csv", elsewhere).dev.texts == texts(rows(20, 20))


@pytest.mark.parametrize("labels", [[-1] * 4, [None] * 4, None])
def test_unlabelled_test_rows_of_a_directory_are_left_out(
    tmp_path: Path, labels: list[object] | None
) -> None:
    write(tmp_path / "train.jsonl", rows(20))
    test = [{"text": f"t {n}"} | ({} if labels is None else {"label": labels[n]}) for n in range(4)]
    write(tmp_path / "test.jsonl", test)
    data = read_task(tmp_path)
    assert data.test is None
    assert any("test.jsonl has no labels: left out" in note for note in data.notes)


def bad_directory(where: Path, what: str) -> None:
    if what == "mixed formats":
        write(where / "train-1.csv", rows(5))
        write(where / "train-2.jsonl", rows(5, 5))
    elif what == "mixed formats without parts":
        write(where / "a.csv", rows(5))
        write(where / "b.tsv", rows(5, 5))
    elif what == "other columns":
        write(where / "train-1.csv", rows(5))
        write(where / "train-2.csv", [{"sentence": "a", "label": "b"}])
    elif what == "json without the label":
        write(where / "train-1.jsonl", rows(5))
        write(where / "train-2.jsonl", [{"text": "a"}])
    elif what == "fault in the second file":
        write(where / "train-1.csv", rows(5))
        (where / "train-2.csv").write_text("text,label\nx,a\ny,a,b\n")
    elif what == "empty text in the second file":
        write(where / "train-1.csv", rows(5))
        (where / "train-2.csv").write_text("text,label\nx,a\n,b\n")
    elif what == "strange label in the second dev file":
        write(where / "train.csv", rows(5))
        write(where / "dev-1.csv", rows(5, 10))
        (where / "dev-2.csv").write_text("text,label\nx,a\ny,c\n")
    elif what == "no train part":
        write(where / "dev.csv", rows(5))
    elif what == "other files only":
        (where / "README.md").write_text("about")


BAD_DIRECTORIES = [
    ("empty", "holds no files of rows"),
    ("other files only", "holds no files of rows"),
    ("mixed formats", r"\(train\) holds files of several formats .train-1.csv and train-2.jsonl"),
    ("mixed formats without parts", r"several formats .a.csv and b.tsv"),
    ("other columns", r"train-2.csv has the columns sentence, label, and .*train-1.csv has text"),
    ("json without the label", r"train-2.jsonl has no label column 'label': there are text"),
    ("fault in the second file", r"train-2.csv, line 3: 3 fields"),
    ("empty text in the second file", r"first in line 3 of .*train-2.csv"),
    ("strange label in the second dev file", r"line 3 of .*dev-2.csv: label 'c' is none"),
    ("no train part", "has no train rows, only dev"),
]


@pytest.mark.parametrize(("what", "message"), BAD_DIRECTORIES)
def test_bad_directories(tmp_path: Path, what: str, message: str) -> None:
    bad_directory(tmp_path, what)
    with pytest.raises(TinybertError, match=message) as caught:
        read_task(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["none.csv", "./none", "/none", "none.xlsx", "a/b.csv.gz", "a/b/c", "a b", "../a"]
)
def test_paths_are_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TinybertError, match="does not exist: check the path"):
        read_task(name)


# --- the Hub --------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[tuple[str, str | None], Any]:
    """What the Hub holds, by name and configuration."""
    held: dict[tuple[str, str | None], Any] = {}

    def load_dataset(name: str, configuration: str | None = None) -> Any:
        found = held.get((name, configuration))
        if found is None:
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist\non it")
        if isinstance(found, Exception):
            raise found
        return datasets.DatasetDict(found)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.chdir(tmp_path)
    return held


CLASSES = ["negative", "neutral", "a positive one"]


def test_a_data_set_of_the_hub(hub: dict[tuple[str, str | None], Any]) -> None:
    hub["owner/name", "small"] = {
        "train": hub_rows(40, CLASSES),
        "validation": hub_rows(9, CLASSES),
        "test": hub_rows(5, CLASSES, [-1] * 5),
        "unsupervised": hub_rows(3, CLASSES),
    }
    data = read_task("owner/name:small", reporter=Reporter(quiet=True))
    assert data.task.name == "name-small"
    assert data.task.label_names == tuple(CLASSES)
    assert data.train.texts == [(f"text 40 {n}",) for n in range(40)]
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [n % 3 for n in range(40)]
    assert len(data.dev) == 9
    assert data.test is None
    assert any("split test has no labels: left out" in note for note in data.notes)
    assert any("not read: the splits unsupervised" in note for note in data.notes)
    assert any("text: column 'sentence'" in note for note in data.notes)


def test_class_names_in_another_order_are_matched_by_name(
    hub: dict[tuple[str, str | None], Any],
) -> None:
    hub["name", None] = {"train": hub_rows(30, CLASSES)}
    data = read_task("name", label_names=CLASSES[::-1])
    assert data.train.labels is not None
    first = data.train.texts[0][0]
    assert data.train.labels[0] == 2 - int(first.split()[-1]) % 3


def test_bad_data_sets(hub: dict[tuple[str, str | None], Any]) -> None:
    hub["far/away", None] = ConnectionError("Couldn't reach 'far/away' on the Hub")
    hub["many/kinds", None] = ValueError("Config name is missing.\nPick one of ['a', 'b']")
    hub["no/parts", None] = {"corpus": hub_rows(9, CLASSES)}
    hub["no/train", None] = {"test": hub_rows(9, CLASSES)}
    hub["bad/label", None] = {"train": hub_rows(9, CLASSES, [0, 1, 2, 0, -1, 0, 1, 2, 0])}
    cases = {
        "far/away": "no local path, and the Hugging Face Hub cannot be reached .*check the path",
        "many/kinds": r"cannot be loaded \(Config name is missing. Pick one.*owner/name:config",
        "no/such": r"cannot be loaded \(Dataset 'no/such' doesn't exist on it\)",
        "no/parts": "has no split train, validation or test, only corpus",
        "no/train": "has no train rows, only test",
        "bad/label": "split train, column 'label': 1 of 9 rows have no label .first in row 5",
    }
    for name, message in cases.items():
        with pytest.raises(TinybertError, match=message) as caught:
            read_task(name)
        assert "\n" not in str(caught.value)
    hub["nested/text", None] = {"train": hub_rows(9, CLASSES)}
    with pytest.raises(TinybertError, match="column 'words' holds list<"):
        read_task("nested/text", text="words")


def test_a_path_goes_before_a_data_set_of_that_name(
    hub: dict[tuple[str, str | None], Any], tmp_path: Path
) -> None:
    hub["owner/name", None] = {"train": hub_rows(9, CLASSES)}
    write(tmp_path / "owner" / "name" / "train.csv", rows(20))
    assert open_source("owner/name").parts["train"].name.endswith("train.csv")


def test_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library's own answer without a network."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TinybertError, match="the Hugging Face Hub cannot be reached"):
        read_task("no-such-owner/no-such-name")
