"""How many numbers a model is, and how many bytes its directory takes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

__all__ = ["parameters", "size_on_disk"]


def parameters(model: nn.Module) -> int:
    """Number of parameters, trainable and frozen; a tied tensor counts once, buffers do not.

    >>> layer = nn.Linear(3, 2)
    >>> parameters(nn.Sequential(layer, layer))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def size_on_disk(path: str | Path) -> int:
    """Bytes of a file, or of all files in a directory and below."""
    path = Path(path)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
