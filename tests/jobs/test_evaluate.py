"""Models scored on GLUE's official dev sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

import tinybert
from support import tiny
from tinybert.errors import TinybertError

WORDS = ("entailment", "not_entailment")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """RTE's and SST-2's dev sets, without any training rows."""
    texts, _ = tiny.sentences(40, seed=4)
    pairs = zip(texts[::2], texts[1::2], strict=True)
    lines = [f"{n}\t{one}\t{two}\t{WORDS[n % 2]}" for n, (one, two) in enumerate(pairs)]
    write(tmp_path / "glue" / "RTE" / "dev.tsv", ["index\tsentence1\tsentence2\tlabel", *lines])
    lines = [f"{text}\t{n % 2}" for n, text in enumerate(texts)]
    write(tmp_path / "glue" / "SST-2" / "dev.tsv", ["sentence\tlabel", *lines])
    return tmp_path / "glue"


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


def scored(model: Path, task: str, data: Path, **more: Any) -> dict[str, Any]:
    return tinybert.evaluate(model=str(model), task=task, data=data, quiet=True, **more)


@pytest.mark.parametrize(
    ("task", "own", "other"),
    [("rte", WORDS, ("Entailment", "not-entailment")), ("sst-2", ("negative", "positive"), "01")],
)
def test_spellings_of_labels(
    data: Path, tmp_path: Path, task: str, own: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """The same model under other names, and with its outputs turned round, scores the same."""
    tiny.saved_classifier(tmp_path / "own", labels=own, initializer_range=1.0, seed=2)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "own")
    for tensor in (model.classifier.weight.data, model.classifier.bias.data):
        tensor.copy_(tensor.flip(0).clone())
    model.config.id2label = dict(enumerate(reversed(other)))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    model.save_pretrained(tmp_path / "other")
    tiny.tokenizer().save_pretrained(tmp_path / "other")
    plain = scored(tmp_path / "own", task, data)
    assert plain["rows"] == (20 if task == "rte" else 40)
    turned = scored(tmp_path / "other", task, data, teacher=str(tmp_path / "own"))
    assert turned["scores"] == plain["scores"]
    assert turned["agreement"] == 1.0
    assert scored(tmp_path / "own", task, data, teacher=str(tmp_path / "other"))["agreement"] == 1.0
    assert not np.isclose(plain["scores"]["accuracy"], 1 - plain["scores"]["accuracy"])


def test_labels_of_another_task(data: Path, tmp_path: Path) -> None:
    tiny.saved_classifier(tmp_path / "yes-no", labels=("yes", "no"))
    with pytest.raises(TinybertError, match=r"the model's labels \(yes, no\) are not those of RTE"):
        scored(tmp_path / "yes-no", "rte", data)
    with pytest.raises(TinybertError, match="STS-B asks for one value and the model gives 2"):
        scored(tmp_path / "yes-no", "sts-b", data)
    tiny.saved_classifier(tmp_path / "rte", labels=WORDS)
    with pytest.raises(TinybertError, match="the teacher's labels .* are not those of RTE"):
        scored(tmp_path / "rte", "rte", data, teacher=str(tmp_path / "yes-no"))
    with pytest.raises(TinybertError, match="--metric is for data of one's own"):
        scored(tmp_path / "rte", "rte", data, metric="f1")
