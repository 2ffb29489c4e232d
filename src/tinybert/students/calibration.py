"""Calibration: what teacher and student compute on a few thousand tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.students.layouts import Encoder, Layer
from tinybert.taps import MODEL_INPUTS

__all__ = ["Batches", "LayerRunner", "calibration_batches", "embedding_sums", "teacher_places"]

Batches = Sequence[Mapping[str, Tensor]]


def calibration_batches(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    tokens: int = 16384,
    max_length: int = 128,
    rows: int = 32,
) -> list[dict[str, Tensor]]:
    """Model inputs with about ``tokens`` real tokens, rows of like length together.

    Args:
        tokenizer: the teacher's.
        texts: read only as far as needed; empty ones are skipped.
        tokens: where to stop.
        max_length: longer texts are cut.
        rows: rows a batch.

    Raises:
        TinybertError: ``texts`` has no text.
    """
    encoded: list[list[int]] = []
    count = 0
    for text in texts:
        if not text.strip():
            continue
        ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        encoded.append(list(ids))
        count += len(ids)
        if count >= tokens:
            break
    if not encoded:
        raise TinybertError("there is no text to calibrate on: give some that is not empty.")
    encoded.sort(key=len)
    return [
        dict(tokenizer.pad({"input_ids": encoded[i : i + rows]}, return_tensors="pt"))
        for i in range(0, len(encoded), rows)
    ]


def model_inputs(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    inputs = {name: batch[name].to(device) for name in MODEL_INPUTS if batch.get(name) is not None}
    if "attention_mask" not in inputs:
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return inputs


def real(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["attention_mask"].bool()


class _TappedError(Exception):
    """Ends a forward pass once the tapped input is there."""


def tapped_inputs(module: nn.Module, call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that ``module`` gets in ``call()``, which ends there."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))
        raise _TappedError

    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        call()
    except _TappedError:
        pass
    finally:
        handle.remove()
    return seen[0]


def teacher_places(
    teacher: Encoder, batches: Batches, mapping: Sequence[int]
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The teacher's states at real tokens, (tokens, d) each.

    Returns:
        Layer outputs (0: the embedding output) and attention-output states by teacher layer: of
        the mapped layers, and of the layers that feed them.
    """
    wanted = {0, *mapping, *(layer - 1 for layer in mapping)}
    outputs: dict[int, list[Tensor]] = {layer: [] for layer in sorted(wanted)}
    inner: dict[int, list[Tensor]] = {layer: [] for layer in mapping}
    mask: list[Tensor] = []
    handles = []

    def keep(into: list[Tensor]) -> Any:
        return lambda _module, _args, out: into.append(out[mask[-1]])

    for place, into in outputs.items():
        source = teacher.layers[place - 1].out_norm if place else teacher.embedding_output
        handles.append(source.register_forward_hook(keep(into)))
    for place, into in inner.items():
        norm = teacher.layers[place - 1].attention_norm
        handles.append(norm.register_forward_hook(keep(into)))
    try:
        for batch in batches:
            mask.append(real(batch))
            teacher.body(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return (
        {place: torch.cat(states) for place, states in outputs.items()},
        {place: torch.cat(states) for place, states in inner.items()},
    )


def embedding_sums(student: Encoder, batches: Batches) -> Tensor:
    """(tokens, d'): what the student's embedding LayerNorm reads, at real tokens."""
    sums = []
    for batch in batches:
        args, _ = tapped_inputs(student.embedding_norm, lambda b=batch: student.body(**b))
        sums.append(args[0][real(batch)])
    return torch.cat(sums)


class LayerRunner:
    """Runs single layers of the student on chosen states, masks as the model makes them."""

    def __init__(self, student: Encoder, batches: Batches) -> None:
        first = student.layers[0].module
        self._masks = [real(batch) for batch in batches]
        self._calls = [tapped_inputs(first, lambda b=batch: student.body(**b)) for batch in batches]

    def context(self, layer: Layer, states: Tensor) -> Tensor:
        """(tokens, d'): what the attention output map of ``layer`` reads when it runs on
        ``states`` (tokens, d')."""
        contexts, start = [], 0
        for mask, (args, kwargs) in zip(self._masks, self._calls, strict=True):
            count = int(mask.sum())
            padded = states.new_zeros(*mask.shape, states.shape[1])
            padded[mask] = states[start : start + count]
            start += count
            if args:
                args = (padded, *args[1:])
            else:
                kwargs = {**kwargs, "hidden_states": padded}
            seen, _ = tapped_inputs(
                layer.attention_out, lambda a=args, k=kwargs: layer.module(*a, **k)
            )
            contexts.append(seen[0][mask])
        return torch.cat(contexts)
