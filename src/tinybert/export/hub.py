"""A finished directory to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from tinybert.errors import TinybertError
from tinybert.progress import Reporter

__all__ = ["check_repository", "push_directory"]

# `results.json` names paths of this machine; the card has its figures.
_LEFT_OUT = [".*", "*.partial-*", "results.json", "tensorboard/*"]


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


def push_directory(
    directory: str | Path, repository: str, reporter: Reporter, *, private: bool = False
) -> str:
    """Upload ``directory``; the repository is made where it is not there.

    ``results.json`` stays here: it names local paths.

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
            ignore_patterns=_LEFT_OUT,
        )
    except Exception as error:
        raise TinybertError(
            f"{directory} is whole, but it was not uploaded to {repository} ({_said(error)}): "
            "look at the network and your rights, then run `hf upload "
            f"{repository} {directory}`."
        ) from error
    reporter.say(f"uploaded: {made}")
    return str(made)


def _said(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".: ")
