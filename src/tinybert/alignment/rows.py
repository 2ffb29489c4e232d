"""Token rows under two tokenizers: the student's tokens, the teacher's, and the spans of both."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from tinybert.alignment.spans import Offsets, align, offsets_of
from tinybert.batching import TokenRows, TrainingRows, tokenize
from tinybert.spans import NO_SPAN, TEACHER

__all__ = ["AlignedRows", "align_rows", "teacher_rows"]

_THEIRS = "theirs"


@dataclass(kw_only=True)
class AlignedRows(TokenRows):
    """The student's token rows, with the teacher's of the same texts beside them.

    A batch then also has ``spans`` (batch, length), and the teacher's inputs and spans under names
    that begin with ``teacher_``; losses on states compare spans (:mod:`tinybert.spans`).

    Attributes:
        theirs: the same rows under the teacher's tokenizer.
        spans: span of each token, flat like ``ids``; -1 for tokens that are in none.
        their_spans: the same, flat like ``theirs.ids``.
    """

    theirs: TokenRows
    spans: NDArray[Any]
    their_spans: NDArray[Any]

    @property
    def places(self) -> NDArray[np.int64]:
        """Spans of each row: what losses on states count."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        most: NDArray[np.int64] = np.maximum.reduceat(self.spans, self.offsets[:-1])
        return most.astype(np.int64) + 1

    def for_teacher(self) -> TokenRows:
        return self.theirs

    def for_student(self) -> TokenRows:
        own = {field.name: getattr(self, field.name) for field in fields(TokenRows)}
        return TokenRows(**own)

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some rows, on the longer side: that is what a micro-batch has to hold."""
        return np.maximum(super().lengths_of(indices), self.theirs.lengths_of(indices))

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        rows = np.asarray(indices, dtype=np.int64)
        batch = super().batch(rows)
        batch["spans"] = _padded(self.spans, self.offsets, rows)
        theirs = self.theirs
        for name, tensor in theirs.batch(rows).items():
            if name not in ("labels", f"{TEACHER}logits"):
                batch[TEACHER + name] = tensor
        batch[f"{TEACHER}spans"] = _padded(self.their_spans, theirs.offsets, rows)
        return batch

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{super().fingerprint()} {self.theirs.fingerprint()}".encode())
        for array in (self.spans, self.their_spans):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> AlignedRows:
        rows = np.asarray(indices, dtype=np.int64)
        plain = super().take(rows)
        return AlignedRows(
            **{field.name: getattr(plain, field.name) for field in fields(TokenRows)},
            theirs=self.theirs.take(rows),
            spans=_taken(self.spans, self.offsets, rows),
            their_spans=_taken(self.their_spans, self.theirs.offsets, rows),
        )

    def save(self, directory: Path) -> None:
        super().save(directory)
        self.theirs.save(directory / _THEIRS)
        np.save(directory / "spans.npy", self.spans)
        np.save(directory / "their_spans.npy", self.their_spans)

    @classmethod
    def load(cls, directory: Path) -> AlignedRows:
        plain = TokenRows.load(directory)
        return cls(
            **{field.name: getattr(plain, field.name) for field in fields(TokenRows)},
            theirs=TokenRows.load(directory / _THEIRS),
            spans=np.load(directory / "spans.npy", mmap_mode="r"),
            their_spans=np.load(directory / "their_spans.npy", mmap_mode="r"),
        )

    def shared(self) -> dict[str, float]:
        """How far the two tokenizations go together, for the reader.

        Returns:
            ``spans``, their number; ``one_to_one``, the share of spans with one token on either
            side; ``student_several`` and ``teacher_several``, of those with several there;
            ``student_outside`` and ``teacher_outside``, the share of tokens in no span.
        """
        figures: dict[str, float] = {}
        sizes = []
        begin = np.concatenate([[0], np.cumsum(self.places)])
        for spans, rows in ((self.spans, self), (self.their_spans, self.theirs)):
            row = np.repeat(np.arange(len(rows)), rows.lengths)
            inside = spans >= 0
            sizes.append(np.bincount(begin[row[inside]] + spans[inside], minlength=int(begin[-1])))
        total = max(1, int(begin[-1]))
        figures["spans"] = int(begin[-1])
        figures["one_to_one"] = float(((sizes[0] == 1) & (sizes[1] == 1)).sum() / total)
        for name, size, spans in zip(
            ("student", "teacher"), sizes, (self.spans, self.their_spans), strict=True
        ):
            figures[f"{name}_several"] = float((size > 1).sum() / total)
            figures[f"{name}_outside"] = float((spans < 0).mean()) if len(spans) else 0.0
        return figures


def teacher_rows(rows: TrainingRows) -> TrainingRows:
    """The rows as the teacher reads them."""
    return rows.theirs if isinstance(rows, AlignedRows) else rows


def align_rows(
    texts: Sequence[tuple[str, ...]],
    student: PreTrainedTokenizerBase,
    teacher: PreTrainedTokenizerBase,
    max_length: int,
    labels: NDArray[Any] | None = None,
    *,
    advance: Callable[[int], None] | None = None,
) -> AlignedRows:
    """Rows of one or two texts under both tokenizers.

    Args:
        texts: rows of one text each, or of two each.
        student, teacher: tokenizers that :func:`tinybert.alignment.check_alignable` passes.
        max_length: tokens a row at most, on each side.
        labels: (rows,), passed on.
        advance: called with the number of rows done since it was last called.

    Returns:
        The rows; ``cut`` says how many were longer under the student's tokenizer, and
        ``theirs.cut`` under the teacher's.
    """
    ours: deque[Offsets] = deque()
    spans: list[NDArray[np.int64]] = []
    their_spans: list[NDArray[np.int64]] = []

    def keep(encoded: BatchEncoding, cut: NDArray[np.bool_]) -> None:
        ours.append(offsets_of(student, encoded, cut))

    def meet(encoded: BatchEncoding, cut: NDArray[np.bool_]) -> None:
        one, other = align(ours.popleft(), offsets_of(teacher, encoded, cut))
        spans.append(one)
        their_spans.append(other)

    rows = tokenize(student, texts, max_length, labels, advance=advance, encoded_piece=keep)
    theirs = tokenize(teacher, texts, max_length, labels, encoded_piece=meet)
    kind = np.int16 if max_length < 2**15 else np.int32
    return AlignedRows(
        **{field.name: getattr(rows, field.name) for field in fields(TokenRows)},
        theirs=theirs,
        spans=np.concatenate(spans).astype(kind),
        their_spans=np.concatenate(their_spans).astype(kind),
    )


def _padded(flat: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor:
    starts, ends = offsets[rows], offsets[rows + 1]
    found = np.full((len(rows), int((ends - starts).max())), NO_SPAN, dtype=np.int64)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        found[i, : end - start] = flat[start:end]
    return torch.from_numpy(found)


def _taken(flat: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
    parts = [flat[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate([flat[:0], *parts])
