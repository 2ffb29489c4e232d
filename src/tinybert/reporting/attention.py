"""Where teacher and student look in one sentence: attention after softmax, layer beside layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.students.shapes import attention_windows
from tinybert.taps import TapRequest, run_with_taps, shows_attention, use_attention

__all__ = ["AttentionMaps", "LayerMaps", "attention_maps"]

LONGEST = 24
"""Tokens shown: with more of them a cell is smaller than a telephone can show."""

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class LayerMaps:
    """One student layer and the teacher's that it learned from, both counted from 1.

    ``student`` and ``teacher`` are (heads, length, length) float32: how much the token of a row
    looks at the token of a column; every row adds up to 1. Head counts may differ.
    """

    student_layer: int
    teacher_layer: int
    student: Maps
    teacher: Maps

    def pair(self, head: int | None) -> tuple[Maps, Maps]:
        """Teacher's and student's (length, length) map of a head from 0; of ``None`` the mean."""
        if head is None:
            return self.teacher.mean(axis=0), self.student.mean(axis=0)
        return self.teacher[head], self.student[head]

    def elsewhere(self, head: int | None) -> float:
        """The share of attention, 0 … 1, that the student spends on other tokens than its teacher.

        Total variation distance of the rows, averaged over rows.
        """
        teacher, student = self.pair(head)
        return float(np.abs(teacher - student).sum(axis=1).mean() / 2)


@dataclass(frozen=True)
class AttentionMaps:
    """The maps of one sentence.

    Attributes:
        tokens: of the sentence, as text, specials included.
        layers: one entry a student layer.
        cut: the sentence is longer than what is shown.
    """

    tokens: tuple[str, ...]
    layers: tuple[LayerMaps, ...]
    cut: bool

    @property
    def heads(self) -> int:
        """Heads that can be compared one by one; 0 where teacher and student differ in number."""
        counts = {len(maps) for layer in self.layers for maps in (layer.student, layer.teacher)}
        return counts.pop() if len(counts) == 1 else 0


def attention_maps(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    mapping: Sequence[int],
) -> AttentionMaps:
    """Run both models on one sentence (or a pair) and read their attention.

    The models are used as they are and left in eval mode.

    Args:
        teacher, student: encoders with the same tokenizer.
        tokenizer: theirs.
        texts: one text, or two.
        mapping: g(1) … g(M).

    Raises:
        TinybertError: a model does not show its attention, or has other layers than ``mapping``
            names.
    """
    tokens: Any = tokenizer(*texts, truncation=True, max_length=LONGEST, return_tensors="pt")
    whole = len(tokenizer(*texts, verbose=False)["input_ids"])
    batch = {name: tokens[name] for name in tokens}
    device = next(student.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    shown = _attention(teacher, batch, frozenset(mapping))
    learned = _attention(student, batch, frozenset(range(1, len(mapping) + 1)))
    ids = batch["input_ids"][0].tolist()
    return AttentionMaps(
        tokens=tuple(str(tokenizer.decode([number])).strip() or "␣" for number in ids),
        layers=tuple(LayerMaps(m, n, learned[m], shown[n]) for m, n in enumerate(mapping, start=1)),
        cut=whole > len(ids),
    )


@torch.no_grad()
def _attention(
    model: PreTrainedModel, batch: dict[str, Tensor], layers: frozenset[int]
) -> dict[int, Maps]:
    if not shows_attention(model):
        raise TinybertError(f"{type(model).__name__} does not show its attention.")
    model.train(False)
    use_attention(model)
    taken = run_with_taps(model, batch, TapRequest(attention=layers)).attention
    found, windows = {}, attention_windows(model.config)
    for layer, tap in taken.items():
        scores = tap.scaling * tap.query.float() @ tap.key.float().mT
        if layer in windows:
            place = torch.arange(scores.shape[-1], device=scores.device)
            scores = scores.masked_fill((place[:, None] - place).abs() > windows[layer], -torch.inf)
        found[layer] = torch.softmax(scores, dim=-1)[0].cpu().numpy()
    return found
