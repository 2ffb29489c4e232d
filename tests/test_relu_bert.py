"""The class for the authors' head: found by tinybert, taps, training; refused elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import pipeline

from support import authors, tiny
from tinybert.measure import flops
from tinybert.relu_bert import ReluBertConfig, ReluBertForSequenceClassification, ReluBertModel
from tinybert.stages import save_student
from tinybert.taps import TapRequest, run_with_taps, use_attention
from tinybert.teachers import has_head, head_labels, load_encoder, load_tokenizer

CONFIG = authors.sizes()
STATE = authors.weights(CONFIG, labels=3, fit=None)
BATCH = authors.batch(CONFIG)
NAMES = ("a", "b", "c")


def model() -> ReluBertForSequenceClassification:
    sizes = {k: v for k, v in CONFIG.items() if k in vars(ReluBertConfig())}
    config = ReluBertConfig(
        **sizes, id2label=dict(enumerate(NAMES)), label2id={n: i for i, n in enumerate(NAMES)}
    )
    made = ReluBertForSequenceClassification(config).eval()
    made.load_state_dict(STATE)
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_student(tmp_path / "saved", model(), tiny.tokenizer(), None)
    return tmp_path / "saved"


@torch.no_grad()
def logits(of: object) -> Tensor:
    found: Tensor = of(**BATCH).logits  # type: ignore[operator]
    return found


def test_it_is_found_again_with_its_class_and_its_outputs(saved: Path, tmp_path: Path) -> None:
    assert has_head(saved)
    assert head_labels(saved) == NAMES
    wanted = authors.logits(CONFIG, STATE, BATCH)
    where = saved
    for again in ("once", "twice"):  # what a stage saves and the next stage loads
        loaded = load_encoder(where, labels=NAMES).eval()
        assert type(loaded) is ReluBertForSequenceClassification
        torch.testing.assert_close(logits(loaded), wanted, rtol=0, atol=1e-5)
        where = tmp_path / again
        save_student(where, loaded, load_tokenizer(saved), None)


def test_the_bare_encoder_and_a_new_head(saved: Path) -> None:
    bare = load_encoder(saved).eval()
    assert type(bare) is ReluBertModel
    with torch.no_grad():
        output = bare(**BATCH)
    real = BATCH["attention_mask"].bool()
    wanted = authors.states(CONFIG, STATE, BATCH)[-1]
    torch.testing.assert_close(output.last_hidden_state[real], wanted[real], rtol=0, atol=1e-5)
    pooled = authors.pooled(CONFIG, STATE, BATCH).clamp_min(0)
    torch.testing.assert_close(output.pooler_output, pooled, rtol=0, atol=1e-5)
    assert ReluBertModel(bare.config, add_pooling_layer=False).pooler is None
    bare.save_pretrained(saved / "bare")
    fresh = load_encoder(saved / "bare", labels=["x", "y"], seed=3)
    assert type(fresh) is ReluBertForSequenceClassification
    assert fresh.config.num_labels == 2


@pytest.mark.parametrize("form", ["fused", "direct"])
def test_its_taps(form: str) -> None:
    made = model()
    use_attention(made, form)
    request = TapRequest(frozenset({1, 2}), frozenset({1, 2}), embedding=True, logits=True)
    with torch.no_grad():
        taps = run_with_taps(made, BATCH, request)
    real = BATCH["attention_mask"].bool()
    states = authors.states(CONFIG, STATE, BATCH)
    assert taps.embedding is not None
    torch.testing.assert_close(taps.embedding, states[0], rtol=0, atol=1e-5)
    assert taps.logits is not None
    wanted = authors.logits(CONFIG, STATE, BATCH)
    torch.testing.assert_close(taps.logits, wanted, rtol=0, atol=1e-5)
    for m in (1, 2):
        torch.testing.assert_close(taps.hidden[m][real], states[m][real], rtol=0, atol=1e-5)
        query, key, scaling, _ = taps.attention[m]
        name = f"bert.encoder.layer.{m - 1}.attention.self"
        q, k = (
            (states[m - 1] @ STATE[f"{name}.{n}.weight"].T + STATE[f"{name}.{n}.bias"])
            .unflatten(-1, (4, 3))
            .transpose(1, 2)
            for n in ("query", "key")
        )
        scores, pairs = q @ k.mT / 3**0.5, real[:, None, :, None] & real[:, None, None, :]
        found = scaling * query @ key.mT
        torch.testing.assert_close(found * pairs, scores * pairs, rtol=0, atol=1e-5)


def test_gradients_pass_the_relu() -> None:
    made = model()
    made(**BATCH).logits.square().sum().backward()
    features = authors.pooled(CONFIG, STATE, BATCH)
    dead = (features < 0).all(0)
    assert dead.any(), "no feature is cut off: this test would show nothing"
    gradient = made.classifier.weight.grad
    assert gradient is not None
    assert not gradient[:, dead].any()
    assert gradient[:, ~dead].abs().sum() > 0


def test_what_it_costs() -> None:
    layers = 8 * (4 * 12 * 12 + 2 * 12 * 20) + 2 * 8 * 8 * 12
    assert flops(model(), length=8) == 2 * (2 * layers + 12 * 12 + 3 * 12)


def test_pipelines_of_a_process_that_knows_it(saved: Path) -> None:
    classify = pipeline("text-classification", str(saved))
    answer = classify("lock thread")[0]
    row = load_tokenizer(saved)("lock thread", return_tensors="pt")
    inputs = {name: row[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    expected = authors.logits(CONFIG, STATE, inputs)[0].softmax(-1)
    assert answer["label"] == NAMES[int(expected.argmax())]
    assert answer["score"] == pytest.approx(float(expected.max()), abs=1e-4)


ALONE = """
import sys
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline
path, outcomes = sys.argv[1], []
for load in (
    AutoConfig.from_pretrained,
    AutoModel.from_pretrained,
    AutoModelForSequenceClassification.from_pretrained,
    lambda p: pipeline("text-classification", p),
):
    try:
        load(path)
        outcomes.append("loaded")
    except ValueError as error:
        outcomes.append("refused" if "tinybert_relu_bert" in str(error) else str(error))
assert "tinybert" not in sys.modules
print(*outcomes)
"""


def test_plain_transformers_refuses_it(saved: Path) -> None:
    """Rather than reading its tensors into the standard class, which predicts otherwise."""
    assert json.loads((saved / "config.json").read_text())["model_type"] == "tinybert_relu_bert"
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(saved)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.split() == ["refused"] * 4, done.stdout + done.stderr
