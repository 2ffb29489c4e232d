"""What a model costs: parameters, size on disk, floating-point operations, time."""

from __future__ import annotations

from tinybert.measure.flops import flops
from tinybert.measure.latency import Latency, latency
from tinybert.measure.parameters import parameters

__all__ = ["Latency", "flops", "latency", "parameters"]
