"""Scripts of others: from a folder, from the cache or by npm, and only those that are pinned."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support import web
from tinybert.errors import TinybertError
from tinybert.outputs import cache_directory
from tinybert.progress import Reporter
from tinybert.webpage import third_party, third_party_files
from tinybert.webpage.third_party import Package, packages

QUIET = Reporter(quiet=True)

Npm = Callable[[str], Path]


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Package]:
    """Small packages in ``node_modules``, with their pins; archives of them beside it."""
    made = []
    for package in web.fake_packages(tmp_path):
        content = archive(tmp_path / "node_modules", package)
        (tmp_path / f"{len(made)}.tgz").write_bytes(content)
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        made.append(replace(package, integrity=f"sha512-{digest}"))
    monkeypatch.setattr(third_party, "packages", lambda: made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def archive(modules: Path, package: Package) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for path in package.files:
            made.add(modules / package.name / path, f"package/{path}")
    return stream.getvalue()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    """Makes the one npm on the path: a shell script; ``$4`` of its calls names the folder."""

    def make(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        file = folder / "npm"
        file.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return tmp_path / "calls"

    return make


def packing(tmp_path: Path) -> str:
    """npm pack of the two packages, as a script."""
    return (
        f'case "$2" in onnx*) file=0 ;; *) file=1 ;; esac\n'
        f'cp {tmp_path}/$file.tgz "${{3#--pack-destination=}}"'
    )


def test_versions_are_exact_and_hashes_whole() -> None:
    for package in packages():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package.version)
        assert len(base64.b64decode(package.integrity.removeprefix("sha512-"))) == 64
        for path, (to, sha) in package.files.items():
            assert re.fullmatch(r"[0-9a-f]{64}", sha), path
            assert not Path(to).is_absolute()


def test_a_folder_serves_without_npm(
    pinned: list[Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    files = third_party_files(tmp_path / "node_modules", QUIET)
    assert files["onnxruntime/ort.js"].read_text().startswith(pinned[0].exact)
    assert len(files) == sum(len(package.files) for package in pinned)
    assert not (tmp_path / "cache").exists()


def test_npm_fills_the_cache_once(pinned: list[Package], tmp_path: Path, npm: Npm) -> None:
    calls = npm(packing(tmp_path))
    files = third_party_files(None, QUIET)
    assert all(path.is_relative_to(cache_directory()) for path in files.values())
    assert files["tokenizers/LICENSE"].read_text() == f"{pinned[1].exact} LICENSE"
    said = calls.read_text().splitlines()
    assert [line.split()[1] for line in said] == [package.exact for package in pinned]
    assert all("--ignore-scripts" in line for line in said)
    assert third_party_files(None, QUIET) == files
    assert calls.read_text().splitlines() == said


def test_a_spoilt_cache_is_filled_again(pinned: list[Package], tmp_path: Path, npm: Npm) -> None:
    calls = npm(packing(tmp_path))
    file = third_party_files(None, QUIET)["onnxruntime/ort.js"]
    file.write_text("something else")
    assert third_party_files(None, QUIET)["onnxruntime/ort.js"].read_text().startswith("onnx")
    assert len(calls.read_text().splitlines()) == 3


def test_nothing_but_the_published_archive_is_taken(
    pinned: list[Package], tmp_path: Path, npm: Npm
) -> None:
    npm(packing(tmp_path))
    (tmp_path / "0.tgz").write_bytes(b"another archive")
    with pytest.raises(TinybertError, match="something else than was published under that name"):
        third_party_files(None, QUIET)
    assert not list((tmp_path / "cache").rglob("*.*js"))


@pytest.mark.usefixtures("pinned")
def test_npm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TinybertError, match="npm is not installed.*--assets"):
        third_party_files(None, QUIET)


@pytest.mark.usefixtures("pinned")
def test_npm_fails(npm: Npm) -> None:
    npm('echo "npm error code ENOTFOUND" >&2; echo "npm error network request failed" >&2; exit 1')
    with pytest.raises(TinybertError) as caught:
        third_party_files(None, QUIET)
    said = str(caught.value)
    assert "(code ENOTFOUND; network request failed): check the network, or give" in said
    assert "npm install --ignore-scripts onnxruntime-web@" in said


def test_the_folder_lacks_a_package(pinned: list[Package], tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="holds no onnxruntime-web: make that folder with"):
        third_party_files(tmp_path / "elsewhere", QUIET)


def test_the_folder_has_another_version(pinned: list[Package], tmp_path: Path) -> None:
    file = tmp_path / "node_modules" / pinned[1].name / "LICENSE"
    file.write_text("of another version")
    with pytest.raises(TinybertError, match="is not that of @huggingface/tokenizers@"):
        third_party_files(tmp_path / "node_modules", QUIET)
