"""The systems of the paper's table, each as data."""

from tinybert.systems.catalogue import SYSTEMS, PaperFigures, System, find_system
from tinybert.systems.scale import student_config, system_shape

__all__ = [
    "SYSTEMS",
    "PaperFigures",
    "System",
    "find_system",
    "student_config",
    "system_shape",
]
