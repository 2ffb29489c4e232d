"""Where encoders keep their parts: one small table of module paths."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
_MPNET = replace(
    _BERT,
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_out="attention.attn.o",
    attention_norm="attention.LayerNorm",
)
# Post-LayerNorm encoders with absolute positions added to the embeddings, by model_type. MPNet
# adds a bias of relative positions to its scores; it is kept as it is.
_PATHS = {
    "bert": _BERT,
    "tinybert_relu_bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
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
    embedding_map: nn.Linear | None  # ELECTRA: behind embeddings narrower than the body
    position_bias: nn.Embedding | None  # MPNet: on the scores of each head
    layers: tuple[Layer, ...]
    heads: int

    @property
    def width(self) -> int:
        return int(self.layers[0].out_norm.normalized_shape[0])

    @property
    def embedding_output(self) -> nn.Module:
        """The module that gives the embedding output."""
        return self.embedding_map or self.embedding_norm


def encoder_of(model: PreTrainedModel) -> Encoder:
    """The parts of ``model``.

    Raises:
        TinybertError: not a post-LayerNorm encoder with absolute positions that we know.
    """
    config = model.config
    paths = _PATHS.get(config.model_type)
    body = cast(PreTrainedModel, model.base_model)
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if paths is None or positions != "absolute" or getattr(config, "is_decoder", False):
        raise TinybertError(
            f"start=pca does not apply to this {config.model_type} teacher: it is for "
            f"post-LayerNorm encoders with absolute positions ({', '.join(_PATHS)}); take "
            "start=layers (same width) or start=random."
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
        embedding_map=getattr(body, "embeddings_project", None),
        position_bias=getattr(getattr(body, "encoder", None), "relative_attention_bias", None),
        layers=tuple(layer(module) for module in modules),
        heads=int(config.num_attention_heads),
    )


def getattr_path(module: Any, path: str) -> Any:
    """``module.a.b.c`` for ``"a.b.c"`` (activations may be plain functions, not modules)."""
    for name in path.split("."):
        module = getattr(module, name)
    return module
