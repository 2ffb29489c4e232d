"""Distil Transformer encoders into students several times smaller and faster (TinyBERT)."""

from __future__ import annotations

from tinybert.errors import TinybertError

__all__ = ["TinybertError", "__version__"]

__version__ = "0.1.0"
