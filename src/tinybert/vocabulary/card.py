"""The model card of a model with a cut vocabulary."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from tinybert import __version__
from tinybert.export import CARD_FILE, model_card

__all__ = ["vocabulary_told", "write_trimmed_card"]


def write_trimmed_card(
    directory: Path, figures: Mapping[str, Any], config: Any, *, name: str
) -> None:
    """Write ``README.md``: the model as it is now, and what was cut.

    Args:
        directory: the new model's, with its ``config.json``.
        figures: of :class:`tinybert.vocabulary.VocabularyReport`.
        config: the new model's.
        name: of the model.
    """
    after = figures["after"]
    results = figures["trained"] | {
        "student": {
            "parameters": after["parameters"],
            "layers": getattr(config, "num_hidden_layers", None),
            "hidden": getattr(config, "hidden_size", None),
        },
        "versions": {
            "tinybert": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    text = model_card(directory, results, name=name) + "\n" + vocabulary_told(figures) + "\n"
    (directory / CARD_FILE).write_text(text, encoding="utf-8", newline="\n")


def vocabulary_told(figures: Mapping[str, Any]) -> str:
    """The part of a card on what was cut; ``figures`` as of :func:`write_trimmed_card`."""
    before, after = figures["before"], figures["after"]
    told = [
        "## Vocabulary",
        f"Cut from {before['pieces']:,} to {after['pieces']:,} pieces with tinybert: those "
        f"that {figures['texts']:,} texts use, special tokens, and single characters. Parameters: "
        f"{before['parameters']:,} before, {after['parameters']:,} after. Words whose pieces are "
        "all kept are read as before; others fall into smaller pieces.",
    ]
    if coverage := figures["coverage"]:
        told.append(
            f"On {figures['compared_on']}, {100 * coverage['share_of_words_kept']:.2f} % of the "
            f"words and {100 * coverage['share_of_texts_kept']:.1f} % of the texts are read as "
            "before."
        )
    for scores in [figures["scores"]] if figures["scores"] else []:
        metric = next(iter(scores["before"]))
        told.append(
            f"{metric.replace('_', ' ')} before {scores['before'][metric]:.4f}, after "
            f"{scores['after'][metric]:.4f}."
        )
    return "\n\n".join(told)
