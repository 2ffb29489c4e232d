"""A student with a tokenizer of its own, from the command's settings to the saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertModel,
)

from support import encoders, tiny, tongues
from tinybert import api
from tinybert.errors import TinybertError
from tinybert.jobs.distill import run_distill
from tinybert.jobs.own_vocabulary import own_tokenizer
from tinybert.jobs.report import run_report
from tinybert.jobs.students import check_student
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings, ReportSettings

QUICK = tiny.QUICK | {
    "student": "2x16",
    "max_length": 48,
    "intermediate_epochs": 4.0,
    "prediction_epochs": 2.0,
    "intermediate_learning_rate": 1e-3,
    "prediction_learning_rate": 1e-3,
    "teacher_precision": "float32",
    "batch_size": 16,
}


def settings(place: Path, output: str, **more: Any) -> DistillSettings:
    options = {k: v for k, v in QUICK.items() if k != "quiet"} | {
        "teacher": str(place / "teacher"),
        "data": str(place / "rows.csv"),
        "output": place / output,
    }
    return DistillSettings(**(options | more))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    tokenizer = tongues.word_pieces()
    tiny.classifier(seed=1, layers=3, width=32, vocab_size=len(tokenizer)).save_pretrained(
        place / "teacher"
    )
    tokenizer.save_pretrained(place / "teacher")
    tongues.byte_pairs().save_pretrained(place / "bytes")
    tiny.task_file(place / "rows.csv", 120)
    return place


@pytest.fixture(scope="module")
def finished(place: Path) -> dict[str, Any]:
    return run_distill(settings(place, "student", vocabulary_size=80), Reporter(quiet=True))


def losses(output: Path, stage: str, name: str) -> list[float]:
    entries = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return [e[name] for e in entries if e["stage"] == stage and name in e]


def test_losses_fall_and_the_student_has_its_own_tokenizer(
    place: Path, finished: dict[str, Any]
) -> None:
    for name in ("eval_loss", "eval_hidden", "eval_embedding"):
        found = losses(place / "student", "intermediate", name)
        assert found[-1] < found[0], name
    tokenizer = AutoTokenizer.from_pretrained(str(place / "student"))
    model = AutoModelForSequenceClassification.from_pretrained(str(place / "student"))
    assert len(tokenizer) == model.config.vocab_size == 80
    assert tokenizer.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    with torch.no_grad():
        assert model(**tokenizer("open the lock", return_tensors="pt")).logits.shape == (1, 4)
    told = finished["vocabulary"]
    assert told["student_pieces"] == 80
    assert told["student_table_parameters"] == 80 * 16
    assert told["teacher_table_parameters"] == 32 * told["teacher_pieces"]
    assert 0 < told["one_to_one"] < 1
    assert told["teacher_several"] > 0
    assert told["student_outside"] == told["teacher_outside"] == 0


def test_the_student_is_evaluated_answers_and_is_exported(
    place: Path, finished: dict[str, Any]
) -> None:
    scored = api.evaluate(
        model=place / "student", data=str(place / "rows.csv"), teacher=str(place / "teacher")
    )
    assert 0 <= scored["agreement"] <= 1
    answers = place / "answers.jsonl"
    api.predict(model=str(place / "student"), data=str(place / "rows.csv"), output=answers)
    assert len(answers.read_text().splitlines()) == 120
    api.export_model(
        model=str(place / "student"), to=["onnx"], output=place / "exported", quiet=True
    )
    tokenizer = AutoTokenizer.from_pretrained(str(place / "exported"))
    assert len(tokenizer) == 80


def test_the_report_compares_answers_only(place: Path, finished: dict[str, Any]) -> None:
    found = run_report(
        ReportSettings(run=place / "student", output=place / "page.html", latency=False),
        Reporter(quiet=True),
    )
    assert any("tokenizer of its own" in sentence for sentence in found["missing"])
    assert len(found["missing"]) == 2  # and latency, which was not asked for


def test_a_run_that_was_stopped_goes_on(
    place: Path, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vocabulary is trained anew and is the same; so are the weights in the end."""
    asked = settings(place, "stopped", vocabulary_size=80)
    with monkeypatch.context() as patch:
        patch.setattr("tinybert.jobs.task_stages.with_targets", _stop)
        with pytest.raises(KeyboardInterrupt):
            run_distill(asked, Reporter(quiet=True))
    asked.resume = True
    run_distill(asked, Reporter(quiet=True))
    one, two = (
        AutoModelForSequenceClassification.from_pretrained(str(place / name)).state_dict()
        for name in ("student", "stopped")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_given_tokenizer_and_a_student_that_carries_one(place: Path) -> None:
    """From a directory; then the student that came of it, with what it learned."""
    quick = {"intermediate_epochs": 1.0, "prediction_epochs": 0.0}
    run_distill(settings(place, "first", tokenizer=str(place / "bytes"), **quick), Reporter(True))
    found = run_distill(settings(place, "second", student=str(place / "first")), Reporter(True))
    assert found["vocabulary"]["student_pieces"] == len(tongues.byte_pairs())
    assert found["start"] == "given"


def test_a_given_student_gets_another_vocabulary(place: Path) -> None:
    quick = {"intermediate_epochs": 1.0, "prediction_epochs": 0.0}
    run_distill(settings(place, "plain", **quick), Reporter(quiet=True))
    found = run_distill(
        settings(place, "moved", student=str(place / "plain"), vocabulary_size=80, **quick),
        Reporter(quiet=True),
    )
    assert found["vocabulary"]["student_pieces"] == 80
    teachers = settings(place, "same", tokenizer=str(place / "teacher"))
    assert own_tokenizer(teachers, tongues.word_pieces(), [], Reporter(quiet=True)) is None


def test_augmented_rows(place: Path) -> None:
    tiny.masked_lm(vocab_size=len(tongues.word_pieces())).save_pretrained(place / "words")
    tongues.word_pieces().save_pretrained(place / "words")
    api.augment(
        data=str(place / "rows.csv"),
        output=place / "copies",
        masked_lm=str(place / "words"),
        copies=2,
        quiet=True,
    )
    found = run_distill(
        settings(place, "augmented", vocabulary_size=80, augment=place / "copies",
                 intermediate_epochs=1.0, prediction_epochs=1.0, head="teacher", controls=True),
        Reporter(quiet=True),
    )  # fmt: skip
    assert found["augmented_rows"] > found["rows"]["train"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"tokenizer": "bytes", "vocabulary_size": 80}, "both say which vocabulary"),
        ({"corpus": ["text.txt"]}, "say of how many pieces with --vocabulary-size"),
        ({"vocabulary_size": 80, "max_size": "1MB", "student": "auto"}, "--max-size finds a"),
        ({"vocabulary_size": 5000}, r"the text gives \d+ pieces"),
        ({"tokenizer": "nowhere/at/all"}, "there is no model directory"),
    ],
)
def test_what_is_refused(place: Path, asked: dict[str, Any], error: str) -> None:
    if asked.get("tokenizer") == "bytes":
        asked = asked | {"tokenizer": str(place / "bytes")}
    with pytest.raises(TinybertError, match=error):
        run_distill(settings(place, "refused", **asked), Reporter(quiet=True))
    assert not (place / "refused").exists()
    assert not (place / "refused.run").exists()


def test_a_student_with_a_tokenizer_takes_no_other(place: Path, finished: dict[str, Any]) -> None:
    asked = settings(place, "refused", student=str(place / "student"), vocabulary_size=90)
    with pytest.raises(TinybertError, match="has a tokenizer of its own already"):
        run_distill(asked, Reporter(quiet=True))


def test_a_student_whose_tokenizer_is_not_its_own(place: Path) -> None:
    tiny.classifier(layers=2, vocab_size=30).save_pretrained(place / "mixed")
    tongues.byte_pairs().save_pretrained(place / "mixed")
    with pytest.raises(TinybertError, match="put the tokenizer beside it that belongs to it"):
        run_distill(settings(place, "refused", student=str(place / "mixed")), Reporter(quiet=True))


def test_general_distillation_compares_tokens(place: Path) -> None:
    """It says where a student with a tokenizer of its own can learn."""
    tiny.encoder(layers=2, vocab_size=len(tongues.byte_pairs())).save_pretrained(place / "other")
    tongues.byte_pairs().save_pretrained(place / "other")
    text = tiny.corpus_file(place / "text.txt", 20)
    with pytest.raises(TinybertError, match="tokenizers that differ, and here their tokens are"):
        api.general(
            teacher=str(place / "teacher"), student=str(place / "other"), corpus=[str(text)],
            output=place / "refused", quiet=True,
        )  # fmt: skip


def test_windows_follow_the_layer_mapping() -> None:
    """Attention in windows is refused where the student has such layers, and only there."""
    teacher, own = encoders.classifier("modernbert"), tongues.byte_pairs()
    asked = DistillSettings(student="2x32x64x4", start="random", layer_mapping="1,4")
    assert check_student(asked, teacher, tiny.tokenizer(), own) == "2x32x64x4"
    asked.layer_mapping = "uniform"
    with pytest.raises(TinybertError, match="leave it out with --attention-weight 0"):
        check_student(asked, teacher, tiny.tokenizer(), own)


def test_a_student_of_fewer_positions_than_rows_have(place: Path) -> None:
    tiny.saved_encoder(place / "short", width=16, max_position_embeddings=20)
    asked = settings(place, "refused", student=str(place / "short"))
    with pytest.raises(TinybertError, match="short takes 20 tokens at most, 48 were asked for"):
        run_distill(asked, Reporter(quiet=True))
    assert not (place / "refused").exists()


def test_a_student_of_another_architecture_keeps_its_inputs(place: Path) -> None:
    """DistilBERT takes no token types, its teacher does."""
    tokenizer = tongues.byte_pairs()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
    tokenizer.save_pretrained(place / "distil")
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=4, hidden_dim=32,
        max_position_embeddings=64,
    )  # fmt: skip
    DistilBertModel(config).save_pretrained(place / "distil")
    quick = {"intermediate_epochs": 1.0, "prediction_epochs": 0.0}
    run_distill(
        settings(place, "distilled", student=str(place / "distil"), **quick), Reporter(True)
    )
    made = AutoTokenizer.from_pretrained(str(place / "distilled"))
    assert "token_type_ids" not in made.model_input_names
