"""An exported sentence encoder held against PyTorch: its vectors, and their similarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import TokenRows
from tinybert.sentence_modules import SentenceHead
from tinybert.similarity import SentencePairs, cosines, sentence_embeddings, similarity_figures

__all__ = ["Vectors"]


class Vectors:
    """PyTorch's vectors of sentences, to compare forms with.

    Args:
        model: in eval mode.
        head: its own.
        rows: sentences, where there are no pairs.
        pairs: pairs of sentences, with people's scores or without.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        head: SentenceHead,
        rows: TokenRows,
        pairs: SentencePairs | None = None,
    ) -> None:
        self.head, self.pairs = head, pairs
        self.rows = rows if pairs is None else pairs.rows
        self.vectors = sentence_embeddings(model, self.rows, head)
        self.before: dict[str, float] = {}
        if pairs is not None and pairs.scores is not None:
            found = similarity_figures(self._cosines(self.vectors), pairs.scores)
            self.before = {"spearman": found["similarity_spearman"]}

    def figures(self, vectors: NDArray[np.float32]) -> dict[str, Any]:
        """Of a form's vectors, (rows, width).

        Returns:
            ``cosine`` and ``cosine_least``, mean and least of a sentence's two vectors; of pairs
            ``similarity_agreement``, Spearman's of their similarities with PyTorch's, and
            ``scores`` with ``spearman``, where people gave any.
        """
        same = cosines(vectors, self.vectors)
        found: dict[str, Any] = {"cosine": float(same.mean()), "cosine_least": float(same.min())}
        if self.pairs is None:
            return found
        own, wanted = self._cosines(vectors), self._cosines(self.vectors)
        figures = similarity_figures(own, self.pairs.scores, wanted)
        found["similarity_agreement"] = figures["similarity_agreement"]
        if self.before:
            found["scores"] = {"spearman": figures["similarity_spearman"]}
        return found

    def _cosines(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        assert self.pairs is not None
        return cosines(vectors[self.pairs.first], vectors[self.pairs.second])
