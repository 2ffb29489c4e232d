from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    ModernBertConfig,
)

from tinybert.errors import TinybertError
from tinybert.students.shapes import PRESETS, Shape, nearest_widths, parse_shape, shape_of

BERT = BertConfig()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4x312", Shape(4, 312, 1200, 12)),
        ("4X312", Shape(4, 312, 1200, 12)),
        (" 4×192 ", Shape(4, 192, 768, 12)),
        ("6x768", Shape(6, 768, 3072, 12)),
        ("3x240x500x12", Shape(3, 240, 500, 12)),
        ("half", Shape(6, 768, 3072, 12)),
        ("third", Shape(4, 768, 3072, 12)),
        ("TinyBERT-4", Shape(4, 312, 1200, 12)),
        ("bert-tiny", Shape(4, 312, 1200, 12)),
    ],
)
def test_dials_and_names(text: str, expected: Shape) -> None:
    assert parse_shape(text, BERT) == expected


def test_the_feed_forward_keeps_another_ratio() -> None:
    config = BertConfig(hidden_size=768, intermediate_size=1536)
    assert parse_shape("4x312", config).intermediate == 624


@pytest.mark.parametrize("name", PRESETS)
def test_presets_without_attention_transfer(name: str) -> None:
    assert parse_shape(name, BERT) == PRESETS[name]


@given(st.integers(1, 12), st.integers(1, 64), st.integers(1, 16), st.integers(1, 4000))
def test_text_round_trip(layers: int, head_size: int, heads: int, intermediate: int) -> None:
    shape = Shape(layers, head_size * heads, intermediate, heads)
    assert parse_shape(str(shape), BERT) == shape


@given(st.integers(1, 2000), st.integers(1, 32))
def test_nearest_widths_fit(hidden: int, heads: int) -> None:
    widths = nearest_widths(hidden, heads)
    assert widths
    for width in widths:
        assert width % heads == 0
        assert abs(width - hidden) <= heads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4x310", "take 300 or 312"),
        ("4x5", "take 12"),
        ("4", "no student shape"),
        ("4x", "no student shape"),
        ("tiny", "no student shape.*tinybert-4"),
        ("0x312", "below 1"),
        ("4x312x1200", "no student shape"),
    ],
)
def test_shapes_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        parse_shape(text, BERT)


def test_config_changes_sizes_only() -> None:
    teacher = BertConfig(
        vocab_size=500, id2label={0: "no", 1: "yes", 2: "so"}, label2id={"no": 0, "yes": 1, "so": 2}
    )
    config = Shape(4, 312, 1200, 12).config(teacher)
    assert type(config) is BertConfig
    assert shape_of(config) == Shape(4, 312, 1200, 12)
    assert config.id2label == teacher.id2label
    assert config.vocab_size == 500
    assert shape_of(teacher) == Shape(12, 768, 3072, 12)


def test_other_field_names() -> None:
    distil = Shape(2, 120, 480, 12).config(DistilBertConfig())
    assert (distil.n_layers, distil.dim, distil.hidden_dim, distil.n_heads) == (2, 120, 480, 12)
    assert parse_shape("half", DistilBertConfig()) == Shape(3, 768, 3072, 12)
    electra = ElectraConfig(embedding_size=256, hidden_size=256, num_attention_heads=4)
    assert Shape(2, 128, 512, 4).config(electra).embedding_size == 128


def test_sizes_that_follow(tmp_path: Path) -> None:
    """A student's configuration is one that its class can save and read again."""
    modern = Shape(3, 96, 144, 12).config(ModernBertConfig(num_hidden_layers=6))
    assert len(modern.layer_types) == 3
    modern.save_pretrained(tmp_path)
    assert ModernBertConfig.from_pretrained(tmp_path).layer_types == modern.layer_types
    assert Shape(3, 96, 144, 12).config(DebertaV2Config()).hidden_size == 96
    wide = DebertaV2Config(hidden_size=768, pooler_hidden_size=768)
    assert Shape(3, 96, 144, 12).config(wide).pooler_hidden_size == 96


def test_a_configuration_without_sizes() -> None:
    with pytest.raises(TinybertError, match="intermediate_size"):
        shape_of(GPT2Config())
