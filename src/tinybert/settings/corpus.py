"""Of ``tinybert corpus build`` and ``tinybert corpus show``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.settings.base import Checked, setting

__all__ = ["CorpusBuildSettings", "CorpusShowSettings"]


@dataclass
class CorpusBuildSettings(Checked):
    """Text to tokens, once: a corpus for any number of general distillations."""

    corpus: list[str] = setting(
        [],
        "text: files (one paragraph a line, a blank line between documents; JSONL, Parquet, CSV: "
        "one row, one document; .gz, .xz, .zst, .bz2), globs, directories, Hub datasets "
        "(owner/name, owner/name:configuration:split), which are streamed",
    )
    teacher: str | None = setting(
        None, "encoder, or directory with a tokenizer, whose tokens they become"
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    text: str | None = setting(
        None, "text column of files of rows and of Hub datasets; default: guessed and told", "data"
    )
    max_length: int = setting(128, "tokens a block, specials included", "data", least=4)
    threads: int | None = setting(
        None, "shards at work on at a time; default: one a core", "run", least=1
    )
    overwrite: bool = setting(False, "replace the output directory and any unfinished build", "run")
    resume: bool = setting(False, "go on with the unfinished build of this output", "run")
    dry_run: bool = setting(False, "read the beginning, print the plan, write nothing", "run")


@dataclass
class CorpusShowSettings(Checked):
    """What is in a built corpus."""

    corpus: Path | None = setting(None, "directory that `tinybert corpus build` wrote")
    samples: int = setting(3, "blocks to print, drawn by the seed", "main", least=0)
    seed: int = setting(42, "of the samples", "main", least=0)
    json: Path | None = setting(None, "write the figures to this file", "main")
