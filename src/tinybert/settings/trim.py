"""Of ``tinybert trim``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.settings.base import setting
from tinybert.settings.shared import DataSettings

__all__ = ["TrimSettings"]


@dataclass
class TrimSettings(DataSettings):
    """A model with fewer pieces in its vocabulary: those that given text needs."""

    model: str | None = setting(None, "model to cut: directory or Hub name; any head")
    corpus: list[str] = setting(
        [],
        "text whose pieces are kept: files (plain text, JSONL, Parquet, CSV; .gz, .xz, .zst, "
        ".bz2), globs, directories, Hub datasets; instead of rows, or beside them",
    )
    data: str | None = setting(
        None,
        "rows of the model's task: pieces of the training rows are kept, the others show what it "
        "changes, score included; a file, directory or Hub dataset, or the directory of GLUE's "
        "files",
        "data",
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    pieces: int | None = setting(
        None,
        "pieces at most, the most frequent first; default: all that the text uses",
        least=1,
    )
    min_count: int = setting(1, "uses in the text for a piece to be kept", least=1)
    seed: int = setting(
        42, "of the rows that are split off, as `tinybert distill` does", "run", least=0
    )
    overwrite: bool = setting(False, "replace the output directory", "run")
    dry_run: bool = setting(False, "count and compare, write nothing", "run")
