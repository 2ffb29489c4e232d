"""Output directories and files that are whole or absent.

A directory is written beside its final name, flushed to disk and renamed: whoever finds the final
name finds a whole result, also after a kill or a power cut. What a killed run left beside it is
removed by the next run to the same name; an old result that it had set aside comes back.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError

__all__ = [
    "cache_directory",
    "check_output",
    "check_space",
    "clear_errors",
    "fsync",
    "fsync_tree",
    "is_out_of_space",
    "move_into_place",
    "remove_directory",
    "remove_stale",
    "whole_directory",
    "whole_file",
    "write_json_whole",
]

_PARTIAL, _OLD = "partial", "old"
_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "os error 28")
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|unexpected pos \d+ vs \d+")
"""Of NumPy and torch, where a disk took only a part of what was written."""


def check_output(path: str | Path, overwrite: bool = False) -> Path:
    """Check, before any work, that a directory can be written at ``path``; nothing is created.

    What a run killed while it replaced ``path`` had set aside is moved back first.

    Returns the absolute path (symbolic links followed). Raises ``TinybertError`` if it exists and
    ``overwrite`` is off, is a file, is a directory that must not be replaced (the current one, the
    home directory, one that holds them, a mount point), or lies where nothing may be written.
    """
    path = Path(path).expanduser().resolve()
    _bring_back_old(path)
    if path.is_dir():
        if not overwrite:
            raise TinybertError(
                f"output directory {path} exists already: choose another one, "
                "or replace it with --overwrite"
            )
        _check_replaceable(path)
    elif path.exists():
        raise TinybertError(f"output {path} is a file: choose a directory that does not exist yet")
    parent = _existing_ancestor(path.parent)
    if not parent.is_dir():
        raise TinybertError(f"output {path} lies below {parent}, which is a file: choose another")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise TinybertError(
            f"nothing may be written into {parent}: choose another output directory "
            "or change its permissions"
        )
    return path


def check_space(path: str | Path, needed_bytes: float) -> None:
    """Raise ``TinybertError`` if the disk of ``path`` has fewer than ``needed_bytes`` bytes free.

    ``path`` need not exist: the disk is that of its nearest existing parent.
    """
    free = shutil.disk_usage(_existing_ancestor(Path(path).expanduser().resolve())).free
    if free < needed_bytes:
        raise TinybertError(
            f"not enough space for {path}: about {_size(needed_bytes)} are needed and "
            f"{_size(free)} are free; free some or choose an output on another disk"
        )


@contextmanager
def whole_directory(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Write a directory that appears under ``path`` whole, or not at all.

    Yields a new empty directory beside ``path`` to write into. When the block ends well its files
    are flushed to disk and it is renamed to ``path`` (with ``overwrite`` the old directory is
    replaced only then). When the block fails it is removed, together with parents made for it.

    Raises:
        TinybertError: as :func:`check_output`; or a full or read-only disk inside the block.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> target = Path(folder.name) / "student"
    >>> with whole_directory(target) as partial:
    ...     _ = (partial / "config.json").write_text("{}")
    ...     assert not target.exists()
    >>> [file.name for file in target.iterdir()]
    ['config.json']
    >>> folder.cleanup()
    """
    path = check_output(path, overwrite)
    with clear_errors(path):
        made = _make_parents(path.parent)
        try:
            remove_stale(path)
            partial = path.parent / _hidden_name(path.name, _PARTIAL)
            partial.mkdir()
            try:
                yield partial
                fsync_tree(partial)
                move_into_place(partial, path, overwrite)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        except BaseException:
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()
            raise


def write_json_whole(path: str | Path, value: Any) -> None:
    """Write ``value`` as JSON so that the file is whole or as it was before.

    NaN and infinities become ``null`` (JSON has neither); paths become text; dataclasses, NumPy
    and torch scalars and arrays become what they hold.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json_whole(Path(folder) / "results.json", {"score": float("nan"), "rows": 3})
    ...     json.loads((Path(folder) / "results.json").read_text())
    {'score': None, 'rows': 3}
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; in the end it is flushed and renamed to ``path``.

    Raises ``TinybertError`` where the disk is full, read-only or forbidden; ``path`` is then as it
    was before.
    """
    path = Path(path).expanduser().resolve()
    partial = path.parent / _hidden_name(path.name, _PARTIAL)
    with clear_errors(path):
        try:
            remove_stale(path)
            yield partial
            fsync(partial)
            partial.replace(path)
            fsync(path.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def fsync_tree(path: str | Path) -> None:
    """Flush every file and directory below ``path``, and ``path`` itself, to disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            file = Path(folder) / name
            if not file.is_symlink():
                fsync(file)
        fsync(Path(folder))


@contextmanager
def clear_errors(path: str | Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk while writing ``path`` into a ``TinybertError``."""
    try:
        yield
    except TinybertError:
        raise
    except Exception as error:
        if is_out_of_space(error):
            raise TinybertError(
                f"no space left on the disk while writing {path}: nothing was left there; "
                "free some or choose an output on another disk"
            ) from error
        code = error.errno if isinstance(error, OSError) else None
        place = getattr(error, "filename", None) or path
        if code in (errno.EACCES, errno.EPERM):
            raise TinybertError(
                f"permission denied at {place}: change its permissions or choose another place"
            ) from error
        if code == errno.EROFS:
            raise TinybertError(
                f"{place} is on a read-only disk: choose an output on another disk"
            ) from error
        raise


def is_out_of_space(error: BaseException) -> bool:
    """Whether ``error``, or one that it was raised from, is a full disk or quota.

    The writers of safetensors and torch raise errors of their own without an error number.

    >>> is_out_of_space(OSError(errno.ENOSPC, "No space left on device"))
    True
    >>> is_out_of_space(RuntimeError("I/O error: No space left on device (os error 28)"))
    True
    >>> is_out_of_space(FileNotFoundError(errno.ENOENT, "No such file"))
    False
    """
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, OSError) and seen.errno in _SPACE_ERRNOS:
            return True
        if any(text in str(seen) for text in _SPACE_TEXTS) or _SHORT_WRITE.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _check_replaceable(path: Path) -> None:
    for place, name in ((Path.cwd(), "the current directory"), (Path.home(), "your home")):
        if path == place.resolve() or path in place.resolve().parents:
            raise TinybertError(
                f"output {path} is or holds {name} and is not replaced: choose another directory"
            )
    if path.is_mount():
        raise TinybertError(f"output {path} is a mount point: choose a directory inside it")


def move_into_place(partial: Path, path: Path, overwrite: bool) -> None:
    """Rename a finished directory; with ``overwrite`` the one that is there goes only then.

    Raises:
        TinybertError: another program made ``path`` meanwhile; what was finished is kept.
    """
    if overwrite and path.exists():
        # Under a name of its own: between the two renames it is the only whole result.
        old = path.parent / _hidden_name(path.name, _OLD)
        path.rename(old)
        try:
            partial.rename(path)
        except BaseException:
            old.rename(path)
            raise
        fsync(path.parent)
        _discard_old(old, path)
        return
    try:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        partial.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        # Hours of work may be in it: keep it under a name that is free.
        kept = path.parent / f"{path.name}-{secrets.token_hex(3)}"
        partial.rename(kept)
        raise TinybertError(
            f"another program made {path} in the meantime: the result is kept in {kept}"
        ) from error
    fsync(path.parent)


def _hidden_name(name: str, kind: str) -> str:
    return f".{name}.{kind}-{_host()}-{os.getpid()}-{secrets.token_hex(3)}"


def _host() -> str:
    return re.sub(r"[^\w.]", "_", socket.gethostname())[:40]


def _left_behind(path: Path, kind: str) -> list[Path]:
    """What killed runs of this machine left beside ``path``."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{kind}-{re.escape(_host())}-(\d+)-\w+")
    matches = ((entry, pattern.fullmatch(entry.name)) for entry in path.parent.iterdir())
    return [entry for entry, match in matches if match and not _is_alive(int(match.group(1)))]


def remove_stale(path: Path) -> None:
    """Remove what killed runs left beside ``path``; a set-aside result only if ``path`` exists."""
    for entry in _left_behind(path, _PARTIAL):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if path.exists():
        for old in _left_behind(path, _OLD):
            _discard_old(old, path)


def _bring_back_old(path: Path) -> None:
    """Move the result back that a run killed while it replaced ``path`` had set aside."""
    with suppress(OSError):  # no such parent, or one that must not be read or written
        for old in _left_behind(path, _OLD):
            if not path.exists():
                old.rename(path)
                fsync(path.parent)


def _discard_old(old: Path, path: Path) -> None:
    """Remove a set-aside result, under a name from which half of it is never brought back."""
    with suppress(OSError):
        remove_directory(old, path.name)


def remove_directory(path: Path, name: str | None = None) -> None:
    """Remove a directory so that a kill leaves all of it or, under a hidden name, rubbish.

    Half of it must not be taken for the whole; :func:`remove_stale` clears the rest away.
    """
    doomed = path.parent / _hidden_name(name or path.name, _PARTIAL)
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _make_parents(path: Path) -> list[Path]:
    """Make the missing directories down to ``path``; returns those made, outermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    missing.reverse()
    for folder in missing:
        folder.mkdir(exist_ok=True)
    return missing


def _existing_ancestor(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def fsync(path: Path) -> None:
    """Flush one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network disks cannot flush a directory; a full disk does report itself here.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return _plain(value.tolist())
    return str(value)


def _size(count: float) -> str:
    """Bytes for people.

    >>> _size(1_500_000), _size(2.5e9), _size(12)
    ('1.5 MB', '2.5 GB', '12 bytes')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def cache_directory() -> Path:
    """Where what was fetched is kept: ``$XDG_CACHE_HOME/tinybert`` or ``~/.cache/tinybert``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser() / "tinybert"
