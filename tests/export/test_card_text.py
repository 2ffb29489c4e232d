"""What a reader does with a card: run its code, use its settings, read any name in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support import tiny
from support.cards import blocks, described, distilled, headings, parsed, table
from tinybert.cli.options import read_yaml
from tinybert.export import model_card
from tinybert.export.markdown import last_part, visible
from tinybert.relu_bert import ReluBertConfig, ReluBertForSequenceClassification
from tinybert.settings import DemoSettings, DistillSettings, GeneralSettings, MlmSettings

HOSTILE = (
    "a|b",
    ": yes",
    "😀",
    "two\nlines",
    "",
    "`tick` ``",
    "<b>&amp;",
    "$$x$$",
    r"\(y\)",
    "---",
)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return tiny.saved_classifier(tmp_path / "student")


# --- code and settings ----------------------------------------------------------------------------


def ran(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the card's code where its model lies."""
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (code,) = blocks(text, "python")
    space: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), space)
    return space


@pytest.mark.parametrize("columns", [None, "premise,hypothesis"])
def test_the_code_of_a_classifier_runs(
    student: Path,
    columns: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = distilled(settings=vars(DistillSettings(text=columns)))
    text = model_card(student, results)
    classify = ran(text, student.parent, monkeypatch)["classify"]
    told = capsys.readouterr().out
    assert any(label in told for label in tiny.LABELS)
    assert ("text_pair" in text) == (columns is not None)
    # And a text of more tokens than the model has positions is cut.
    assert classify("lock " * 500, truncation=True, max_length=128)


@pytest.mark.parametrize("name", ["it's mine", 'a "quoted" one', "back\\slash", "`` ` ```", "ü😀"])
def test_the_code_runs_under_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tiny.saved_classifier(tmp_path / name)
    text = model_card(directory, {})
    ran(text, tmp_path, monkeypatch)


def test_the_code_of_a_general_student_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tiny.saved_encoder(tmp_path / "general")
    settings = GeneralSettings(corpus=["/home/secret/a.txt", "b.txt"], teacher="t", max_length=16)
    results = {
        "task": "general",
        "metric": None,
        "teacher": described(None),
        "student": described(None),
        "held_out": {"eval_loss": 0.25, "eval_attention": None},
        "settings": vars(settings),
    }
    text = model_card(directory, results)
    assert ran(text, tmp_path, monkeypatch)["states"].shape[2] == 16
    data = parsed(text, tmp_path).data
    assert data.pipeline_tag == "feature-extraction"
    assert data.eval_results is None
    assert "kept back: loss 0.25." in text
    assert "blocks of at most 16 tokens" in text
    assert "Labels" not in headings(text)
    assert "secret" not in text


def test_the_code_of_a_masked_language_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.masked_lm().save_pretrained(tmp_path / "filler")
    tiny.tokenizer().save_pretrained(tmp_path / "filler")
    results = {
        "task": "mlm",
        "metric": "masked_accuracy",
        "teacher": None,
        "student": described(0.25),
        "held_out": {"eval_mlm": 2.5, "eval_masked_accuracy": 0.25},
        "settings": vars(MlmSettings(model="encoder", corpus=["a.txt"], steps=10)),
    }
    text = model_card(tmp_path / "filler", results)
    ran(text, tmp_path, monkeypatch)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert parsed(text, tmp_path).data.pipeline_tag == "fill-mask"
    assert table(text, "model")[1] == ["model", "0.2500"]
    assert "kept back: mlm 2.5." in text
    assert "trained on text from encoder" in text
    assert "Made with `tinybert mlm" in text


def test_the_code_of_a_class_of_our_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReluBertConfig(**(tiny.config().to_dict() | {"model_type": "tinybert_relu_bert"}))
    ReluBertForSequenceClassification(config).save_pretrained(tmp_path / "relu")
    tiny.tokenizer().save_pretrained(tmp_path / "relu")
    text = model_card(tmp_path / "relu", {})
    assert "import tinybert.relu_bert" in text
    model = ran(text, tmp_path, monkeypatch)["classify"].model
    assert isinstance(model, ReluBertForSequenceClassification)


def test_the_code_of_a_regressor_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "student"
    tiny.classifier(labels=("score",), problem_type="regression").save_pretrained(directory)
    tiny.tokenizer().save_pretrained(directory)
    scores = {"test": {"pearson_spearman": 0.8, "pearson": 0.79, "spearman": 0.81}}
    results = distilled(
        metric="pearson_spearman", student=described(0.8, scores=scores), teacher=described(0.9)
    )
    text = model_card(directory, results)
    ran(text, tmp_path, monkeypatch)
    assert "score" in capsys.readouterr().out
    assert "one value, not" in text
    assert "Pearson, 0.9000" in text
    assert "Labels" not in headings(text)
    assert table(text, "model")[0][1:4] == [
        "pearson spearman",
        "pearson",
        "spearman",
    ]
    data = parsed(text, tmp_path).data
    assert data.metrics == ["pearsonr", "spearmanr"]


def test_the_settings_make_it_again_and_show_no_path(student: Path, tmp_path: Path) -> None:
    results = distilled()
    text = model_card(student, results)
    assert "secret" not in text
    assert str(student.parent) not in text
    assert "`tinybert distill --output DIRECTORY`" in text
    (shown,) = blocks(text, "yaml")
    (tmp_path / "settings.yaml").write_text(shown)
    read = DistillSettings(**read_yaml(tmp_path / "settings.yaml", DistillSettings))
    expected = {"teacher": "teacher", "data": "rows.csv", "output": None, "resume": False}
    assert vars(read) == results["settings"] | expected
    # What results.json holds is the same, as text.
    plain = json.loads(json.dumps(results, default=str))
    assert model_card(student, plain) == text


def test_settings_at_their_defaults_and_of_another_version(student: Path) -> None:
    text = model_card(student, distilled(settings=vars(DemoSettings())))
    assert "`tinybert demo --output DIRECTORY`: all settings had their defaults" in text
    text = model_card(student, distilled(settings={"teacher": "../x/y", "old": 3}))
    (shown,) = blocks(text, "yaml")
    assert yaml.safe_load(shown) == {"teacher": "y", "old": 3}
    assert "Made with" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/a/b", "b"),
        ("/a/b/", "b"),
        ("~/b", "b"),
        ("./b", "b"),
        ("../../b", "b"),
        ("a/b/c", "c"),
        (r"C:\Users\me\b", "b"),
        (Path("/a/b"), "b"),
        ("owner/name", "owner/name"),
        ("owner/name:config", "owner/name:config"),
        ("2,4,6", "2,4,6"),
        (["/a/b", 3, None], ["b", 3, None]),
        (1.5, 1.5),
    ],
)
def test_paths_are_told_by_their_last_part(value: Any, shown: Any) -> None:
    assert last_part(value) == shown


# --- any text -------------------------------------------------------------------------------------


def card_of(directory: Path, labels: tuple[str, ...], **fields: Any) -> str:
    names = dict(enumerate(labels))
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "id2label": names,
        "label2id": {name: i for i, name in names.items()},
    }
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    return model_card(directory, fields)


def test_hostile_labels_are_shown_as_they_are(tmp_path: Path) -> None:
    shown = [row[1] for row in table(card_of(tmp_path / "m", HOSTILE), "output")[1:]]
    assert shown == [visible(label).strip() or "(blank)" for label in HOSTILE]


def test_many_labels_are_cut_and_counted(tmp_path: Path) -> None:
    text = card_of(tmp_path / "m", tuple(f"c{i}" for i in range(1234)))
    assert len(table(text, "output")) == 201
    assert "1,034 more, in `config.json`" in text
    assert "1,234 labels" in text


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.text(max_size=12), min_size=2, max_size=5, unique=True),
    name=st.text(min_size=1, max_size=12),
    task=st.text(min_size=1, max_size=12),
)
def test_no_name_breaks_the_card(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], name: str, task: str
) -> None:
    place = tmp_path_factory.getbasetemp() / "named"
    fields = {"metric": "accuracy", "student": {"score": 0.5}, "controls": {name: 0.25}}
    text = card_of(place, tuple(labels), task=task, **fields)
    shown = [row[1] for row in table(text, "output")[1:]]
    assert [s.strip() for s in shown] == [visible(n).strip() or "(blank)" for n in labels]
    assert table(text, "model")[2][0].strip() == visible(name).strip()
    data = ModelCard(text).data
    told = " ".join(visible(task).split())
    assert [r.dataset_name for r in data.eval_results or []] == ([told] if told else [])
    assert headings(text) == ["Use", "Scores", "Labels", "Limits"]
    assert ModelCard(str(ModelCard(text))).data.to_dict() == data.to_dict()
