"""The answers of teacher and student to the reported rows, kept beside the student."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError

__all__ = ["ANSWERS_FILE", "WORDS_FILE", "Answers", "kept_answers", "load_told"]

ANSWERS_FILE = "answers.npz"
WORDS_FILE = "answers.json"
"""Of tasks that are answered in words: what the page tells of the answers, texts included."""


def kept_answers(
    student: NDArray[np.float32], teacher: NDArray[np.float32] | None, rows: TokenRows
) -> dict[str, Any]:
    """File → content: the answers to the rows reported on, to be kept beside the student."""
    if rows.reading is not None:
        return {WORDS_FILE: rows.reading.told(student, teacher)}
    return {ANSWERS_FILE: Answers(student, teacher, rows.labels, rows.fingerprint()).packed()}


def load_told(directory: Path) -> dict[str, Any] | None:
    """What a run kept of answers in words; ``None`` where it kept nothing.

    Raises:
        TinybertError: the file is broken.
    """
    file = directory / WORDS_FILE
    if not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        missing = {"kind", "rows", "classes", "differ", "differing"} - found.keys()
    except (ValueError, AttributeError) as error:
        raise _broken(file, type(error).__name__) from None
    if missing:
        raise _broken(file, f"it has no {' and no '.join(sorted(missing))}")
    return found


@dataclass(frozen=True)
class Answers:
    """Outputs for the rows reported on, in the data's order of rows and labels.

    Attributes:
        student: (rows, labels) float32 logits, or (rows, 1) values.
        teacher: the same of the teacher; ``None`` where they are not known.
        labels: (rows,) classes or values; ``None`` without labels.
        rows: fingerprint of the rows as tokens
            (:meth:`tinybert.batching.TokenRows.fingerprint`): by it the texts are known again.
    """

    student: NDArray[np.float32]
    teacher: NDArray[np.float32] | None
    labels: NDArray[Any] | None
    rows: str

    def __len__(self) -> int:
        return len(self.student)

    def packed(self) -> bytes:
        """As the bytes of an ``.npz`` file."""
        arrays: dict[str, Any] = {"student": self.student, "rows": np.array(self.rows)}
        if self.teacher is not None:
            arrays["teacher"] = self.teacher
        if self.labels is not None:
            arrays["labels"] = self.labels
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()

    @classmethod
    def load(cls, directory: Path) -> Answers | None:
        """What a run kept in its student's directory; ``None`` where it kept nothing.

        Raises:
            TinybertError: the file is broken.
        """
        file = directory / ANSWERS_FILE
        if not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as kept:
                found = {name: kept[name] for name in kept.files}
            answers = cls(
                found["student"], found.get("teacher"), found.get("labels"), str(found["rows"])
            )
        except Exception as error:  # noqa: BLE001 - zip, zlib and NumPy's header raise what they like
            raise _broken(file, type(error).__name__) from None
        answers.check(file)
        return answers

    def check(self, file: Path) -> None:
        """Fail on arrays that do not belong together, or are no answers."""
        shape = self.student.shape
        fits = len(shape) == 2 and (self.labels is None or self.labels.shape == shape[:1])
        if not fits or (self.teacher is not None and self.teacher.shape != shape):
            raise _broken(file, "its arrays differ in length")
        outputs = [self.student] if self.teacher is None else [self.student, self.teacher]
        if any(each.dtype.kind != "f" for each in outputs):
            raise _broken(file, "its answers are no numbers")
        if self.labels is None:
            return
        if shape[1] == 1:
            known = self.labels.dtype.kind in "fiu"
        else:
            known = self.labels.dtype.kind in "iu"
            known = known and bool(((self.labels >= 0) & (self.labels < shape[1])).all())
        if not known:
            raise _broken(file, "its labels are none that the answers have")


def _broken(file: Path, why: str) -> TinybertError:
    return TinybertError(
        f"{file} is broken ({why}): delete it, and the answers are computed again from rows and "
        "models."
    )
