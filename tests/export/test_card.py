"""Model cards: their metadata as huggingface_hub reads them, their figures, and writing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import tinybert.export.card as card_module
from support import tiny
from support.cards import described, distilled, headings, parsed, table, tables
from tinybert.errors import TinybertError
from tinybert.export import model_card, write_card
from tinybert.settings import FinetuneSettings


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return tiny.saved_classifier(tmp_path / "student")


# --- metadata -------------------------------------------------------------------------------------


def test_metadata_is_what_the_hub_reads(student: Path, tmp_path: Path) -> None:
    text = model_card(
        student,
        distilled(),
        language="no",
        licence="apache-2.0",
        base_model="google-bert/bert-base-uncased",
        dataset="nyu-mll/glue:mnli",
    )
    data = parsed(text, tmp_path).data
    assert data.language == ["no"]  # and not YAML's false
    assert data.license == "apache-2.0"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-classification"
    assert data.tags == ["tinybert", "distillation", "bert"]
    assert data.base_model == "google-bert/bert-base-uncased"
    assert "base_model_relation" not in data  # none of the Hub's four is a distilled student
    assert data.datasets == ["nyu-mll/glue"]
    assert data.metrics == ["accuracy"]
    assert data.model_name == "student"
    assert {(r.dataset_type, r.dataset_config, r.dataset_name) for r in data.eval_results} == {
        ("nyu-mll/glue", "mnli", "mnli")
    }
    assert [(r.metric_type, r.metric_name, r.metric_value) for r in data.eval_results] == [
        ("accuracy", "Accuracy", 0.8),
        ("accuracy", "Accuracy (mismatched)", 0.81),
    ]
    assert "No licence" not in text
    again = parsed(str(parsed(text, tmp_path)), tmp_path)
    assert again.data.to_dict() == data.to_dict()


def test_what_is_not_known_is_not_there(student: Path, tmp_path: Path) -> None:
    text = model_card(student, {})
    data = parsed(text, tmp_path).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["tinybert", "bert"],
    }
    assert headings(text) == ["Use", "Labels", "Limits"]
    assert "No licence is stated" in text
    assert "None" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("file", "kind", "library"),
    [
        ("onnx/model.onnx", "bert", "transformers.js"),
        ("onnx/model.onnx", "tinybert_relu_bert", None),  # a class of our own
        ("openvino/openvino_model.xml", "bert", None),
    ],
)
def test_the_library_of_an_export(
    student: Path, tmp_path: Path, file: str, kind: str, library: str | None
) -> None:
    config = json.loads((student / "config.json").read_text()) | {"model_type": kind}
    (student / "config.json").write_text(json.dumps(config))
    form = "onnx-float32" if file.endswith(".onnx") else "openvino"
    scores = {"accuracy": 0.5}
    results = {"exports": {form: {"file": file, "scores": scores}}, "score_before": scores}
    text = model_card(student, results | {"uncut": True})
    assert parsed(text, tmp_path).data.library_name == library
    assert "Accuracy in PyTorch, before the vocabulary was cut: 0.5000" in text


def test_numpy_scores_count(student: Path, tmp_path: Path) -> None:
    results = {"task": "t", "metric": "mcc", "student": {"score": np.float32(0.5)}}
    (result,) = parsed(model_card(student, results), tmp_path).data.eval_results
    assert result.metric_value == 0.5


@pytest.mark.parametrize(
    ("metric", "kind", "name", "arguments"),
    [
        ("mcc", "matthews_correlation", "Matthews correlation", None),
        ("macro_f1", "f1", "Macro F1", {"average": "macro"}),
        ("spearman", "spearmanr", "Spearman correlation", None),
        ("pearson_spearman", "pearson_spearman", "pearson spearman", None),
    ],
)
def test_metrics_have_the_names_of_the_hub(
    student: Path, tmp_path: Path, metric: str, kind: str, name: str, arguments: Any
) -> None:
    results = {"task": "t", "metric": metric, "student": {"score": 0.123456}}
    data = parsed(model_card(student, results), tmp_path).data
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_name) == (kind, name)
    assert result.metric_args == arguments
    assert result.metric_value == 0.1235
    assert data.metrics == (None if metric == "pearson_spearman" else [kind])


def test_the_teacher_is_a_base_model_only_if_the_hub_gave_it(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = {"owner/teacher", "bert-base-uncased"}
    monkeypatch.setattr(
        card_module,
        "try_to_load_from_cache",
        lambda name, file: f"/cache/{name}/{file}" if name in cached else None,
    )
    monkeypatch.chdir(tmp_path)

    def base_model(settings: dict[str, Any], **more: Any) -> Any:
        return parsed(model_card(student, {"settings": settings} | more), tmp_path).data.base_model

    assert base_model({"teacher": "owner/teacher"}) == "owner/teacher"
    assert base_model({"model": "bert-base-uncased"}) == "bert-base-uncased"
    assert base_model({"teacher": "owner/other"}) is None
    assert base_model({"teacher": "/models/bert-base-uncased"}) is None
    assert base_model({"teacher": "a/b/c"}) is None
    (tmp_path / "owner" / "teacher").mkdir(parents=True)
    assert base_model({"teacher": "owner/teacher"}) is None  # the directory was loaded
    text = model_card(student, {"settings": {"model": "bert-base-uncased"}})
    assert parsed(text, tmp_path).data.base_model_relation == "finetune"
    assert "[bert-base-uncased](https://huggingface.co/bert-base-uncased)" in text


@pytest.mark.parametrize(
    ("data", "datasets"),
    [
        ("nyu-mll/glue:mnli", ["nyu-mll/glue"]),
        ("stanfordnlp/imdb", ["stanfordnlp/imdb"]),
        ("train.csv", None),
        ("mine/train.csv", None),
        ("mine/train.jsonl.gz", None),
        ("/home/secret/imdb", None),
        ("imdb", None),
        ("not a name/at all", None),
    ],
)
def test_data_of_the_hub_are_named_and_files_are_not(
    student: Path, tmp_path: Path, data: str, datasets: Any
) -> None:
    text = model_card(student, distilled(data=data))
    assert parsed(text, tmp_path).data.datasets == datasets
    assert "secret" not in text


def test_the_score_in_the_metadata_is_this_models(student: Path, tmp_path: Path) -> None:
    seeds = {"student": [0.7, 0.8], "labels alone": [0.5, 0.7]}
    results = distilled(
        seeds=seeds, controls={"labels alone": 0.6}, student=described(0.75), retention=0.75 / 0.84
    )
    text = model_card(student, results)
    assert [r.metric_value for r in parsed(text, tmp_path).data.eval_results] == [0.7]
    assert ["student", "0.7500 ± 0.0707", "89.3 %"] in table(text, "model")
    assert ["labels alone", "0.6000 ± 0.1414", "71.4 %"] in table(text, "model")
    assert "first seed's, which has 0.7000" in text
    assert "one run" not in text


# --- body -----------------------------------------------------------------------------------------


def test_the_body_tells_the_run(student: Path) -> None:
    controls = {"same start, labels alone": {"test": {"accuracy": 0.7}, "mismatched": {}}}
    text = model_card(student, distilled(control_scores=controls))
    assert table(text, "model") == [
        ["model", "test: accuracy", "mismatched: accuracy", "kept"],
        ["teacher", "0.8400", "–", "100.0 %"],
        ["student", "0.8000", "0.8100", "95.2 %"],
        ["same start, labels alone", "0.7000", "–", "83.3 %"],
    ]
    assert table(text, "") == [
        ["", "teacher", "student", "ratio"],
        ["parameters", "6.00M", "1.50M", "4.0×"],
        ["FLOPs, one text of 128 tokens", "3.00G", "3.00G", "1.0×"],
    ]
    assert table(text, "output")[1:] == [[str(i), name] for i, name in enumerate(tiny.LABELS)]
    assert [row[0] for row in table(text, "stage")] == ["stage", "intermediate", "prediction"]
    told = ["640", "3", "60", "32", "5e-05", "embedding + 0.1 · attention", "best accuracy"]
    assert table(text, "stage")[1][1:] == told
    for sentence in (
        "distilled from teacher (4 layers × 32)",
        "It keeps 95.2 % of its teacher's accuracy.",
        "It learnt from 1,000 rows.",
        "chosen on 100 rows",
        "One standard error of its accuracy is 2.0 points.",
        "It gives the teacher's label to 90.0 % of those rows.",
        "Texts were cut to 128 tokens",
        "The figures are of one run, seed 7.",
        "Its speed was not measured.",
        "tinybert 0.1.0, torch 2.13.0+cpu",
    ):
        assert sentence in text
    assert "No control" not in text


def test_latency_and_bounds(student: Path) -> None:
    taken = {"device": "cpu", "precision": "float32", "threads": 2}
    text = model_card(
        student,
        distilled(
            latency={"batch 1": {"teacher": {"median": 8.0}, "student": {"median": 2.0} | taken}},
            size={"max_latency": {"bound": 5, "reached": 4.25}, "max_size": 12.5},
            settings={"max_size": "20MB"},
            controls={},
        ),
    )
    assert ["latency, batch 1 (median)", "8.00 ms", "2.00 ms", "4.0×"] in table(text, "")
    assert "measured in PyTorch (cpu, float32, 2 threads)" in text
    assert "Bound max latency: asked for 5, reached 4.25." in text
    assert "Bound max size: asked for 20MB, reached 12.5." in text
    assert "speed was not measured" not in text
    assert "No control was trained" in text


def test_figures_that_are_missing_leave_no_line(student: Path) -> None:
    nothing = described(None, parameters=None, flops_128=None, layers=None)
    text = model_card(
        student,
        distilled(
            metric=None, teacher=nothing, student=nothing, retention=float("nan"), controls={}
        ),
    )
    assert headings(text) == ["Use", "Scores", "Labels", "Training", "Limits", "Versions"]
    assert {rows[0][0] for rows in tables(text)} == {"output", "stage"}
    assert "how often its answers are right was not measured" in text  # agreement alone
    assert "standard error" not in text
    assert "It keeps" not in text
    assert "None" not in text.replace("Not measured", "")


def test_a_fine_tuned_model_is_nobodys_student(student: Path, tmp_path: Path) -> None:
    settings = FinetuneSettings(model="/home/secret/encoder", data=Path("rows.csv"))
    results = distilled(teacher=None, retention=None, settings=vars(settings), controls={})
    text = model_card(student, results)
    assert "fine-tuned from encoder with tinybert" in text
    assert parsed(text, tmp_path).data.tags == ["tinybert", "bert"]
    assert table(text, "model")[0][-1] == "mismatched: accuracy"
    assert [row[0] for row in table(text, "model")] == ["model", "model"]
    assert "distil" not in text.replace("distillation is not known", "")


# --- writing --------------------------------------------------------------------------------------


def test_write_card(student: Path) -> None:
    results = distilled()
    path = write_card(student, results, name="mine", licence="mit")
    assert path == student / "README.md"
    assert path.read_text(encoding="utf-8") == model_card(
        student, results, name="mine", licence="mit"
    )
    assert ModelCard.load(path).data.model_name == "mine"
    assert {p.name for p in student.iterdir() if p.name.startswith(".")} == set()
    with pytest.raises(TinybertError, match="exists already"):
        write_card(student, results)
    write_card(student, results, overwrite=True)
    assert ModelCard.load(path).data.model_name == "student"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"id2label": {"x": "a"}}'])
def test_no_model_directory(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(TinybertError, match=r"no config\.json that can be read"):
        write_card(tmp_path, {})
    assert not (tmp_path / "README.md").exists()
