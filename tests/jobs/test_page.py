"""``page`` from end to end, with stand-ins for the scripts of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tinybert
from support import web
from tinybert.cli import main


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two exported models, and a cache that holds what npm would fetch."""
    web.stand_in(monkeypatch, tmp_path)
    web.fake_export(tmp_path / "topics")
    web.fake_export(tmp_path / "nli", ("entailment", "neutral", "contradiction"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_and_the_function_write_the_same(place: Path) -> None:
    assert main(["page", "topics", "--output", "one", "--quiet"]) == 0
    results = tinybert.page(model=place / "topics", output=place / "other", quiet=True)
    files = {p.relative_to(place / "one"): p for p in (place / "one").rglob("*") if p.is_file()}
    for name, file in files.items():
        assert file.read_bytes() == (place / "other" / name).read_bytes(), name
    assert {str(name) for name in files} == {*results["files"]}
    assert results["bytes"] == sum(file.stat().st_size for file in files.values())
    assert results["title"] == "topics"


def test_labels_of_pairs_make_two_fields(place: Path) -> None:
    results = tinybert.page(model=place / "nli", output=place / "page", quiet=True)
    assert results["fields"] == ["First text", "Second text"]
    results = tinybert.page(model="nli", output="one", texts="1", quiet=True)
    assert results["fields"] == ["Text"]


def test_fields_are_called_as_the_columns(place: Path) -> None:
    columns = {"text_columns": ["question", "best_answer"]}
    (place / "topics" / "results.json").write_text(json.dumps(columns))
    results = tinybert.page(model="topics", output="page", quiet=True)
    assert results["fields"] == ["Question", "Best answer"]
    assert all(len(row) == 2 for row in results["examples"])


def test_what_is_asked_for_is_on_the_page(place: Path) -> None:
    flags = ["--title", "My topics", "--examples", "lock it", "send it", "--max-length", "16"]
    assert main(["page", "--model", "topics", "--output", "page", "--quiet", *flags]) == 0
    told = web.told(place / "page")
    assert (told["title"], told["max_length"]) == ("My topics", 16)
    assert told["examples"] == [["lock it"], ["send it"]]


def test_a_line_says_how_to_look_at_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["page", "topics", "--output", "page"]) == 0
    assert "python -m http.server --directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "page"], "the exported model is missing: give it with --model"),
        (["topics"], "the output directory is missing: give it with --output"),
        (["topics", "--output", "nli"], "exists already: choose another one"),
        (["topics", "--output", "topics", "--overwrite"], "is what --model names: choose another"),
        (["nowhere", "--output", "page"], "is not there: give a directory"),
        (["topics", "--output", "page", "--max-length", "999"], "takes 128 tokens at most"),
        (["topics", "--output", "page", "--examples", "a || b"], "holds 2 texts"),
        (["topics", "--output", "page", "--assets", "nli"], "holds no onnxruntime-web"),
    ],
)
def test_bad_input_is_one_sentence(
    place: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {*place.rglob("*")}
    assert main(["page", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert {*place.rglob("*")} == before
