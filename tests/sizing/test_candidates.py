from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RoFormerConfig,
    RoFormerForSequenceClassification,
)

from support import tiny
from tinybert.errors import TinybertError
from tinybert.measure import flops, parameters
from tinybert.sizing.candidates import build, candidates, described, weights_mb
from tinybert.students import Shape, parse_shape, shape_of


def bert(layers: int, width: int, heads: int) -> BertForSequenceClassification:
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        vocab_size=300,
    )
    with torch.device("meta"):
        return BertForSequenceClassification(config)


@pytest.mark.parametrize("teacher", [(12, 192, 6), (6, 384, 12), (3, 128, 2), (24, 160, 4)])
def test_candidates_are_smaller_and_balanced(teacher: tuple[int, int, int]) -> None:
    layers, width, heads = teacher
    model = bert(*teacher)
    (family,) = candidates(model, 32)
    assert len({c.shape for c in family}) == len(family)
    least = heads * min(16, width // heads)
    own = width / layers
    for c in family:
        assert c.shape.layers <= layers
        assert least <= c.shape.hidden <= width
        assert (c.shape.layers, c.shape.hidden) != (layers, width)
        assert c.shape.heads == heads
        assert c.shape.hidden % heads == 0
        assert parse_shape(c.text, model.config) == c.shape
        low = max(min(48, 0.75 * own) * c.shape.layers, least)
        high = max(128, own) * c.shape.layers
        single = c.shape.layers == 1
        assert c.shape.hidden >= (least if single else min(width, low)) - 1e-6
        assert c.shape.hidden <= max(high, (1.5 if single else 1.0) * (low + heads))
    assert {c.shape.layers for c in family} >= set(range(1, layers))
    assert [c.flops for c in family] == sorted((c.flops for c in family), reverse=True)
    smallest = family[-1]
    assert smallest.shape.layers == 1
    assert smallest.shape.hidden == least
    assert smallest.megabytes == min(c.megabytes for c in family)


def test_the_papers_students_and_the_demos_are_among_them() -> None:
    (base,) = candidates(bert(12, 768, 12), 32)
    assert {"4x312", "6x768"} <= {c.text for c in base}
    assert Shape(4, 312, 1200, 12) in {c.shape for c in base}
    (sentence,) = candidates(bert(6, 384, 12), 32)
    assert "4x192" in {c.text for c in sentence}
    for family in (base, sentence):  # fine steps: a bound is missed by little
        for larger, smaller in pairwise(family):
            assert smaller.flops > 0.8 * larger.flops


def test_the_papers_figures() -> None:
    """TinyBERT_4 and TinyBERT_6 under BERT_BASE: parameters, and FLOPs of 128 tokens."""
    with torch.device("meta"):
        (family,) = candidates(BertModel(BertConfig()), 128)
    by_text = {c.text: c for c in family}
    for text, millions, billions in (("4x312", 14.35, 1.25), ("6x768", 66.96, 11.17)):
        assert by_text[text].parameters / 1e6 == pytest.approx(millions, abs=0.006)
        assert by_text[text].flops / 1e9 == pytest.approx(billions, rel=0.01)


SIZES = {
    "vocab_size": 90,
    "num_hidden_layers": 3,
    "hidden_size": 64,
    "intermediate_size": 100,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
}
SPECIALS = {f"{name}_token_id": i for i, name in enumerate(("pad", "bos", "eos", "cls", "sep"))}


def small() -> PreTrainedModel:
    return tiny.classifier(layers=3, width=64, heads=2)


def tied() -> PreTrainedModel:
    return BertForMaskedLM(tiny.config(layers=3, width=64, heads=2))


def distilbert() -> PreTrainedModel:
    config = DistilBertConfig(vocab_size=90, n_layers=3, dim=64, hidden_dim=128, n_heads=2)
    return DistilBertForSequenceClassification(config)


def roberta() -> PreTrainedModel:
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, num_labels=5))


def electra() -> PreTrainedModel:
    return ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=64))


def rotary() -> PreTrainedModel:
    return ModernBertForSequenceClassification(ModernBertConfig(**SIZES, **SPECIALS))


def reads_its_numbers() -> PreTrainedModel:
    return RoFormerForSequenceClassification(RoFormerConfig(**SIZES))


FAMILIES = [small, tied, distilbert, roberta, electra, reads_its_numbers]


@pytest.mark.parametrize("make", FAMILIES)
def test_figures_are_those_of_the_real_model(
    make: Callable[[], PreTrainedModel], tmp_path: Path
) -> None:
    teacher = make()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    family = candidates(teacher, 16)[-1]
    assert torch.equal(torch.get_rng_state(), state)
    for c in (family[0], family[len(family) // 2], family[-1]):
        model = build(teacher, c.shape)
        assert type(model) is type(teacher)
        assert shape_of(model.config) == c.shape
        assert not model.training
        model(input_ids=torch.randint(5, 25, (1, 16)))
        assert c.parameters == parameters(model)
        assert c.flops == flops(model, length=16)
        model.save_pretrained(tmp_path / c.text)
        real = (tmp_path / c.text / "model.safetensors").stat().st_size / 1e6
        assert real <= weights_mb(model) <= c.megabytes * (1 + 1e-9)
        assert c.megabytes - real < len(model.state_dict()) * 100 / 1e6


def test_heads_of_even_size_where_positions_are_rotary() -> None:
    teacher = rotary()
    family = candidates(teacher, 16)[-1]
    assert {c.shape.hidden // 2 for c in family} == set(range(16, 33, 2))
    for c in (family[1], family[-1]):
        model = build(teacher, c.shape)
        assert (c.parameters, c.flops) == (parameters(model), flops(model, length=16))
    assert {c.shape.hidden // 2 for c in candidates(small(), 16)[-1]} == set(range(16, 33))


def test_the_teacher_itself_is_described_too() -> None:
    teacher = tiny.classifier(layers=2, width=32, heads=2)
    own = described(teacher, shape_of(teacher.config), 16)
    assert own.text == "2x32"
    assert (own.parameters, own.flops) == (parameters(teacher), flops(teacher, length=16))


def test_building_leaves_the_random_state() -> None:
    teacher = tiny.classifier()
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    one = build(teacher, Shape(1, 16, 32, 4))
    assert torch.equal(torch.rand(3), wanted)
    other = build(teacher, Shape(1, 16, 32, 4))
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_where_pca_does_not_serve_students_of_full_width_come_first() -> None:
    config = BertConfig(
        num_hidden_layers=9,
        hidden_size=64,
        num_attention_heads=2,
        intermediate_size=128,
        vocab_size=50,
        is_decoder=True,
    )
    with torch.device("meta"):
        copied, balanced = candidates(BertModel(config), 16)
    assert [c.text for c in copied] == [f"{layers}x64" for layers in (8, 7, 6, 5, 4, 3)]
    assert balanced[-1].text == "1x32"


def test_a_teacher_that_cannot_shrink() -> None:
    with pytest.raises(TinybertError, match="no student is smaller than this teacher of 1x16"):
        candidates(tiny.classifier(layers=1, width=16, heads=4), 16)


def test_a_configuration_that_takes_no_other_sizes() -> None:
    class Fixed(BertModel):
        def __init__(self, config: BertConfig) -> None:
            if config.num_hidden_layers != 2:
                raise RuntimeError("two layers or none")
            super().__init__(config)

    teacher = Fixed(tiny.config(layers=2, width=64, heads=2))
    with pytest.raises(TinybertError, match=r"two layers or none.* with --student"):
        candidates(teacher, 16)
