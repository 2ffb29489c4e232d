"""``tinybert export``: what lies in the directory, what it answers, and what ends it."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tinybert
from support import cuttable, tiny
from support.cards import distilled, headings, table
from tinybert.batching import tokenize
from tinybert.cli import main
from tinybert.errors import TinybertError
from tinybert.jobs import export, exported_forms
from tinybert.runtimes import FORMS, available_forms, open_runtime
from tinybert.sentence_modules import SentenceHead, read_head, write_head
from tinybert.similarity import cosines, sentence_embeddings
from tinybert.teachers import load_encoder, load_tokenizer
from tinybert.webpage import read_web_model

ort = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that gives clear answers, rows that it answers rightly, and its export."""
    place = tmp_path_factory.mktemp("export")
    model = tiny.saved_classifier(place / "student", initializer_range=0.5)
    (model / "results.json").write_text(json.dumps({"task": "topics", "max_length": 24}))
    texts, _ = tiny.sentences(60)
    lines = []
    loaded = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    for text in texts:
        with torch.inference_mode():
            logits = loaded(**tokenizer(text, return_tensors="pt")).logits
        lines.append(f"{text},{tiny.LABELS[int(logits.argmax())]}")
    (place / "rows.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    results = exported(place, place / "exported", data=place / "rows.csv", max_drop=10)
    (place / "returned.json").write_text(json.dumps(results, default=str))
    return place


def exported(place: Path, output: Path, **more: Any) -> dict[str, Any]:
    return tinybert.export_model(model=place / "student", output=output, quiet=True, **more)


@pytest.fixture
def at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph that was exported already, instead of another one."""

    def copy(model: Any, path: Path, *, longest: int | None, fuse: bool = True) -> bool:
        shutil.copy(place / "exported" / FORMS["onnx-float32"], path)
        return fuse

    monkeypatch.setattr(exported_forms, "write_graph", copy)


def test_the_directory(place: Path) -> None:
    directory = place / "exported"
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*.*")}
    assert found >= {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "README.md", "export.json"),
        *("onnx/model.onnx", "onnx/model_quantized.onnx"),
    }
    assert available_forms(directory) == ["onnx-float32", "onnx-int8"]
    kept = json.loads((directory / "export.json").read_text())
    returned = json.loads((place / "returned.json").read_text())
    assert kept["forms"] == returned["forms"]
    assert kept["checked"] == {
        "lengths": [1, 7, 128],
        "batches": [1, 3, 32],
        "largest_answer": pytest.approx(kept["checked"]["largest_answer"]),
        "tolerance": 1e-4,
    }
    assert kept["forms"]["onnx-float32"]["difference"] <= 1e-4 * kept["checked"]["largest_answer"]
    assert kept["forms"]["onnx-int8"]["difference"] > 0
    assert kept["score_before"] == {"accuracy": 1.0}
    assert kept["forms"]["onnx-float32"]["scores"] == {"accuracy": 1.0}
    assert kept["fused_attention"]
    assert kept["int8"]["way"] == "rows"
    assert kept["max_length"] == 24
    config = json.loads((directory / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert [config["id2label"][str(i)] for i in range(4)] == list(tiny.LABELS)


def test_a_plain_session_answers_as_pytorch(place: Path) -> None:
    """Without tinybert: what transformers.js and optimum do."""
    model = AutoModelForSequenceClassification.from_pretrained(place / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(place / "exported")
    tokens = tokenizer(tiny.sentences(7, seed=3)[0] + ["lock"], padding=True, return_tensors="np")
    with torch.inference_mode():
        given = {name: torch.from_numpy(each) for name, each in tokens.items()}
        wanted = model(**given).logits.numpy()
    for file, atol in (("model.onnx", 1e-4), ("model_quantized.onnx", 0.1 * np.abs(wanted).max())):
        session = ort.InferenceSession(str(place / "exported" / "onnx" / file))
        names = [each.name for each in session.get_inputs()]
        assert names == ["input_ids", "attention_mask", "token_type_ids"]
        for each in session.get_inputs():
            assert each.type == "tensor(int64)"
            assert [type(size) for size in each.shape] == [str, str]
        found = session.run(["logits"], {name: tokens[name].astype(np.int64) for name in names})
        np.testing.assert_allclose(found[0], wanted, atol=atol)


def test_int8_answers_a_row_the_same_in_any_company(place: Path) -> None:
    kept = json.loads((place / "exported" / "export.json").read_text())
    assert kept["forms"]["onnx-int8"]["alone_and_together"] < 0.01
    runtime = open_runtime(place / "exported", "onnx-int8", threads=1)
    rows = tiny.rows(9, seed=4)
    alone = runtime({"input_ids": rows.batch([0])["input_ids"].numpy()})
    together = runtime(
        {
            name: rows.batch(range(9))[name].numpy()
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
    )
    np.testing.assert_allclose(alone[0], together[0], atol=0.01)


def test_the_card(place: Path) -> None:
    text = (place / "exported" / "README.md").read_text()
    data = ModelCard(text).data
    assert data.library_name == "transformers.js"
    assert {"onnx", "onnxruntime"} <= set(data.tags)
    assert "Forms" in headings(text)
    assert [row[0] for row in table(text, "form")[1:]] == ["onnx-float32", "onnx-int8"]
    assert 'InferenceSession("exported/onnx/model_quantized.onnx")' in text


@pytest.mark.usefixtures("at_once")
def test_int8_alone_leaves_no_float_file(place: Path, tmp_path: Path) -> None:
    results = exported(
        place, tmp_path / "int8", to=["int8"], int8_keep=["classifier", "1"], table_bits=4
    )
    assert [path.name for path in (tmp_path / "int8" / "onnx").iterdir()] == [
        "model_quantized.onnx"
    ]
    assert results["int8"]["kept"] == ["classifier", "1"]
    assert results["int8"]["products_left"] == 8
    assert "table has 4 bits a number" in results["int8"]["told"]
    assert "in float32 stay classifier, 1" in (tmp_path / "int8" / "README.md").read_text()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("way", ["static", "dynamic", "blocks"])
def test_other_ways(place: Path, tmp_path: Path, way: str) -> None:
    rows = {"data": place / "rows.csv", "max_drop": 100} if way == "static" else {}
    results = exported(place, tmp_path / "new", to=["int8"], int8=way, **rows)
    form = results["forms"]["onnx-int8"]
    assert results["int8"]["way"] == way
    assert form["difference"] < 0.3 * results["checked"]["largest_answer"]
    if way == "static":
        assert form["alone_and_together"] < 0.01
        told = "these are among the rows that are scored"
        assert told in (tmp_path / "new" / "README.md").read_text()


@pytest.mark.usefixtures("at_once")
def test_a_score_that_falls_writes_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exported_forms.answers

    def spoil(runtime: Any, *arguments: Any) -> Any:
        found = real(runtime, *arguments)
        return -found if runtime.form == "onnx-int8" else found

    monkeypatch.setattr(exported_forms, "answers", spoil)
    with pytest.raises(
        TinybertError, match="onnx-int8 scores .* in accuracy .* --int8-keep"
    ) as error:
        exported(place, tmp_path / "new", data=place / "rows.csv")
    assert "points less where --max-drop allows 0.5" in str(error.value)
    assert [*tmp_path.iterdir()] == []


def test_float32_that_differs_writes_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused: list[bool] = []

    def wrong(model: Any, path: Path, *, longest: int | None, fuse: bool = True) -> bool:
        fused.append(fuse)
        graph = onnx.load(str(place / "exported" / FORMS["onnx-float32"]))
        for tensor in graph.graph.initializer:
            if tensor.data_type == 1 and len(tensor.dims) == 1:
                value = onnx.numpy_helper.to_array(tensor) + np.float32(0.01)
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        onnx.save(graph, str(path))
        return fuse

    monkeypatch.setattr(exported_forms, "write_graph", wrong)
    with pytest.raises(TinybertError, match="onnx-float32 answers otherwise than PyTorch"):
        exported(place, tmp_path / "new", to=["onnx"])
    assert fused == [True, False]  # the plain graph was tried before giving up
    assert [*tmp_path.iterdir()] == []


def test_an_encoder(tmp_path: Path) -> None:
    tiny.saved_encoder(tmp_path / "encoder", initializer_range=0.5)
    results = tinybert.export_model(
        model=tmp_path / "encoder", output=tmp_path / "new", fuse=False, quiet=True
    )
    assert results["output_name"] == "last_hidden_state"
    assert not results["fused_attention"]
    assert set(results["forms"]) == {"onnx-float32", "onnx-int8"}
    states = open_runtime(tmp_path / "new", "onnx-int8")({"input_ids": np.array([[2, 7, 3]])})
    assert states.shape == (1, 3, 16)
    with pytest.raises(TinybertError, match="has no task head, so it has no score on --data"):
        tinybert.export_model(
            model=tmp_path / "encoder", data="x.csv", output=tmp_path / "y", quiet=True
        )


@pytest.mark.usefixtures("at_once")
def test_openvino(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

    results = exported(place, tmp_path / "new", to=["openvino"], fuse=False)
    form = results["forms"]["openvino"]
    assert form["difference"] <= 1e-4 * results["checked"]["largest_answer"]
    assert available_forms(tmp_path / "new") == ["openvino"]
    assert not (tmp_path / "new" / "onnx").exists()


def test_the_vocabulary_is_cut_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here or by ``trim`` before: what the run told of the model is known on the page."""
    model = cuttable.saved(cuttable.bert(), tmp_path / "student")
    results = distilled(text_columns=["question", "answer"])
    results["settings"] |= {"max_length": 48}
    (model / "results.json").write_text(json.dumps(results, default=str))
    (tmp_path / "text.txt").write_text("\n".join(cuttable.SOME))
    text = [str(tmp_path / "text.txt")]
    tinybert.export_model(model=model, output=tmp_path / "cut", vocabulary=text, quiet=True)
    card = (tmp_path / "cut" / "README.md").read_text()
    assert "distilled from teacher" in card
    assert table(card, "model")[2][1] == "0.8000"
    assert "measured before that cut" in card
    tinybert.trim(model=model, corpus=text, output=tmp_path / "trimmed", quiet=True)

    def copy(model: Any, path: Path, *, longest: int | None, fuse: bool = True) -> bool:
        shutil.copy(tmp_path / "cut" / FORMS["onnx-float32"], path)  # of the same pieces
        return fuse

    monkeypatch.setattr(exported_forms, "write_graph", copy)
    tinybert.export_model(
        model=tmp_path / "trimmed", to=["int8"], output=tmp_path / "later", quiet=True
    )
    assert '"The first text.", "The second."' in (tmp_path / "later" / "README.md").read_text()
    for name in ("cut", "later"):
        web = read_web_model(tmp_path / name)
        assert (web.text_names, web.max_length) == (("question", "answer"), 48)
        assert web.name == ("student" if name == "cut" else "trimmed")
        pieces = len(AutoTokenizer.from_pretrained(tmp_path / name))
        assert pieces < len(AutoTokenizer.from_pretrained(model))


def test_the_tokenizer_is_the_models(place: Path) -> None:
    """Not the one of the checks, which cuts rows."""
    before, after = (
        json.loads((place / name / "tokenizer.json").read_text())
        for name in ("student", "exported")
    )
    assert after["truncation"] == before["truncation"] is None
    assert after["padding"] == before["padding"]


@pytest.mark.usefixtures("at_once")
def test_what_others_left_in_results(place: Path, tmp_path: Path) -> None:
    """A file of that name may hold anything."""
    for number, text in enumerate(
        ['{"student": "x"}', '{"settings": ["a"]}', '{"stages": [1, {"objective": [2]}]}']
    ):
        model = shutil.copytree(place / "student", tmp_path / f"model-{number}")
        (model / "results.json").write_text(text)
        output = tmp_path / f"new-{number}"
        tinybert.export_model(model=model, to=["onnx"], output=output, quiet=True)


@pytest.mark.usefixtures("at_once")
def test_the_directory_one_is_in_has_a_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / "student")
    made = tinybert.export_model(model=".", to=["onnx"], output=tmp_path / "new", quiet=True)
    assert made["model"] == "student"


def test_the_score_before_is_the_whole_models(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cut of the vocabulary costs counts towards ``--max-drop``."""
    seen: list[Path] = []
    real = export.predict

    def noted(model: Any, rows: Any, **more: Any) -> Any:
        seen.append(Path(model.name_or_path))
        return real(model, rows, **more)

    def stop(*_: Any, **__: Any) -> None:
        raise TinybertError("far enough")

    def cut(model: Any, texts: Any, output: Path, reporter: Any) -> Any:
        shutil.copytree(model, output)
        return types.SimpleNamespace(figures=dict)

    monkeypatch.setattr(export, "cut_vocabulary", cut)
    monkeypatch.setattr(export, "_cut_told", lambda *_: "")
    monkeypatch.setattr(export, "predict", noted)
    monkeypatch.setattr(exported_forms, "write_graph", stop)
    with pytest.raises(TinybertError, match="far enough"):
        exported(place, tmp_path / "new", data=place / "rows.csv", vocabulary=["texts"])
    assert seen == [place / "student"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"int8": "static", "calibration": "missing.csv"}, "missing.csv"),
        ({"table_bits": 5}, "--table-bits 5: give 8 or 4"),
        ({"table_bits": 4, "to": ["onnx"]}, "--table-bits 4 is for int8: add int8"),
        ({"table_bits": 4, "int8_keep": ["embeddings"]}, "leaves no table for --table-bits"),
        ({"int8_keep": ["9"]}, "--int8-keep 9 is no part .* 1 to 2"),
    ],
)
def test_before_the_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Any, error: str
) -> None:
    monkeypatch.setattr(export, "_source", lambda *_: pytest.fail("it went to work"))
    with pytest.raises(TinybertError, match=error):
        exported(place, tmp_path / "new", data=place / "rows.csv", **more)


@pytest.mark.usefixtures("at_once")
def test_upload(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[Any] = []
    monkeypatch.setattr(export, "check_repository", lambda name: None)
    monkeypatch.setattr(
        export, "push_directory", lambda *given, **more: pushed.append((given[:2], more))
    )
    exported(place, tmp_path / "new", to=["onnx"], push_to_hub="me/student", private=True)
    assert pushed == [((tmp_path / "new", "me/student"), {"private": True})]


ERRORS = {
    "--to tflite is no form: give onnx, int8, openvino": "--to tflite",
    "--int8-keep is for int8": "--to onnx --int8-keep classifier",
    "--int8 static is for int8": "--to onnx --int8 static",
    "--openvino-half is for openvino": "--openvino-half",
    "--private is for --push-to-hub": "--private",
    "texts is what --vocabulary names": "--output texts --overwrite --vocabulary texts/*.txt",
    "--calibration is for static scales": "--calibration rows.csv",
    "there is no model directory": "--model /nowhere/at/all",
    "is no model directory: it has no config.json": "--model empty",
    "has no tokenizer": "--model untold",
    "exists already": "--output exported",
    "student is what --model names": "--output student --overwrite",
    "has no label column": "--data texts.csv",
    "nobody is logged in": "--push-to-hub me/student",
    "--push-to-hub a/b/c is no name of a repository": "--push-to-hub a/b/c",
    "--max-drop -1.0 makes no sense": "--max-drop -1",
    "is not installed: pip install 'tinybert[openvino]'": "--to openvino",
}


@pytest.mark.parametrize("error", ERRORS)
def test_errors(
    error: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("tinybert.export.hub.get_token", lambda: None)
    (place / "empty").mkdir(exist_ok=True)
    tiny.classifier().save_pretrained(place / "untold")
    (place / "texts").mkdir(exist_ok=True)
    (place / "texts" / "a.txt").write_text("lock thread\n")
    (place / "texts.csv").write_text("text\nlock thread\nqueue wait\n")
    before = sorted(place.rglob("*"))
    flags = ["--output", "new", *ERRORS[error].split()]
    words = ["export", *([] if "--model" in flags else ["student"]), *flags]
    assert main([*words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert error in said, said
    assert sorted(place.rglob("*")) == before


@pytest.mark.usefixtures("at_once")
def test_a_part_that_is_not_there(place: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TinybertError, match="--int8-keep 3 is no part .* number of a layer, 1 to 2"
    ):
        exported(place, tmp_path / "new", int8_keep=["3"])
    with pytest.raises(TinybertError, match="leaves nothing to be int8"):
        exported(place, tmp_path / "new", int8_keep=["1", "2", "classifier", "embeddings"])
    assert [*tmp_path.iterdir()] == []


# --- sentence encoders ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentence_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder with a projection, pairs of sentences, and its export."""
    place = tmp_path_factory.mktemp("sentences")
    tiny.saved_encoder(place / "student", initializer_range=0.3)
    torch.manual_seed(1)
    layer = torch.nn.Sequential(torch.nn.Linear(16, 24, bias=False), torch.nn.Identity())
    write_head(place / "student", SentenceHead("mean", [layer], True, 40), 16)
    texts, _ = tiny.sentences(41)
    head = read_head(place / "student")
    assert head is not None
    rows = tokenize(load_tokenizer(place / "student"), [(t,) for t in texts], 40)
    vectors = sentence_embeddings(load_encoder(place / "student"), rows, head)
    scores = cosines(vectors[:40], vectors[1:])  # people who agree with it
    lines = [f"{a}\t{b}\t{s:.6f}" for a, b, s in zip(texts, texts[1:], scores, strict=False)]
    (place / "pairs.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *lines]) + "\n")
    np.save(place / "vectors.npy", vectors)
    results = exported(place, place / "exported", similarity=str(place / "pairs.tsv"), max_drop=5)
    (place / "returned.json").write_text(json.dumps(results, default=str))
    return place


def test_the_graph_of_a_sentence_encoder_gives_its_vectors(sentence_encoder: Path) -> None:
    """Pooled, projected and of length 1, beside the states; other libraries need the mask alone."""
    directory = sentence_encoder / "exported"
    session = ort.InferenceSession(str(directory / FORMS["onnx-float32"]))
    assert [out.name for out in session.get_outputs()] == [
        "last_hidden_state",
        "sentence_embedding",
    ]
    texts, _ = tiny.sentences(41)
    tokens = AutoTokenizer.from_pretrained(directory)(texts, padding=True, return_tensors="np")
    names = [each.name for each in session.get_inputs()]
    fed = {name: tokens[name].astype("int64") for name in names}
    states, vectors = session.run(None, fed)
    np.testing.assert_allclose(vectors, np.load(sentence_encoder / "vectors.npy"), atol=1e-5)
    assert states.shape == (*tokens["input_ids"].shape, 16)
    model = load_encoder(sentence_encoder / "student")
    with torch.no_grad():
        wanted = model(**{n: torch.from_numpy(a) for n, a in fed.items()}).last_hidden_state
    real = fed["attention_mask"] == 1
    np.testing.assert_allclose(states[real], wanted.numpy()[real], atol=1e-4)
    assert open_runtime(directory, "onnx-float32")(fed).shape == (41, 24)
    assert open_runtime(sentence_encoder / "student", "pytorch-float32")(fed).shape == (41, 24)


def test_its_int8_vectors_are_compared(sentence_encoder: Path) -> None:
    found = json.loads((sentence_encoder / "returned.json").read_text())
    assert found["output_name"] == "sentence_embedding"
    assert found["metric"] == "spearman"
    assert found["scored_rows"] == 40
    assert found["score_before"]["spearman"] == pytest.approx(1, abs=1e-3)
    exact, int8 = (found["forms"][form] for form in ("onnx-float32", "onnx-int8"))
    assert exact["cosine_least"] == pytest.approx(1, abs=1e-6)
    assert exact["scores"]["spearman"] == pytest.approx(1, abs=1e-3)
    assert 0.9 < int8["cosine_least"] < int8["cosine"] < 1
    assert 0.9 < int8["similarity_agreement"] < 1
    assert "classifier" in found["int8"]["kept"]  # the projection stays in float32
    card = ModelCard.load(sentence_encoder / "exported" / "README.md")
    assert 'session.run(["sentence_embedding"]' in card.text
    head = read_head(sentence_encoder / "exported")
    assert head is not None
    assert head.told == "mean of the states, a dense layer to 24, length 1"


def test_pairs_for_a_model_that_has_no_vectors(sentence_encoder: Path, place: Path) -> None:
    pairs = str(sentence_encoder / "pairs.tsv")
    with pytest.raises(TinybertError, match="is no sentence encoder, and --similarity compares"):
        exported(place, place / "new", similarity=pairs)
    tiny.saved_encoder(sentence_encoder / "plain" / "student")
    with pytest.raises(TinybertError, match="it has no modules.json"):
        exported(sentence_encoder / "plain", place / "new", similarity=pairs)
    odd = sentence_encoder / "odd" / "student"
    shutil.copytree(sentence_encoder / "student", odd)
    (odd / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    with pytest.raises(TinybertError, match="pools its states by lasttoken"):
        exported(odd.parent, place / "new", similarity=pairs)
    assert not (place / "new").exists()


def test_vectors_that_lose_too_much(
    sentence_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(runtime: Any, rows: Any, advance: Any) -> Any:
        return np.random.default_rng(0).normal(size=(len(rows), 24)).astype(np.float32)

    def copy(model: Any, path: Path, **_: Any) -> bool:
        shutil.copy(sentence_encoder / "exported" / FORMS["onnx-float32"], path)
        return True

    monkeypatch.setattr(exported_forms, "answers", spoilt)
    monkeypatch.setattr(exported_forms, "write_graph", copy)
    with pytest.raises(TinybertError, match="points less where --max-drop allows"):
        exported(sentence_encoder, tmp_path / "new", similarity=str(sentence_encoder / "pairs.tsv"))
    assert not (tmp_path / "new").exists()
