"""A user's mistake on the command line: what is said of it, and what is left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers.utils import logging as transformers_logging

import tinybert.cli
from tinybert.cli import main


@contextmanager
def working_directory(inputs: Path, where: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in ``where``, which gets links to all inputs; libraries keep quiet."""
    for entry in inputs.iterdir():
        (where / entry.name).symlink_to(entry)
    monkeypatch.chdir(where)
    monkeypatch.setattr(tinybert.cli, "_quiet_libraries", lambda: None)
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    yield where
    transformers_logging.set_verbosity(level)


def tree(where: Path) -> dict[str, int]:
    """All files that are there, links followed, and their sizes."""
    found = {}
    for folder, folders, names in os.walk(where, followlinks=True):
        for name in names + folders:
            path = Path(folder) / name
            found[str(path.relative_to(where))] = path.stat().st_size if path.is_file() else 0
    return found


def sentence(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Run into an error; returns its sentence."""
    capsys.readouterr()
    code = main([*words, "--quiet"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.startswith("tinybert: error: "), captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert captured.out == ""
    assert code == 2
    return captured.err
