"""The page in a headless Chromium: its answers are those of Python on the same int8 model."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinybert
from support import tiny, web
from support.browser import Browser, browser, missing, served

ASK = """
const fields = [...document.querySelectorAll("textarea")];
const answers = [];
for (const row of args[0]) {
  const answered = new Promise((resolve) =>
    document.addEventListener("answered", (event) => resolve(event.detail), { once: true }));
  fields.forEach((field, i) => {
    field.value = row[i];
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const { scores } = await answered;
  const name = document.getElementById("best-name").textContent;
  answers.push({ scores, name, score: document.getElementById("best-score").textContent });
}
return answers;
"""
READY = "document.body.dataset.state === 'ready'"


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    if why := missing():
        pytest.skip(why)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    web.real_files()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return web.small_export(tmp_path_factory.mktemp("web") / "topics")


@pytest.fixture(scope="module")
def page(exported: Path) -> Path:
    made = tinybert.page(model=exported, output=exported.parent / "page", quiet=True)
    return Path(made["output"])


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def python_scores(exported: Path, rows: list[tuple[str, ...]], length: int) -> list[Any]:
    import onnxruntime
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    session = onnxruntime.InferenceSession(exported / "onnx" / "model_quantized.onnx")
    scores = []
    for row in rows:
        columns = ([text] for text in row)  # in lists, or an empty second text is taken for none
        inputs = tokenizer(*columns, truncation=True, max_length=length, return_tensors="np")
        logits = session.run(["logits"], {k: v.astype(np.int64) for k, v in inputs.items()})[0][0]
        powers = np.exp(logits - logits.max())
        scores.append(powers / powers.sum())
    return scores


def rows_of(count: int) -> list[tuple[str, ...]]:
    """Different texts of one to five words, and a number."""
    texts, _ = tiny.sentences(count, seed=3)
    rng = np.random.default_rng(0)
    words = [text.split()[: rng.integers(1, 6)] for text in texts]
    return [(" ".join([*some, str(i)]),) for i, some in enumerate(words)]


def test_answers_are_those_of_python(exported: Path, page: Path, window: Browser) -> None:
    rows = [*rows_of(194), ("Café 東京 😀",), ("lock " * 300,), ("x",), ("?!",), ("[SEP]",), ("Ω",)]
    expected = python_scores(exported, rows, 128)
    with served(page) as address:
        window.open(address)
        window.wait_for(READY)
        answers = window.run(ASK, rows)
        speed = window.run("return document.querySelector('.speed').innerText")
        assert window.log() == []
    labels = [tiny.LABELS[int(scores.argmax())] for scores in expected]
    assert len({*labels}) > 1
    # Sums of floats in another order may turn a tie.
    clear = [i for i, scores in enumerate(expected) if np.diff(np.sort(scores)[-2:])[0] > 0.01]
    assert len(clear) > 0.95 * len(rows)
    assert [answers[i]["name"] for i in clear] == [labels[i] for i in clear]
    for answer, scores in zip(answers, expected, strict=True):
        assert answer["scores"] == pytest.approx(scores.tolist(), abs=0.02)
        assert answer["score"] == f"{max(answer['scores']):.1%}"
    assert speed.split()[1] == "ms"
    assert float(speed.split()[0]) > 0
    assert "median of the last 15 answers" in speed


def test_pairs_with_an_empty_text(exported: Path, window: Browser, tmp_path: Path) -> None:
    made = tinybert.page(model=exported, output=tmp_path / "pairs", texts="2", quiet=True)
    rows = [("lock the file", "send"), ("", "open path"), ("read text", ""), ("a " * 90, "b " * 70)]
    expected = python_scores(exported, rows, 128)
    with served(Path(made["output"])) as address:
        window.open(address)
        window.wait_for(READY)
        # Of two events in one turn only the last text is asked.
        answers = window.run(ASK, rows)
    for answer, scores in zip(answers, expected, strict=True):
        assert answer["scores"] == pytest.approx(scores.tolist(), abs=0.02)


def test_the_latest_text_wins(page: Path, window: Browser) -> None:
    with served(page) as address:
        window.open(address)
        window.wait_for(READY)
        asked = window.run(
            """
            const field = document.querySelector("textarea");
            const seen = [];
            document.addEventListener("answered", (event) => seen.push(event.detail.texts[0]));
            for (let i = 0; i < 40; i++) {
              field.value = "lock " + i;
              field.dispatchEvent(new Event("input"));
              await new Promise((resolve) => setTimeout(resolve, i === 20 ? 400 : 5));
            }
            await new Promise((resolve) => setTimeout(resolve, 1500));
            return seen;
            """
        )
    assert asked == ["lock 20", "lock 39"]


def test_examples_and_clear(page: Path, window: Browser) -> None:
    with served(page) as address:
        window.open(address)
        window.wait_for(READY)
        window.run("document.querySelector('.example').click()")
        window.wait_for("document.querySelector('.first') !== null")
        window.wait_for("document.getElementById('spoken').textContent.includes('%')")
        assert (
            window.run("return document.querySelector('textarea').value")
            == (web.told(page)["examples"][0][0])
        )
        window.run("document.getElementById('clear').click()")
        state = window.run(
            "return [document.querySelector('textarea').value, "
            "document.querySelector('.first'), document.getElementById('best-score').textContent]"
        )
    assert state == ["", None, ""]


def test_loading_is_told_in_bytes(page: Path, window: Browser, tmp_path: Path) -> None:
    copy = shutil.copytree(page, tmp_path / "copy")  # under another address nothing is cached
    go_on = threading.Event()
    whole = sum(web.told(copy)["bytes"].values()) / 1e6
    half = web.told(copy)["bytes"]["vendor/onnxruntime/ort-wasm.wasm"] / 2e6
    with served(copy, halting=("ort-wasm.wasm", go_on)) as address:
        window.open(address)
        window.wait_for("document.getElementById('progress').value > 0.4")
        said = window.run("return document.getElementById('loading').innerText")
        share = window.run("return document.getElementById('progress').value")
        window.run("document.querySelector('.example').click()")  # waits for the model
        go_on.set()
        window.wait_for(READY)
        window.wait_for("document.querySelector('.first') !== null")
    assert said.startswith("Loading ")
    assert said.strip().endswith(f" of {whole:.1f} MB")
    assert share == pytest.approx(1 - half / whole, abs=0.1)


def test_many_labels_are_sorted_and_can_all_be_seen(window: Browser, tmp_path: Path) -> None:
    labels = tuple(f"class {i}" for i in range(12))
    exported = web.bag_export(tmp_path / "many", labels)
    made = tinybert.page(model=exported, output=tmp_path / "page", quiet=True)
    with served(Path(made["output"])) as address:
        window.open(address)
        window.wait_for(READY)
        (answer,) = window.run(ASK, [("lock the file",)])
        shown = "return [...document.querySelectorAll('.bars .label')].map((e) => e.textContent)"
        few = window.run(shown)
        window.run("document.getElementById('all').click()")
        every = window.run(shown)
    order = [labels[i] for i in np.argsort(answer["scores"])[::-1]]
    assert few == order[:8]
    assert every == order


def test_a_value(window: Browser, tmp_path: Path) -> None:
    exported = web.bag_export(tmp_path / "score", ("score",))
    made = tinybert.page(model=exported, output=tmp_path / "page", quiet=True)
    with served(Path(made["output"])) as address:
        window.open(address)
        window.wait_for(READY)
        (answer,) = window.run(ASK, [("lock the file",)])
        assert window.run("return document.getElementById('bars')") is None
    assert answer["name"] == "score"
    assert float(answer["score"].replace("−", "-")) == pytest.approx(answer["scores"][0], abs=1e-3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("remove", "Model/model.onnx is not there (404): build the page again."),
        ("shorten", "Model/model.onnx has 10 bytes instead of"),
        ("scramble", "protobuf"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    page: Path, window: Browser, tmp_path: Path, spoil: str, message: str
) -> None:
    copy = shutil.copytree(page, tmp_path / "copy")
    model = copy / "model" / "model.onnx"
    if spoil == "remove":
        model.unlink()
    else:
        model.write_bytes(b"no model: " * (1 if spoil == "shorten" else 100))
    if spoil == "scramble":
        told = web.told(copy)
        told["bytes"]["model/model.onnx"] = model.stat().st_size
        (copy / "page.json").write_text(json.dumps(told))
    with served(copy) as address:
        window.open(address)
        window.wait_for("document.body.dataset.state === 'failed'")
        said = window.run("return document.querySelector('[role=alert]').innerText")
    assert message in said
