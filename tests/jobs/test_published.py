"""Students on the Hub, without a network: a snapshot directory stands for what it would bring."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModel

import tinybert
from support import authors, tiny
from tinybert.errors import TinybertError
from tinybert.jobs import published
from tinybert.jobs.published import PUBLISHED, local_student
from tinybert.progress import Reporter
from tinybert.projections import PROJECTIONS_FILE

QUIET = Reporter(quiet=True)


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The authors' 4-layer student in small, as the Hub's client would leave it."""
    config = authors.sizes(num_hidden_layers=1, hidden_size=32, emb_size=32)
    place = authors.write(
        tmp_path / "0123456789abcdef", config, authors.weights(config, teacher_width=48, heads=True)
    )

    def download(name: str, **_: object) -> str:
        if name not in PUBLISHED.values():
            raise FileNotFoundError(f"404 of {name}\nmore")
        return str(place)

    monkeypatch.setattr(published, "snapshot_download", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


def test_the_authors_students_have_names(snapshot: Path, tmp_path: Path) -> None:
    for name in ("TinyBERT_General_4L_312D", "huawei-noah/TinyBERT_General_4L_312D"):
        found = Path(local_student(name, QUIET))
        assert found.is_relative_to(tmp_path / "cache" / "tinybert" / "students")
        assert found.name == "huawei-noah--TinyBERT_General_4L_312D-0123456789ab"
        assert AutoModel.from_pretrained(found).config.hidden_size == 32
        assert (found / PROJECTIONS_FILE).is_file()
    before = (found / "model.safetensors").stat().st_mtime_ns
    local_student("TinyBERT_General_4L_312D", QUIET)
    assert (found / "model.safetensors").stat().st_mtime_ns == before  # converted once


def test_distillation_goes_on_from_one(snapshot: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    tiny.saved_classifier(teacher, layers=2, width=48)
    texts, labels = tiny.sentences(60, seed=1)
    data = tmp_path / "rows.csv"
    data.write_text(
        "text,label\n" + "".join(f"{t},{n}\n" for t, n in zip(texts, labels, strict=True))
    )
    results = tinybert.distill(
        teacher=teacher,
        data=data,
        student="TinyBERT_General_4L_312D",
        output=tmp_path / "student",
        intermediate_epochs=1,
        prediction_epochs=1,
        report=False,
        quiet=True,
    )
    assert results["student"]["hidden"] == 32
    assert results["student"]["layers"] == 1
    # The name stays, wherever the files are kept.
    assert results["settings"]["student"] == "TinyBERT_General_4L_312D"


def test_other_models_of_the_hub_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.saved_encoder(tmp_path / "plain", layers=1, width=32)
    monkeypatch.setattr(published, "snapshot_download", lambda *_, **__: str(tmp_path / "plain"))
    assert local_student("someone/small-bert", QUIET) == str(tmp_path / "plain")


@pytest.mark.parametrize("text", ["4x312", "4x312x1200x12", "tinybert-4", "auto", "./x", "a/b/c"])
def test_shapes_and_paths_stay(text: str, snapshot: Path) -> None:
    assert local_student(text, QUIET) == text


def test_a_directory_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "student").mkdir(parents=True)
    assert local_student("own/student", QUIET) == "own/student"


def test_a_directory_of_a_published_name_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TinyBERT_General_4L_312D").mkdir()
    monkeypatch.setattr(published, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    assert local_student("TinyBERT_General_4L_312D", QUIET) == "TinyBERT_General_4L_312D"


def test_of_several_processes_the_first_ones_directory_stays(
    snapshot: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made"
    published._convert(snapshot, output)
    first = (output / "model.safetensors").stat().st_ino
    published._convert(snapshot, output)  # as a process that saw none yet
    assert (output / "model.safetensors").stat().st_ino == first
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


def test_the_pickle_comes_only_where_there_is_nothing_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.saved_encoder(tmp_path / "plain", layers=1, width=32)
    asked: list[list[str]] = []

    def download(_: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tmp_path / "plain")

    monkeypatch.setattr(published, "snapshot_download", download)
    local_student("someone/small-bert", QUIET)
    assert not any("pytorch_model.bin" in patterns for patterns in asked)
    (tmp_path / "plain" / "model.safetensors").unlink()
    local_student("someone/small-bert", QUIET)
    assert "pytorch_model.bin" in asked[-1]


def test_an_error_without_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(published, "snapshot_download", download)
    with pytest.raises(TinybertError, match=r"none of that name came .*\(TimeoutError\)"):
        local_student("a/b", QUIET)


def test_what_is_nowhere(snapshot: Path) -> None:
    with pytest.raises(TinybertError, match=r"no student directory a/b, and none .*\(404 of a/b\)"):
        local_student("a/b", QUIET)
