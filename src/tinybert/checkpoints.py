"""Checkpoints that are whole or absent.

A checkpoint is written under a hidden name beside its final one, flushed to disk, sealed with a
mark that lists every file, its size and its checksum, and only then renamed. A reader believes
the mark, not the number in the name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tinybert.errors import TinybertError
from tinybert.outputs import fsync, fsync_tree

__all__ = ["MARK", "check", "drop_old", "newest_whole", "publish", "seal"]

MARK = "whole.json"
STAGING = ".staging"


def seal(directory: Path, step: int, owner: str = "") -> None:
    """Flush everything in ``directory`` and write its mark; ``owner`` names what it is of."""
    files = {
        str(path.relative_to(directory)): [path.stat().st_size, _checksum(path)]
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MARK
    }
    (directory / MARK).write_text(json.dumps({"step": step, "owner": owner, "files": files}))
    fsync_tree(directory)


def publish(staged: Path, final: Path) -> None:
    """Rename a sealed checkpoint into place; an old one of the same name makes way first."""
    if final.exists():
        shutil.rmtree(final)
    staged.rename(final)
    fsync(final.parent)


def _step(directory: Path) -> int | None:
    """The step of a whole checkpoint, or None."""
    try:
        mark = json.loads((directory / MARK).read_text())
        sizes = {directory / name: size for name, (size, _) in mark["files"].items()}
        whole = all(path.stat().st_size == size for path, size in sizes.items())
        return int(mark["step"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check(directory: Path, owner: str = "") -> None:
    """Compare a whole checkpoint with its checksums and its owner.

    Raises:
        TinybertError: a file was altered, or it was put here from another run.
    """
    mark = json.loads((directory / MARK).read_text())
    if mark.get("owner", owner) != owner:
        raise TinybertError(
            f"the checkpoint {directory} was made by another run or stage: remove it to go on from "
            "the one before, or start again with --overwrite."
        )
    for name, (_, wanted) in mark["files"].items():
        if _checksum(directory / name) != wanted:
            raise TinybertError(
                f"the checkpoint's file {directory / name} was altered (its checksum differs): "
                "remove the checkpoint to go on from the one before, or start again with "
                "--overwrite."
            )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def newest_whole(directory: Path) -> Path | None:
    """The whole checkpoint of the latest step under ``directory``; None if there is none."""
    found = [
        (step, path) for path in directory.glob("checkpoint-*") if (step := _step(path)) is not None
    ]
    return max(found)[1] if found else None


def drop_old(directory: Path, keep: int) -> None:
    """Keep the newest ``keep`` whole checkpoints; remove others and what was half-written."""
    ranked = sorted(
        directory.glob("checkpoint-*"),
        key=lambda path: -1 if (step := _step(path)) is None else step,
        reverse=True,
    )
    for path in ranked[keep:]:
        shutil.rmtree(path, ignore_errors=True)
