"""Heads that start from a teacher with the authors' relu: what stands between the maps counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from support import authors
from tinybert.original import convert_checkpoint, read_checkpoint
from tinybert.relu_bert import ReluBertForSequenceClassification
from tinybert.students import fit_heads, shape_of, start_student

CONFIG = authors.sizes(hidden_size=24)
STATE = authors.weights(CONFIG, labels=3, seed=5)


@pytest.fixture
def teacher(tmp_path: Path) -> PreTrainedModel:
    return convert_checkpoint(read_checkpoint(authors.write(tmp_path, CONFIG, STATE))).model


def batches(rows: int) -> list[authors.Weights]:
    return [authors.batch(CONFIG, rows=rows, seed=seed) for seed in range(4)]


def test_pca_at_the_teachers_shape_loses_nothing(teacher: PreTrainedModel) -> None:
    student = start_student(
        teacher, shape_of(teacher.config), start="pca", mapping=[1, 2], calibration=batches(40)
    )
    assert type(student) is ReluBertForSequenceClassification
    batch = authors.batch(CONFIG, rows=30, seed=99)
    with torch.no_grad():
        found = student(**batch).logits
    torch.testing.assert_close(found, authors.logits(CONFIG, STATE, batch), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("own", "error"), [("relu", 1e-6), ("standard", 0.2)])
def test_a_head_fitted_on_equal_states(teacher: PreTrainedModel, own: str, error: float) -> None:
    """Relu to relu is exact; to the standard head what one linear map of tanh can give."""
    names = {"id2label": teacher.config.id2label, "label2id": teacher.config.label2id}
    sizes = {k: v for k, v in CONFIG.items() if hasattr(BertConfig(), k)} | names
    torch.manual_seed(0)
    kind = BertForSequenceClassification
    student: PreTrainedModel = kind(BertConfig(**sizes)).eval()
    if own == "relu":
        student = type(teacher)(teacher.config).eval()
    for part in ("bert.embeddings", "bert.encoder"):
        student.get_submodule(part).load_state_dict(teacher.get_submodule(part).state_dict())
    fit_heads(student, teacher, torch.eye(24), batches(400))
    batch = authors.batch(CONFIG, rows=200, seed=99)
    wanted = authors.logits(CONFIG, STATE, batch)
    with torch.no_grad():
        found = student(**batch).logits
    assert (found - wanted).square().mean() < error * wanted.var(0).mean()
