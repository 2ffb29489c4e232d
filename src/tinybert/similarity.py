"""How alike sentences are to a model: pooled states, and agreement with people and teachers.

A check of a general student that needs no task head: the cosine of two sentences' vectors, ranked
against people's scores (as STS-B is used for sentence encoders) or against the teacher's cosines. A
vector is the mean of the last hidden states, or what a sentence encoder's own modules make of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from transformers import PreTrainedModel

from tinybert.batching import TokenRows, length_batches
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.outputs import whole_file
from tinybert.progress import Reporter
from tinybert.sentence_modules import Pooling, SentenceHead
from tinybert.taps import TapRequest, run_with_taps
from tinybert.teachers import Teacher

__all__ = [
    "Pooling",
    "SentencePairs",
    "cached_vectors",
    "cosines",
    "sentence_embeddings",
    "similarity_figures",
    "similarity_watch",
]


@torch.no_grad()
def sentence_embeddings(
    model: PreTrainedModel,
    rows: TokenRows,
    pooling: Pooling | SentenceHead = "mean",
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Vectors of sentences, (rows, width) float32, in the rows' order.

    Args:
        model: encoder or classifier, of which the body is used; eval mode, no autocast; its mode
            and the random states stay as they are.
        rows: sentences.
        pooling: of the last hidden states: mean over real tokens, specials included; or the first
            token; or a sentence encoder's own head.
        advance: called with the number of rows done.
    """
    head = pooling if isinstance(pooling, SentenceHead) else SentenceHead(pooling)
    device = next(model.parameters()).device
    was_training = model.training
    model.train(False)
    last = model.config.num_hidden_layers
    pooled = np.zeros((len(rows), head.width(model.config.hidden_size)), dtype=np.float32)
    try:
        for indices in length_batches(rows):
            batch = {name: tensor.to(device) for name, tensor in rows.batch(indices).items()}
            states = run_with_taps(model, batch, TapRequest(hidden=frozenset({last}))).hidden[last]
            states, mask = states.float(), batch["attention_mask"]
            pooled[indices] = head.to(device)(states, mask).cpu().numpy()
            if advance is not None:
                advance(len(indices))
    finally:
        model.train(was_training)
    return pooled


def cached_vectors(
    teacher: Teacher,
    head: SentenceHead,
    rows: TokenRows,
    path: Path,
    reporter: Reporter | None = None,
) -> NDArray[np.float32]:
    """The teacher's vector of every sentence, (rows, width) float32, computed once.

    As :func:`tinybert.teachers.cached_logits`: kept under ``path`` (whole or absent), named by
    teacher, head and rows, and mapped into memory.
    """
    key = f"{teacher.fingerprint()} {_head_print(head)}"
    key += f" {replace(rows, labels=None, targets=None).fingerprint()}"
    file = path / f"vectors-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not file.is_file():
        reporter = reporter or Reporter(quiet=True)
        with reporter.track(len(rows), "teacher's vectors", unit="rows") as progress:
            vectors = sentence_embeddings(teacher.model, rows, head, progress.advance)
        with whole_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors)
    kept: NDArray[np.float32] = np.load(file, mmap_mode="r")
    return kept


def _head_print(head: SentenceHead) -> str:
    digest = hashlib.sha256(f"{head.told} {head.dense}".encode())
    for name, tensor in sorted(head.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each pair of rows, (rows,) float64.

    Raises:
        TinybertError: states that are no numbers.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not np.isfinite(norms).all():
        raise TinybertError("the model's states are no finite numbers: its weights are broken.")
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12))


def similarity_figures(
    own: NDArray[np.float64],
    scores: NDArray[np.float64] | None = None,
    teacher: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Named figures of a model's cosines.

    Args:
        own: (pairs,) cosines.
        scores: people's, (pairs,).
        teacher: the teacher's cosines, (pairs,).

    Returns:
        ``similarity_spearman`` and ``similarity_pearson`` against people;
        ``similarity_agreement``, Spearman's against the teacher, and ``similarity_gap``, the mean
        absolute difference of cosines. 0 where one side is constant.
    """
    figures: dict[str, float] = {}
    if scores is not None:
        figures["similarity_spearman"] = _correlation(spearmanr, own, scores)
        figures["similarity_pearson"] = _correlation(pearsonr, own, scores)
    if teacher is not None:
        figures["similarity_agreement"] = _correlation(spearmanr, own, teacher)
        figures["similarity_gap"] = float(np.abs(own - teacher).mean())
    return figures


def _correlation(
    measure: Callable[..., tuple[float, float]],
    one: NDArray[np.float64],
    other: NDArray[np.float64],
) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(measure(one, other)[0])


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of sentences, each sentence once.

    Attributes:
        rows: the sentences.
        first, second: (pairs,) their rows.
        scores: (pairs,) people's; None where there are none.
    """

    rows: TokenRows
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.first)

    def cosines(
        self,
        model: PreTrainedModel,
        pooling: Pooling | SentenceHead = "mean",
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """The model's cosine of each pair, (pairs,)."""
        vectors = sentence_embeddings(model, self.rows, pooling, advance)
        return cosines(vectors[self.first], vectors[self.second])


def similarity_watch(
    pairs: SentencePairs,
    teacher: NDArray[np.float64] | None = None,
    pooling: Pooling = "mean",
) -> Callable[[Distiller], dict[str, float]]:
    """An evaluation for the trainer: the student's figures on pairs of sentences.

    ``teacher``: the teacher's cosines, (pairs,), which stay as they are while the student learns;
    ``pooling``: of the student's states.
    """
    return lambda distiller: similarity_figures(
        pairs.cosines(distiller.student, pooling), pairs.scores, teacher
    )
