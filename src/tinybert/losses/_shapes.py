"""Shapes that losses on states have in common."""

from __future__ import annotations

from torch import Tensor

from tinybert.errors import TinybertError

__all__ = ["check_states"]


def check_states(student: Tensor, teacher: Tensor, mask: Tensor) -> None:
    """Refuse states of different shapes, and a mask that is not theirs."""
    if student.dim() != 3 or student.shape != teacher.shape:
        raise TinybertError(
            f"student states {tuple(student.shape)} and teacher states {tuple(teacher.shape)} "
            "do not match: both must be (batch, length, width), so project the student to the "
            "teacher's width first"
        )
    if mask.shape != student.shape[:2]:
        raise TinybertError(
            f"mask {tuple(mask.shape)} does not fit states {tuple(student.shape)}: "
            "give one entry per token, shape (batch, length)"
        )
