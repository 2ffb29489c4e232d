"""A finished directory to the Hugging Face Hub."""

from __future__ import annotations

import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from tinybert.errors import TinybertError
from tinybert.progress import Reporter

__all__ = ["SENT", "check_private", "check_repository", "push_directory", "upload_command"]

SENT = (
    *("README.md", "LICENSE*", "config.json", "generation_config.json", "export.json"),
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
    *("*.model", "chat_template.jinja", "onnx/*", "openvino/*"),
)
"""What a model needs, and its card. Whatever else a run leaves beside it (results, answers, logs,
the report) names paths of this machine or holds texts of the rows, and stays."""

_NEVER = (".*", "*/.*", "*.partial-*")


def check_repository(repository: str) -> None:
    """Refuse, before any work, what cannot be uploaded to.

    Raises:
        TinybertError: ``repository`` is no name of one, or nobody is logged in.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise TinybertError(
            f"--push-to-hub {repository} is no name of a repository: give owner/name."
        ) from error
    if get_token() is None:
        raise TinybertError(
            "nobody is logged in to the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN to "
            "a token with the right to write."
        )


def check_private(private: bool, repository: str | None) -> None:
    """Refuse ``--private`` where nothing is uploaded.

    Raises:
        TinybertError: it would be ignored.
    """
    if private and repository is None:
        raise TinybertError("--private is for --push-to-hub: add that, or leave it out.")


def push_directory(
    directory: str | Path, repository: str, reporter: Reporter, *, private: bool = False
) -> str:
    """Upload the model in ``directory``; the repository is made where it is not there.

    Files that :data:`SENT` does not name stay here: they name local paths, or hold texts.

    Args:
        directory: whole, with its model card.
        repository: ``owner/name``, or a name of one's own.
        reporter: tells what happens.
        private: of a new repository; one that is there stays as it is.

    Returns:
        The address of the repository.

    Raises:
        TinybertError: no right to write, no network, or the Hub refuses the files; what is in
            ``directory`` stays.
    """
    check_repository(repository)
    reporter.say(f"uploading {directory} to {repository}")
    try:
        api = HfApi()
        made = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=str(directory),
            commit_message="Model made with tinybert",
            allow_patterns=list(SENT),
            ignore_patterns=list(_NEVER),
        )
    except Exception as error:
        raise TinybertError(
            f"{directory} is whole, but it was not uploaded to {repository} ({_said(error)}): "
            "look at the network and your rights, then run "
            f"`{upload_command(repository, directory, private=private)}`."
        ) from error
    reporter.say(f"uploaded: {made}")
    return str(made)


def upload_command(repository: str, directory: str | Path, *, private: bool = False) -> str:
    """A command that sends what :func:`push_directory` sends, and as private.

    Args:
        repository: ``owner/name``.
        directory: of the model. Where it is there, patterns that nothing in it fits are left out.
        private: of a new repository.
    """
    root = Path(directory)
    there = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
    named = [
        pattern
        for pattern in SENT
        if not there or any(fnmatchcase(file, pattern) for file in there)
    ]
    words = ["hf", "upload", repository, str(directory), "."]
    words += ["--private"] if private else []
    for pattern in named:
        words += ["--include", pattern]
    return shlex.join(words)


def _said(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".: ")
