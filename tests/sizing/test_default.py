from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from tinybert.errors import TinybertError
from tinybert.sizing import default_shape
from tinybert.students import check_start, parse_shape


def bert(layers: int, width: int, heads: int, intermediate: int | None = None) -> BertModel:
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=intermediate or 4 * width,
        vocab_size=50,
    )
    with torch.device("meta"):
        return BertModel(config)


@pytest.mark.parametrize(
    ("teacher", "many", "few"),
    [
        ((12, 768, 12), "4x312", "4x504"),  # TinyBERT_4
        ((24, 1024, 16), "8x416", "8x672"),
        ((10, 768, 12), "3x312", "3x504"),
        ((6, 384, 12), "4x192", "4x264"),
        ((6, 768, 12), "4x384", "4x504"),
        ((4, 312, 12), "3x192", "3x216"),
        ((2, 128, 2), "2x64", "2x84"),
        ((1, 128, 2), "1x64", "1x84"),
        ((12, 192, 12), "4x192", "6x192"),  # heads of 16 stay
        ((2, 16, 4), "1x16", "1x16"),  # nothing lies between it and its teacher
    ],
)
def test_teachers_and_their_students(teacher: tuple[int, int, int], many: str, few: str) -> None:
    model = bert(*teacher)
    assert default_shape(model, 10_000)[0] == many
    assert default_shape(model, 1_000)[0] == many
    shape, reason = default_shape(model, 999)
    assert shape == few
    said = reason.endswith("one size larger than usual, as 999 rows fit a small student badly")
    assert said == (few != many)


def test_the_papers_student_is_named() -> None:
    assert "TinyBERT_4" in default_shape(bert(12, 768, 12), 10_000)[1]
    assert "TinyBERT_4" not in default_shape(bert(12, 768, 12, 2048), 10_000)[1]


def modern() -> PreTrainedModel:
    config = ModernBertConfig(
        num_hidden_layers=22,
        hidden_size=768,
        num_attention_heads=12,
        vocab_size=50,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    with torch.device("meta"):
        return ModernBertModel(config)


def test_where_pca_does_not_serve_layers_are_copied_at_full_width() -> None:
    teacher = modern()
    for rows, layers in ((10_000, 7), (500, 11)):
        text, reason = default_shape(teacher, rows)
        assert text == f"{layers}x768"
        assert "a narrower student of a modernbert teacher would start at random" in reason
        check_start("layers", teacher, parse_shape(text, teacher.config))


def test_other_families() -> None:
    with torch.device("meta"):
        distil, roberta = DistilBertModel(DistilBertConfig()), RobertaModel(RobertaConfig())
    assert default_shape(distil, 10_000)[0] == "4x384"
    assert default_shape(roberta, 10_000)[0] == "4x312"


def test_full_width_is_written_so_that_layers_can_be_copied() -> None:
    """At width 312 the short form would mean TinyBERT_4's feed-forward network."""
    config = BertConfig(hidden_size=312, intermediate_size=1248, num_attention_heads=12)
    config.is_decoder = True  # pca does not serve decoders
    with torch.device("meta"):
        teacher = BertModel(config)
    text, _ = default_shape(teacher, 10_000)
    assert text == "4x312x1248x12"
    check_start("layers", teacher, parse_shape(text, config))


@settings(max_examples=60, deadline=None)
@given(
    layers=st.integers(1, 30),
    heads=st.sampled_from([2, 4, 8, 12, 16]),
    head_size=st.integers(4, 80),
    rows=st.integers(0, 5_000),
)
def test_a_default_student_is_valid_and_no_larger(
    layers: int, heads: int, head_size: int, rows: int
) -> None:
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=heads * head_size,
        num_attention_heads=heads,
        intermediate_size=2 * heads * head_size,
        vocab_size=20,
        max_position_embeddings=16,
    )
    with torch.device("meta"):
        teacher = BertForSequenceClassification(config)
    text, reason = default_shape(teacher, rows)
    shape = parse_shape(text, config)
    assert 1 <= shape.layers <= layers
    assert shape.hidden <= config.hidden_size
    assert shape.heads == heads
    assert shape.hidden // heads >= min(16, head_size)
    check_start("pca", teacher, shape)
    assert (shape.layers, shape.hidden) < (layers, config.hidden_size) or layers == 1
    assert "\n" not in reason


def test_a_teacher_without_an_encoders_sizes() -> None:
    class Odd:
        config = PretrainedConfig()

    with pytest.raises(TinybertError, match="has no num_hidden_layers"):
        default_shape(Odd(), 10)  # type: ignore[arg-type]
