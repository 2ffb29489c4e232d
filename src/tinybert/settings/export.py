"""Of ``tinybert export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import setting
from tinybert.settings.shared import QuestionSettings, RowSettings

__all__ = ["ExportSettings", "Int8"]

Int8 = Literal["auto", "rows", "static", "blocks", "dynamic"]


@dataclass
class ExportSettings(QuestionSettings, RowSettings):
    """Write a model for other engines: ONNX, int8, OpenVINO; each checked against PyTorch."""

    model: str | None = setting(
        None,
        "task model or encoder: directory or Hub name; may stand without its flag: "
        "`tinybert export student`",
    )
    to: list[str] = setting(
        ["onnx", "int8"], "what to make: onnx (float32), int8 (ONNX too), openvino"
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    data: str | None = setting(
        None,
        "labelled rows to check on: the task's score before and after; a file, directory or Hub "
        "dataset; with --task the directory of GLUE's files",
        "data",
    )
    task: str | None = setting(
        None,
        "GLUE task whose official dev set is scored before and after; or ranking, of --data",
        "data",
    )
    similarity: str | None = setting(
        None,
        "of a sentence encoder: pairs of sentences to check its vectors on, with people's scores "
        "(STS-B's layout: Spearman before and after) or without, or a text of one sentence a line",
        "data",
    )
    max_drop: float = setting(
        0.5,
        "points (of 100) that the score may fall in any form; more is an error",
        "data",
        least=0,
    )
    int8: Int8 = setting(
        "auto",
        "scales of activations: rows, each token's own, in standard operators (the whole graph is "
        "with --no-fuse); static, fixed ones from --calibration; blocks, each token's own in "
        "blocks of its width (MatMulNBits); dynamic, one for the whole batch, so that a row's "
        "answer depends on its batch mates; auto: rows",
        "int8",
    )
    int8_keep: list[str] = setting(
        [],
        "parts that stay in float32: embeddings, classifier (pooler and head), and layers by "
        "number, counted from 1",
        "int8",
    )
    table_bits: int = setting(
        8,
        "bits of a number in the vocabulary's table, 8 or 4: 4 halve what is most of a small "
        "model's file",
        "int8",
        least=4,
        most=8,
    )
    calibration: str | None = setting(
        None,
        "texts that static scales are measured on (of a model that answers in words tagged words "
        "or questions, without labels too): a file, directory or Hub dataset; default: the rows of "
        "--data or --task, which are scored too, else embedded sentences",
        "int8",
    )
    fuse: bool = setting(
        True,
        "fused attention, an operator of ONNX Runtime's own; without it standard operators alone",
        "forms",
    )
    openvino_half: bool = setting(
        False, "OpenVINO's weights in float16: half the size, rounded answers", "forms"
    )
    vocabulary: list[str] = setting(
        [],
        "first cut the vocabulary to what these texts need, as `tinybert trim` does: files, "
        "globs, directories, Hub datasets; the score before is that of the model before the cut",
        "forms",
    )
    push_to_hub: str | None = setting(
        None, "also upload to this repository of the Hugging Face Hub, owner/name", "hub"
    )
    private: bool = setting(False, "make that repository private where it is new", "hub")
    overwrite: bool = setting(False, "replace the output directory", "run")
