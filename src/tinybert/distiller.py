"""The one trained module: student + projections + objective. Batch and taps in, loss out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinybert.losses import IGNORED, pairs_within
from tinybert.objectives import Objective, Seen
from tinybert.projections import Projections
from tinybert.shared_body import model_of
from tinybert.spans import TEACHER, pool_heads, pool_states, span_mask
from tinybert.taps import AttentionTap, Taps, run_with_taps

__all__ = ["Distiller", "count_units", "units_of"]


def count_units(batch: Mapping[str, Tensor], windows: Sequence[int] = ()) -> dict[str, int]:
    """What is in a batch of the units that terms have their mean over.

    Args:
        batch: ``attention_mask`` (batch, length), for rows, real tokens and pairs of them;
            ``masked_labels`` (batch, length; -100 where nothing is masked) for masked tokens;
            ``asked`` (batch, length; bool) for tokens that the task is answered at.
        windows: the pairs within each are counted too, under ``pairs@WINDOW``.
    """
    mask, masked_labels = batch["attention_mask"], batch.get("masked_labels")
    lengths = mask.sum(dim=1, dtype=torch.int64)
    counts = {
        "rows": mask.shape[0],
        "tokens": int(lengths.sum()),
        "pairs": int((lengths * lengths).sum()),
    }
    for window in windows:
        counts[f"pairs@{window}"] = int(pairs_within(mask, window).sum())
    if masked_labels is not None:
        counts["masked"] = int((masked_labels != IGNORED).sum())
    if (asked := batch.get("asked")) is not None:
        counts["asked"] = int(asked.sum())
    return counts


def units_of(batch: Mapping[str, Tensor], windows: Sequence[int] = ()) -> dict[str, int]:
    """What the terms of a batch are means over; of rows under two tokenizers tokens are spans."""
    if (spans := batch.get("spans")) is not None:
        batch = {**batch, "attention_mask": span_mask(spans)}
    return count_units(batch, windows)


def pooled(taps: Taps, spans: Tensor, count: int) -> Taps:
    """Taps of spans instead of tokens: mean states, and mean queries, keys and values.

    Args:
        taps: of tokens.
        spans: (batch, length) span of each token, -1: none.
        count: spans of a row.
    """
    return Taps(
        attention={
            layer: AttentionTap(
                pool_heads(tap.query, spans, count),
                pool_heads(tap.key, spans, count),
                tap.scaling,
                pool_heads(tap.value, spans, count),
            )
            for layer, tap in taps.attention.items()
        },
        hidden={layer: pool_states(state, spans, count) for layer, state in taps.hidden.items()},
        embedding=None if taps.embedding is None else pool_states(taps.embedding, spans, count),
        logits=taps.logits,
        masked=taps.masked,
    )


class Distiller(nn.Module):
    """Student, projections and objective as one module, so that DDP, FSDP and checkpoints see one.

    The teacher is no part of it: its taps come in as inputs, already detached.

    Args:
        student: the model that is trained.
        projections: learned maps to the teacher's width; None where the objective needs none.
        objective: what is minimised.
        crossover: length from which the attention loss takes its linear form (None: default).
    """

    def __init__(
        self,
        student: PreTrainedModel,
        projections: Projections | None,
        objective: Objective,
        crossover: int | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.projections = projections
        self.objective = objective
        self.crossover = crossover

    def forward(
        self,
        batch: Mapping[str, Tensor],
        teacher: Taps | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Loss and terms of one micro-batch.

        Args:
            batch: model inputs, and where the objective reads them ``labels`` (batch,) or
                (batch, length), ``asked`` and ``masked_labels`` (batch, length); of rows under two
                tokenizers ``spans`` and ``teacher_spans`` too, and terms then compare spans instead
                of tokens; of one of several tasks its number, ``task``, whose head then answers.
            teacher: taps of the teacher on the same batch, or on its own tokens of it.
            shares: for each unit (rows, tokens, pairs, masked, asked) this micro-batch's part of
                the whole effective batch, over all micro-batches and processes; 1 if None. The sum
                of the losses of all micro-batches is then the loss of the whole batch.

        Returns:
            ``loss``: Σ weight · term · share, float32 scalar; ``terms``: {name: term · share}.
        """
        task = int(batch["task"]) if "task" in batch else None
        taps = run_with_taps(model_of(self.student, task), batch, self.objective.student_taps)
        teacher, mask = teacher or Taps(), batch["attention_mask"]
        if "spans" in batch:
            with torch.autocast(mask.device.type, enabled=False):
                mask = span_mask(batch["spans"])
                taps = pooled(taps, batch["spans"], mask.shape[1])
                teacher = pooled(teacher, batch[f"{TEACHER}spans"], mask.shape[1])
        seen = Seen(
            student=taps,
            teacher=teacher,
            mask=mask,
            projections=self.projections,
            labels=batch.get("labels"),
            masked_labels=batch.get("masked_labels"),
            asked=batch.get("asked"),
            task=task,
            crossover=self.crossover,
            low_precision=_in_bfloat16(mask.device.type),
        )
        terms: dict[str, Tensor] = {}
        loss: Tensor | None = None
        # Losses stay in float32 whatever precision the student runs in.
        with torch.autocast(seen.mask.device.type, enabled=False):
            seen.student = taps if seen.low_precision else _float(taps)
            for term in self.objective.terms:
                value = term(seen).mean() * (1.0 if shares is None else shares[term.counted])
                terms[term.name] = value
                weighted = term.weight * value
                loss = weighted if loss is None else loss + weighted
        assert loss is not None
        return {"loss": loss, "terms": terms}


def _in_bfloat16(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16


def _float(taps: Taps) -> Taps:
    """Hidden states for the projections, which are float32 (attention is cast by its loss)."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype == torch.float64 else tensor.float()

    return Taps(
        attention=taps.attention,
        hidden={layer: cast(state) for layer, state in taps.hidden.items()},
        embedding=None if taps.embedding is None else cast(taps.embedding),
        logits=taps.logits,
        masked=taps.masked,
    )
