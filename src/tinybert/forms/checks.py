"""Whether a form answers as PyTorch does: at all lengths, padded or not, alone or in a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import TokenRows, length_batches
from tinybert.errors import TinybertError
from tinybert.runtimes import Runtime
from tinybert.sentence_modules import SentenceHead
from tinybert.taps import logits_of
from tinybert.task_heads import answering_of

__all__ = [
    "BATCHES",
    "LENGTHS",
    "TOLERANCE",
    "Probes",
    "alone_and_together",
    "answers",
    "check_finite",
    "largest_difference",
    "make_probes",
]

LENGTHS = (1, 7, 128, 512)
BATCHES = (1, 3, 32)
TOLERANCE = 1e-4
"""Largest difference of a float32 form where answers are within 1; in proportion above."""

Array = NDArray[np.float32]
Batch = dict[str, NDArray[np.int64]]


@dataclass
class Probes:
    """Batches of real tokens with PyTorch's answers.

    Attributes:
        batches: inputs by name, (batch, length) int64, padded on the right.
        answers: (batch, labels), of tagged words and spans (batch, length, labels), or
            (batch, length, width) of an encoder; (batch, width) of a sentence encoder.
        size: of the largest answer, 1 at least.
    """

    batches: list[Batch] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)

    @property
    def size(self) -> float:
        return max([1.0, *(float(np.abs(answer).max()) for answer in self.answers)])


def make_probes(
    model: PreTrainedModel,
    rows: TokenRows,
    inputs: Sequence[str],
    longest: int | None,
    advance: Callable[[int], None] | None = None,
    head: SentenceHead | None = None,
) -> Probes:
    """Batches of every size in :data:`BATCHES` at every length in :data:`LENGTHS`.

    Args:
        model: answers them, in eval mode.
        rows: real rows; their tokens are strung together and cut to length. In a batch every other
            row is shorter, so that there is padding.
        inputs: names of what the model takes.
        longest: tokens that the model takes; greater lengths become this one.
        advance: called with 1 for each batch that is answered.
        head: of a sentence encoder, whose answers are vectors.

    Raises:
        TinybertError: an answer is no finite number.
    """
    rng = np.random.default_rng(0)
    stream = np.asarray(rows.ids).astype(np.int64)
    lengths = sorted({length if longest is None else min(length, longest) for length in LENGTHS})
    types = bool(rows.takes_types and rows.type_ids is not None and rows.type_ids.any())
    probes = Probes()
    for length in lengths:
        for count in BATCHES:
            batch = _batch(stream, rows.pad_id, length, count, types, rng)
            batch = {name: batch[name] for name in inputs}
            with torch.inference_mode():
                given = {name: torch.from_numpy(each) for name, each in batch.items()}
                answered = model(**given)
                if answering_of([type(model).__name__]) is not None:
                    found = logits_of(answered)
                else:
                    found = answered.last_hidden_state
                    found = found if head is None else head(found, given["attention_mask"])
            probes.batches.append(batch)
            answer = found.float().numpy()
            check_finite(answer[batch["attention_mask"] == 1] if answer.ndim == 3 else answer)
            probes.answers.append(answer)
            if advance is not None:
                advance(1)
    return probes


def check_finite(found: Array) -> None:
    """Refuse a model whose own answers leave nothing to compare with.

    Raises:
        TinybertError: ``found``, answered by PyTorch, holds what is no finite number.
    """
    if not np.isfinite(found).all():
        raise TinybertError(
            "the model's own answers are not finite numbers (NaN or infinite): its training went "
            "wrong; train it again, or take an earlier copy."
        )


def _batch(
    stream: NDArray[np.int64],
    pad_id: int,
    length: int,
    count: int,
    types: bool,
    rng: np.random.Generator,
) -> Batch:
    stream = np.resize(stream, max(len(stream), 2 * length))
    starts = rng.integers(0, len(stream) - length + 1, count)
    ids = np.stack([stream[start : start + length] for start in starts])
    real = np.where(np.arange(count) % 2 == 0, length, rng.integers(1, length + 1, count))
    mask = (np.arange(length)[None, :] < real[:, None]).astype(np.int64)
    second = (np.arange(length)[None, :] >= real[:, None] // 2).astype(np.int64) * mask
    return {
        "input_ids": np.where(mask == 1, ids, pad_id),
        "attention_mask": mask,
        "token_type_ids": second if types else np.zeros_like(ids),
    }


def largest_difference(
    runtime: Runtime, probes: Probes, advance: Callable[[int], None] | None = None
) -> float:
    """The largest difference of a form's answers from PyTorch's; states of padding left aside.

    Infinite where an answer is no finite number or of another shape. ``advance`` is called with 1
    for each batch.
    """
    worst = 0.0
    for batch, wanted in zip(probes.batches, probes.answers, strict=True):
        found = runtime(batch)
        if found.shape != wanted.shape or not np.isfinite(found).all():
            return float("inf")
        apart = np.abs(found - wanted)
        if apart.ndim == 3:
            apart = apart[batch["attention_mask"] == 1]
        worst = max(worst, float(apart.max()))
        if advance is not None:
            advance(1)
    return worst


def alone_and_together(runtime: Runtime, rows: TokenRows, count: int = 32) -> float:
    """How much a row's answer depends on its batch mates and its padding.

    Args:
        runtime: any form.
        rows: the first ``count`` are answered in one batch, and each in a batch of its own.

    Returns:
        The largest difference between the two; of an encoder's states, those of real tokens.
        Infinite where an answer is no finite number.
    """
    picked = np.arange(min(count, len(rows)))
    together = runtime(_inputs(rows, picked))
    worst = 0.0
    for row in picked:
        batch = _inputs(rows, picked[row : row + 1])
        alone = runtime(batch)[0]
        same = together[row][: alone.shape[0]] if alone.ndim == 2 else together[row]
        apart = float(np.abs(alone - same).max())
        worst = max(worst, apart if np.isfinite(apart) else float("inf"))
    return worst


def answers(
    runtime: Runtime, rows: TokenRows, advance: Callable[[int], None] | None = None
) -> Array:
    """A task model's logits for all rows, in batches of like lengths.

    Returns:
        (rows, labels) float32; of rows that are answered token by token (tokens, labels); of a
        sentence encoder its vectors, (rows, width).
    """
    outputs: Array | None = None
    for indices in length_batches(rows):
        logits = runtime(_inputs(rows, indices))
        if outputs is None:
            outputs = rows.no_outputs(logits.shape[-1])
        rows.put_outputs(outputs, indices, logits)
        if advance is not None:
            advance(len(indices))
    assert outputs is not None
    return outputs


def _inputs(rows: TokenRows, indices: NDArray[np.int64]) -> Batch:
    names = ("input_ids", "attention_mask", "token_type_ids")
    batch = rows.batch(indices)
    return {name: batch[name].numpy() for name in names if name in batch}
