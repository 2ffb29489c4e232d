"""Tags and questions through all verbs, on small models."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import pipeline

import tinybert
from support import pages, tiny, words
from tinybert.cli import main
from tinybert.errors import TinybertError
from tinybert.jobs.exported_scales import calibration_rows, calibration_tokens
from tinybert.progress import Reporter
from tinybert.reporting import REPORT_FILE, WORDS_FILE
from tinybert.settings import ExportSettings
from tinybert.task_heads import Answering
from tinybert.tasks.tagging import entity_scores
from tinybert.training import DistillationTrainer

QUICK = tiny.QUICK | {
    "student": "2x16",
    "teacher_epochs": 8.0,
    "teacher_learning_rate": 4e-3,
    "intermediate_learning_rate": 1e-3,
    "prediction_learning_rate": 1e-3,
    "head": "teacher",
    "log_every": 5,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of both tasks, an encoder, and students of it."""
    place = tmp_path_factory.mktemp("words")
    tiny.saved_encoder(place / "encoder", layers=3, width=32, initializer_range=0.2)
    for number, part in enumerate(("train", "dev", "test")):
        count = 90 if part == "train" else 24
        words.conll(place / "tags" / f"{part}.txt", count, number)
        words.squad(place / "squad" / f"{part}.json", count // 2, number, unanswerable=True)
    asked: dict[str, Any] = {"teacher": place / "encoder", "report": True}
    tinybert.distill(
        task="ner", data=place / "tags", output=place / "tagger", controls=True, **QUICK | asked
    )
    tinybert.distill(task="squad", data=place / "squad", output=place / "answerer", **QUICK | asked)
    return place


def results_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "results.json").read_text("utf-8"))
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_results(made: Path) -> None:
    tagged, answered = results_of(made / "tagger"), results_of(made / "answerer")
    assert tagged["metric"] == "entity_f1"
    assert tagged["rows"] == {"train": 90, "dev": 24, "test": 24}
    assert tagged["teacher"]["score"] > 0.1  # it has learned something
    scores = tagged["student"]["scores"]["test"]
    assert [*scores] == ["entity_f1", "entity_precision", "entity_recall", "token_accuracy"]
    assert set(tagged["controls"]) == {"same start, labels alone", "same start, logits alone"}
    assert answered["metric"] == "answer_f1"
    assert answered["rows"] == {"train": 90, "dev": 24, "test": 24}  # questions, not windows
    assert answered["stages"][-1]["objective"][0]["term"] == "prediction"
    for results in (tagged, answered):
        assert 0 <= results["agreement"] <= 1
    config = json.loads((made / "answerer" / "config.json").read_text())
    assert config["architectures"] == ["BertForQuestionAnswering"]


@pytest.mark.parametrize(
    ("name", "data"), [("tagger", "tags/test.txt"), ("answerer", "squad/test.json")]
)
def test_evaluation_gives_the_same_scores(made: Path, name: str, data: str) -> None:
    found = tinybert.evaluate(
        model=str(made / name),
        data=str(made / data),
        teacher=str(made / f"{name}-teacher"),
        max_length=24,
        quiet=True,
    )
    results = results_of(made / name)
    assert found["scores"] == pytest.approx(results["student"]["scores"]["test"])
    assert found["agreement"] == pytest.approx(results["agreement"])
    assert found["rows"] == 24


def test_predicted_tags(made: Path, tmp_path: Path) -> None:
    """A tag a word, the very ones that are scored; the pipeline gives the same."""
    model, data = str(made / "tagger-teacher"), str(made / "tags" / "test.txt")
    found = tinybert.predict(
        model=model, data=data, label="tags", output=tmp_path / "o.jsonl", quiet=True
    )
    rows = lines_of(tmp_path / "o.jsonl")
    truth = words.tagged(24, 2)
    assert [row["tokens"] for row in rows] == [[word for word, _ in one] for one in truth]
    scores = entity_scores([[t for _, t in one] for one in truth], [row["tags"] for row in rows])
    assert scores["entity_f1"] == pytest.approx(found["scores"]["entity_f1"])
    tag = pipeline("token-classification", model)
    for row in rows[:6]:
        given = {one["index"] - 1: one for one in tag(" ".join(row["tokens"]))}
        for place, (name, share) in enumerate(zip(row["tags"], row["probabilities"], strict=True)):
            assert (name == "O") == (place not in given)
            if name != "O":
                assert given[place]["entity"] == name
                assert given[place]["score"] == pytest.approx(share, abs=1e-4)
    told = [one["text"] for row in rows for one in row["entities"]]
    assert all(
        text in data_text for text, data_text in ((t, " ".join(tiny.WORDS) + " " + t) for t in told)
    )
    # Without the column of tags, or cut in the middle, a tag a word all the same.
    short = tinybert.predict(
        model=model, data=data, output=tmp_path / "short.jsonl", max_length=6, quiet=True
    )
    assert "scores" not in short
    for row in lines_of(tmp_path / "short.jsonl"):
        assert len(row["tags"]) == len(row["tokens"]) == len(row["probabilities"])
        assert row["tags"][4:] == ["O"] * len(row["tags"][4:])
        assert set(row["probabilities"][4:]) <= {None}


def test_predicted_answers(made: Path, tmp_path: Path) -> None:
    data = made / "squad" / "test.json"
    tinybert.predict(
        model=str(made / "answerer"),
        data=str(data),
        output=tmp_path / "o.jsonl",
        n_best=3,
        no_answer="no",
        max_length=24,
        quiet=True,
    )
    passages = {
        one["id"]: paragraph["context"]
        for paragraph in json.loads(data.read_text())["data"][0]["paragraphs"]
        for one in paragraph["qas"]
    }
    rows = lines_of(tmp_path / "o.jsonl")
    assert [row["id"] for row in rows] == [*passages]
    for row in rows:
        assert passages[row["id"]][row["start"] :].startswith(row["answer"])
        assert row["answer"]
        scores = [each["score"] for each in row["n_best"]]
        assert scores == sorted(scores, reverse=True)
        assert len({(each["answer"], each["start"]) for each in row["n_best"]}) == len(scores)


@pytest.mark.parametrize(("name", "data"), [("tagger", "tags"), ("answerer", "squad")])
def test_reports(made: Path, tmp_path: Path, name: str, data: str) -> None:
    """Figures by type, and rows that differ; the same when the answers have to be made again."""
    student = made / name
    seen = pages.read((student / REPORT_FILE).read_text("utf-8"))
    pages.check_alone(seen)
    told = json.loads((student / WORDS_FILE).read_text())
    table = seen.table("Figures of every class")
    assert [row[0] for row in table[1:]] == [row["name"] for row in told["classes"]]
    assert [int(row[1]) for row in table[1:]] == [row["count"] for row in told["classes"]]
    differing = [
        r for title, rows in seen.tables if title.startswith("Rows where") for r in rows[1:]
    ]
    assert len(differing) == min(50, told["differ"]) == min(50, len(told["differing"]))
    assert sum(told["split"].values()) == told["rows"] == 24
    for part in ("encoder", data, name, f"{name}-teacher"):
        shutil.copytree(made / part, tmp_path / part)
    (tmp_path / name / WORDS_FILE).unlink()
    again = tinybert.report(
        run=tmp_path / name, output=tmp_path / "again.html", latency=False, quiet=True
    )
    assert not any("answers" in sentence for sentence in again["missing"])
    fresh = pages.read((tmp_path / "again.html").read_text("utf-8"))
    assert fresh.table("Figures of every class") == table
    shutil.rmtree(tmp_path / data)
    results = results_of(tmp_path / name)
    results["settings"]["data"] = "gone"
    (tmp_path / name / "results.json").write_text(json.dumps(results))
    lost = tinybert.report(
        run=tmp_path / name, output=tmp_path / "lost.html", latency=False, quiet=True
    )
    assert any("answers to them cannot be shown" in sentence for sentence in lost["missing"])


@pytest.mark.parametrize("name", ["tagger", "answerer"])
def test_the_code_of_a_card_runs(
    made: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (made / name / "README.md").read_text("utf-8")
    kind = "token-classification" if name == "tagger" else "question-answering"
    assert f"pipeline_tag: {kind}" in card
    monkeypatch.chdir(made)
    (code,) = re.findall(r"```python\n(.+?)```", card, re.S)
    exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out.strip() or name == "tagger"


def test_an_export_gives_starts_and_ends(made: Path, tmp_path: Path) -> None:
    """A tagger is exported by the how-to page on entities."""
    pytest.importorskip("onnxruntime")
    found = tinybert.export_model(
        model=str(made / "answerer-teacher"),
        data=str(made / "squad" / "test.json"),
        max_length=24,
        max_drop=30,
        output=tmp_path / "forms",
        quiet=True,
    )
    exact = found["forms"]["onnx-float32"]
    assert exact["scores"] == pytest.approx(found["score_before"])
    assert exact["agreement"] == 1
    assert found["scored_rows"] == 24
    assert found["forms"]["onnx-int8"]["agreement"] > 0.5
    assert found["output_names"] == ["start_logits", "end_logits"]


@pytest.mark.parametrize("head", ["tokens", "spans"])
def test_static_scales_from_rows_of_these_tasks(tmp_path: Path, head: Answering) -> None:
    """Without labels too, though a classifier's texts are one a cell."""
    pytest.importorskip("onnxruntime")
    if head == "tokens":
        model: Any = words.tagger()
        rows = [{"tokens": [word for word, _ in one]} for one in words.tagged(12, 5)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data, count = tmp_path / "rows.jsonl", 12
    else:
        model, data, count = words.answerer(), words.squad(tmp_path / "rows.json", 6, 5), 12
        told = json.loads(data.read_text())
        for paragraph in told["data"][0]["paragraphs"]:
            for asked in paragraph["qas"]:
                del asked["answers"]
        data.write_text(json.dumps(told))
    model.save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    asked: dict[str, Any] = {"calibration": str(data), "int8": "static", "max_length": 24}
    path, quiet = str(tmp_path / "model"), Reporter(quiet=True)
    settings = ExportSettings(**asked)
    given = calibration_rows(path, head, settings, quiet)
    assert given is not None
    tokens = calibration_tokens(given, model, tiny.tokenizer(), settings, quiet)
    assert tokens.labels is None
    assert tokens.reading is not None
    assert len(tokens.reading) == count <= len(tokens)
    if head == "tokens":
        found = tinybert.export_model(
            model=path, to=["int8"], output=tmp_path / "forms", quiet=True, **asked
        )
        assert found["int8"]["way"] == "static"


def test_resume_changes_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second epoch of the prediction stage, gone on with: the same weights."""
    asked = QUICK | {
        "teacher": made / "tagger-teacher",
        "task": "token-classification",
        "data": made / "tags",
        "dropout": 0.1,
        "intermediate_epochs": 0.5,
        "prediction_epochs": 2.0,
    }
    tinybert.distill(output=tmp_path / "whole", **asked)
    real = DistillationTrainer.training_step

    def stopped(self: Any, *given: Any, **more: Any) -> Any:
        if self.distiller.objective.terms[0].name == "prediction" and self.state.global_step == 4:
            raise KeyboardInterrupt
        return real(self, *given, **more)

    monkeypatch.setattr(DistillationTrainer, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        tinybert.distill(output=tmp_path / "again", **asked)
    monkeypatch.setattr(DistillationTrainer, "training_step", real)
    tinybert.distill(output=tmp_path / "again", resume=True, **asked)
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "again"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_without_tags(made: Path, tmp_path: Path) -> None:
    """Words alone: the teacher's tags, chosen and reported by how near the student comes."""
    rows = [json.dumps({"tokens": [word for word, _ in one]}) for one in words.tagged(60, 5)]
    (tmp_path / "words.jsonl").write_text("\n".join(rows) + "\n")
    results = tinybert.distill(
        task="ner",
        teacher=made / "tagger-teacher",
        data=tmp_path / "words.jsonl",
        output=tmp_path / "student",
        **QUICK,
    )
    assert results["metric"] is results["student"]["score"] is None
    assert 0 <= results["agreement"] <= 1
    labels = json.loads((tmp_path / "student" / "config.json").read_text())["label2id"]
    assert set(labels) == set(words.TAGS)


def test_a_teacher_whose_tags_stand_in_another_order(made: Path, tmp_path: Path) -> None:
    """They are matched by name, and its answers are read in the data's order."""
    results = tinybert.distill(
        task="ner",
        teacher=made / "tagger-teacher",
        data=made / "tags",
        labels="I-A,B-D,B-C,B-B,B-A,O",
        output=tmp_path / "student",
        **QUICK | {"intermediate_epochs": 0.5},
    )
    assert results["teacher"]["score"] == pytest.approx(
        results_of(made / "tagger")["teacher"]["score"]
    )
    names = json.loads((tmp_path / "student" / "config.json").read_text())["id2label"]
    assert names["0"] == "I-A"


REFUSED = {
    "distill --task ner --teacher classifier --data tags --output out": (
        "is a classifier of whole texts, and this task asks for a token classifier"
    ),
    "distill --task squad --teacher tagger --data squad --output out": (
        "is a token classifier, and this task asks for a question-answering model"
    ),
    "distill --teacher tagger --data rows.csv --output out": "say --task token-classification",
    "distill --task squad --teacher encoder --data squad --labels a,b --output out": (
        "--labels names classes, and questions have none"
    ),
    "distill --task squad --teacher answerer --data squad --teacher-labels a,b --output out": (
        "--teacher-labels names classes, and a question-answering model has none"
    ),
    "distill --task ner --teacher encoder --data tags --augment copies --output out": (
        "`tinybert augment` is not for --task token-classification: leave --augment out."
    ),
    "distill --task nerr --teacher encoder --data tags --output out": "did you mean ner?",
    "augment --task ner --data tags --masked-lm encoder --output out": (
        "`tinybert augment` is not for --task token-classification"
    ),
    "trim --task squad --model encoder --data squad --output out": (
        "`tinybert trim` is not for --task question-answering: name the text"
    ),
    "evaluate --model tagger --task mrpc": "--task is for GLUE's tasks, and the model is a token",
    "evaluate --model answerer --data squad --max-length 4000": "tokens at most",
    "export tagger --task sst-2 --output out": "--task is for GLUE's tasks, and the model is a tok",
    "export answerer --task squad --output out": "leave it out and give rows with --data.",
    "export tagger --label tags --output out": (
        "--label tags is for rows to score, and none are given: name them with --data"
    ),
    "export answerer --metric exact_match --output out": "or leave --metric out.",
    "export classifier --label label --output out": "or leave --label out.",
    "predict --model answerer --data squad --metric exact_match --output out.jsonl": (
        "--metric scores against labels: name their column with --label."
    ),
    "predict --model tagger --data tags --output out.csv": "give a file that ends in .jsonl",
    "finetune --task squad --model encoder --data squad --max-length 7 --stride 4 --output out": (
        "for its passage, where windows share 4"
    ),
}


@pytest.mark.parametrize("command", REFUSED)
def test_refused_in_one_sentence(
    made: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    tiny.task_file(made / "rows.csv")
    if not (made / "classifier").exists():
        tiny.saved_classifier(made / "classifier")
    there = set(made.rglob("*"))
    assert main(command.split()) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert REFUSED[command] in said
    assert "Traceback" not in said
    assert set(made.rglob("*")) == there


def test_a_page_is_refused(made: Path, tmp_path: Path) -> None:
    forms = tmp_path / "forms"
    shutil.copytree(made / "tagger", forms)
    (forms / "onnx").mkdir()
    (forms / "onnx" / "model_quantized.onnx").write_bytes(b"")
    with pytest.raises(TinybertError, match="answers with tags or spans"):
        tinybert.page(model=forms, output=tmp_path / "page", quiet=True)
