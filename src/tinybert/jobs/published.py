"""Students that lie on the Hugging Face Hub, the authors' own among them, as directories."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from huggingface_hub import snapshot_download

from tinybert.errors import TinybertError
from tinybert.original import convert_checkpoint, read_checkpoint, read_tokenizer
from tinybert.outputs import cache_directory, clear_errors
from tinybert.progress import Reporter
from tinybert.stages import save_student

__all__ = ["PUBLISHED", "local_student"]

PUBLISHED = {
    f"TinyBERT_General_{shape}": f"huawei-noah/TinyBERT_General_{shape}"
    for shape in ("4L_312D", "6L_768D")
}
"""The authors' general students: short name → name on the Hub."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
# Where there is nothing better: the authors' students have no safetensors.
_PICKLE = ["pytorch_model.bin"]
# What the configurations of the authors' code have and transformers' own lack.
_AUTHORS = ("cell", "emb_size", "pre_trained", "structure")


def local_student(student: str, reporter: Reporter) -> str:
    """A student on the Hub as a directory of this machine; a shape or directory as it is.

    A checkpoint of the authors' code is converted once, into the user's cache directory
    (``$XDG_CACHE_HOME/tinybert``, or ``~/.cache/tinybert``), with its projections.

    Raises:
        TinybertError: there is no such directory, and none on the Hub, or it cannot be reached.
    """
    name = PUBLISHED.get(student, student)
    if Path(student).expanduser().exists() or not _HUB_NAME.fullmatch(name):
        return student
    try:
        snapshot = Path(snapshot_download(name, allow_patterns=_FILES))
        if not any(snapshot.glob("*.safetensors")):
            snapshot = Path(snapshot_download(name, allow_patterns=_FILES + _PICKLE))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TinybertError(
            f"there is no student directory {student}, and none of that name came from the "
            f"Hugging Face Hub ({lines[0]})."
        ) from error
    if not _of_the_authors(snapshot):
        return str(snapshot)
    # A snapshot's directory is named after its commit.
    output = cache_directory() / "students" / f"{name.replace('/', '--')}-{snapshot.name[:12]}"
    if not output.is_dir():
        with clear_errors(output):
            _convert(snapshot, output)
        reporter.say(f"{name} is a checkpoint of the authors' code: converted, kept in {output}")
    return str(output)


def _convert(snapshot: Path, output: Path) -> None:
    """Convert into ``output``; of several processes the first one's directory stays."""
    checkpoint = read_checkpoint(snapshot)
    converted = convert_checkpoint(checkpoint)
    tokenizer, _ = read_tokenizer(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "student"
        made.mkdir()
        save_student(made, converted.model, tokenizer, converted.projections)
        try:
            made.rename(output)
        except OSError:
            if not output.is_dir():
                raise


def _of_the_authors(directory: Path) -> bool:
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return any(name in config for name in _AUTHORS)
