"""The student that is taken where the user names none."""

from __future__ import annotations

from transformers import PreTrainedModel

from tinybert.sizing.candidates import narrowest, sized, starts_narrower, written
from tinybert.students import PRESETS, Shape, shape_of

__all__ = ["FEW_ROWS", "default_shape"]

FEW_ROWS = 1000
SHALLOW = 10  # layers; teachers with fewer keep a larger part of them
TINYBERT_4 = PRESETS["tinybert-4"]
PAPER_WIDTH = TINYBERT_4.hidden / PRESETS["bert-base"].hidden


def default_shape(teacher: PreTrainedModel, rows: int) -> tuple[str, str]:
    """A student for this teacher and this many training rows, and the reason in one sentence.

    ===================== ============================ =======================================
    teacher               the student                  with fewer than 1,000 rows
    ===================== ============================ =======================================
    10 layers or more     a third of the layers,       a third of the layers, two thirds of
                          312/768 of the width (4x312  the width
                          under BERT_BASE: TinyBERT_4)
    fewer layers          two thirds of the layers,    two thirds of the layers, two thirds of
                          half the width               the width
    one whose width       a third of the layers, or    half of the layers, or two thirds
    stays                 half of fewer than 10
    ===================== ============================ =======================================

    The width stays where the ``pca`` start does not serve the architecture, since whole layers
    can be copied then, and where heads are too narrow to cut. The student is one size larger for
    few rows, because they fit a small student badly. Heads are the teacher's, each at least 16
    wide; there are 2 layers at least, where that leaves the student smaller than its teacher.

    Args:
        teacher: its weights are not read.
        rows: to learn from: task rows, or blocks of raw text.

    Returns:
        The shape as text for :func:`tinybert.students.parse_shape`, and why.

    Raises:
        TinybertError: a configuration without the sizes of a BERT-like encoder.

    >>> from transformers import BertConfig, BertModel
    >>> import torch
    >>> with torch.device("meta"):
    ...     teacher = BertModel(BertConfig())
    >>> default_shape(teacher, 67_000)[0]
    '4x312'
    """
    few = rows < FEW_ROWS
    shape, reason = _sized_for(teacher, few)
    if few and shape != _sized_for(teacher, False)[0]:
        reason += f"; one size larger than usual, as {rows:,} rows fit a small student badly"
    return written(shape, teacher.config), reason


def _sized_for(teacher: PreTrainedModel, few: bool) -> tuple[Shape, str]:
    theirs = shape_of(teacher.config)
    shallow = theirs.layers < SHALLOW
    layers = max(2, round(theirs.layers * (2 / 3 if shallow else 1 / 3)))
    width = _width(theirs, 2 / 3 if few else 1 / 2 if shallow else PAPER_WIDTH)
    shape = sized(teacher.config, min(theirs.layers, layers), width)
    if width == theirs.hidden:
        shape = _full_width(teacher, shallow, few)
        why = f"whose heads of {theirs.hidden // theirs.heads} are too narrow to cut"
    elif not starts_narrower(teacher, shape):
        shape = _full_width(teacher, shallow, few)
        kind = teacher.config.model_type
        why = f"since a narrower student of a {kind} teacher would start at random"
    else:
        reason = (
            f"{shape.layers} of the teacher's {theirs.layers} layers and "
            f"{shape.hidden / theirs.hidden:.0%} of its width"
        )
        return shape, reason + (", the paper's TinyBERT_4" if shape == TINYBERT_4 else "")
    return shape, f"{shape.layers} of the teacher's {theirs.layers} layers at its full width, {why}"


def _width(theirs: Shape, part: float) -> int:
    """That part of the width, in heads of an even size where that is possible."""
    size = 2 * round(theirs.hidden * part / theirs.heads / 2)
    return min(theirs.hidden, max(narrowest(theirs), size * theirs.heads))


def _full_width(teacher: PreTrainedModel, shallow: bool, few: bool) -> Shape:
    theirs = shape_of(teacher.config)
    part = (2 / 3 if few else 1 / 2) if shallow else (1 / 2 if few else 1 / 3)
    layers = min(max(2, round(theirs.layers * part)), max(1, theirs.layers - 1))
    return sized(teacher.config, layers, theirs.hidden)
