from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from support import tiny
from tinybert.errors import TinybertError
from tinybert.measure import Latency, flops, latency, parameters
from tinybert.teachers import load_encoder


def bert(layers: int, hidden: int, intermediate: int, heads: int, **more: object) -> BertModel:
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        **more,
    )
    return BertModel(config).eval()


# Parameters (millions) and FLOPs (billions, length 128) of the paper's systems.
PUBLISHED = [
    ((12, 768, 3072, 12), 109.48, 22.35),
    ((4, 312, 1200, 12), 14.35, 1.25),
    ((4, 512, 2048, 8), 28.76, 3.36),
    ((4, 768, 3072, 12), 52.78, 7.45),
    ((6, 768, 3072, 12), 66.96, 11.17),
]


@pytest.mark.parametrize(("shape", "millions", "billions"), PUBLISHED)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_known_shapes(
    shape: tuple[int, int, int, int], millions: float, billions: float, attention: str
) -> None:
    with torch.device("meta"):
        model = bert(*shape, attn_implementation=attention)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.006)
    assert flops(model) / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_flops_by_hand(attention: str) -> None:
    """Every matrix product, attention's two included."""
    length, batch, d, f, layers = 10, 3, 24, 40, 2
    model = bert(layers, d, f, 4, vocab_size=100, attn_implementation=attention)
    tokens = batch * length
    layer = 2 * tokens * (4 * d * d + 2 * d * f) + 2 * 2 * batch * length * length * d
    assert flops(model, length=length, batch=batch) == layers * layer + 2 * batch * d * d


def test_flops_of_rotary_positions_are_none() -> None:
    """Some versions compute their angles as a matrix product, which sums nothing up."""
    length, batch, d, f, layers = 6, 2, 16, 24, 2
    special = {f"{name}_token_id": number for number, name in enumerate(("pad", "cls", "sep"))}
    config = ModernBertConfig(
        vocab_size=50,
        hidden_size=d,
        intermediate_size=f,
        num_hidden_layers=layers,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        **special,
    )
    tokens = batch * length
    layer = 2 * tokens * (4 * d * d + 3 * d * f) + 2 * 2 * batch * length * length * d
    assert flops(ModernBertModel(config), length=length, batch=batch) == layers * layer
    layer = 2 * batch * (4 * d * d + 3 * d * f) + 2 * 2 * batch * d
    assert flops(ModernBertModel(config), length=1, batch=batch) == layers * layer


def test_flops_leaves_the_model_as_it_was() -> None:
    model = bert(1, 16, 32, 2, vocab_size=50)
    model.train()
    model.encoder.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flops(model, length=8)
    assert model.training
    assert not model.encoder.training
    assert model.pooler is not None
    assert model.pooler.training
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu"
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_flops_of_one_structure_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the model lies and whatever its labels are called."""
    module = sys.modules["tinybert.measure.flops"]
    counted = []
    real = module._on_a_device
    monkeypatch.setattr(module, "_counted", {})
    monkeypatch.setattr(module, "_on_a_device", lambda *args: counted.append(args) or real(*args))
    found = []
    for place, labels in (("one", ("a", "b")), ("two", ("yes", "no"))):
        tiny.saved_classifier(tmp_path / place, labels=labels)
        model = load_encoder(str(tmp_path / place), labels=labels)
        found.append(flops(model, length=8))
    assert found[0] == found[1]
    assert len(counted) == 1
    assert flops(tiny.classifier(layers=3), length=8) > found[0]
    assert len(counted) == 2


def test_flops_of_a_model_that_reads_its_numbers() -> None:
    """No meta device for it: counted on its own device, attention included."""

    class Reads(nn.Module):
        def __init__(self, inner: PreTrainedModel) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: torch.Tensor) -> object:
            assert int(input_ids.sum().item()) == 0
            return self.inner(input_ids=input_ids)

    model = bert(1, 16, 32, 2, vocab_size=50)
    assert flops(Reads(model), length=8) == flops(model, length=8)


def test_flops_of_another_family_and_a_tied_head() -> None:
    roberta = RobertaConfig(
        vocab_size=90,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=22,
    )
    body = 2 * 8 * (4 * 16 * 16 + 2 * 16 * 32) + 4 * 8 * 8 * 16 + 2 * 16 * 16
    assert flops(RobertaModel(roberta), length=8) == body
    config = BertConfig(
        vocab_size=90,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    head = 2 * 8 * (16 * 16 + 16 * 90)
    assert flops(BertForMaskedLM(config), length=8) == body - 2 * 16 * 16 + head
    with pytest.raises(TinybertError, match="20 tokens at most"):
        flops(RobertaModel(roberta), length=21)


def test_tied_and_frozen_parameters_count_once() -> None:
    config = BertConfig(
        vocab_size=90,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    model = BertForMaskedLM(config)
    count = parameters(model)
    assert count == sum({id(p): p.numel() for p in model.parameters()}.values())
    body = parameters(BertModel(config, add_pooling_layer=False))
    assert count == body + 16 * 16 + 16 + 2 * 16 + 90  # transform, its LayerNorm, the bias
    model.requires_grad_(False)
    assert parameters(model) == count


def test_latency_takes_turns_like_for_like() -> None:
    order: list[tuple[str, torch.Size, torch.dtype, bool]] = []
    models: dict[str, nn.Module] = {
        "teacher": bert(4, 64, 256, 4, vocab_size=100),
        "student": bert(1, 16, 32, 2, vocab_size=80),
    }
    for name, model in models.items():
        model.train()

        def hook(
            module: nn.Module, args: object, kwargs: dict[str, torch.Tensor], name: str = name
        ) -> None:
            dtype = next(module.parameters()).dtype
            assert not module.training
            assert torch.is_inference_mode_enabled()
            order.append((name, kwargs["input_ids"].shape, dtype, module.training))

        model.register_forward_pre_hook(hook, with_kwargs=True)
    found = latency(models, length=32, batch=2, repeats=5, warm_up=1)
    assert [name for name, *_ in order] == ["teacher", "student"] * 6
    assert all(shape == (2, 32) for _, shape, *_ in order)
    assert list(found) == ["teacher", "student"]
    teacher, student = found["teacher"], found["student"]
    assert isinstance(teacher, Latency)
    assert 0 < student.median < teacher.median
    assert teacher.median <= teacher.p95
    assert (teacher.threads, teacher.precision, teacher.device, teacher.length, teacher.batch) == (
        torch.get_num_threads(),
        "float32",
        "cpu",
        32,
        2,
    )
    assert all(model.training for model in models.values())


def test_latency_in_another_precision_leaves_the_model_alone() -> None:
    model = bert(1, 16, 32, 2, vocab_size=80)
    found = latency({"m": model}, length=8, repeats=1, warm_up=0, precision="bfloat16")
    assert found["m"].precision == "bfloat16"
    assert found["m"].repeats == 1
    assert next(model.parameters()).dtype == torch.float32


def test_latency_refuses_what_is_not_comparable() -> None:
    model = bert(1, 16, 32, 2, vocab_size=80, max_position_embeddings=16)
    with pytest.raises(TinybertError, match="16 tokens at most"):
        latency({"m": model}, length=32)
    with pytest.raises(ValueError, match="needs a model"):
        latency({})
    with torch.device("meta"):
        far = bert(1, 16, 32, 2, vocab_size=80)
    with pytest.raises(ValueError, match="several devices"):
        latency({"a": model, "b": far}, length=8)


def test_a_count_is_kept_for_its_own_structure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal sizes with other heads, or another activation of the same sizes, are counted anew."""
    counts: dict[Any, int] = {}
    monkeypatch.setattr(sys.modules["tinybert.measure.flops"], "_counted", counts)
    one, other = tiny.encoder(heads=4), tiny.encoder(heads=2)
    first = flops(one, length=7)
    assert flops(other, length=7) == first  # the same products, in other pieces
    assert len(counts) == 2
    assert flops(one, length=7) == first
    assert flops(one, length=8) > first
    assert len(counts) == 3
    one.config.odd = object()  # nothing that JSON holds: counted, not kept
    assert flops(one, length=7) == first
    assert len(counts) == 3
