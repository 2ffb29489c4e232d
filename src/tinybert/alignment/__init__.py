"""Rows under two tokenizers, the student's and the teacher's, and the spans that they share.

``spans`` finds them, ``rows`` carries both sides.
"""

from tinybert.alignment.rows import AlignedRows, align_rows, teacher_rows
from tinybert.alignment.spans import Offsets, align, check_alignable, offsets_of

__all__ = [
    "AlignedRows",
    "Offsets",
    "align",
    "align_rows",
    "check_alignable",
    "offsets_of",
    "teacher_rows",
]
