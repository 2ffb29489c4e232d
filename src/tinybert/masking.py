"""Rows with masked tokens, for masked language modelling (BERT, arXiv 1810.04805, section 3.1).

The mask of a row is a function of (seed, row, pass) and of nothing else: it is the same in any
batch, in any process and after any stop. Each pass over the rows has masks of its own, as BERT's
data has them that was masked ten times over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinybert.batching import TokenRows, TrainingRows
from tinybert.errors import TinybertError
from tinybert.losses import IGNORED

__all__ = ["MaskedRows", "Masking"]


@dataclass(frozen=True)
class Masking:
    """How tokens are masked.

    Attributes:
        mask_id: the mask token.
        special: (vocabulary,) bool, tokens such as [CLS]: never masked, never put in.
        continues: (vocabulary,) bool, pieces that belong to the word of the piece before them.
            Whole words are then masked; None masks single tokens.
        share: of a row's tokens, specials left out; one at least.
        replaced, kept: share of the masked tokens that get a random token, and that stay as they
            are; all others get the mask token.
    """

    mask_id: int
    special: NDArray[np.bool_]
    continues: NDArray[np.bool_] | None = None
    share: float = 0.15
    replaced: float = 0.1
    kept: float = 0.1

    def __post_init__(self) -> None:
        if self.special.all():
            raise TinybertError("the vocabulary has special tokens alone: nothing can be masked.")

    def chosen(self, ids: NDArray[Any], random: np.random.Generator) -> NDArray[np.int64]:
        """Places that are masked in one row; whole words where they are known.

        As in BERT's code words are taken in random order, and one that would be too much is left
        out; where none fits, the first of them is taken whole.
        """
        real = ~self.special[ids]
        places = np.flatnonzero(real)
        if not len(places):
            return places
        most = max(1, round(self.share * len(places)))
        begins = real.copy()
        if self.continues is not None:
            begins[1:] &= ~self.continues[ids[1:]] | ~real[:-1]
        word = np.cumsum(begins)[places] - 1
        sizes = np.bincount(word)
        order = random.permutation(len(sizes))
        taken, count = [], 0
        for number in order:
            if count + sizes[number] <= most:
                taken.append(number)
                count += int(sizes[number])
            if count == most:
                break
        return places[np.isin(word, taken or order[:1])]

    def masked(
        self, ids: NDArray[Any], random: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """One row's ids as the model gets them, and its labels: -100 where nothing is masked."""
        places = self.chosen(ids, random)
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        labels[places] = ids[places]
        given = ids.copy()
        draw = random.random(len(places))
        other = random.choice(self._plain, len(places))
        hidden = np.where(draw < self.replaced, other, self.mask_id)
        given[places] = np.where(draw >= 1 - self.kept, ids[places], hidden)
        return given, labels

    @cached_property
    def _plain(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self.special)

    def fingerprint(self) -> str:
        """A hash of all of it."""
        told = (self.mask_id, self.share, self.replaced, self.kept)
        digest = hashlib.sha256(repr(told).encode())
        for array in (self.special, self.continues):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


class MaskedRows:
    """Rows with masked tokens; serves wherever rows are trained on.

    Shows ``passes`` times as many rows as there are: row i is row i modulo n of the text, in its
    pass i div n. A batch has ``masked_labels`` (rows, length): the token's id where one was masked,
    -100 elsewhere. Labels and targets of the text's rows are left out.

    Args:
        rows: the text: a corpus, or rows in memory.
        masking: how it is masked.
        seed: of the masks.
        passes: how many there are with different masks.

    >>> import numpy as np
    >>> text = TokenRows(np.arange(2, 8, dtype=np.uint16), np.array([0, 6]))
    >>> special = np.arange(8) < 2
    >>> masked = MaskedRows(text, Masking(1, special, replaced=0, kept=0), seed=0)
    >>> batch = masked.batch([0])
    >>> int((batch["input_ids"] == 1).sum()), int((batch["masked_labels"] != -100).sum())
    (1, 1)
    """

    labels: None = None
    targets: None = None

    def __init__(
        self, rows: TrainingRows, masking: Masking, seed: int = 42, passes: int = 1
    ) -> None:
        self.rows, self.masking, self.seed, self.passes = rows, masking, seed, passes
        self.lengths: NDArray[Any] = rows.lengths
        if passes > 1:
            self.lengths = np.tile(self.lengths, passes)

    def __len__(self) -> int:
        return len(self.rows) * self.passes

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        return self.rows.lengths_of(np.asarray(indices) % len(self.rows))

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Rows padded to their longest, masked: model inputs and ``masked_labels``."""
        numbers = np.asarray(indices, dtype=np.int64)
        passes, rows = np.divmod(numbers, len(self.rows))
        batch = self.rows.batch(rows)
        for name in ("labels", "teacher_logits"):
            batch.pop(name, None)
        ids = batch["input_ids"].numpy().copy()
        labels = np.full(ids.shape, IGNORED, dtype=np.int64)
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        for i, (row, number, length) in enumerate(zip(rows, passes, lengths, strict=True)):
            random = np.random.default_rng((self.seed, int(row), int(number)))
            ids[i, :length], labels[i, :length] = self.masking.masked(ids[i, :length], random)
        return batch | {
            "input_ids": torch.from_numpy(ids),
            "masked_labels": torch.from_numpy(labels),
        }

    def fingerprint(self) -> str:
        """A hash of the rows and of how they are masked."""
        told = (self.rows.fingerprint(), self.masking.fingerprint(), self.seed, self.passes)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenRows:
        """A copy of some rows in memory, as text: nothing in it is masked."""
        return self.rows.take(np.asarray(indices, dtype=np.int64) % len(self.rows))
