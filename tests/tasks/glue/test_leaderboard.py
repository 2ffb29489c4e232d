"""Files of GLUE's leaderboard, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert.errors import TinybertError
from tinybert.tasks.glue.facts import GLUE
from tinybert.tasks.glue.leaderboard import check_leaderboard, submission_files, write_leaderboard

TWO_CLASSES = {"cola": "CoLA", "sst-2": "SST-2", "mrpc": "MRPC", "qqp": "QQP", "wnli": "WNLI"}


@pytest.mark.parametrize("name", sorted(TWO_CLASSES))
def test_tasks_answered_by_numbers(tmp_path: Path, name: str) -> None:
    files = write_leaderboard(name, {"test": np.array([1, 0, 0, 1])}, tmp_path / "out")
    assert files == [tmp_path / "out" / f"{TWO_CLASSES[name]}.tsv"]
    assert files[0].read_bytes() == b"index\tprediction\n0\t1\n1\t0\n2\t0\n3\t1\n"


@pytest.mark.parametrize("name", ["qnli", "rte"])
def test_tasks_answered_by_words(tmp_path: Path, name: str) -> None:
    files = write_leaderboard(name, {"test": [1, 0]}, tmp_path / "out")
    assert files[0].name == f"{name.upper()}.tsv"
    expected = b"index\tprediction\n0\tnot_entailment\n1\tentailment\n"
    assert files[0].read_bytes() == expected


def test_mnli_and_the_diagnostic_set(tmp_path: Path) -> None:
    predictions = {"matched": [0, 1, 2], "mismatched": [2], "diagnostic": [1]}
    files = write_leaderboard("MNLI", predictions, tmp_path / "out")
    assert [file.name for file in files] == ["MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"]
    assert [file.read_bytes() for file in files] == [
        b"index\tprediction\n0\tentailment\n1\tneutral\n2\tcontradiction\n",
        b"index\tprediction\n0\tcontradiction\n",
        b"index\tprediction\n0\tneutral\n",
    ]


def test_values_are_cut_to_the_range_of_the_task(tmp_path: Path) -> None:
    values = np.array([5.4, -0.2, 2.7182818, 3.0, -0.0, 4.9996], dtype=np.float32)
    files = write_leaderboard("sts-b", {"test": values}, tmp_path / "out")
    assert files[0].name == "STS-B.tsv"
    assert files[0].read_bytes() == (
        b"index\tprediction\n0\t5.000\n1\t0.000\n2\t2.718\n3\t3.000\n4\t0.000\n5\t5.000\n"
    )


def test_rows_stand_in_the_order_of_their_index(tmp_path: Path) -> None:
    files = write_leaderboard(
        "cola", {"test": [0, 1, 1]}, tmp_path / "out", index={"test": [11, 2, 7]}
    )
    assert files[0].read_bytes() == b"index\tprediction\n2\t1\n7\t1\n11\t0\n"


def test_all_eleven_files_of_a_submission(tmp_path: Path) -> None:
    for name in GLUE:
        parts = submission_files(name)
        write_leaderboard(name, {part: np.zeros(2, dtype=np.int64) for part in parts}, tmp_path)
    expected = {"AX", "CoLA", "MNLI-m", "MNLI-mm", "MRPC", "QNLI", "QQP"}
    expected |= {"RTE", "SST-2", "STS-B", "WNLI"}
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.tsv" for name in expected}


def test_files_of_other_tasks_stay_and_its_own_are_not_lost(tmp_path: Path) -> None:
    write_leaderboard("rte", {"test": [0]}, tmp_path)
    write_leaderboard("cola", {"test": [1]}, tmp_path)
    with pytest.raises(TinybertError, match=r"holds RTE\.tsv already.*--overwrite"):
        write_leaderboard("rte", {"test": [1]}, tmp_path)
    assert (tmp_path / "RTE.tsv").read_bytes() == b"index\tprediction\n0\tentailment\n"
    write_leaderboard("rte", {"test": [1]}, tmp_path, overwrite=True)
    assert (tmp_path / "RTE.tsv").read_bytes() == b"index\tprediction\n0\tnot_entailment\n"
    assert (tmp_path / "CoLA.tsv").read_bytes() == b"index\tprediction\n0\t1\n"


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(TinybertError, match="is a file"):
        check_leaderboard("rte", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "predictions", "error"),
    [
        ("rte", {"test": [0, 2]}, ValueError),
        ("rte", {"test": [0, -1]}, ValueError),
        ("rte", {"test": [0.0, 1.0]}, ValueError),
        ("rte", {"test": [[0.2, 0.8]]}, ValueError),
        ("rte", {"matched": [0]}, ValueError),
        ("sts-b", {"test": [1.0, float("nan")]}, TinybertError),
        ("sts-b", {"test": [float("inf")]}, TinybertError),
        ("rtee", {"test": [0]}, TinybertError),
    ],
)
def test_predictions_that_are_none(
    tmp_path: Path, name: str, predictions: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        write_leaderboard(name, predictions, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index", [[0], [0, 0], [[0, 1]]])
def test_an_index_that_does_not_fit(tmp_path: Path, index: Any) -> None:
    with pytest.raises(ValueError, match="one number of its own for each row"):
        write_leaderboard("rte", {"test": [0, 1]}, tmp_path / "out", index={"test": index})


def test_nothing_is_written_when_a_part_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MNLI has classes 0 … 2"):
        write_leaderboard("mnli", {"matched": [0], "mismatched": [3]}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(answers=st.dictionaries(st.integers(0, 10**6), st.integers(0, 2), min_size=1, max_size=30))
def test_each_row_keeps_its_answer(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[int, int]
) -> None:
    (file,) = write_leaderboard(
        "mnli",
        {"matched": np.array([*answers.values()])},
        tmp_path_factory.mktemp("any") / "out",
        index={"matched": np.array([*answers])},
    )
    header, *lines = file.read_text("utf-8").splitlines()
    assert header == "index\tprediction"
    read = [line.split("\t") for line in lines]
    assert [int(number) for number, _ in read] == sorted(answers)
    assert {int(n): GLUE["mnli"].label_names.index(word) for n, word in read} == answers
