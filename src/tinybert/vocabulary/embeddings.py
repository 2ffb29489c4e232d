"""A model whose embeddings, and whatever else has a row a piece, hold fewer pieces."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from tinybert import relu_bert
from tinybert.errors import TinybertError
from tinybert.teachers import check_model_directory, without_bars

__all__ = ["cut_model", "load_whole", "named_ids"]


@without_bars()
def load_whole(path: str | Path) -> PreTrainedModel:
    """A model with whatever head it was saved with, in the precision it was saved in.

    Raises:
        TinybertError: no such model, or it cannot be loaded.
    """
    check_model_directory(path)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of weights that a checkpoint lacks, such as an unused pooler
            config = AutoConfig.from_pretrained(str(path))
            name = (config.architectures or [""])[0]
            kind: Any = getattr(relu_bert, name, None) or getattr(transformers, name, AutoModel)
            model: PreTrainedModel = kind.from_pretrained(str(path), dtype="auto")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise TinybertError(
            f"{path} cannot be loaded as a model ({reason}): give a directory written by "
            "save_pretrained(), or the name of a Hub model that is in the local cache."
        ) from error
    if not isinstance(getattr(model.config, "vocab_size", None), int):
        raise TinybertError(
            f"{path} is of the type {model.config.model_type}, which has no vocabulary of its own "
            "to cut: give an encoder such as BERT."
        )
    model.train(False)
    return model


def named_ids(config: Any) -> set[int]:
    """Token ids that a model's config names, such as ``pad_token_id``."""
    ids = [i for value in _named(config).values() for i in _listed(value)]
    return {i for i in ids if 0 <= i < config.vocab_size}


def _named(config: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in config.to_dict().items()
        if key.endswith("_token_id") and value is not None
    }


def _listed(value: Any) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@torch.no_grad()
def cut_model(model: PreTrainedModel, kept: NDArray[Any]) -> PreTrainedModel:
    """The same model with the pieces ``kept`` alone; the i-th of them gets id i.

    A model of the smaller vocabulary is made, and of each tensor that has another shape there the
    kept rows are taken: input embeddings, output embeddings, biases of the output. What is tied
    stays tied.

    Args:
        model: any of transformers' encoders, with or without a head.
        kept: (kept,) ids, ascending.

    Raises:
        TinybertError: a tensor depends on the vocabulary in a way that is not understood.
    """
    size = model.config.vocab_size
    config = copy.deepcopy(model.config)
    config.vocab_size = len(kept)
    places = {int(old): new for new, old in enumerate(kept)}
    for key, value in _named(config).items():
        moved = [places.get(i, i) for i in _listed(value)]
        setattr(config, key, moved if isinstance(value, (list, tuple)) else moved[0])
    with torch.random.fork_rng(devices=[]):
        made: PreTrainedModel = type(model)(config)
        cast(nn.Module, made).to(model.dtype)
    rows = torch.from_numpy(kept)
    whole = model.state_dict()
    state = {}
    for name, tensor in made.state_dict().items():
        old = whole[name]
        other = [d for d in range(old.dim()) if old.shape[d] != tensor.shape[d]]
        fits = all(old.shape[d] == size and tensor.shape[d] == len(kept) for d in other)
        if len(other) > 1 or not fits:
            raise TinybertError(
                f"{type(model).__name__} has a tensor {name} of {list(old.shape)} that follows "
                "from its vocabulary in a way not known here: give an encoder such as BERT."
            )
        state[name] = old.index_select(other[0], rows) if other else old
    made.load_state_dict(state)
    made.train(False)
    return made
