"""Similarities of a sentence encoder while it is distilled, at every size of its vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.distiller import Distiller
from tinybert.jobs.similarity import read_pairs
from tinybert.progress import Reporter
from tinybert.sentence_modules import SentenceHead
from tinybert.settings import EmbedderSettings
from tinybert.similarity import SentencePairs, cosines, sentence_embeddings, similarity_figures

__all__ = ["Watch"]


class Watch:
    """The student's similarities on ``--watch``, at every size.

    Sentences are cut to ``length`` tokens, as those of training are.
    """

    def __init__(
        self,
        settings: EmbedderSettings,
        teacher: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        head: SentenceHead,
        sizes: tuple[int, ...],
        length: int,
        reporter: Reporter,
    ) -> None:
        assert settings.watch is not None
        self.pairs: SentencePairs = read_pairs(
            settings.watch, tokenizer, max_length=length, reporter=reporter
        )
        self.sizes = sizes
        with reporter.track(
            len(self.pairs.rows), "sentences of the teacher", unit="rows"
        ) as progress:
            self.teacher = self.pairs.cosines(teacher, head, progress.advance)
        self.teacher_figures = similarity_figures(self.teacher, self.pairs.scores)
        if self.pairs.scores is not None:
            score = self.teacher_figures["similarity_spearman"]
            reporter.say(
                f"{settings.watch}: the teacher's similarities go with the scores by {score:.4f}"
            )

    def at_sizes(self, vectors: Any) -> dict[int | None, dict[str, float]]:
        """Figures of the whole vectors (None) and of each size, (sentences, width)."""
        found: dict[int | None, dict[str, float]] = {}
        for size in (None, *self.sizes):
            cut = vectors[:, :size]
            own = cosines(cut[self.pairs.first], cut[self.pairs.second])
            found[size] = similarity_figures(own, self.pairs.scores, self.teacher)
        return found

    def __call__(self, pooling: SentenceHead) -> Callable[[Distiller], dict[str, float]]:
        """An evaluation for the embedding stage; ``pooling`` is that of the student's states."""

        @torch.no_grad()
        def evaluate(distiller: Distiller) -> dict[str, float]:
            states = sentence_embeddings(distiller.student, self.pairs.rows, pooling)
            assert distiller.projections is not None
            device = next(distiller.parameters()).device
            last = distiller.projections.layers
            vectors = distiller.projections.project(last, torch.from_numpy(states).to(device))
            found = self.at_sizes(vectors.float().cpu().numpy())
            return {
                name if size is None else f"{name}_{size}": value
                for size, figures in found.items()
                for name, value in figures.items()
            }

        return evaluate

    def all_figures(self, student: PreTrainedModel, head: SentenceHead) -> dict[str, Any]:
        """For ``results.json``: teacher, student, and the student at each size."""
        found = self.at_sizes(sentence_embeddings(student, self.pairs.rows, head))
        return {
            "pairs": len(self.pairs),
            "teacher": self.teacher_figures,
            "student": found[None],
            "sizes": {str(size): found[size] for size in self.sizes},
        }

    def show(self, figures: dict[str, Any], reporter: Reporter) -> None:
        """As a table."""
        lines = [["teacher", figures["teacher"]], ["student", figures["student"]]]
        lines += [[f"student, first {size}", found] for size, found in figures["sizes"].items()]
        names = {
            "similarity_spearman": "Spearman against the scores",
            "similarity_agreement": "against the teacher's",
        }
        names = {name: told for name, told in names.items() if name in figures["student"]}
        table = [
            [told, *(f"{found[name]:.4f}" if name in found else None for name in names)]
            for told, found in lines
        ]
        reporter.table(
            f"similarities of {figures['pairs']:,} pairs", ["vectors", *names.values()], table
        )
