"""An ONNX graph as OpenVINO's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinybert.errors import TinybertError
from tinybert.runtimes import needs

__all__ = ["write_openvino"]


def write_openvino(source: Path, target: Path, *, half: bool = False) -> None:
    """Convert a graph of standard operators.

    Args:
        source: ``.onnx`` file.
        target: ``.xml`` file to write; its weights go into the ``.bin`` beside it.
        half: weights in float16.

    Raises:
        TinybertError: the package is missing, or the graph cannot be converted.
    """
    needs("openvino")
    import openvino

    tool: Any = openvino
    try:
        model = tool.Core().read_model(str(source))  # its converter would report to its makers
    except Exception as error:
        lines = str(error).strip().splitlines()
        said = lines[0][:200] if lines else type(error).__name__
        raise TinybertError(
            f"OpenVINO cannot convert this model ({said}): leave openvino out of --to."
        ) from error
    tool.save_model(model, str(target), compress_to_fp16=half)
