"""How alike sentences are to a model: pooled states, and agreement with people and teachers.

A check of a general student that needs no head: the cosine of two sentences' mean-pooled last
hidden states, ranked against people's scores (as STS-B is used for sentence encoders) or against
the teacher's cosines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from transformers import PreTrainedModel

from tinybert.batching import TokenRows, length_batches
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.taps import TapRequest, run_with_taps

__all__ = [
    "Pooling",
    "SentencePairs",
    "cosines",
    "sentence_embeddings",
    "similarity_figures",
    "similarity_watch",
]

Pooling = Literal["mean", "cls"]


@torch.no_grad()
def sentence_embeddings(
    model: PreTrainedModel,
    rows: TokenRows,
    pooling: Pooling = "mean",
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Pooled last hidden states, (rows, width) float32, in the rows' order.

    Args:
        model: encoder or classifier, of which the body is used; eval mode, no autocast; its mode
            and the random states stay as they are.
        rows: sentences.
        pooling: mean over real tokens, specials included; or the first token.
        advance: called with the number of rows done.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.train(False)
    last = model.config.num_hidden_layers
    pooled = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    try:
        for indices in length_batches(rows):
            batch = {name: tensor.to(device) for name, tensor in rows.batch(indices).items()}
            states = run_with_taps(model, batch, TapRequest(hidden=frozenset({last}))).hidden[last]
            if pooling == "cls":
                vectors = states[:, 0]
            else:
                mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
                vectors = (states * mask).sum(1) / mask.sum(1)
            pooled[indices] = vectors.float().cpu().numpy()
            if advance is not None:
                advance(len(indices))
    finally:
        model.train(was_training)
    return pooled


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
        pooling: Pooling = "mean",
        advance: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """The model's cosine of each pair, (pairs,)."""
        vectors = sentence_embeddings(model, self.rows, pooling, advance)
        return cosines(vectors[self.first], vectors[self.second])


def similarity_watch(
    pairs: SentencePairs, teacher: NDArray[np.float64] | None = None
) -> Callable[[Distiller], dict[str, float]]:
    """An evaluation for the trainer: the student's figures on pairs of sentences.

    ``teacher``: the teacher's cosines, (pairs,), which stay as they are while the student learns.
    """
    return lambda distiller: similarity_figures(
        pairs.cosines(distiller.student), pairs.scores, teacher
    )
