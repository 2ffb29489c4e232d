"""A small model in several forms, and the contest without processes."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from tinybert.contest import worker
from tinybert.contest.processes import Contestant, Entry
from tinybert.contest.workloads import Feed, write_feeds
from tinybert.forms import write_graph


def add_onnx(directory: Path) -> Path:
    """Float32 and int8 ONNX models beside the weights, in the layout of an export."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    config = json.loads((directory / "config.json").read_text())
    classifies = "SequenceClassification" in config["architectures"][0]
    kind: Any = AutoModelForSequenceClassification if classifies else AutoModel
    model = kind.from_pretrained(directory).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with warnings.catch_warnings():  # of torch, about its own insides
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            kwargs={name: torch.ones(2, 8, dtype=torch.long) for name in names},
            input_names=names,
            output_names=["logits"] if classifies else ["last_hidden_state", "pooler_output"],
            dynamic_shapes={name: {0: batch, 1: length} for name in names},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    (directory / "onnx").mkdir()
    plain = directory / "onnx" / "model.onnx"
    proto = program.model_proto
    del proto.graph.value_info[:]  # weights' shapes too, which older quantisers stumble over
    onnx.save_model(proto, str(plain))
    int8 = directory / "onnx" / "model_quantized.onnx"
    quantize_dynamic(plain, int8, weight_type=QuantType.QInt8)
    return directory


def graphs_once(kept: dict[tuple[Any, ...], tuple[bytes, bool]]) -> Callable[..., bool]:
    """``write_graph`` that traces a model once: the same weights give the same graph again.

    Tracing takes ten seconds of a core, and how-to pages export one teacher time and again.
    """

    def write(model: Any, path: Path, **options: Any) -> bool:
        weights = hashlib.sha256()
        for name, tensor in model.state_dict().items():
            weights.update(name.encode() + tensor.numpy().tobytes())
        key = (type(model), model.config.to_json_string(), weights.digest(), repr(options))
        if key not in kept:
            fused = write_graph(model, path, **options)
            kept[key] = (path.read_bytes(), fused)
        written, fused = kept[key]
        path.write_bytes(written)
        return fused

    return write


class Here(Contestant):
    """A contestant that answers from this process."""

    def __init__(self, entry: Entry, feeds: Path, threads: int) -> None:
        super().__init__(entry, None, None)  # type: ignore[arg-type]
        self._asked: list[str] = []
        requests = iter(lambda: self._asked.pop() if self._asked else "", "")
        self._answers = worker.converse(entry.directory, entry.form, threads, feeds, requests)

    def _send(self, line: str) -> None:
        self._asked.append(line)

    def _line(self) -> str:
        return json.dumps(next(self._answers))


@contextmanager
def here(
    entries: Sequence[Entry], feeds: Sequence[Sequence[Sequence[Feed]]], _: int, __: Any
) -> Iterator[list[Contestant]]:
    """As :func:`tinybert.contest.processes.running`, in seconds less, on one thread."""
    before = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory() as place:
            contestants: list[Contestant] = []
            for number, (entry, of_one) in enumerate(zip(entries, feeds, strict=True)):
                write_feeds(file := Path(place) / f"{number}.npz", of_one)
                contestants.append(Here(entry, file, 1))
                contestants[-1].loaded = contestants[-1].answer()
            yield contestants
    finally:
        torch.set_num_threads(before)
