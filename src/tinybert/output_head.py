"""The output head of masked language models: which models have one, and whether it is tied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from tinybert.errors import TinybertError

__all__ = ["check_masked_lm", "load_masked_lm", "names_output_head"]

# Heads of pre-training that hold the one for masked tokens.
_PRETRAINING = {"BertForPreTraining", "AlbertForPreTraining", "MobileBertForPreTraining"}


def names_output_head(config: Any) -> bool:
    """Whether a model's config names an architecture with an output head for masked tokens."""
    known = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()} | _PRETRAINING
    return not known.isdisjoint(config.architectures or [])


def check_masked_lm(path: str | Path, config: Any) -> None:
    """Refuse a model that transformers has no masked language model of.

    Raises:
        TinybertError: it has none.
    """
    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise TinybertError(
            f"{path} is of the type {config.model_type}, of which transformers has no masked "
            "language model: give an encoder such as BERT, RoBERTa or ModernBERT."
        )


def load_masked_lm(path: str | Path, **options: Any) -> PreTrainedModel:
    """``AutoModelForMaskedLM``, with the output embedding tied where the config says so.

    Raises:
        TinybertError: the config says so, and the checkpoint has two different ones.
    """
    model: PreTrainedModel = AutoModelForMaskedLM.from_pretrained(str(path), **options)
    own: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    names = {n for n, p in model.named_parameters(remove_duplicate=False) if p is own.weight}
    tied = getattr(model.config, "tie_word_embeddings", False)
    asked = tied and names & set(model._tied_weights_keys or ())
    if asked and own.weight is not model.get_input_embeddings().weight:
        raise TinybertError(
            f"{path} has an output embedding other than its input embedding, and its config says "
            'that they are one: write "tie_word_embeddings": false into its config.json.'
        )
    return model
