"""How long models take, like for like."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from tinybert.errors import TinybertError

__all__ = ["Latency", "cores", "latency"]

Precision = Literal["float32", "bfloat16", "float16"]


def cores() -> int:
    """Cores that this process may use: those of a container, not all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass, and what it was measured under.

    ``median`` and ``p95`` (95th percentile) are milliseconds a pass.
    """

    median: float
    p95: float
    length: int
    batch: int
    repeats: int
    threads: int
    device: str
    precision: str


def latency(
    models: Mapping[str, nn.Module],
    length: int = 128,
    batch: int = 1,
    repeats: int = 30,
    precision: Precision = "float32",
    warm_up: int = 3,
) -> dict[str, Latency]:
    """Time of a forward pass of each model, measured in turns.

    Every model gets the same token ids, the same precision, the same number of threads, and its
    turn in every round, so that a processor that slows down slows all of them. Evaluation mode,
    no gradients, no padding. The models themselves are left as they are.

    Args:
        models: name → model that takes ``input_ids`` and ``attention_mask``; all on one device.
        length: tokens a sequence.
        batch: sequences.
        repeats: timed passes of each model.
        precision: of weights and arithmetic.
        warm_up: untimed passes of each model before.

    Returns:
        name → :class:`Latency`, in the order of ``models``.

    Raises:
        TinybertError: a model takes no sequence that long.
        ValueError: no models, models on several devices, or no repeats.
    """
    if not models or repeats < 1:
        raise ValueError("latency needs a model and a repeat at least")
    devices = {next(model.parameters()).device for model in models.values()}
    if len(devices) > 1:
        raise ValueError(f"models on several devices are not like for like: {devices}")
    device = devices.pop()
    for model in models.values():
        check_length(model, length)
    ready = {name: _ready(model, getattr(torch, precision)) for name, model in models.items()}
    vocabulary = min(_vocabulary(model) for model in models.values())
    # Away from the first ids: a padding id in a sequence can change what a model does.
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary // 2, vocabulary, (batch, length), generator=generator)
    inputs = {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for round_ in range(warm_up + repeats):
            for name, model in ready.items():
                _wait(device)
                start = time.perf_counter()
                model(**inputs)
                _wait(device)
                if round_ >= warm_up:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: Latency(
            median=float(np.median(taken)),
            p95=float(np.percentile(taken, 95)),
            length=length,
            batch=batch,
            repeats=repeats,
            threads=torch.get_num_threads(),
            device=str(device),
            precision=precision,
        )
        for name, taken in times.items()
    }


def longest_input(model: nn.Module) -> int | None:
    """Tokens that a model has position embeddings for; None where it has none of its own."""
    config = getattr(model, "config", None)
    longest = getattr(config, "max_position_embeddings", None)
    # RoBERTa and kin count positions from the padding id on: 514 positions are 512 tokens.
    for module in model.modules():
        if isinstance(module, nn.Embedding) and longest == module.num_embeddings:
            longest -= 0 if module.padding_idx is None else module.padding_idx + 1
            break
    return longest if longest is not None and longest > 0 else None


def check_length(model: nn.Module, length: int, name: str = "the model") -> None:
    """Refuse a length that the model, called ``name``, has no position embeddings for."""
    longest = longest_input(model)
    if longest is not None and length > longest:
        raise TinybertError(
            f"{name} takes {longest} tokens at most, {length} were asked for: give a length of "
            f"{longest} or less"
        )


def _ready(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model itself where it is as wanted, else a copy: the caller's is not touched."""
    tensors = [*model.parameters(), *model.buffers()]
    wanted = all(tensor.dtype == dtype for tensor in tensors if tensor.is_floating_point())
    if wanted and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(dtype).eval()


def _vocabulary(model: nn.Module) -> int:
    return int(getattr(getattr(model, "config", None), "vocab_size", 1000))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
