"""Small pictures of matrices, as PNG inside the page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["picture"]

LEVELS = 32
COLOUR = (47, 127, 208)
"""A blue that stands off white and near-black alike; how much there is of it is the figure."""

_PALETTE = bytes(COLOUR) * LEVELS
_OPACITY = bytes(round(255 * level / (LEVELS - 1)) for level in range(LEVELS))


def picture(values: NDArray[np.floating[Any]]) -> str:
    """A ``data:`` address of a PNG, one pixel a cell, more opaque where a value is higher.

    Opacity goes with the square root of a value: small shares of attention would not be seen.

    Args:
        values: (height, width), 0 … 1.

    >>> picture(np.zeros((2, 3)))[:30]
    'data:image/png;base64,iVBORw0K'
    """
    levels = np.rint(np.sqrt(np.clip(values, 0.0, 1.0)) * (LEVELS - 1)).astype(np.uint8)
    height, width = levels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1)  # no line filter
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", _PALETTE),
        (b"tRNS", _OPACITY),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
