"""JavaScript of others that the page runs on: exact versions, known by their hashes, from npm.

None of it is part of this package. It comes from a ``node_modules`` folder, from the cache, or by
``npm pack``, which runs no scripts and brings no dependencies; whatever its way, only files with
the pinned hashes are taken.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.outputs import cache_directory, clear_errors, whole_file
from tinybert.progress import Reporter

__all__ = ["Package", "packages", "third_party_files"]

_NPM_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """One npm package, pinned.

    Attributes:
        name, version, licence, source: as its package.json says.
        integrity: npm's hash of its archive.
        files: path in the package → (path under the page's ``vendor/``, SHA-256).
    """

    name: str
    version: str
    licence: str
    source: str
    integrity: str
    files: Mapping[str, tuple[str, str]]

    @property
    def exact(self) -> str:
        return f"{self.name}@{self.version}"


def packages() -> list[Package]:
    """What the page needs of others.

    >>> [package.exact for package in packages()]
    ['onnxruntime-web@1.30.0', '@huggingface/tokenizers@0.2.0']
    """
    text = resources.files("tinybert.webpage").joinpath("third_party.json").read_text("utf-8")
    return [
        Package(
            **{
                **entry,
                "files": {
                    path: (file["to"], file["sha256"]) for path, file in entry["files"].items()
                },
            }
        )
        for entry in json.loads(text)["packages"]
    ]


def third_party_files(assets: str | Path | None, reporter: Reporter) -> dict[str, Path]:
    """Path under the page's ``vendor/`` → the file on this disk, all hashes checked.

    Args:
        assets: a ``node_modules`` folder; None for the cache, filled by npm where it lacks them.
        reporter: hears what is fetched.

    Raises:
        TinybertError: the folder lacks a package or holds another version of it; npm is missing,
            fails, or brings something else than what is pinned.
    """
    found: dict[str, Path] = {}
    absent = []
    for package in packages():
        place = _place(assets, package)
        if assets is not None:
            _check_installed(Path(assets), place, package)
        elif not all(_is(place / path, sha) for path, (_, sha) in package.files.items()):
            absent.append((package, place))
        found |= {to: place / path for path, (to, _) in package.files.items()}
    if absent:
        with reporter.track(len(absent), "fetching by npm", unit="packages") as progress:
            for package, place in absent:
                _fetch(package, place)
                progress.advance(note=package.exact)
    return found


def _place(assets: str | Path | None, package: Package) -> Path:
    if assets is not None:
        return Path(assets).expanduser() / package.name
    return cache_directory() / "npm" / package.exact


def _is(file: Path, sha256: str) -> bool:
    """Whether a file is there and is the pinned one."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _check_installed(assets: Path, place: Path, package: Package) -> None:
    install = "`npm install --ignore-scripts " + " ".join(p.exact for p in packages()) + "`"
    if not place.is_dir():
        raise TinybertError(
            f"--assets {assets} holds no {package.name}: make that folder with {install} where "
            "there is a network, and give its node_modules"
        )
    for path, (_, sha) in package.files.items():
        if not _is(place / path, sha):
            raise TinybertError(
                f"{place / path} is not that of {package.exact}: install the exact versions with "
                f"{install}"
            )


def _fetch(package: Package, place: Path) -> None:
    npm = shutil.which("npm")
    elsewhere = (
        "or give a node_modules folder made on another machine (`npm install --ignore-scripts "
        + " ".join(p.exact for p in packages())
        + "`) with --assets"
    )
    if npm is None:
        raise TinybertError(
            f"npm is not installed, and the page's {package.exact} is fetched by it: install npm, "
            f"which comes with Node.js, {elsewhere}"
        )
    with clear_errors(place), tempfile.TemporaryDirectory() as folder:
        done = _run_npm([npm, "pack", package.exact, f"--pack-destination={folder}"], folder)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            raise TinybertError(
                f"npm could not fetch {package.exact} ({_npm_reason(done)}): check the network, "
                f"{elsewhere}"
            )
        content = archives[0].read_bytes()
        algorithm, _, wanted = package.integrity.partition("-")
        if base64.b64encode(hashlib.new(algorithm, content).digest()).decode() != wanted:
            raise TinybertError(
                f"what npm fetched as {package.exact} is something else than was published under "
                f"that name, and is not used: check npm's registry setting, {elsewhere}"
            )
        _unpack(content, package, place)


def _run_npm(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    """npm, in a folder without a project, with one retry: a machine without network waits less."""
    options = ["--ignore-scripts", "--prefer-offline", "--no-update-notifier", "--fetch-retries=1"]
    try:
        return subprocess.run(
            [*command, *options],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NPM_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {_NPM_SECONDS} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _npm_reason(done: subprocess.CompletedProcess[str]) -> str:
    """npm's own words, short."""
    lines = [re.sub(r"^npm (error|ERR!)\s*", "", line) for line in done.stderr.splitlines()]
    telling = [line.strip() for line in lines if line.strip() and "complete log" not in line]
    return "; ".join(telling[:2])[:200] or f"exit code {done.returncode}"


def _unpack(content: bytes, package: Package, place: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for path, (_, sha) in package.files.items():
            member: Any = archive.extractfile(f"package/{path}")
            data: bytes = member.read()
            if hashlib.sha256(data).hexdigest() != sha:  # the pins contradict each other
                raise TinybertError(
                    f"{path} of {package.exact} is not the pinned one: this is a fault of tinybert"
                )
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as partial:
                partial.write_bytes(data)
