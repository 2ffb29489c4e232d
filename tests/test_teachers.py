"""Teachers: loaded safely, frozen, speaking the data's labels; outputs kept."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from support import tiny
from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.taps import TapRequest
from tinybert.teachers import (
    Teacher,
    aligned_labels,
    cached_logits,
    check_fits,
    fingerprint,
    has_head,
    load_encoder,
    load_tokenizer,
    tokenizers_agree,
    without_bars,
)


def permuted(order: list[int]) -> BertForSequenceClassification:
    """``tiny.classifier(1)`` with its outputs and their names in another order."""
    model = tiny.classifier(1, labels=tuple(tiny.LABELS[i].upper() for i in order))
    with torch.no_grad():
        for tensor in (model.classifier.weight, model.classifier.bias):
            tensor.copy_(tensor[order].clone())
    return model


def test_labels_are_matched_by_name() -> None:
    rows = tiny.rows(20)
    plain = Teacher(tiny.classifier(1))
    plain.speak_labels(tiny.LABELS)
    other = Teacher(permuted([2, 0, 3, 1]))
    crossed = cached_logits(other, rows, None)
    expected = cached_logits(plain, rows, None)
    assert not np.allclose(crossed, expected)
    other.speak_labels(tiny.LABELS)
    np.testing.assert_allclose(cached_logits(other, rows, None), expected, rtol=1e-5, atol=1e-6)
    batch = rows.batch(range(20))
    logits = other.taps(batch, TapRequest(logits=True)).logits
    assert logits is not None
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_labels_that_are_not_the_datas() -> None:
    assert aligned_labels(["b", "a"], ["A", "B"]) == [1, 0]
    assert aligned_labels(["US", "us"], ["us", "US"]) == [1, 0]
    with pytest.raises(TinybertError, match="are not the data's"):
        aligned_labels(["US", "us"], ["us", "uS"])
    teacher = Teacher(tiny.classifier(1))
    with pytest.raises(TinybertError, match=r"\(x, y\): fine-tune the teacher"):
        teacher.speak_labels(["x", "y"])


def test_vocabularies_have_to_fit() -> None:
    teacher = tiny.config(layers=4, width=32, heads=4)
    check_fits(teacher, tiny.config(heads=2))
    with pytest.raises(TinybertError, match="different vocabularies \\(25 and 99 pieces\\)"):
        check_fits(teacher, tiny.config(vocab_size=99))


def test_tokenizers_agree_when_their_vocabularies_do() -> None:
    one, other = tiny.tokenizer(), tiny.tokenizer()
    assert tokenizers_agree(one, other)
    other.add_tokens(["more"])
    assert not tokenizers_agree(one, other)


def test_kept_logits_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = Teacher.taps

    def counted(self: Teacher, *args: Any) -> Any:
        calls.append(1)
        return real(self, *args)

    monkeypatch.setattr(Teacher, "taps", counted)
    teacher, rows = Teacher(tiny.classifier(1)), tiny.rows(20)
    first = cached_logits(teacher, rows, tmp_path)
    assert first.dtype == np.float32
    assert first.shape == (20, 4)
    done = len(calls)
    assert done > 0
    again = cached_logits(Teacher(tiny.classifier(1)), rows, tmp_path)
    assert len(calls) == done
    assert np.array_equal(first, again)

    def anew(teacher: Teacher, rows: TokenRows) -> np.ndarray:
        before = len(calls)
        found = cached_logits(teacher, rows, tmp_path)
        assert len(calls) > before
        return found

    assert not np.array_equal(first, anew(Teacher(tiny.classifier(2)), rows))
    anew(teacher, rows.take(range(10)))
    typed = rows.take(range(20))
    typed.type_ids = np.ones(len(typed.ids), dtype=np.uint8)
    assert not np.array_equal(first, anew(teacher, typed))
    speaking = Teacher(tiny.classifier(1))
    speaking.speak_labels(tiny.LABELS[::-1])
    np.testing.assert_array_equal(anew(speaking, rows), first[:, ::-1])
    assert len(list(tmp_path.glob("logits-*.npy"))) == len(list(tmp_path.iterdir())) == 5


def test_the_teacher_is_cut_to_the_depth_that_is_read() -> None:
    teacher = Teacher(tiny.encoder(layers=4))
    batch = tiny.rows(3).batch(range(3))
    request = TapRequest(frozenset({1, 2}), frozenset({2}))
    whole = teacher.taps(batch, request)
    teacher.only_as_deep_as(9)
    assert len(teacher.model.encoder.layer) == 4
    teacher.only_as_deep_as(2)
    assert len(teacher.model.encoder.layer) == 2
    cut = teacher.taps(batch, request)
    assert torch.equal(whole.hidden[2], cut.hidden[2])
    assert torch.equal(whole.attention[2].query, cut.attention[2].query)


def test_taps_carry_no_gradient_but_may_enter_a_loss() -> None:
    teacher = Teacher(tiny.classifier(1), dtype=torch.bfloat16)
    taps = teacher.taps(tiny.rows(3).batch(range(3)), TapRequest(hidden=frozenset({1})))
    assert taps.hidden[1].dtype == torch.bfloat16
    assert not taps.hidden[1].requires_grad
    assert not taps.hidden[1].is_inference()


def test_loading_with_and_without_a_head(tmp_path: Path) -> None:
    tiny.saved_encoder(tmp_path / "encoder")
    tiny.saved_classifier(tmp_path / "classifier")
    assert not has_head(tmp_path / "encoder")
    assert has_head(tmp_path / "classifier")
    bare = load_encoder(tmp_path / "classifier")
    assert type(bare).__name__ == "BertModel"
    assert bare.dtype == torch.float32
    headed = load_encoder(tmp_path / "encoder", labels=["a", "b"])
    assert headed.config.id2label == {0: "a", 1: "b"}
    assert headed.config.problem_type == "single_label_classification"
    values = load_encoder(tmp_path / "encoder", labels=[], regression=True)
    assert values.config.num_labels == 1
    assert values.config.problem_type == "regression"
    assert load_tokenizer(tmp_path / "encoder").vocab_size == tiny.VOCABULARY


def test_loading_is_quiet_and_bars_come_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import logging

    monkeypatch.setattr(logging, "_tqdm_active", True)
    tiny.saved_encoder(tmp_path)
    capfd.readouterr()
    load_encoder(tmp_path)
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()
    with without_bars():
        assert not logging.is_progress_bar_enabled()


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for load in (load_encoder, load_tokenizer, has_head):
        with pytest.raises(TinybertError, match="it has no config.json"):
            load(tmp_path / "empty")
        with pytest.raises(TinybertError, match="is a file: give the model's directory"):
            load(tmp_path / "file")
        with pytest.raises(TinybertError, match="there is no model directory"):
            load(tmp_path / "nowhere")
    broken = tiny.saved_encoder(tmp_path / "broken")
    (broken / "config.json").write_text("{")
    for load in (load_encoder, load_tokenizer, has_head):
        with pytest.raises(TinybertError, match="config.json is no JSON"):
            load(broken)
    cut = tiny.saved_encoder(tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(TinybertError, match="cannot be loaded as a model"):
        load_encoder(cut)
    bare = tmp_path / "bare"
    tiny.encoder().save_pretrained(bare)
    with pytest.raises(TinybertError, match="has no tokenizer"):
        load_tokenizer(bare)


class Malice:
    """Makes a directory when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_foreign_pickle_is_refused_and_never_run(tmp_path: Path, writer: str) -> None:
    directory = tiny.saved_encoder(tmp_path / "model")
    (directory / "model.safetensors").unlink()
    content = {"embeddings.word_embeddings.weight": Malice(tmp_path / "executed")}
    with (directory / "pytorch_model.bin").open("wb") as file:
        if writer == "torch":
            torch.save(content, file)
        else:
            pickle.dump(content, file)
    with pytest.raises(TinybertError, match="cannot be loaded as a model"):
        load_encoder(directory)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(directory / "pytorch_model.bin", weights_only=True)


def test_a_harmless_bin_is_read(tmp_path: Path) -> None:
    directory = tiny.saved_encoder(tmp_path / "model")
    expected = load_encoder(directory).state_dict()
    (directory / "model.safetensors").unlink()
    torch.save(expected, directory / "pytorch_model.bin")
    for name, tensor in load_encoder(directory).state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_code_of_the_repository_is_not_run(tmp_path: Path) -> None:
    directory = tiny.saved_encoder(tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": dict.fromkeys(("AutoConfig", "AutoModel"), "own.Own"),
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'executed')!r})\n")
    with pytest.raises(TinybertError, match="cannot be loaded as a model"):
        load_encoder(directory)
    assert not (tmp_path / "executed").exists()


def test_a_fingerprint_knows_the_model_not_its_place(tmp_path: Path) -> None:
    one = load_encoder(tiny.saved_encoder(tmp_path / "one"))
    other = load_encoder(tiny.saved_encoder(tmp_path / "other"))
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(load_encoder(tiny.saved_encoder(tmp_path / "x", seed=1))) != fingerprint(one)
    other.config.hidden_dropout_prob = 0.25
    assert fingerprint(one) != fingerprint(other)
