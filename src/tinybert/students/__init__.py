"""Students: their shapes, and how they start from a teacher."""

from tinybert.students.calibration import calibration_batches
from tinybert.students.heads import start_at_mean
from tinybert.students.shapes import PRESETS, Shape, parse_shape, shape_of
from tinybert.students.starts import STARTS, check_start, fit_heads, start_student

__all__ = [
    "PRESETS",
    "STARTS",
    "Shape",
    "calibration_batches",
    "check_start",
    "fit_heads",
    "parse_shape",
    "shape_of",
    "start_at_mean",
    "start_student",
]
