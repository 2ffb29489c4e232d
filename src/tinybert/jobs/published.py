"""Students that lie on the Hugging Face Hub, the authors' own among them, as directories."""

from __future__ import annotations

import json
import re
from pathlib import Path

from huggingface_hub import snapshot_download

from tinybert.errors import TinybertError
from tinybert.original import convert_checkpoint, read_checkpoint, read_tokenizer
from tinybert.outputs import cache_directory, whole_directory
from tinybert.progress import Reporter
from tinybert.stages import save_student

__all__ = ["PUBLISHED", "local_student"]

PUBLISHED = {
    f"TinyBERT_General_{shape}": f"huawei-noah/TinyBERT_General_{shape}"
    for shape in ("4L_312D", "6L_768D")
}
"""The authors' general students: short name → name on the Hub."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# The pickle only where there is nothing better: the authors' students have no safetensors.
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model.bin"]
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
    if Path(name).expanduser().exists() or not _HUB_NAME.fullmatch(name):
        return student
    try:
        snapshot = Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise TinybertError(
            f"there is no student directory {student}, and none of that name came from the "
            f"Hugging Face Hub ({reason})."
        ) from error
    if not _of_the_authors(snapshot):
        return str(snapshot)
    # A snapshot's directory is named after its commit.
    output = cache_directory() / "students" / f"{name.replace('/', '--')}-{snapshot.name[:12]}"
    if not output.is_dir():
        checkpoint = read_checkpoint(snapshot)
        converted = convert_checkpoint(checkpoint)
        tokenizer, _ = read_tokenizer(checkpoint)
        # Of several processes each makes the same.
        with whole_directory(output, overwrite=True) as temporary:
            save_student(temporary, converted.model, tokenizer, converted.projections)
        reporter.say(f"{name} is a checkpoint of the authors' code: converted, kept in {output}")
    return str(output)


def _of_the_authors(directory: Path) -> bool:
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return any(name in config for name in _AUTHORS)

