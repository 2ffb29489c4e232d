"""What a corpus is made of: files, globs, directories, Hub data sets."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinybert.corpus.text import Piece, check_characters, cut, file_pieces
from tinybert.errors import TinybertError
from tinybert.tasks.reading.formats import ending_of, is_file_like, open_shard
from tinybert.tasks.reading.shards import Shard, unheard
from tinybert.tasks.reading.streams import PACKED, Advance

__all__ = ["TextSource", "find_sources", "read_all", "sources_print", "total_size"]

_SAMPLE = 1 << 20

_MADE = ("corpus.json", "build.json", "model.safetensors")

_BINARY = {
    *(".zip", ".tar", ".tgz", ".7z", ".rar", ".pdf", ".doc", ".docx", ".npy", ".npz", ".pt"),
    *(".bin", ".safetensors", ".png", ".jpg", ".jpeg", ".gif", ".mp3", ".mp4", ".sqlite", ".db"),
}
"""Endings of files that are no text; in a directory they are left out and told."""


@dataclass(frozen=True)
class TextSource:
    """One file or data set, looked into but not read.

    Attributes:
        name: how it is told.
        size: bytes on disk, which progress is told in; None where nobody knows.
        pieces: reads it from its beginning, telling bytes.
        notes: what was guessed.
    """

    name: str
    size: int | None
    pieces: Callable[[Advance], Iterator[Piece]]
    notes: tuple[str, ...] = field(default=())


def find_sources(names: Sequence[str], column: str | None = None) -> list[TextSource]:
    """Look into everything that was named, in its order; files of a directory or glob sorted.

    Args:
        names: files of text (one paragraph a line, a blank line between documents), of rows
            (JSONL, JSON, CSV, TSV, Parquet: one row, one document), text formats also packed;
            globs; directories; Hub data sets, ``owner/name``, ``owner/name:configuration``,
            ``owner/name:configuration:split``.
        column: of the text in files of rows and data sets; guessed where None.

    Raises:
        TinybertError: nothing named; missing; a directory or glob without text; no such column;
            no network.
    """
    if not names:
        raise TinybertError("no corpus was given: name text with --corpus.")
    found: list[TextSource] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            found += _directory(path, column)
        elif path.is_file():
            found.append(_file(path, column))
        elif path.exists():
            raise TinybertError(f"{name} is no regular file, and it may be read twice: save it.")
        elif glob.has_magic(str(path)):
            files = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
            files = [p for p in files if p.is_file()]
            if not files:
                raise TinybertError(f"no file is named like {name}: check the pattern.")
            found += [_file(p, column) for p in files]
        else:
            found.append(_hub(name, column))
    return found


def _directory(root: Path, column: str | None) -> list[TextSource]:
    files: list[Path] = []
    others: list[Path] = []
    # What was made of text before, if it lies among the text, is no text.
    made = {path.parent for name in _MADE for path in root.rglob(name)}
    for path in sorted(root.rglob("*")):
        names = path.relative_to(root).parts
        ours = any((root / Path(*names[:i])) in made for i in range(1, len(names)))
        if path.is_file() and not ours and not any(n.startswith((".", "_")) for n in names):
            (others if path.suffix.lower() in _BINARY else files).append(path)
    if not files:
        raise TinybertError(f"the directory {root} holds no text files: check the path.")
    found = [_file(path, column) for path in files]
    if others:
        note = f"not read, as no text: {', '.join(p.name for p in others[:3])}"
        note += f" and {len(others) - 3} more" if len(others) > 3 else ""
        first = found[0]
        found[0] = TextSource(first.name, first.size, first.pieces, (*first.notes, note))
    return found


def _file(path: Path, column: str | None) -> TextSource:
    size = path.stat().st_size
    if size == 0:
        raise TinybertError(f"{path} holds no text: it is empty.")
    if path.suffix.lower() in _BINARY:
        raise TinybertError(f"{path} is no text file: name text, JSONL or Parquet files.")
    if ending_of(path) is None:
        inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
        if inner.suffix.lower() == ".ndjson":
            raise TinybertError(f"{path} is one object a line: rename it to end in .jsonl.")
        return TextSource(str(path), size, lambda advance: file_pieces(path, advance))
    shard = open_shard(path)
    name, note = _text_column(shard.name, shard.columns, shard.wordy, column)
    return TextSource(str(path), size, lambda advance: _row_pieces(shard, name, advance), note)


def _text_column(
    source: str, columns: Sequence[str], wordy: frozenset[str], wanted: str | None
) -> tuple[str, tuple[str, ...]]:
    """The column that holds the text, and what is to be told of it."""
    listed = ", ".join(columns)
    if wanted is not None:
        if wanted not in columns:
            raise TinybertError(f"{source} has no column '{wanted}', only {listed}: check --text.")
        return wanted, ()
    if "text" in columns:
        return "text", ()
    if len(wordy) == 1:
        (name,) = wordy
        return name, (f"{source}: the text is in column '{name}'",)
    why = "several columns look like it" if wordy else "no column looks like it"
    raise TinybertError(
        f"the text column of {source} cannot be told ({why}: {listed}): name it with --text."
    )


def _row_pieces(shard: Shard, column: str, advance: Advance) -> Iterator[Piece]:
    found = False
    for batch in shard.batches([column], advance):
        for text, line in zip(batch.columns[0], batch.lines, strict=True):
            for piece in _row(text, f"{shard.name}, {shard.unit} {line}", column):
                found = True
                yield piece
    if not found:
        raise TinybertError(f"{shard.name} holds no text in column '{column}': name another one.")


def _row(text: Any, where: str, column: str) -> Iterator[Piece]:
    if text is None:
        return
    if not isinstance(text, str):
        raise TinybertError(
            f"{where}: '{column}' holds {str(text)[:40]}, which is no text: name another column "
            "with --text."
        )
    check_characters(text, where)
    yield from cut(text)


# --- the Hub --------------------------------------------------------------------------------------


def _hub(given: str, column: str | None) -> TextSource:
    """A data set on the Hub, streamed: nothing is kept but what was read."""
    name, *rest = given.split(":")
    shaped = 1 <= len(name.split("/")) <= 2 and len(rest) <= 2 and all([name, *rest])
    if not shaped or name.startswith((".", "/", "~")) or is_file_like(name):
        raise TinybertError(f"there is no file or directory {given}: check the path.")
    configuration = rest[0] if rest else None
    split = rest[1] if len(rest) > 1 else "train"
    rows = _streamed(given, name, configuration, split)
    first = _first(given, rows)
    wordy = frozenset(k for k, v in first.items() if isinstance(v, str) and " " in v.strip())
    chosen, notes = _text_column(given, list(first), wordy, column)

    def pieces(_: Advance) -> Iterator[Piece]:
        found = False
        for number, row in enumerate(_guarded(given, rows), 1):
            for piece in _row(row.get(chosen), f"{given}, row {number}", chosen):
                found = True
                yield piece
        if not found:
            raise TinybertError(f"{given} holds no text in column '{chosen}': name another one.")

    return TextSource(given, None, pieces, notes)


def _streamed(given: str, name: str, configuration: str | None, split: str) -> Any:
    import datasets  # takes a second, and only those who name such a data set need it

    try:
        return datasets.load_dataset(name, configuration, split=split, streaming=True)
    except Exception as error:  # noqa: BLE001 - it raises what its many readers raise
        raise _no_data_set(given, error) from None


def _first(given: str, rows: Any) -> dict[str, Any]:
    for row in _guarded(given, rows):
        return row
    raise TinybertError(f"{given} has no rows: name another split, owner/name:configuration:split.")


def _guarded(given: str, rows: Any) -> Iterator[dict[str, Any]]:
    try:
        yield from rows
    except TinybertError:
        raise
    except Exception as error:  # noqa: BLE001 - network and readers alike
        raise _no_data_set(given, error) from None


def _no_data_set(given: str, error: Exception) -> TinybertError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return TinybertError(
        f"{given} is no local path, and as a data set on the Hugging Face Hub it cannot be read "
        f"({reason}): check the path, the name or the network"
    )


def sources_print(sources: Sequence[TextSource]) -> str:
    """A hash of what is read: names, sizes, and of files their first and last MiB.

    Of a file's path only its own name counts: text that was moved is the same text.
    """
    digest = hashlib.sha256()
    for source in sources:
        name = source.name if source.size is None else Path(source.name).name
        digest.update(f"{name}\0{source.size}\0".encode())
        if source.size is not None:
            with Path(source.name).expanduser().open("rb") as stream:
                digest.update(stream.read(_SAMPLE))
                stream.seek(max(0, source.size - _SAMPLE))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:16]


def total_size(sources: Sequence[TextSource]) -> int | None:
    """Bytes of all sources; None where one of them is not known."""
    sizes = [source.size for source in sources]
    return None if None in sizes else sum(size or 0 for size in sizes)


def read_all(sources: Sequence[TextSource], advance: Advance = unheard) -> Iterator[Piece]:
    """Pieces of all sources, one source after the other."""
    for source in sources:
        yield from source.pieces(advance)
