"""Checkpoints in the layout of the TinyBERT authors' code, and what their model computes.

Written out in plain torch, so that it shares nothing with what it is held against.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from support import tiny

SIZES: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "cell": {},
    "emb_size": 12,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 12,
    "initializer_range": 0.02,
    "intermediate_size": 20,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pre_trained": "",
    "structure": [],
    "training": "",
    "type_vocab_size": 2,
    "vocab_size": tiny.VOCABULARY,
}
Weights = dict[str, Tensor]


def sizes(**changed: Any) -> dict[str, Any]:
    return SIZES | changed


def weights(
    config: dict[str, Any],
    *,
    labels: int | None = None,
    fit: str | None = "fit_dense",
    teacher_width: int = 24,
    heads: bool = False,
    seed: int = 0,
) -> Weights:
    """Random tensors; ``fit``: one ``fit_dense``, ``fit_denses`` for each layer, or None."""
    random = torch.Generator().manual_seed(seed)
    d, inner = config["hidden_size"], config["intermediate_size"]
    state: Weights = {}

    def table(name: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.randn(*shape, generator=random) / math.sqrt(shape[-1])

    def linear(name: str, outputs: int, inputs: int) -> None:
        table(name, outputs, inputs)
        state[f"{name}.bias"] = 0.3 * torch.randn(outputs, generator=random)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 1 + 0.3 * torch.randn(d, generator=random)
        state[f"{name}.bias"] = 0.3 * torch.randn(d, generator=random)

    table("bert.embeddings.word_embeddings", config["vocab_size"], d)
    table("bert.embeddings.position_embeddings", config["max_position_embeddings"], d)
    table("bert.embeddings.token_type_embeddings", config["type_vocab_size"], d)
    norm("bert.embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", d, d)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, d)
        linear(f"{layer}.output.dense", d, inner)
        norm(f"{layer}.output.LayerNorm")
    linear("bert.pooler.dense", d, d)
    if heads:
        state["cls.predictions.bias"] = torch.zeros(config["vocab_size"])
        linear("cls.predictions.transform.dense", d, d)
        norm("cls.predictions.transform.LayerNorm")
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
        linear("cls.seq_relationship", 2, d)
    if labels is not None:
        linear("classifier", labels, d)
    if fit == "fit_dense":
        linear(fit, teacher_width, d)
    elif fit == "fit_denses":
        for m in range(config["num_hidden_layers"] + 1):
            linear(f"{fit}.{m}", teacher_width, d)
    return state


def old_names(state: Weights) -> Weights:
    """LayerNorms as gamma and beta, as the earliest checkpoints have them."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in state.items()
    }


def write(
    directory: Path,
    config: dict[str, Any],
    state: Weights,
    *,
    config_name: str = "config.json",
    zipped: bool = True,
) -> Path:
    """A checkpoint's directory; ``zipped`` off: in the file format of PyTorch before 1.6."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / config_name).write_text(json.dumps(config))
    file = directory / "pytorch_model.bin"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    (directory / "vocab.txt").write_text("\n".join(tiny.SPECIALS + tiny.WORDS) + "\n")
    return directory


def batch(config: dict[str, Any], rows: int = 5, longest: int = 11, seed: int = 3) -> Weights:
    """Padded rows of different lengths, two segments each."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, longest + 1, (rows, 1), generator=random)
    lengths[0] = longest
    mask = (torch.arange(longest) < lengths).long()
    ids = torch.randint(1, config["vocab_size"], (rows, longest), generator=random) * mask
    types = (torch.arange(longest) >= lengths // 2).long() * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def states(config: dict[str, Any], w: Weights, inputs: Weights) -> list[Tensor]:
    """Embedding output and layer outputs, (rows, length, width) each."""
    ids, mask, types = (inputs[n] for n in ("input_ids", "attention_mask", "token_type_ids"))
    heads = config["num_attention_heads"]
    rows, length = ids.shape

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def split(x: Tensor) -> Tensor:
        return x.reshape(rows, length, heads, -1).transpose(1, 2)

    x = w["bert.embeddings.word_embeddings.weight"][ids]
    x = x + w["bert.embeddings.position_embeddings.weight"][:length]
    x = x + w["bert.embeddings.token_type_embeddings.weight"][types]
    out = [norm(x, "bert.embeddings.LayerNorm")]
    for i in range(config["num_hidden_layers"]):
        x, layer = out[-1], f"bert.encoder.layer.{i}"
        q, k, v = (
            split(linear(x, f"{layer}.attention.self.{n}")) for n in ("query", "key", "value")
        )
        scores = q @ k.mT / math.sqrt(q.shape[-1]) - 10000.0 * (1 - mask[:, None, None])
        context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, -1)
        x = norm(
            x + linear(context, f"{layer}.attention.output.dense"),
            f"{layer}.attention.output.LayerNorm",
        )
        y = linear(x, f"{layer}.intermediate.dense")
        y = y * 0.5 * (1 + torch.erf(y / math.sqrt(2))) if config["hidden_act"] == "gelu" else y
        y = y.clamp_min(0) if config["hidden_act"] == "relu" else y
        out.append(norm(x + linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"))
    return out


def pooled(config: dict[str, Any], w: Weights, inputs: Weights) -> Tensor:
    """tanh of the pooler's map of the first token's last state, (rows, width)."""
    first = states(config, w, inputs)[-1][:, 0]
    return torch.tanh(first @ w["bert.pooler.dense.weight"].T + w["bert.pooler.dense.bias"])


def logits(config: dict[str, Any], w: Weights, inputs: Weights, *, relu: bool = True) -> Tensor:
    """The task model's outputs, (rows, labels); without ``relu`` the standard head's."""
    features = pooled(config, w, inputs)
    features = features.clamp_min(0) if relu else features
    return features @ w["classifier.weight"].T + w["classifier.bias"]
