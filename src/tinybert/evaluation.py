"""Evaluation: a model's outputs on all rows, a task's metric, held-out losses per term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import (
    Reading,
    TokenRows,
    TrainingRows,
    length_batches,
    like_batches,
)
from tinybert.distiller import Distiller, units_of
from tinybert.losses import IGNORED, masked_loss
from tinybert.spans import teacher_inputs
from tinybert.taps import TapRequest, Taps, run_with_taps
from tinybert.tasks.metrics import agreement, compute
from tinybert.teachers import Teacher

__all__ = [
    "agreement_of",
    "answered_alike",
    "held_out_losses",
    "masked_scores",
    "predict",
    "scores_of",
    "task_scores",
]


@torch.no_grad()
def predict(
    model: PreTrainedModel, rows: TokenRows, advance: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Logits of every row, (rows, labels) float32, in the rows' order; eval mode, no autocast.

    Of rows that are answered token by token (tokens, labels), flat as their ids. ``advance`` is
    called with the number of rows done.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.train(False)
    outputs: NDArray[np.float32] | None = None
    try:
        for indices in length_batches(rows):
            batch = {name: tensor.to(device) for name, tensor in rows.batch(indices).items()}
            logits = run_with_taps(model, batch, TapRequest(logits=True)).logits
            assert logits is not None
            if outputs is None:
                outputs = rows.no_outputs(logits.shape[-1])
            rows.put_outputs(outputs, indices, logits.float().cpu().numpy())
            if advance is not None:
                advance(len(indices))
    finally:
        model.train(was_training)
    assert outputs is not None
    return outputs


def task_scores(rows: TokenRows, metric: str) -> Callable[[Distiller], dict[str, float]]:
    """An evaluation for the trainer: the student's score on labelled rows."""
    return lambda distiller: scores_of(metric, predict(distiller.student, rows), rows)


def scores_of(metric: str, outputs: NDArray[np.floating], rows: TokenRows) -> dict[str, float]:
    """The scores of a model's outputs, as :func:`predict` gives them, the main metric first."""
    if rows.reading is not None:
        return rows.reading.scores(metric, np.asarray(outputs, dtype=np.float32))
    assert rows.labels is not None
    return compute(metric, outputs, rows.labels)


def answered_alike(reading: Reading, one: NDArray[Any], other: NDArray[Any]) -> float:
    """How far two models' settled answers are alike: the share that are the same, or what the
    reading itself says by ``alike``."""
    own: Callable[..., float] | None = getattr(reading, "alike", None)
    return float((one == other).mean()) if own is None else own(one, other)


def agreement_of(one: NDArray[np.float32], other: NDArray[np.float32], rows: TokenRows) -> float:
    """How far two models answer alike, labels aside; outputs as :func:`predict` gives them."""
    if rows.reading is not None:
        settled = (rows.reading.settled(each) for each in (one, other))
        return answered_alike(rows.reading, *settled)
    return agreement(one, other)


def masked_scores(
    rows: TrainingRows, token_budget: int = 4096
) -> Callable[[Distiller], dict[str, float]]:
    """An evaluation for the trainer: how well masked tokens are guessed.

    Args:
        rows: masked rows, not trained on; their masks are the same at every evaluation.
        token_budget: padded tokens a batch.

    Returns:
        A function that gives ``mlm``, the mean cross-entropy in nats a masked token, and
        ``masked_accuracy``, the share of masked tokens whose most probable token is the right one.
        Where nothing is masked both are 0.
    """

    @torch.no_grad()
    def evaluate(distiller: Distiller) -> dict[str, float]:
        device = next(distiller.parameters()).device
        total, right, count = 0.0, 0, 0
        for piece in _pieces(rows, token_budget):
            batch = {name: tensor.to(device) for name, tensor in rows.batch(piece).items()}
            logits = run_with_taps(distiller.student, batch, TapRequest(masked=True)).masked
            assert logits is not None
            labels = batch["masked_labels"]
            loss = masked_loss(logits, labels)
            total += float(loss.total)
            right += int((logits.argmax(dim=-1) == labels[labels != IGNORED]).sum())
            count += int(loss.count)
        return {"mlm": total / max(1, count), "masked_accuracy": right / max(1, count)}

    return evaluate


def _pieces(rows: TrainingRows, token_budget: int) -> list[NDArray[np.int64]]:
    """All rows once, in batches of like lengths."""
    pieces = []
    for start in range(0, len(rows), 256):
        block = np.arange(start, min(start + 256, len(rows)))
        pieces += like_batches(rows, block, token_budget)
    return pieces


def _pairs_within(lengths: NDArray[np.float64], window: int) -> float:
    """Pairs of tokens at most ``window`` apart in rows of these lengths."""
    reach = np.minimum(window, lengths - 1)
    return float((lengths + reach * (2 * lengths - reach - 1)).sum())


def held_out_losses(
    rows: TrainingRows, teacher: Teacher | None, token_budget: int = 4096
) -> Callable[[Distiller], dict[str, float]]:
    """An evaluation for the trainer: the objective and each of its terms on rows not trained on.

    ``teacher`` None: the objective reads nothing of it but the rows' ``targets``.
    """

    def evaluate(distiller: Distiller) -> dict[str, float]:
        device = next(distiller.parameters()).device
        pieces = _pieces(rows, token_budget)
        lengths = getattr(rows, "places", rows.lengths).astype(np.float64)
        whole = {"rows": len(rows), "tokens": lengths.sum(), "pairs": (lengths**2).sum()}
        windows = distiller.objective.windows
        for window in windows:
            whole[f"pairs@{window}"] = _pairs_within(lengths, window)
        if any(term.unit == "masked" for term in distiller.objective.terms):
            labels = (rows.batch(piece)["masked_labels"] for piece in pieces)
            whole["masked"] = max(1, sum(int((found != IGNORED).sum()) for found in labels))
        if any(term.unit == "asked" for term in distiller.objective.terms):
            asked = getattr(rows, "asked", None)
            whole["asked"] = max(1, 0 if asked is None else int(asked.sum()))
        request = distiller.objective.teacher_taps
        if rows.targets is not None:  # the teacher's logits are kept
            request = replace(request, logits=False)
        sums: dict[str, float] = {}
        for piece in pieces:
            batch = {name: tensor.to(device) for name, tensor in rows.batch(piece).items()}
            kept = batch.pop("teacher_logits", None)
            assert teacher is not None or not request
            inputs = teacher_inputs(batch)
            taps = teacher.taps(inputs, request) if teacher is not None and request else Taps()
            if kept is not None:
                taps.logits = kept
            counts = units_of(batch, windows)
            output = distiller(batch, taps, {u: counts[u] / whole[u] for u in whole})
            sums["loss"] = sums.get("loss", 0.0) + float(output["loss"])
            for name, value in output["terms"].items():
                kind = name.split(".")[0]
                sums[kind] = sums.get(kind, 0.0) + float(value)
        return sums

    return evaluate
