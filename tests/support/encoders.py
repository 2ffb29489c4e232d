"""A small random model of every kind of encoder that the package is tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from support import tiny

_SIZES: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 72,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}
_OWN: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "dropout": 0.0},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    # Layers 1 and 4 are global, a token of the others sees 3 to each side.
    "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "local_attention": 6},
    "eurobert": {"num_key_value_heads": 2},
}


def config(kind: str, **more: Any) -> Any:
    return AutoConfig.for_model(kind, **(_SIZES | _OWN.get(kind, {}) | more))


def classifier(kind: str, seed: int = 0, **more: Any) -> PreTrainedModel:
    """In eval mode; names of labels are those of :func:`tiny.sentences`."""
    names = {
        "id2label": dict(enumerate(tiny.LABELS)),
        "label2id": {name: i for i, name in enumerate(tiny.LABELS)},
    }
    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_config(config(kind, **names, **more)).eval()


def encoder(kind: str, seed: int = 0, **more: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    return AutoModel.from_config(config(kind, **more)).eval()


def saved(model: PreTrainedModel, directory: Path) -> Path:
    """With its tokenizer."""
    model.save_pretrained(directory)
    tiny.tokenizer().save_pretrained(directory)
    return directory
