"""Masked language modelling: a head for an encoder, training on, plans, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.numpy import load_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    pipeline,
)

import tinybert
from support import tiny
from support.mistakes import sentence, tree, working_directory
from tinybert.errors import TinybertError
from tinybert.evaluation import masked_scores
from tinybert.jobs.mlm import freeze_encoder, masking_of
from tinybert.projections import Projections
from tinybert.settings import MlmSettings
from tinybert.teachers import has_masked_lm_head, load_encoder

FAST: dict[str, Any] = {"precision": "float32", "attention": "direct", "quiet": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("mlm")
    tiny.saved_encoder(where / "encoder", width=32, initializer_range=0.1)
    Projections(32, 48, 2).save(where / "encoder")
    tiny.masked_lm(width=32).save_pretrained(where / "masked-lm")
    tiny.tokenizer().save_pretrained(where / "masked-lm")
    # One word says which word follows: there is something to guess.
    rng = np.random.default_rng(0)
    lines = []
    for first in rng.integers(0, len(tiny.WORDS), 400):
        count = len(tiny.WORDS)
        lines.append(" ".join(tiny.WORDS[(first + i) % count] for i in range(12)))
    (where / "corpus.txt").write_text("\n\n".join(lines) + "\n")
    tiny.corpus_file(where / "noise.txt", 30)
    GPT2Model(GPT2Config(vocab_size=25, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        where / "causal"
    )
    tiny.tokenizer().save_pretrained(where / "causal")
    tiny.saved_encoder(where / "no-mask")
    own = tiny.tokenizer()
    own.mask_token = None
    own.save_pretrained(where / "no-mask")
    tiny.saved_encoder(where / "small", vocab_size=20)
    return where


def run(place: Path, output: Path, **settings: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": place / "encoder",
        "corpus": [str(place / "corpus.txt")],
        "max_length": 16,
        "batch_size": 32,
        "held_out": 40,
        "mask_share": 0.2,
        **FAST,
    }
    return tinybert.mlm(output=output, **(asked | settings))


@pytest.fixture(scope="module")
def headed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The encoder with a head, and its results."""
    output = tmp_path_factory.mktemp("headed") / "out"
    return output, run(place, output, head_steps=60, head_learning_rate=1e-2, evaluations=3)


# --- a head for an encoder ------------------------------------------------------------------------


def test_the_encoder_stays_as_it_is_to_the_bit(
    place: Path, headed: tuple[Path, dict[str, Any]]
) -> None:
    before, after = (
        AutoModel.from_pretrained(place / "encoder"),
        AutoModel.from_pretrained(headed[0]),
    )
    own = dict(before.named_parameters())
    compared = [n for n, _ in after.named_parameters() if not n.startswith("pooler")]
    assert len(compared) == len(own) - 2
    for name in compared:
        assert torch.equal(after.get_parameter(name), own[name]), name
    for name in (place / "encoder").glob("projections*"):  # a student can be distilled further
        assert (headed[0] / name.name).read_bytes() == name.read_bytes()


def test_it_serves_as_a_masked_language_model(headed: tuple[Path, dict[str, Any]]) -> None:
    output, results = headed
    model = AutoModelForMaskedLM.from_pretrained(output)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert has_masked_lm_head(output)
    fill = pipeline("fill-mask", str(output))
    assert len(fill("lock thread [MASK] wait")) == 5
    card = ModelCard.load(output / "README.md")
    assert card.data.pipeline_tag == "fill-mask"
    assert "A masked language model (bert, 2 layers × 32), trained on text from" in card.text
    assert results["task"] == "mlm"
    assert results["metric"] == "masked_accuracy"
    assert results["student"]["score"] == results["held_out"]["eval_masked_accuracy"]
    assert results["held_out"]["eval_mlm"] < results["held_out_before"]["eval_mlm"] - 0.1
    assert json.loads((output / "results.json").read_text())["held_out"] == results["held_out"]


def test_figures_are_logged_from_the_start(headed: tuple[Path, dict[str, Any]]) -> None:
    output, results = headed
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    held = [entry for entry in log if "eval_mlm" in entry]
    assert [entry["step"] for entry in held] == [0, 20, 40, 60]
    blocks = results["stages"][0]["rows"]
    assert held[-1]["epoch"] == pytest.approx(60 / -(-blocks // 32))  # of the text, not of masks
    assert blocks < 400


def test_a_frozen_encoder_has_no_dropout_and_only_the_head_learns() -> None:
    model = tiny.masked_lm(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    freeze_encoder(model, None)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in model.named_parameters() if n.startswith("cls.")}
    assert not model.get_output_embeddings().weight.requires_grad  # it is the input's
    batch = tiny.rows(4).batch(range(4))
    model.train()
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert torch.equal(model(ids, mask).logits, model(ids, mask).logits)


# --- all weights ----------------------------------------------------------------------------------


def test_head_then_all_weights(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    results = run(
        place, output, head_steps=20, head_learning_rate=1e-2, epochs=20, learning_rate=1e-2
    )
    assert [stage["name"] for stage in results["stages"]] == ["head", "mlm"]
    per_epoch = -(-results["stages"][0]["rows"] // 32)
    assert [stage["steps"] for stage in results["stages"]] == [20, 20 * per_epoch]
    assert results["tokens"] > 20 * 12 * 300
    # Every word follows from its neighbour: guessing at random would be right once in twenty.
    assert results["held_out"]["eval_masked_accuracy"] > 0.5
    assert results["held_out_before"]["eval_masked_accuracy"] < 0.3
    old, new = (load_file(p / "model.safetensors") for p in (place / "encoder", output))
    name = "encoder.layer.0.output.dense.weight"
    assert abs(new[f"bert.{name}"] - old[name]).max() > 1e-3


def test_a_model_with_a_head_is_trained_on_at_once(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = place / "masked-lm"
    results = run(place, tmp_path / "out", model=model, steps=3, quiet=False)
    assert [stage["name"] for stage in results["stages"]] == ["mlm"]
    assert "has an output head already" in capsys.readouterr().err
    first = run(place, tmp_path / "one", model=model, head_steps=2)
    assert [stage["name"] for stage in first["stages"]] == ["head"]
    with pytest.raises(TinybertError, match="has an output head already, and nothing says how"):
        run(place, tmp_path / "two", model=model)
    assert not (tmp_path / "two.run").exists()


def test_a_built_corpus_is_the_same_text(place: Path, tmp_path: Path) -> None:
    tinybert.corpus_build(
        corpus=[str(place / "corpus.txt")],
        teacher=str(place / "encoder"),
        max_length=16,
        output=tmp_path / "corpus",
        quiet=True,
    )
    run(place, tmp_path / "raw", head_steps=3, steps=3)
    corpus = [str(tmp_path / "corpus")]
    run(place, tmp_path / "built", head_steps=3, steps=3, corpus=corpus, max_length=None)
    raw, built = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("raw", "built"))
    assert raw == built


def test_settings_reach_the_masks() -> None:
    settings = MlmSettings(mask_share=0.3, random_share=0.2, kept_share=0.5, whole_words=False)
    masking = masking_of(settings, tiny.tokenizer(), "model")
    assert (masking.share, masking.replaced, masking.kept) == (0.3, 0.2, 0.5)
    assert masking.continues is None
    assert masking.mask_id == tiny.SPECIALS.index("[MASK]")
    assert masking.special.tolist() == [token < 5 for token in range(tiny.VOCABULARY)]
    assert masking_of(MlmSettings(), tiny.tokenizer(), "model").continues is not None


# --- plans and refusals ---------------------------------------------------------------------------


def test_a_dry_run_measures_and_writes_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = run(place, tmp_path / "out", dry_run=True, tokens="50k", evaluations=2)
    assert not list(tmp_path.iterdir())
    assert plan["head_steps"] == 500
    assert plan["tokens"] >= 50_000
    assert plan["step_seconds"].keys() == {"head", "mlm"}
    assert plan["training_seconds"] > 500 * plan["step_seconds"]["head"]
    assert "output head alone 500 steps" in " ".join(capsys.readouterr().out.split())


MLM = "mlm --model encoder --corpus noise.txt --max-length 16 --output out"
BAD = [
    ("mlm --corpus noise.txt --output out", "give it with --model"),
    ("mlm --model encoder --output out", "the corpus is missing: give it with --corpus"),
    ("mlm --model encoder --corpus noise.txt", "give it with --output"),
    (f"{MLM} --corpus nowhere.txt", "there is no file or directory nowhere.txt"),
    (f"{MLM} --model no-mask", "no-mask has no mask token, as those of causal language models"),
    (f"{MLM} --model causal", "type gpt2, of which transformers has no masked language model"),
    (f"{MLM} --model small", "25 pieces and its model 20: they do not belong together"),
    (f"{MLM} --model ./nowhere", "there is no model directory ./nowhere"),
    (f"{MLM} --head-steps 0", "gets no step for its output head, and nothing says how long"),
    (f"{MLM} --model masked-lm", "or --head-steps for the head alone"),
    (f"{MLM} --steps 3 --epochs 2", "--epochs and --steps both say how long to train"),
    (f"{MLM} --tokens few", "--tokens few is no number"),
    (f"{MLM} --mask-share 0", "it has to be more than 0 and at most 1"),
    (f"{MLM} --random-share 0.6 --kept-share 0.5", "more than all masked tokens"),
    (f"{MLM} --max-length 500", "takes 128 tokens at most"),
    (f"{MLM} --teacher encoder", "did you mean --model?"),
]


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with working_directory(place, tmp_path, monkeypatch) as where:
        yield where


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_one_sentence_and_nothing_left(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    before = tree(here)
    assert message in sentence(capsys, line.split())
    assert tree(here) == before


# --- loading and scores ---------------------------------------------------------------------------


def test_a_new_head_follows_from_the_seed_and_is_tied(place: Path) -> None:
    models = [load_encoder(place / "encoder", masked_lm=True, seed=s) for s in (1, 1, 2)]
    one, same, other = (model.cls.predictions.transform.dense.weight for model in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    for model in models:
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not has_masked_lm_head(place / "encoder")
    assert has_masked_lm_head(place / "masked-lm")


def test_an_output_embedding_of_its_own_needs_a_config_that_says_so(tmp_path: Path) -> None:
    model = tiny.masked_lm(tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    assert _untied(load_encoder(tmp_path, masked_lm=True))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    with pytest.raises(TinybertError, match="an output embedding other than its input embedding"):
        load_encoder(tmp_path, masked_lm=True)


def _untied(model: PreTrainedModel) -> bool:
    return model.get_output_embeddings().weight is not model.get_input_embeddings().weight


def test_scores_are_those_of_fixed_masks() -> None:
    class Holder:
        student = tiny.masked_lm()

        def parameters(self) -> Any:
            return self.student.parameters()

    evaluate = masked_scores(tiny.masked_rows(20))
    assert evaluate(Holder()) == evaluate(Holder())
