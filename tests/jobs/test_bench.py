"""``tinybert bench``: who is measured in which forms, what is told, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tinybert
from support import forms, tiny
from tinybert.cli import main
from tinybert.contest import random_models
from tinybert.contest.exported import export_random
from tinybert.jobs import bench
from tinybert.measure import parameters

QUICK: dict[str, Any] = {"repeats": 5, "rows": 6, "threads": 1, "quiet": True}
CELL = {
    *("name", "batch", "length", "median_ms", "p95_ms", "seconds", "sequences_per_second"),
    *("tokens_per_second", "speedup", "speedup_like"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger model, a student, what was exported of it, and what is no model."""
    place = tmp_path_factory.mktemp("bench")
    tiny.saved_classifier(place / "teacher", layers=3, width=32)
    forms.add_onnx(tiny.saved_classifier(place / "student"))
    shutil.copytree(place / "student", place / "exported")
    (place / "exported" / "model.safetensors").unlink()
    tiny.saved_encoder(place / "short", max_position_embeddings=16)
    (place / "other").mkdir()
    shutil.copytree(place / "student", place / "other" / "student")
    (place / "empty").mkdir()
    (place / "locked").mkdir()
    tiny.task_file(place / "rows.csv", 40)
    return place


@pytest.fixture(autouse=True)
def here(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the directory of the inputs, without processes; nothing is left there."""
    monkeypatch.chdir(inputs)
    monkeypatch.setattr(bench, "running", forms.here)
    before = set(inputs.rglob("*"))
    yield
    assert set(inputs.rglob("*")) == before


def shown(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["model"], each["form"]) for each in results]


def test_every_form_of_every_model(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "md", "svg")}
    found = tinybert.bench(
        models=[inputs / "teacher", "exported/"],
        batch=[1, 4],
        length=[8, 16],
        json=files["json"],
        markdown=files["md"],
        plot=files["svg"],
        **QUICK,
    )
    results, measured = found["results"], found["measured"]
    assert shown(results) == [
        ("teacher", "pytorch-float32"),
        ("teacher", "pytorch-bfloat16"),
        ("exported", "onnx-float32"),
        ("exported", "onnx-int8"),
    ]
    names = [f"batch {b}, {n} tokens" for b in (1, 4) for n in (8, 16)]
    names += ["batch 1, real rows", "batch 4, real rows"]
    for each in results:
        assert [cell["name"] for cell in each["workloads"]] == names
        assert {frozenset(cell) for cell in each["workloads"]} == {frozenset(CELL)}
        for cell in each["workloads"]:
            assert 0 < cell["median_ms"] <= cell["p95_ms"]
        fixed, real = each["workloads"][3], each["workloads"][4]
        assert fixed["tokens_per_second"] == pytest.approx(16 * fixed["sequences_per_second"])
        # Of five words each, in [CLS] … [SEP]; Python's own sentences are longer than three tokens.
        assert real["tokens_per_second"] > 3 * real["sequences_per_second"]
    assert results[0]["workloads"][0]["speedup"] == 1
    assert results[2]["smaller_like"] is results[2]["workloads"][0]["speedup_like"] is None
    assert results[0]["size"] == (inputs / "teacher" / "model.safetensors").stat().st_size
    assert (measured["threads"], measured["passes"], measured["rows"]) == (1, 5, 6)
    assert measured["versions"]["torch"] == torch.__version__
    assert measured["versions"]["onnxruntime"]
    assert json.loads(files["json"].read_text("utf-8")) == json.loads(json.dumps(found))
    out = capsys.readouterr().out
    for name in names:
        assert f"{name}, 1 thread" in out
        assert f"**{name}, 1 thread**" in files["md"].read_text("utf-8")
    assert "smaller and faster than teacher pytorch-float32" in out
    assert "batch 1, 16 tokens" in files["svg"].read_text("utf-8")


def test_rows_of_a_file_and_two_models_of_one_name(inputs: Path) -> None:
    found = tinybert.bench(
        models=["student", "other/student"],
        forms=["onnx-int8"],
        data="rows.csv",
        batch=[3],
        length=[5],
        **QUICK,
    )
    assert shown(found["results"]) == [("student", "onnx-int8"), ("other/student", "onnx-int8")]
    real = found["results"][0]["workloads"][1]
    # Sentences of five words, in [CLS] … [SEP].
    assert real["tokens_per_second"] == pytest.approx(7 * real["sequences_per_second"])


def test_a_shape_is_made_in_the_forms_of_the_others(
    monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    made: dict[str, Any] = {}

    def export(directory: Path, wanted: list[str], reporter: Any) -> None:
        made["directory"], made["forms"] = directory, wanted
        export_random(directory, wanted, reporter)

    monkeypatch.setattr(bench, "export_random", export)
    small = tiny.config(layers=1, vocab_size=20, num_labels=2)
    monkeypatch.setattr(bench, "random_config", lambda name: small)
    monkeypatch.setattr(random_models, "random_config", lambda name: small)
    found = tinybert.bench(models=["BERT_BASE:random", "exported"], batch=[2], length=[8], **QUICK)
    assert shown(found["results"]) == [
        ("BERT_BASE:random", "pytorch-float32"),
        ("BERT_BASE:random", "onnx-float32"),
        ("BERT_BASE:random", "onnx-int8"),
        ("exported", "onnx-float32"),
        ("exported", "onnx-int8"),
    ]
    assert made["forms"] == ["onnx-float32", "onnx-int8"]
    assert not made["directory"].exists()
    assert [each["path"] is None for each in found["results"]] == [True] * 3 + [False] * 2
    assert found["results"][3]["workloads"][0]["speedup_like"] > 0
    # The shape has no tokenizer and was given the other's rows.
    real = [each["workloads"][1] for each in found["results"]]
    tokens = [cell["tokens_per_second"] / cell["sequences_per_second"] for cell in real]
    assert tokens == pytest.approx([tokens[0]] * 5)


def test_shapes_alone_have_no_real_rows(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "1x24:random", "--forms", "pytorch-float32", "--length", "4"]
    assert main([*words, "--batch", "1", "--repeats", "1", "--threads", "1"]) == 0
    seen = capsys.readouterr()
    assert "real rows are left out" in seen.err
    assert "1x24:random" in seen.out
    assert "real rows" not in seen.out


@pytest.mark.parametrize(
    ("name", "shape"), [("TinyBERT_4", (4, 312)), ("bert-tiny", (4, 312)), ("2x24", (2, 24))]
)
def test_names_of_shapes(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    config = random_models.random_config(name)
    assert (config.num_hidden_layers, config.hidden_size) == shape
    assert (config.vocab_size, config.num_labels) == (30522, 2)


def test_a_shape_is_the_same_each_time(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name in ("a", "b"):
        random_models.save_random("1x24", tmp_path / name)
    assert torch.equal(state, torch.random.get_rng_state())
    one, other = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("a", "b"))
    assert one == other
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    assert parameters(model) > 30522 * 24


def test_threads_are_the_cores_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def running(entries: Any, feeds: Any, threads: int, reporter: Any) -> Any:
        asked.append(threads)
        return forms.here(entries, feeds, 1, reporter)

    monkeypatch.setattr(bench, "running", running)
    plain = QUICK | {"threads": None}
    tinybert.bench(models=["exported"], batch=[1], length=[4], traffic=False, **plain)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert asked == [cores]


def test_score_to_the_right(tmp_path: Path, inputs: Path) -> None:
    pytest.importorskip("matplotlib")
    scored = shutil.copytree(inputs / "exported", tmp_path / "scored")
    asked = {"batch": [1], "length": [4], "traffic": False, "against": "score"} | QUICK
    (scored / "results.json").write_text('{"student": {"score": 0.75}}')
    tinybert.bench(models=[scored], plot=tmp_path / "a.svg", **asked)
    assert "score" in (tmp_path / "a.svg").read_text("utf-8")
    (scored / "results.json").write_text('{"student": {"score": null}}')
    with pytest.raises(tinybert.TinybertError, match="no score of .*scored is known"):
        tinybert.bench(models=[scored], plot=tmp_path / "b.svg", **asked)
    assert not (tmp_path / "b.svg").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("", "the model is missing: give it with --models"),
        ("nowhere/at/all", "there is no model directory nowhere/at/all"),
        ("rows.csv", "rows.csv is a file"),
        ("empty", "empty is no model directory"),
        ("student student", "student is named twice"),
        ("student student/", "student is named twice"),
        ("student --forms onnx-int4", "there is no form onnx-int4: did you mean onnx-int8?"),
        ("student --forms onnx-int8 teacher", "there is no form teacher"),
        ("teacher --forms onnx-int8", "teacher has no form onnx-int8, it has pytorch-float32"),
        ("student --forms onnx-int8 openvino", "no model has the form openvino"),
        ("short student", "short takes 16 tokens at most, --length 128 was asked for"),
        ("12x768:random --length 600", "takes 512 tokens at most"),
        ("BERT_HUGE:random", "BERT_HUGE:random means no shape"),
        ("12x770:random", "width 770 cannot be divided among 12 attention heads"),
        ("12x768:random student --forms openvino", "is made in PyTorch's forms and ONNX's, not"),
        ("student --batch 0", "--batch 0 makes no sense"),
        ("student --length 4 -1", "--length 4 -1 makes no sense"),
        ("student --repeats 0", "--repeats 0 makes no sense"),
        ("student --threads 0", "--threads 0 makes no sense"),
        ("student --json nowhere/a.json", "there is no directory nowhere"),
        ("student --markdown empty", "empty is a directory: give a file's name"),
        ("student --plot bench.gif", "ends in .png, .svg, .pdf"),
        ("student --plot nowhere/a.png", "there is no directory nowhere"),
        ("student --against weight", "expected size or score"),
        ("student --task sst-2 --text a", "--text is for data of one's own"),
        ("student --task sst-9 --batch 1 --length 4", "sst-9"),
        ("student --data nothing.csv --batch 1 --length 4", "nothing.csv"),
        ("student --against score --plot a.svg --length 8", "no score of student is known"),
    ],
)
def test_bad_input(words: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words.split()]) == 2
    seen = capsys.readouterr()
    assert error in seen.err
    assert seen.err.count("\n") <= 2
    assert not seen.out


def test_rows_are_read_before_shapes_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "save_random", lambda *_: pytest.fail("a shape was made first"))
    with pytest.raises(tinybert.TinybertError, match="nothing.csv"):
        tinybert.bench(models=["1x24:random", "student"], data="nothing.csv", length=[4])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_place_without_rights(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "locked").chmod(0o500)
    try:
        for flag, file in (("--json", "a.json"), ("--markdown", "a.md"), ("--plot", "a.png")):
            assert main(["bench", "student", flag, f"locked/{file}"]) == 2
            assert "nothing may be written into" in capsys.readouterr().err
    finally:
        (inputs / "locked").chmod(0o700)


@pytest.mark.parametrize(
    ("module", "words", "error"),
    [
        ("onnxruntime", "exported --batch 1 --length 4 --no-traffic", "tinybert[export]"),
        ("onnx", "1x24:random --forms onnx-int8 --data none.csv", "tinybert[export]"),
        ("matplotlib", "exported --plot a.png", "tinybert[plots]"),
    ],
)
def test_extras_that_are_not_installed(
    module: str,
    words: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["bench", *words.split()]) == 2
    assert f"{module} is not installed: pip install '{error}'" in capsys.readouterr().err
