"""Which encoders are tested as teachers and students, and what of each can be distilled.

One table: the document docs/reference/encoders.md shows it, and tests hold the package to it.
Other encoders are not refused: what they allow is found out from the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

__all__ = ["ENCODERS", "Kind", "kind_of", "limits", "table"]

_ALIKE = "starts and losses as for BERT"
_OWN = "attention adds terms of relative positions within itself, out of reach"


@dataclass(frozen=True)
class Kind:
    """A kind of encoder. All give hidden states, the embedding output and logits.

    Attributes:
        name: as people call it.
        model_type: of its configuration.
        attention: whether queries and keys can be read, and so the attention loss be had.
        starts: those of :data:`tinybert.students.STARTS` that serve it.
        fused: whether its ONNX form has ONNX Runtime's own attention.
        remark: what is particular, for people.
    """

    name: str
    model_type: str
    attention: bool = True
    starts: tuple[str, ...] = ("random", "layers", "pca")
    fused: bool = True
    remark: str = ""


_NO_PCA = ("random", "layers")

ENCODERS: tuple[Kind, ...] = (
    Kind("BERT", "bert", remark="the paper's"),
    Kind("RoBERTa", "roberta", remark=_ALIKE),
    Kind("XLM-R", "xlm-roberta", remark=_ALIKE),
    Kind("CamemBERT", "camembert", remark=_ALIKE),
    Kind("DistilBERT", "distilbert", remark="no token types"),
    Kind(
        "ELECTRA",
        "electra",
        remark="embeddings narrower than the body (small, large) keep their width; the embedding "
        "output is read behind the map to the body's width",
    ),
    Kind(
        "ALBERT",
        "albert",
        starts=_NO_PCA,
        remark="all layers share their weights: start=layers copies the one layer, and the "
        "student runs it fewer times, as large as its teacher but faster; teachers of several "
        "groups of layers start their students at random",
    ),
    Kind(
        "MobileBERT",
        "mobilebert",
        starts=_NO_PCA,
        remark="attention runs in the bottleneck, which keeps its ratio to the student's width; "
        "each token reads its neighbours' embeddings, so rows are the same padded and alone only "
        "where the embedding of the padding token is zero",
    ),
    Kind(
        "MPNet",
        "mpnet",
        attention=False,
        fused=False,
        remark=f"{_OWN}; start=pca keeps the bias of relative positions and so the number of heads",
    ),
    Kind(
        "DeBERTa v2, v3",
        "deberta-v2",
        attention=False,
        starts=_NO_PCA,
        fused=False,
        remark=_OWN,
    ),
    Kind(
        "NomicBERT",
        "nomic_bert",
        starts=_NO_PCA,
        remark="rotary positions: heads of even size; scores are compared as attention sees "
        "them, turned",
    ),
    Kind(
        "ModernBERT",
        "modernbert",
        starts=_NO_PCA,
        fused=False,
        remark="rotary; a student layer has the window of its teacher layer, and only pairs "
        "within it are compared; the last state is read behind the final LayerNorm, those of "
        "other layers before it",
    ),
    Kind(
        "EuroBERT",
        "eurobert",
        starts=_NO_PCA,
        fused=False,
        remark="rotary; shared keys keep their ratio to queries, and each head of queries is "
        "compared with the keys that it reads; the last state is read behind the final norm",
    ),
)


def kind_of(model_type: str) -> Kind | None:
    """The tested kind of that ``model_type``."""
    return next((kind for kind in ENCODERS if kind.model_type == model_type), None)


def limits(teacher: PreTrainedModel, global_layers: Sequence[bool]) -> list[str]:
    """What a user should know of this teacher's student before it is trained.

    Args:
        teacher: any encoder.
        global_layers: of the student, whether each sees whole rows.
    """
    said = []
    model_type = teacher.config.model_type
    if kind_of(model_type) is None and not model_type.startswith("tinybert"):
        names = ", ".join(kind.name for kind in ENCODERS)
        said.append(
            f"{model_type} is none of the encoders that tinybert is tested with ({names}): what it "
            "shows is distilled"
        )
    if global_layers and not any(global_layers):
        said.append(
            "no layer of the student sees whole rows, only windows: map one to a layer of global "
            "attention with --layer-mapping"
        )
    return said


def table() -> str:
    """The table of the documents, in Markdown."""
    lines = [
        "| encoder | `model_type` | attention | hidden states, embedding, logits | starts "
        "| ONNX and int8 | remark |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in ENCODERS:
        attention = "yes" if kind.attention else "no"
        onnx = "yes, attention fused" if kind.fused else "yes"
        starts = ", ".join(kind.starts)
        lines.append(
            f"| {kind.name} | `{kind.model_type}` | {attention} | yes | {starts} | {onnx} "
            f"| {kind.remark} |"
        )
    return "\n".join(lines) + "\n"
