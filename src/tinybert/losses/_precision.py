"""Full precision inside a loss, whatever precision the models run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_mkldnn: Any = torch.backends.mkldnn  # its attributes are unknown to type checkers

__all__ = ["full_precision", "loss_dtype"]


def loss_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any of the tensors is float64, else float32."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast, and float32 products in float32 (no TF32, no bf16 passes) inside."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, _mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend, precision in zip(backends, before, strict=True):
            if precision not in ("none", "ieee"):
                backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision
