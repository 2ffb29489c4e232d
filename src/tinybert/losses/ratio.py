"""The value of every loss: a sum over real things, and their number."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Ratio"]


class Ratio(NamedTuple):
    """A loss as numerator and denominator, kept apart until the end.

    Micro-batches and processes hold different numbers of real rows, tokens and token pairs, so
    the mean of their means is not the mean of the batch. Sums and numbers add; divide once.

    Attributes:
        total: Scalar tensor with gradient, the sum over real things.
        count: Their number: a Python number or a scalar tensor without gradient.

    >>> import torch
    >>> Ratio(torch.tensor(6.0), 4).mean()
    tensor(1.5000)
    """

    total: Tensor
    count: Tensor | float  # type: ignore[assignment]  # hides tuple.count, which nobody needs

    def mean(self) -> Tensor:
        """``total / count``; 0 (with gradient) where there is nothing real to count."""
        if isinstance(self.count, Tensor):
            return self.total / self.count.clamp(min=1)
        return self.total / max(self.count, 1)
