"""Directories of unfinished work: begun once, gone on with, held by one process, removed whole.

Beside an output ``OUT`` lies ``OUT.run``, ``OUT.build`` or ``OUT.augment`` while it is made. A file
in it says what it was begun with. Without that file the directory is somebody else's.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.outputs import remove_directory, remove_stale, write_json_whole

__all__ = [
    "LOCK",
    "Hold",
    "asked_for",
    "bytes_in",
    "check_apart",
    "check_unfinished",
    "open_work",
]

LOCK = ".lock"

# Settings that records of earlier versions lack, and what was done there.
_CAME_LATER: Mapping[str, Any] = {
    "attention_transfer": "auto",
    "ensemble": [],
    "corpus": [],
    "max_answer_length": 30,
    "n_best": 1,
    "no_answer": "auto",
    "null_threshold": 0.0,
}


class Hold:
    """A directory held by this process until it ends, or lets go.

    The lock is the process's, not the object's: it may hold a directory twice.
    """

    def __init__(self, place: Path) -> None:
        self._stream = (place / LOCK).open("a")
        try:
            fcntl.lockf(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.close()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise TinybertError(
                    f"another process is at work in {place}: wait for it to end, or stop it."
                ) from None
            # A disk that knows no locks: then nobody watches.

    def release(self) -> None:
        """Let go, and leave no lock behind."""
        Path(self._stream.name).unlink(missing_ok=True)
        self._stream.close()


def check_unfinished(place: Path, mark: str, what: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin where something is already: files that are not tinybert's, or unfinished work
    that is neither gone on with nor replaced."""
    if not place.is_dir() or not _holds_files(place):
        return
    if not (place / mark).is_file():
        raise TinybertError(
            f"{place} is in the way and was not made by tinybert: move it elsewhere."
        )
    if not (resume or overwrite):
        raise TinybertError(
            f"an unfinished {what} is in {place}: go on with --resume, or start again with "
            "--overwrite."
        )


def open_work(
    place: Path,
    mark: str,
    begun: Mapping[str, Any],
    what: str,
    *,
    resume: bool,
    overwrite: bool,
    any_of: Collection[str] = (),
) -> Hold:
    """Begin work in ``place``, or go on with what was begun with the same.

    Args:
        place: the directory.
        mark: name of the file in it that says what it was begun with.
        begun: that, as plain data.
        what: the kind of work, for sentences: "run".
        resume, overwrite: what to do with unfinished work found there.
        any_of: names in ``begun`` that may differ.

    Raises:
        TinybertError: unfinished work and neither flag; begun with something else; files that are
            not tinybert's; another process at work there.
    """
    file = place / mark
    if place.parent.is_dir():
        remove_stale(place)
    check_unfinished(place, mark, what, resume=resume, overwrite=overwrite)
    place.mkdir(parents=True, exist_ok=True)
    hold = Hold(place)
    if file.is_file() and overwrite and not resume:
        hold.release()
        remove_directory(place)
        place.mkdir(parents=True)
        hold = Hold(place)
    if file.is_file():
        _check_same(file, json.loads(file.read_text("utf-8")), begun, what, any_of)
    else:
        write_json_whole(file, dict(begun))
    return hold


def asked_for(settings: Mapping[str, Any], name: str) -> Any:
    """A setting of a record, which an earlier version may have written."""
    return settings.get(name, _CAME_LATER.get(name))


def _check_same(
    file: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    what: str,
    any_of: Collection[str],
) -> None:
    plain = json.loads(json.dumps(dict(now), default=str))
    names = (before.keys() | plain.keys()) - set(any_of)
    changed = sorted(n for n in names if asked_for(before, n) != asked_for(plain, n))
    if changed:
        raise TinybertError(
            f"the {what} in {file.parent} was begun differently ({', '.join(changed)}): resume it "
            "with the same, or start again with --overwrite."
        )


def _holds_files(place: Path) -> bool:
    return any(name != LOCK for _, _, names in os.walk(place) for name in names)


def bytes_in(place: Path) -> int:
    """What a directory takes on the disk already."""
    return sum(
        (Path(folder) / name).stat().st_size
        for folder, _, names in os.walk(place)
        for name in names
    )


def check_apart(output: str | Path, **inputs: Any) -> None:
    """Refuse an output that is, or holds, something that is read: replacing it would delete that.

    Args:
        output: directory that will be written.
        inputs: flag's name → path, glob or name, or several; what is no local path is passed over.
    """
    target = Path(output).expanduser().resolve()
    for flag, given in inputs.items():
        for name in given if isinstance(given, (list, tuple)) else [given]:
            for path in [] if name is None else _named(Path(str(name)).expanduser()):
                if target == path or target in path.parents:
                    raise TinybertError(
                        f"output {output} {'is' if target == path else 'holds'} what "
                        f"--{flag.replace('_', '-')} names: choose another output."
                    )


def _named(path: Path) -> Iterator[Path]:
    """What is there under this name; of a glob its files, and the directory that they lie below."""
    if path.exists():
        yield path.resolve()
    elif glob.has_magic(str(path)):
        plain = list(takewhile(lambda part: not glob.has_magic(part), path.parts))
        below = Path(*plain).resolve()
        if below.is_dir():
            yield below
        yield from (Path(found).resolve() for found in glob.iglob(str(path), recursive=True))
