"""Reading the authors' directories: both names, both file formats, and every way to be wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support import authors
from tinybert.errors import TinybertError
from tinybert.original import read_checkpoint


@pytest.mark.parametrize("config_name", ["config.json", "bert_config.json"])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_read(tmp_path: Path, config_name: str, zipped: bool) -> None:
    config = authors.sizes()
    state = authors.weights(config, heads=True)
    authors.write(
        tmp_path, config, authors.old_names(state), config_name=config_name, zipped=zipped
    )
    found = read_checkpoint(tmp_path)
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.items())
    assert found.config["hidden_size"] == 12
    assert found.config["layer_norm_eps"] == 1e-12
    assert not found.config.keys() & {"cell", "emb_size", "structure", "pre_trained", "training"}
    assert found.architectures == ()


def test_the_authors_config_goes_before_the_older_one(tmp_path: Path) -> None:
    authors.write(tmp_path, authors.sizes(), authors.weights(authors.sizes()))
    (tmp_path / "bert_config.json").write_text("{}")
    assert read_checkpoint(tmp_path).config["num_hidden_layers"] == 2


class Runs:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_the_weights_is_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    state: Any = authors.weights(authors.sizes()) | {"more": Runs(trace)}
    authors.write(tmp_path / "a", authors.sizes(), state, zipped=zipped)
    with pytest.raises(TinybertError, match="holds more than tensors and is not read") as caught:
        read_checkpoint(tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    torch.load(tmp_path / "a" / "pytorch_model.bin", weights_only=False)
    assert trace.exists(), "the file of this test has no code in it"


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    authors.write(tmp_path, authors.sizes(), {})
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pytorch_model.bin")
    with pytest.raises(TinybertError, match="holds more than tensors"):
        read_checkpoint(tmp_path)


def changed_config(**changed: Any) -> Callable[[Path], None]:
    return lambda at: (at / "config.json").write_text(json.dumps(authors.sizes(**changed)))  # type: ignore[func-returns-value]


def lacking(name: str) -> Callable[[Path], None]:
    def change(at: Path) -> None:
        content = authors.sizes()
        del content[name]
        (at / "config.json").write_text(json.dumps(content))

    return change


def weights_as(content: Any) -> Callable[[Path], None]:
    return lambda at: torch.save(content, at / "pytorch_model.bin")


def cut(at: Path) -> None:
    file = at / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:2000])


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (
        lambda at: (at / "pytorch_model.bin").unlink(),
        "has no pytorch_model.bin: copy",
    ),
    "weights of a step": (
        lambda at: (at / "pytorch_model.bin").rename(at / "step_9_pytorch_model.bin"),
        "has no pytorch_model.bin: copy one of step_9_pytorch_model.bin to that name",
    ),
    "no config": (
        lambda at: (at / "config.json").unlink(),
        "has no config.json or bert_config.json: copy it there",
    ),
    "broken config": (lambda at: (at / "config.json").write_text("{"), "is no JSON"),
    "binary config": (lambda at: (at / "config.json").write_bytes(b"\xff\xfe"), "is no JSON"),
    "a list": (lambda at: (at / "config.json").write_text("[]"), "no configuration of a BERT"),
    "no size": (lacking("hidden_size"), "it lacks hidden_size"),
    "a size in words": (changed_config(hidden_size="wide"), "has hidden_size 'wide'"),
    "a size that is true": (changed_config(hidden_size=True), "has hidden_size True"),
    "no layers": (changed_config(num_hidden_layers=0), "has num_hidden_layers 0"),
    "odd heads": (changed_config(num_attention_heads=5), "5 attention heads do not divide"),
    "an activation": (changed_config(hidden_act="spike"), "activation that is not known: 'spike'"),
    "cut off": (cut, "cannot be read as PyTorch weights: get the file again"),
    "empty": (lambda at: (at / "pytorch_model.bin").write_bytes(b""), "cannot be read"),
    "a pointer": (
        lambda at: (at / "pytorch_model.bin").write_text("version https://git-lfs"),
        "cannot be read",
    ),
    "a list of weights": (weights_as([torch.ones(2)]), "is no state dict"),
    "weights in a box": (weights_as({"model": {"a": torch.ones(2)}}), "is no state dict"),
    "not finite": (weights_as({"bert.a": torch.tensor([1.0, float("nan")])}), "in bert.a that are"),
    "two spellings": (
        weights_as(
            {"bert.x.LayerNorm.beta": torch.ones(1), "bert.x.LayerNorm.bias": torch.ones(1)}
        ),
        "hold bert.x.LayerNorm.bias under two spellings",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_what_is_not_whole_is_refused(
    tmp_path: Path, change: Callable[[Path], Any], message: str
) -> None:
    authors.write(tmp_path, authors.sizes(), authors.weights(authors.sizes()))
    change(tmp_path)
    with pytest.raises(TinybertError) as caught:
        read_checkpoint(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="there is no directory .*nowhere: give the unpacked"):
        read_checkpoint(tmp_path / "nowhere")
