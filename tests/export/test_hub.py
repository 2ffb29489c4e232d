"""Uploading: what is sent, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import RepoUrl
from huggingface_hub.utils import filter_repo_objects

import tinybert
from support import tiny
from tinybert.errors import TinybertError
from tinybert.export import check_repository, hub, push_directory
from tinybert.progress import Reporter


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What a stand-in for the Hub is asked for."""
    made: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, repo_id: str, **options: Any) -> RepoUrl:
            made.append(("create", {"repo_id": repo_id, **options}))
            return RepoUrl(f"https://huggingface.co/me/{repo_id.rpartition('/')[2]}")

        def upload_folder(self, **options: Any) -> None:
            made.append(("upload", options))

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "get_token", lambda: "secret")
    return made


@pytest.mark.parametrize("private", [True, False])
def test_what_is_sent(calls: list[Any], tmp_path: Path, private: bool) -> None:
    address = push_directory(tmp_path, "student", Reporter(quiet=True), private=private)
    assert address == "https://huggingface.co/me/student"
    (_, made), (_, sent) = calls
    # A repository that is there stays as public as it is.
    assert made == {"repo_id": "student", "private": True if private else None, "exist_ok": True}
    assert (sent["repo_id"], sent["folder_path"]) == ("me/student", str(tmp_path))


def test_what_is_said_when_it_fails(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("403 Forbidden: no right to write.\nmore")

    monkeypatch.setattr(hub.HfApi, "create_repo", refuse)
    place = tmp_path / "my student"
    (place / "onnx").mkdir(parents=True)
    for name in ("onnx/model.onnx", "results.json"):
        (place / name).write_bytes(b"1")
    with pytest.raises(TinybertError, match=r"is whole, but .* \(403 Forbidden: no right") as error:
        push_directory(place, "me/student", Reporter(quiet=True), private=True)
    assert (place / "onnx" / "model.onnx").exists()
    # The way out is as private as what was asked for.
    said = f"`hf upload me/student '{place}' . --private --include 'onnx/*'`"
    assert said in str(error.value)


@pytest.mark.usefixtures("calls")
def test_a_distilled_student_goes_up_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    there: list[str] = []

    def upload(self: Any, **options: Any) -> None:
        folder = Path(options["folder_path"])
        there.extend(path.name for path in folder.iterdir())
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        allowed, never = options["allow_patterns"], options["ignore_patterns"]
        seen.extend(filter_repo_objects(files, allow_patterns=allowed, ignore_patterns=never))

    monkeypatch.setattr(hub.HfApi, "upload_folder", upload)
    given = {"teacher": tiny.saved_classifier(tmp_path / "teacher", layers=2)}
    given |= {"data": tiny.task_file(tmp_path / "rows.csv"), "student": "1x16"}
    more = tiny.QUICK | {"push_to_hub": "me/student", "report": True}
    tinybert.distill(**given, output=tmp_path / "student", **more)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(seen)
    private = {"report.html", "results.json", "answers.npz", "log.jsonl"}
    assert private <= set(there)
    assert not private & set(seen)
    for name in seen:  # what goes up tells nothing of this machine
        assert str(tmp_path).encode() not in (tmp_path / "student" / name).read_bytes()
    with pytest.raises(TinybertError, match=r"uploads one student.*--include config\.json"):
        tinybert.glue(teacher=given["teacher"], output=tmp_path / "table", push_to_hub="me/x")


def test_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "get_token", lambda: None)
    with pytest.raises(TinybertError, match="nobody is logged in"):
        check_repository("me/student")
    with pytest.raises(TinybertError, match="is no name of a repository: give owner/name"):
        check_repository("me/stu dent")
