"""A PyTorch model as an ONNX graph in float32."""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.forms.attention import FUSED_ATTENTION
from tinybert.outputs import is_out_of_space
from tinybert.runtimes import model_inputs, needs
from tinybert.sentence_modules import SentenceHead
from tinybert.task_heads import answering_of

__all__ = [
    "OPSET",
    "SENTENCE_OUTPUT",
    "has_weights_beside",
    "output_names",
    "save_graph",
    "write_graph",
]

OPSET = 20
"""Of standard operators: the first with GELU as one; engines of 2024 and later know it."""

SENTENCE_OUTPUT = "sentence_embedding"
"""As exports of sentence-transformers' models name it."""

# Above, weights lie in a file of their own: a protocol buffer holds 2 GB.
_ONE_FILE = 1.8e9


def output_names(model: PreTrainedModel, head: SentenceHead | None = None) -> list[str]:
    """The outputs that are compared: ``logits`` of a classifier, ``start_logits`` and
    ``end_logits`` of one that finds spans, ``last_hidden_state`` of an encoder,
    ``sentence_embedding`` of a sentence encoder, whose graph gives its states too."""
    if head is not None:
        return [SENTENCE_OUTPUT]
    answering = answering_of([type(model).__name__])
    if answering == "spans":
        return ["start_logits", "end_logits"]
    return ["last_hidden_state" if answering is None else "logits"]


def write_graph(
    model: PreTrainedModel,
    path: Path,
    *,
    longest: int | None,
    fuse: bool = True,
    head: SentenceHead | None = None,
) -> bool:
    """Write ``model`` as ONNX.

    Args:
        model: in eval mode, on the processor, float32; left as it is.
        path: of the file to write.
        longest: tokens a row at most; None where the model has no such bound.
        fuse: attention as ONNX Runtime's own operator, where this model's can be.
        head: of a sentence encoder, whose graph then gives its vectors too.

    Returns:
        Whether attention is fused.

    Raises:
        TinybertError: an operator of this model cannot be exported, or a package is missing.
    """
    needs("onnx", "onnxscript")
    if fuse:
        try:
            _export(model, path, longest, FUSED_ATTENTION, head)
            return _has_fused_attention(path)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_space(error):
                raise
            path.unlink(missing_ok=True)  # whatever it is, the plain graph may do without it
    try:
        _export(model, path, longest, "eager", head)
    except (OSError, MemoryError):  # of this machine, not of the model
        raise
    except Exception as error:
        if is_out_of_space(error):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()]
        said = lines[0].strip()[:200] if lines else type(error).__name__
        raise TinybertError(
            f"{type(model).__name__} cannot be exported to ONNX ({said}): take another encoder, "
            "such as BERT, RoBERTa, ELECTRA or DistilBERT."
        ) from error
    return False


class _Answers(nn.Module):
    """A model that takes tensors in their order and gives one, or several."""

    def __init__(
        self, model: PreTrainedModel, names: tuple[str, ...], head: SentenceHead | None
    ) -> None:
        super().__init__()
        self.model, self.names, self.head = model, names, head
        self.outputs = output_names(model)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        given = dict(zip(self.names, inputs, strict=True))
        answer = self.model(**given, return_dict=True)
        found = tuple(getattr(answer, name) for name in self.outputs)
        if self.head is not None:
            found = (*found, self.head(found[0], given["attention_mask"]))
        return found[0] if len(found) == 1 else found


def _export(
    model: PreTrainedModel,
    path: Path,
    longest: int | None,
    attention: str,
    head: SentenceHead | None,
) -> None:
    names = model_inputs(model)
    # More than one row and token, or the exporter takes the number for a constant.
    ids = torch.full((2, 3), min(2, model.config.vocab_size - 1), dtype=torch.long)
    example = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    example = {"input_ids": ids, **example}
    batch = torch.export.Dim("batch")
    length = torch.export.Dim("length", max=longest)
    with _attending(model, attention), _silence(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Answers(model, names, head).eval(),
            tuple(example[name] for name in names),
            input_names=list(names),
            output_names=[*output_names(model), *([] if head is None else [SENTENCE_OUTPUT])],
            dynamo=True,
            dynamic_shapes=(tuple({0: batch, 1: length} for _ in names),),
            opset_version=OPSET,
            verbose=False,
        )
        graph = program.model_proto
    _tidy(graph)
    save_graph(graph, path)


@contextmanager
def _attending(model: PreTrainedModel, form: str) -> Iterator[None]:
    """The form of attention inside; a model that knows only its own keeps it."""
    before = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        if form == FUSED_ATTENTION:
            raise NotImplementedError(f"{type(model).__name__} has attention of its own")
        yield
        return
    model.set_attn_implementation(form)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter's own talk is for those who write exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _tidy(model: Any) -> None:
    """Nodes named by the module that they come from; shapes of weights noted once; no traces of
    this machine's files."""
    graph = model.graph
    for number, node in enumerate(graph.node):
        noted = {entry.key: entry.value for entry in node.metadata_props}
        node.name = f"{_module(noted)}/{node.op_type}_{number}".lstrip("/")
        del node.metadata_props[:]
        node.doc_string = ""
    # The exporter notes shapes of weights a second time; quantisers that turn a weight over under
    # its own name (ONNX Runtime before 1.32, for every Gemm) then stumble over the old shape.
    weights = {tensor.name for tensor in graph.initializer}
    noted_shapes = [each for each in graph.value_info if each.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(noted_shapes)
    for each in (*graph.initializer, *graph.value_info, *graph.input, *graph.output, graph, model):
        del each.metadata_props[:]
        each.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    model.producer_name, model.producer_version = "tinybert", ""


def _module(noted: dict[str, str]) -> str:
    """``bert.encoder.layer.0.output.dense``, where the exporter noted it."""
    try:
        scopes = ast.literal_eval(noted.get("pkg.torch.onnx.name_scopes", "[]"))
    except (ValueError, SyntaxError):
        return ""
    named = [str(scope) for scope in scopes if str(scope).startswith("model")]
    return re.sub(r"^model\.?", "", named[-1]) if named else ""


def save_graph(model: Any, path: Path) -> None:
    """Write an ``onnx.ModelProto``; weights of more than 2 GB into a file beside it."""
    import onnx

    for file in path.parent.glob(f"{path.name}*"):  # weights of before would be added to
        file.unlink()
    # Of the weights alone: the whole of a model beyond 2 GB cannot be counted.
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= _ONE_FILE:
        onnx.save_model(model, str(path))
        return
    onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}_data")


def has_weights_beside(path: Path) -> bool:
    """Whether a graph's weights lie in a file of their own."""
    return path.with_name(f"{path.name}_data").exists()


def _has_fused_attention(path: Path) -> bool:
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return any(node.op_type == "MultiHeadAttention" for node in graph.node)
