"""Converted models against the authors' computation, written out in plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertForSequenceClassification, BertModel

from support import authors
from tinybert.errors import TinybertError
from tinybert.original import Checkpoint, Converted, convert_checkpoint, read_checkpoint
from tinybert.relu_bert import ReluBertForSequenceClassification

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}


def convert(
    where: Path, config: dict[str, Any], state: authors.Weights, **options: Any
) -> Converted:
    return convert_checkpoint(read_checkpoint(authors.write(where, config, state)), **options)


@torch.no_grad()
def states_of(model: Any, batch: authors.Weights) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = model(**batch, output_hidden_states=True).hidden_states
    return found


def check_states(model: Any, config: dict[str, Any], state: authors.Weights) -> None:
    batch = authors.batch(config)
    real = batch["attention_mask"].bool()
    wanted = authors.states(config, state, batch)
    found = states_of(model, batch)
    assert len(found) == len(wanted) == config["num_hidden_layers"] + 1
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], **CLOSE)


@pytest.mark.parametrize("spelling", ["new", "old", "bare", "wrapped"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_an_encoder_gives_the_authors_states(
    tmp_path: Path, spelling: str, activation: str
) -> None:
    config = authors.sizes(hidden_act=activation)
    state = authors.weights(config)
    written = {
        "new": lambda s: s,
        "old": authors.old_names,
        "bare": lambda s: {n.removeprefix("bert."): t for n, t in s.items()},
        "wrapped": lambda s: {f"module.{n}": t for n, t in s.items()},
    }[spelling](state)
    converted = convert(tmp_path / "a", config, written)
    assert type(converted.model) is BertModel
    assert converted.head is None
    assert converted.labels == converted.left_out == ()
    check_states(converted.model, config, state)
    batch = authors.batch(config)
    with torch.no_grad():
        found = converted.model(**batch).pooler_output
    torch.testing.assert_close(found, authors.pooled(config, state, batch), **CLOSE)


@settings(max_examples=15, deadline=None)
@given(
    layers=st.integers(1, 3),
    heads=st.integers(1, 3),
    head_size=st.integers(1, 5),
    inner=st.integers(1, 9),
    labels=st.integers(1, 4),
    seed=st.integers(0, 2**20),
)
def test_a_task_model_gives_the_authors_logits(
    layers: int, heads: int, head_size: int, inner: int, labels: int, seed: int
) -> None:
    config = authors.sizes(
        num_hidden_layers=layers,
        num_attention_heads=heads,
        # A LayerNorm of one or two coordinates gives signs, and magnifies rounding to anything.
        hidden_size=heads * (head_size + 3),
        intermediate_size=inner,
    )
    state = authors.weights(config, labels=labels, seed=seed)
    sizes = {k: v for k, v in config.items() if k in BERT_FIELDS}
    converted = convert_checkpoint(Checkpoint(Path("here"), sizes, (), dict(state)))
    batch = authors.batch(config, seed=seed)
    with torch.no_grad():
        found = converted.model(**batch).logits
    torch.testing.assert_close(found, authors.logits(config, state, batch), **CLOSE)


BERT_FIELDS = authors.SIZES.keys() - {"cell", "emb_size", "pre_trained", "structure", "training"}


def test_the_standard_class_would_predict_otherwise(tmp_path: Path) -> None:
    """Why a class of our own: the standard one takes the same tensors without an error."""
    config = authors.sizes()
    state = authors.weights(config, labels=3)
    batch = authors.batch(config)
    right = authors.logits(config, state, batch)
    converted = convert(tmp_path / "a", config, state)
    assert type(converted.model) is ReluBertForSequenceClassification
    assert converted.head == "relu"
    standard = BertForSequenceClassification(converted.model.config).eval()
    standard.load_state_dict(converted.model.state_dict())
    with torch.no_grad():
        assert (standard(**batch).logits - right).abs().max() > 0.1
        torch.testing.assert_close(converted.model(**batch).logits, right, **CLOSE)


@pytest.mark.parametrize("how", ["asked", "written by transformers"])
def test_a_standard_head(tmp_path: Path, how: str) -> None:
    config = authors.sizes()
    state = authors.weights(config, labels=3)
    options = {"head": "tanh"} if how == "asked" else {}
    named = config if options else config | {"architectures": ["BertForSequenceClassification"]}
    converted = convert(tmp_path / "a", named, state, **options)
    assert type(converted.model) is BertForSequenceClassification
    assert converted.head == "tanh"
    batch = authors.batch(config)
    with torch.no_grad():
        found = converted.model(**batch).logits
    torch.testing.assert_close(found, authors.logits(config, state, batch, relu=False), **CLOSE)


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "BertForMaskedLM"])
def test_the_relu_head_can_be_asked_for(tmp_path: Path, architecture: str) -> None:
    config = authors.sizes(architectures=[architecture])
    state = authors.weights(config, labels=2)
    asked = {"head": "relu"} if architecture == "BertForSequenceClassification" else {}
    assert convert(tmp_path / "a", config, state, **asked).head == "relu"


def test_label_names(tmp_path: Path) -> None:
    config = authors.sizes()
    where = authors.write(tmp_path / "a", config, authors.weights(config, labels=2))
    checkpoint = read_checkpoint(where)
    named = convert_checkpoint(checkpoint, labels=["bad", "good"])
    assert named.model.config.id2label == {0: "bad", 1: "good"}
    assert named.model.config.label2id == {"bad": 0, "good": 1}
    assert named.model.config.problem_type == "single_label_classification"
    unnamed = convert_checkpoint(checkpoint)
    assert unnamed.labels == ("LABEL_0", "LABEL_1")
    assert any("--labels" in note for note in unnamed.notes)


def test_one_output_is_a_regression(tmp_path: Path) -> None:
    config = authors.sizes()
    converted = convert(tmp_path / "a", config, authors.weights(config, labels=1))
    assert converted.labels == ("score",)
    assert converted.model.config.problem_type == "regression"
    assert converted.model.config.num_labels == 1


@pytest.mark.parametrize("fit", ["fit_dense", "fit_denses"])
def test_projections(tmp_path: Path, fit: str) -> None:
    config = authors.sizes()
    state = authors.weights(config, fit=fit, teacher_width=30)
    projections = convert(tmp_path / "a", config, state).projections
    assert projections is not None
    assert (projections.student_width, projections.teacher_width) == (12, 30)
    assert projections.shared == (fit == "fit_dense")
    for m in range(config["num_hidden_layers"] + 1):
        name = fit if fit == "fit_dense" else f"{fit}.{m}"
        states = torch.randn(2, 3, 12)
        wanted = states @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        torch.testing.assert_close(projections.project(m, states), wanted, **CLOSE)


def test_no_projections(tmp_path: Path) -> None:
    config = authors.sizes()
    converted = convert(tmp_path / "a", config, authors.weights(config, fit=None))
    assert converted.projections is None
    assert any("no projections" in note for note in converted.notes)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    config = authors.sizes()
    state = authors.weights(config, heads=True) | {
        "qa_outputs.weight": torch.ones(2, 12),
        "bert.embeddings.position_ids": torch.arange(128)[None],
    }
    converted = convert(tmp_path / "a", config, state)
    assert "qa_outputs.weight" in converted.left_out
    assert "cls.seq_relationship.weight" in converted.left_out
    assert not any("position_ids" in name for name in converted.left_out)
    notes = " ".join(converted.notes)
    assert "pre-training heads (8 tensors" in notes
    assert "since unknown: qa_outputs.weight" in notes
    check_states(converted.model, config, state)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    config = authors.sizes()
    state = authors.weights(config)
    converted = convert(tmp_path / "a", config, {n: t.half() for n, t in state.items()})
    assert {p.dtype for p in converted.model.parameters()} == {torch.float32}
    check_states(converted.model, config, {n: t.half().float() for n, t in state.items()})


def test_the_global_random_state_stays(tmp_path: Path) -> None:
    config = authors.sizes()
    before = torch.random.get_rng_state()
    state = authors.weights(config, labels=2)
    convert(tmp_path / "a", config, state)
    assert torch.equal(torch.random.get_rng_state(), before)


def without(state: authors.Weights, *names: str) -> authors.Weights:
    return {name: tensor for name, tensor in state.items() if name not in names}


CONFIG = authors.sizes()
STATE = authors.weights(CONFIG, labels=2)
EACH = authors.weights(CONFIG, fit="fit_denses")
BAD: list[tuple[str, dict[str, Any], authors.Weights, dict[str, Any], str]] = [
    (
        "a tensor is missing",
        CONFIG,
        without(STATE, "bert.encoder.layer.1.output.dense.bias"),
        {},
        "1 tensors that the configuration asks for are not among the weights: bert.encoder.layer.1",
    ),
    (
        "the classifier's bias is missing",
        CONFIG,
        without(STATE, "classifier.bias"),
        {},
        "classifier.bias",
    ),
    ("no BERT", CONFIG, {"conv.weight": torch.ones(3)}, {}, "or no BERT"),
    (
        "another vocabulary",
        authors.sizes(vocab_size=99),
        STATE,
        {},
        f"has the shape {authors.SIZES['vocab_size']}x12 and the configuration asks for 99x12",
    ),
    (
        "another width inside",
        authors.sizes(intermediate_size=40),
        STATE,
        {},
        "bert.encoder.layer.0.intermediate.dense.weight has the shape 20x12",
    ),
    (
        "fewer layers",
        authors.sizes(num_hidden_layers=1),
        authors.weights(CONFIG, fit=None),
        {},
        "16 tensors more than its configuration says: bert.encoder.layer.1",
    ),
    (
        "more layers",
        authors.sizes(num_hidden_layers=3),
        STATE,
        {},
        "16 tensors that the configuration asks for",
    ),
    (
        "a classifier for pairs of sentences",
        CONFIG,
        STATE | {"classifier.weight": torch.ones(2, 36)},
        {},
        "classifier.weight has the shape 2x36 and the configuration asks for 2x12",
    ),
    (
        "a projection too few",
        CONFIG,
        without(EACH, "fit_denses.2.weight", "fit_denses.2.bias"),
        {},
        "do not fit 2 layers (one for each and for the embeddings, with weight and bias): see "
        "fit_denses.2.bias",
    ),
    ("no bias", CONFIG, without(STATE, "fit_dense.bias"), {}, "see fit_dense.bias"),
    (
        "a projection of another width",
        CONFIG,
        EACH | {"fit_denses.1.weight": torch.ones(7, 12)},
        {},
        "fit_denses.1.weight has the shape 7x12, where 24x12 fits",
    ),
    (
        "too few labels",
        CONFIG,
        STATE,
        {"labels": ["a"]},
        "the classifier has 2 outputs and --labels names 1 (a)",
    ),
    ("labels twice", CONFIG, STATE, {"labels": ["a", "a"]}, "--labels a,a: give different names"),
    ("an empty label", CONFIG, STATE, {"labels": ["a", ""]}, "give different names, none empty"),
    ("labels for an encoder", CONFIG, EACH, {"labels": ["a"]}, "leave out --labels"),
    ("a head for an encoder", CONFIG, EACH, {"head": "tanh"}, "leave out --head"),
]


@pytest.mark.parametrize(
    ("config", "state", "options", "message"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path,
    config: dict[str, Any],
    state: authors.Weights,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(TinybertError) as caught:
        convert(tmp_path / "a", config, state, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "given", "kept"),
    [
        ({"1": "good", "0": "bad", "2": "so-so"}, None, ("bad", "good", "so-so")),
        ({"1": "good", "0": "bad", "2": "so-so"}, ["a", "b", "c"], ("a", "b", "c")),
        ({"0": "bad", "1": "good"}, None, None),  # of another number of outputs
        ({"0": "LABEL_2", "1": "LABEL_1", "2": "LABEL_0"}, None, None),
        ({"0": "bad", "1": "bad", "2": "good"}, None, None),
        ({"0": "bad", "1": 7, "2": "good"}, None, None),
        ({"0": "bad", "1": "good", "3": "so-so"}, None, None),
        (["bad", "good", "so-so"], None, None),
    ],
)
def test_names_of_outputs_in_the_configuration(
    tmp_path: Path, written: Any, given: list[str] | None, kept: tuple[str, ...] | None
) -> None:
    config = authors.sizes(id2label=written)
    state = authors.weights(authors.sizes(), labels=3)
    converted = convert(tmp_path / "a", config, state, labels=given)
    names = kept or ("LABEL_0", "LABEL_1", "LABEL_2")
    assert converted.labels == names
    assert converted.model.config.id2label == dict(enumerate(names))
    told = "name them with --labels" if kept is None else "as its configuration names them"
    if given is not None:
        told = "their order is taken on trust"
    assert any(note.startswith("3 outputs") and told in note for note in converted.notes)
