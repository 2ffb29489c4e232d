"""How many numbers a model is."""

from __future__ import annotations

from torch import nn

__all__ = ["parameters"]


def parameters(model: nn.Module) -> int:
    """Number of parameters, trainable and frozen; a tied tensor counts once, buffers do not.

    >>> layer = nn.Linear(3, 2)
    >>> parameters(nn.Sequential(layer, layer))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())
