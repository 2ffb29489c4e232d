"""Attention maps are those of transformers itself, layer by mapped layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import tiny
from tinybert.errors import TinybertError
from tinybert.reporting.attention import LONGEST, AttentionMaps, LayerMaps, attention_maps

TEXT = "lock thread queue wait event"


def test_maps_are_the_models_own_attention() -> None:
    teacher, student = tiny.classifier(layers=4, width=32), tiny.classifier(seed=1, layers=2)
    tokenizer = tiny.tokenizer()
    batch = tokenizer(TEXT, return_tensors="pt")
    wanted = {}
    for name, model in (("teacher", teacher), ("student", student)):
        model.set_attn_implementation("eager")
        with torch.no_grad():
            output = model(**batch, output_attentions=True)
        wanted[name] = [layer[0].numpy() for layer in output.attentions]
    maps = attention_maps(teacher, student, tokenizer, [TEXT], (2, 4))
    assert maps.tokens == ("[CLS]", *TEXT.split(), "[SEP]")
    assert [(layer.student_layer, layer.teacher_layer) for layer in maps.layers] == [(1, 2), (2, 4)]
    for layer in maps.layers:
        np.testing.assert_allclose(
            layer.teacher, wanted["teacher"][layer.teacher_layer - 1], atol=1e-6
        )
        np.testing.assert_allclose(
            layer.student, wanted["student"][layer.student_layer - 1], atol=1e-6
        )
        np.testing.assert_allclose(layer.student.sum(axis=-1), 1, atol=1e-5)
    assert maps.heads == 4
    assert not maps.cut


def test_a_model_beside_itself_looks_nowhere_else() -> None:
    model = tiny.encoder(layers=2)
    maps = attention_maps(model, model, tiny.tokenizer(), [TEXT, "send file"], (1, 2))
    assert maps.tokens.count("[SEP]") == 2
    for layer in maps.layers:
        assert [layer.elsewhere(head) for head in (None, 0, 3)] == [0, 0, 0]


def test_elsewhere_is_the_share_that_moved() -> None:
    teacher = np.array([[[1.0, 0.0], [0.5, 0.5]]], np.float32)
    student = np.array([[[0.0, 1.0], [0.5, 0.5]]], np.float32)
    layer = LayerMaps(1, 1, student, teacher)
    assert layer.elsewhere(0) == layer.elsewhere(None) == 0.5


def test_a_long_text_is_cut_and_heads_may_differ() -> None:
    teacher, student = tiny.encoder(layers=2), tiny.encoder(layers=1, heads=2)
    maps = attention_maps(teacher, student, tiny.tokenizer(), ["lock " * 90], (2,))
    assert len(maps.tokens) == LONGEST
    assert maps.cut
    assert maps.heads == 0
    assert AttentionMaps((), (), False).heads == 0


def test_a_layer_that_is_not_there() -> None:
    model = tiny.encoder(layers=2)
    with pytest.raises(TinybertError, match="no attention scores were seen in layers"):
        attention_maps(model, model, tiny.tokenizer(), [TEXT], (3,))
