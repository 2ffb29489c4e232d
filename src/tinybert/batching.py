"""Rows of tokens, and effective batches cut into micro-batches of like lengths.

The effective batch is a number of rows, as the paper's. It is sorted by length and cut where
padding would cost more than another forward pass does; a token budget bounds each piece. The rows
of a step do not depend on lengths, so that gradients are those of plain random batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import BatchEncoding, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.truncation import cut_rows

__all__ = [
    "IGNORED",
    "Reading",
    "StepSampler",
    "TokenRows",
    "TrainingRows",
    "length_batches",
    "like_batches",
    "micro_batches",
    "rows_an_epoch",
    "step_loader",
    "tokenize",
]

IGNORED = -100
"""Label of a token that is not asked, as in transformers."""

_ARRAYS = ("ids", "offsets", "type_ids", "labels", "targets", "asked")

MICRO_BATCH_OVERHEAD = 192
"""Tokens' worth of time that one more micro-batch costs (a forward pass has a fixed price)."""

DEFAULT_TOKEN_BUDGET = 4096

ROWS_AT_ONCE = 2048
CHARACTERS_AT_ONCE = 1 << 20
"""Bounds of what is tokenized at a time: the tokens that are then cut off take memory too."""


class TrainingRows(Protocol):
    """Token rows wherever they lie: :class:`TokenRows`, or a corpus on disk.

    ``labels`` (rows,) and ``targets`` (rows, labels) are None where there are none; ``lengths``
    (rows,) are integers. Of a task that is answered token by token both are flat, by token: see
    :class:`TokenRows`.
    """

    @property
    def labels(self) -> NDArray[Any] | None: ...

    @property
    def targets(self) -> NDArray[np.float32] | None: ...

    @property
    def lengths(self) -> NDArray[Any]: ...

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]: ...

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[Any]: ...

    def fingerprint(self) -> str: ...

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenRows: ...


class Reading(Protocol):
    """What token rows were read from, where their answers are more than a label a row.

    Outputs are a model's for all rows, (tokens, labels), flat as the rows' ids.
    """

    def __len__(self) -> int:
        """Number of sentences or questions; one of them may take several rows."""
        ...

    def scores(self, metric: str, outputs: NDArray[np.float32]) -> dict[str, float]:
        """The scores of outputs, the main metric first."""
        ...

    def settled(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The answers themselves, to be compared with those of another model."""
        ...

    def answered(self, outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        """What outputs say, an object a sentence or question."""
        ...

    def told(
        self, student: NDArray[np.float32], teacher: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """What a page tells of the answers, as plain data."""
        ...


@dataclass
class TokenRows:
    """Token rows packed in flat arrays: row i is ``ids[offsets[i]:offsets[i + 1]]``.

    Attributes:
        ids: token ids, as narrow an integer type as the vocabulary allows; may be memory-mapped.
        offsets: (rows + 1,) int64.
        pad_id: id that fills up a batch.
        type_ids: token types, flat like ``ids``; None where all are 0 or the model has none.
        takes_types: whether the model's inputs include ``token_type_ids``.
        labels: (rows,) int64 classes or float32 values; None without labels. With ``asked``
            (tokens,), -100 where nothing is asked.
        targets: (rows, labels) float32 logits of a teacher, kept from an earlier pass; or None.
            With ``asked`` (tokens, labels).
        asked: (tokens,) bool, flat like ``ids``: the tokens that a task is answered at; None where
            a row has one answer.
        cut: how many rows were longer than they may be when they were tokenized; not saved.
        reading: what rows with ``asked`` were read from, to score them; neither saved nor taken
            along by :meth:`take`.
    """

    ids: NDArray[Any]
    offsets: NDArray[np.int64]
    pad_id: int = 0
    type_ids: NDArray[np.uint8] | None = None
    takes_types: bool = False
    labels: NDArray[Any] | None = None
    targets: NDArray[np.float32] | None = None
    asked: NDArray[np.bool_] | None = None
    cut: int = 0
    reading: Reading | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def places(self) -> NDArray[np.int64]:
        """Places of each row where states are compared: its tokens."""
        return self.lengths

    def for_teacher(self) -> TokenRows:
        """The rows as the teacher reads them; others than these where it has its own tokenizer."""
        return self

    def for_student(self) -> TokenRows:
        """The rows as the student reads them, and nothing else."""
        return self

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some rows."""
        return self.offsets[indices + 1] - self.offsets[indices]

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Rows ``indices`` padded to their longest: ``input_ids``, ``attention_mask``, and where
        there are any ``token_type_ids``, ``labels``, ``teacher_logits``, ``asked``. The last is
        (batch, length) bool, and labels and logits are then (batch, length, …) too."""
        rows = np.asarray(indices, dtype=np.int64)
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        width = int((ends - starts).max())
        ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        mask = np.arange(width)[None, :] < (ends - starts)[:, None]
        types = np.zeros_like(ids) if self.takes_types else None
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids[i, : end - start] = self.ids[start:end]
            if types is not None and self.type_ids is not None:
                types[i, : end - start] = self.type_ids[start:end]
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }
        if types is not None:
            batch["token_type_ids"] = torch.from_numpy(types)
        if self.asked is not None:
            pieces = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
            batch["asked"] = torch.from_numpy(_padded(self.asked, pieces, width, False))
            if self.labels is not None:
                batch["labels"] = torch.from_numpy(_padded(self.labels, pieces, width, IGNORED))
            if self.targets is not None:
                batch["teacher_logits"] = torch.from_numpy(_padded(self.targets, pieces, width, 0))
            return batch
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(np.asarray(self.labels[rows]))
        if self.targets is not None:
            batch["teacher_logits"] = torch.from_numpy(np.asarray(self.targets[rows]))
        return batch

    def no_outputs(self, labels: int) -> NDArray[np.float32]:
        """Zeros to fill with a model's outputs: (rows, labels), or with ``asked`` (tokens, …)."""
        count = len(self) if self.asked is None else len(self.asked)
        return np.zeros((count, labels), dtype=np.float32)

    def put_outputs(
        self, outputs: NDArray[np.float32], indices: NDArray[np.int64], found: NDArray[np.float32]
    ) -> None:
        """Put a batch's outputs, (batch, labels) or (batch, length, labels), where they belong."""
        if self.asked is None:
            outputs[indices] = found
            return
        for row, index in enumerate(indices):
            start, end = self.offsets[index], self.offsets[index + 1]
            outputs[start:end] = found[row, : end - start]

    def fingerprint(self) -> str:
        """A hash of everything in these rows, to know on resume whether they are the same."""
        digest = hashlib.sha256(f"{self.pad_id} {self.takes_types}".encode())
        for array in (self.ids, self.offsets, self.type_ids, self.labels, self.targets):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
        if self.asked is not None:
            digest.update(b"asked" + np.ascontiguousarray(self.asked).tobytes())
        return digest.hexdigest()[:16]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TokenRows:
        """A copy of some rows, in the order given."""
        rows = np.asarray(indices, dtype=np.int64)
        pieces = [slice(self.offsets[i], self.offsets[i + 1]) for i in rows]

        def of_tokens(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array[:0], *(array[p] for p in pieces)])

        def of_rows(array: NDArray[Any] | None) -> NDArray[Any] | None:
            if array is None or self.asked is not None:
                return None if array is None else of_tokens(array)
            return array[rows]

        return TokenRows(
            ids=of_tokens(self.ids),
            offsets=np.concatenate([[0], np.cumsum(self.lengths[rows])]).astype(np.int64),
            pad_id=self.pad_id,
            type_ids=None if self.type_ids is None else of_tokens(self.type_ids),
            takes_types=self.takes_types,
            labels=of_rows(self.labels),
            targets=of_rows(self.targets),
            asked=None if self.asked is None else of_tokens(self.asked),
        )

    def save(self, directory: Path) -> None:
        """Write the arrays as ``.npy`` files, readable by :meth:`load`."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            if (array := getattr(self, name)) is not None:
                np.save(directory / f"{name}.npy", array)
        np.save(directory / "settings.npy", np.array([self.pad_id, int(self.takes_types)]))

    @classmethod
    def load(cls, directory: Path) -> TokenRows:
        """Read what :meth:`save` wrote, memory-mapped."""

        def read(name: str) -> Any:
            path = directory / f"{name}.npy"
            return np.load(path, mmap_mode="r") if path.exists() else None

        pad_id, takes_types = np.load(directory / "settings.npy")
        arrays = {n: read(n) for n in _ARRAYS}
        return cls(**arrays, pad_id=int(pad_id), takes_types=bool(takes_types))


def _padded(flat: NDArray[Any], pieces: Sequence[slice], width: int, fill: Any) -> NDArray[Any]:
    """(rows, width, …) of what is flat by token."""
    padded = np.full((len(pieces), width, *flat.shape[1:]), fill, dtype=flat.dtype)
    for row, piece in enumerate(pieces):
        padded[row, : piece.stop - piece.start] = flat[piece]
    return padded


def rows_an_epoch(rows: TrainingRows) -> int:
    """Rows of one pass over the data; masked rows show each of them once a pass."""
    return len(rows) // getattr(rows, "passes", 1)


def narrowest(vocabulary: int) -> Any:
    """The narrowest unsigned integer type that holds token ids below ``vocabulary``."""
    return np.uint16 if vocabulary <= 2**16 else np.uint32


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, ...]],
    max_length: int,
    labels: NDArray[Any] | None = None,
    *,
    advance: Callable[[int], None] | None = None,
    encoded_piece: Callable[[BatchEncoding, NDArray[np.bool_]], None] | None = None,
) -> TokenRows:
    """Rows of one or two texts as token rows, cut to ``max_length`` tokens (specials included).

    A piece of a few thousand rows is tokenized at a time, fewer where they are long: texts that are
    read from a file never lie in memory all at once.

    Args:
        tokenizer: of the models.
        texts: rows of one text each, or of two each.
        max_length: tokens a row at most.
        labels: ``(rows,)``, passed on.
        advance: called with the number of rows done since it was last called.
        encoded_piece: called with what the tokenizer made of each piece and which of its rows it
            cut, in their order; the pieces follow from the texts alone.

    Returns:
        The rows; ``cut`` says how many were longer.

    Raises:
        TinybertError: there are no rows.
    """
    if not len(texts):
        raise TinybertError("there are no rows to tokenize: the data is empty.")
    dtype = narrowest(len(tokenizer))
    takes_types = "token_type_ids" in tokenizer.model_input_names
    with_types = takes_types and len(texts[0]) == 2
    ids: list[NDArray[Any]] = []
    types: list[NDArray[np.uint8]] = []
    lengths: list[NDArray[np.int64]] = []
    cut = 0
    for piece in _pieces(texts):
        encoded = tokenizer(
            *(list(column) for column in zip(*piece, strict=True)),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
        )
        counts = np.fromiter(map(len, encoded["input_ids"]), dtype=np.int64, count=len(piece))
        lengths.append(counts)
        ids.append(_flat(encoded["input_ids"], dtype, counts))
        if with_types:
            types.append(_flat(encoded["token_type_ids"], np.uint8, counts))
        cut_here = cut_rows(tokenizer, encoded, piece, max_length)
        cut += int(cut_here.sum())
        if encoded_piece is not None:
            encoded_piece(encoded, cut_here)
        if advance is not None:
            advance(len(piece))
    return TokenRows(
        ids=np.concatenate(ids),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        pad_id=tokenizer.pad_token_id or 0,
        type_ids=np.concatenate(types) if with_types else None,
        takes_types=takes_types,
        labels=labels,
        cut=cut,
    )


def _pieces(texts: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    piece: list[tuple[str, ...]] = []
    size = 0
    for row in texts:
        piece.append(row)
        size += sum(map(len, row))
        if len(piece) == ROWS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _flat(rows: Sequence[Sequence[int]], dtype: Any, counts: NDArray[np.int64]) -> NDArray[Any]:
    return np.fromiter(chain.from_iterable(rows), dtype=dtype, count=int(counts.sum()))


def micro_batches(
    lengths: NDArray[np.int64],
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    overhead: int = MICRO_BATCH_OVERHEAD,
) -> list[NDArray[np.int64]]:
    """Cut one batch into micro-batches of like lengths, at the least cost.

    The cost of a micro-batch is its padded size, rows x longest, plus ``overhead``; the cut that
    costs least over the sorted rows is found by dynamic programming. No micro-batch exceeds
    ``token_budget`` padded tokens, but a row longer than the budget stands alone.

    Returns:
        positions in ``lengths``, one array a micro-batch, longest rows first.
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    n = len(ordered)
    best = np.zeros(n + 1)  # best[i]: least cost of rows i … n-1
    cut = np.zeros(n, dtype=np.int64)
    for i in range(n - 1, -1, -1):
        most = max(1, min(n - i, int(token_budget // max(1, ordered[i]))))
        ends = np.arange(i + 1, i + most + 1)
        costs = (ends - i) * ordered[i] + overhead + best[ends]
        choice = int(np.argmin(costs))
        best[i], cut[i] = costs[choice], ends[choice]
    pieces, i = [], 0
    while i < n:
        pieces.append(order[i : cut[i]])
        i = int(cut[i])
    return pieces


def like_batches(
    rows: TrainingRows, indices: NDArray[np.int64], token_budget: int = DEFAULT_TOKEN_BUDGET
) -> list[NDArray[np.int64]]:
    """Some rows in micro-batches of like lengths; of rows that have ``groups``, each of one."""
    groups: NDArray[np.int64] | None = getattr(rows, "groups", None)
    found = [indices]
    if groups is not None:
        own = groups[indices]
        found = [indices[own == group] for group in np.unique(own)]
    return [
        part[piece]
        for part in found
        for piece in micro_batches(rows.lengths_of(part).astype(np.int64), token_budget)
    ]


def length_batches(
    rows: TrainingRows, token_budget: int = 4 * DEFAULT_TOKEN_BUDGET, most_rows: int = 256
) -> Iterator[NDArray[np.int64]]:
    """All rows once, longest first, in batches of like lengths: for evaluation and caching."""
    order = np.argsort(-rows.lengths, kind="stable")
    i = 0
    while i < len(order):
        longest = max(1, int(rows.lengths[order[i]]))
        size = max(1, min(most_rows, token_budget // longest))
        yield order[i : i + size]
        i += size


class StepSampler(Sampler[list[int]]):
    """For every optimiser step the rows of this process, over all epochs.

    All processes draw the same permutation an epoch from ``seed`` and the epoch's number; the rows
    of a step are dealt out by length, so that processes get like work. A last batch that is
    smaller is kept; a process that gets no row of it gets a stand-in, marked by a negative number.

    Args:
        lengths: tokens of each row.
        batch_size: rows a step, over all processes.
        steps: how many there are.
        seed: of the order.
        rank, world_size: which process this is, and of how many.
        order: (seed, epoch) → the rows of an epoch, as many as there are rows; default: each once,
            shuffled.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        order: Callable[[int, int], NDArray[np.int64]] | None = None,
    ) -> None:
        self.lengths, self.batch_size, self.steps = lengths, batch_size, steps
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.order = order or self._shuffled

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((seed, epoch)).permutation(len(self.lengths))

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        step, epoch = 0, 0
        while step < self.steps:
            order = self.order(self.seed, epoch)
            for start in range(0, len(order), self.batch_size):
                if step == self.steps:
                    return
                yield self._mine(order[start : start + self.batch_size])
                step += 1
            epoch += 1

    def _mine(self, rows: NDArray[np.int64]) -> list[int]:
        if self.world_size == 1:
            return [int(i) for i in rows]
        by_length = rows[np.argsort(-self.lengths[rows], kind="stable")]
        mine = by_length[self.rank :: self.world_size]
        return [int(i) for i in mine] if len(mine) else [-int(rows[0]) - 1]


class _RowNumbers(Dataset[int]):
    """Item i is i: rows are gathered a whole step at a time, by the collator."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


class _StepCollator:
    def __init__(self, rows: TrainingRows, token_budget: int) -> None:
        self.rows, self.token_budget = rows, token_budget

    def __call__(self, numbers: list[int]) -> dict[str, Any]:
        stand_in = len(numbers) == 1 and numbers[0] < 0
        indices = np.asarray([-n - 1 if n < 0 else n for n in numbers])
        pieces = like_batches(self.rows, indices, self.token_budget)
        return {
            "micro_batches": [self.rows.batch(piece) for piece in pieces],
            "stand_in": stand_in,
        }


def step_loader(rows: TrainingRows, sampler: StepSampler, token_budget: int) -> DataLoader[Any]:
    """A loader whose every item is one optimiser step of this process: a list of micro-batches."""
    return DataLoader(
        _RowNumbers(len(rows)),
        batch_sampler=sampler,
        collate_fn=_StepCollator(rows, token_budget),
        generator=torch.Generator().manual_seed(0),  # leaves the global random state alone
    )
