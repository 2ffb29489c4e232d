"""A model in forms for other engines: ONNX, int8, OpenVINO; each checked against PyTorch."""

from tinybert.forms.checks import (
    BATCHES,
    LENGTHS,
    TOLERANCE,
    Probes,
    alone_and_together,
    answers,
    check_finite,
    largest_difference,
    make_probes,
)
from tinybert.forms.graph import SENTENCE_OUTPUT, output_names, write_graph
from tinybert.forms.int8 import CALIBRATED, REASONS, Quantised, no_part, write_int8
from tinybert.forms.openvino_form import write_openvino

__all__ = [
    "BATCHES",
    "CALIBRATED",
    "LENGTHS",
    "REASONS",
    "SENTENCE_OUTPUT",
    "TOLERANCE",
    "Probes",
    "Quantised",
    "alone_and_together",
    "answers",
    "check_finite",
    "largest_difference",
    "make_probes",
    "no_part",
    "output_names",
    "write_graph",
    "write_int8",
    "write_openvino",
]
