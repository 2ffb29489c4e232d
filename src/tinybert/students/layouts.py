"""Where encoders keep their parts: one small table of module paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from tinybert.errors import TinybertError

__all__ = ["Encoder", "Layer", "encoder_of"]


@dataclass(frozen=True)
class _Paths:
    layers: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    ff_in: str
    activation: str
    ff_out: str
    out_norm: str


_BERT = _Paths(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    ff_in="intermediate.dense",
    activation="intermediate.intermediate_act_fn",
    ff_out="output.dense",
    out_norm="output.LayerNorm",
)
_DISTILBERT = _Paths(
    layers="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    ff_in="ffn.lin1",
    activation="ffn.activation",
    ff_out="ffn.lin2",
    out_norm="output_layer_norm",
)
# Post-LayerNorm encoders with absolute positions added to the embeddings, by model_type.
_PATHS = {
    "bert": _BERT,
    "tinybert_relu_bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
}


@dataclass(frozen=True)
class Layer:
    """The parts of one post-LayerNorm Transformer layer."""

    module: nn.Module
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_out: nn.Linear
    attention_norm: nn.LayerNorm
    ff_in: nn.Linear
    activation: nn.Module
    ff_out: nn.Linear
    out_norm: nn.LayerNorm


@dataclass(frozen=True)
class Encoder:
    """The parts of an encoder body (``model.base_model``)."""

    body: PreTrainedModel
    tables: dict[str, nn.Embedding]
    embedding_norm: nn.LayerNorm
    layers: tuple[Layer, ...]
    heads: int


def encoder_of(model: PreTrainedModel) -> Encoder:
    """The parts of ``model``.

    Raises:
        TinybertError: not a post-LayerNorm encoder with absolute positions that we know.
    """
    config = model.config
    paths = _PATHS.get(config.model_type)
    body = cast(PreTrainedModel, model.base_model)
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if (
        paths is None
        or positions != "absolute"
        or getattr(config, "is_decoder", False)
        or hasattr(body, "embeddings_project")  # ELECTRA with narrower embeddings
    ):
        raise TinybertError(
            f"start=pca does not apply to this {config.model_type} teacher: it is for "
            "post-LayerNorm encoders with absolute positions and embeddings as wide as the body "
            f"({', '.join(_PATHS)}); take start=layers (same width) or start=random."
        )
    embeddings = body.get_submodule("embeddings")
    tables = {n: m for n, m in embeddings.named_children() if isinstance(m, nn.Embedding)}

    def layer(module: nn.Module) -> Layer:
        parts: dict[str, Any] = {
            name: getattr_path(module, path)
            for name, path in vars(paths).items()
            if name != "layers"
        }
        return Layer(module=module, **parts)

    modules = cast(nn.ModuleList, body.get_submodule(paths.layers))
    return Encoder(
        body=body,
        tables=tables,
        embedding_norm=cast(nn.LayerNorm, embeddings.get_submodule("LayerNorm")),
        layers=tuple(layer(module) for module in modules),
        heads=int(config.num_attention_heads),
    )


def getattr_path(module: Any, path: str) -> Any:
    """``module.a.b.c`` for ``"a.b.c"`` (activations may be plain functions, not modules)."""
    for name in path.split("."):
        module = getattr(module, name)
    return module
