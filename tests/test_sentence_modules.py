"""sentence-transformers' layout, read and written; vectors by their package and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoTokenizer

from support import tiny, tongues
from tinybert.batching import tokenize
from tinybert.demo_teacher import demo_teacher_path
from tinybert.errors import TinybertError
from tinybert.sentence_modules import SentenceHead, known_head, pooled, read_head, write_head
from tinybert.similarity import sentence_embeddings
from tinybert.teachers import load_encoder, load_tokenizer

SETTINGS = "config_sentence_transformers.json"
TEXTS, _ = tiny.sentences(9)
TEXTS = [*TEXTS, "lock", " ".join(TEXTS[:4])]  # of unlike lengths


def dense(inside: int, outside: int, activation: nn.Module, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(inside + outside)
    return nn.Sequential(nn.Linear(inside, outside, bias=bias), activation)


HEADS = {
    "mean": lambda: SentenceHead("mean", longest=40),
    "cls, length 1": lambda: SentenceHead("cls", normalise=True, longest=40),
    "projected": lambda: SentenceHead("mean", [dense(16, 24, nn.Identity(), False)], True, 40),
    "two layers": lambda: SentenceHead(
        "mean", [dense(16, 20, nn.Tanh()), dense(20, 6, nn.Identity())], longest=12
    ),
}


@pytest.fixture(params=[*HEADS])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, SentenceHead]:
    head = HEADS[request.param]()
    directory = tiny.saved_encoder(tmp_path / "model", initializer_range=0.3)
    written = write_head(directory, head, 16)
    assert all((directory / name).exists() for name in written)
    return directory, head


def ours(directory: Path, head: SentenceHead) -> np.ndarray:
    rows = tokenize(load_tokenizer(directory), [(t,) for t in TEXTS], head.longest or 128)
    return sentence_embeddings(load_encoder(directory), rows, head)


def by_hand(directory: Path) -> np.ndarray:
    """One text after the other, module by module, as the files say."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(directory),
        AutoModel.from_pretrained(directory),
    )

    def read(name: str) -> Any:
        return json.loads((directory / name).read_text())

    vectors = []
    for text in TEXTS:
        length = read("sentence_bert_config.json")["max_seq_length"]
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        for module in read("modules.json")[1:]:
            kind, config = module["type"].split(".")[-1], read(f"{module['path']}/config.json")
            if kind == "Pooling":
                way = [name for name, on in config.items() if name.startswith("pooling_") and on]
                assert len(way) == 1
                states = states[0] if way == ["pooling_mode_cls_token"] else states.mean(0)
            elif kind == "Dense":
                weights = load_file(directory / module["path"] / "model.safetensors")
                states = weights["linear.weight"] @ states
                states = states + weights["linear.bias"] if config["bias"] else states
                name = config["activation_function"].rsplit(".", 1)[-1]
                states = states.tanh() if name == "Tanh" else states
            else:
                assert kind == "Normalize"
                states = states / states.norm()
        vectors.append(states.numpy())
    return np.stack(vectors)


def test_the_files_say_how_vectors_are_made(saved: tuple[Path, SentenceHead]) -> None:
    directory, head = saved
    np.testing.assert_allclose(by_hand(directory), ours(directory, head), atol=1e-5)


def test_what_was_written_is_read(saved: tuple[Path, SentenceHead]) -> None:
    directory, head = saved
    found = read_head(directory)
    assert found is not None
    assert (found.told, found.longest) == (head.told, head.longest)
    np.testing.assert_array_equal(ours(directory, found), ours(directory, head))
    assert found.width(16) == ours(directory, head).shape[1]


def test_their_package_gives_the_same_vectors(saved: tuple[Path, SentenceHead]) -> None:
    package = pytest.importorskip("sentence_transformers", reason="not a dependency")
    directory, head = saved
    model = package.SentenceTransformer(str(directory), device="cpu")
    wanted = ours(directory, head)
    np.testing.assert_allclose(model.encode(TEXTS), wanted, atol=1e-5)
    short = package.SentenceTransformer(str(directory), device="cpu", truncate_dim=4)
    np.testing.assert_allclose(short.encode(TEXTS), wanted[:, :4], atol=1e-5)


def test_their_package_writes_what_is_read(
    saved: tuple[Path, SentenceHead], tmp_path: Path
) -> None:
    """Newer versions name and write modules otherwise."""
    package = pytest.importorskip("sentence_transformers", reason="not a dependency")
    directory, head = saved
    package.SentenceTransformer(str(directory), device="cpu").save(str(tmp_path / "theirs"))
    found = read_head(tmp_path / "theirs")
    assert found is not None
    assert found.told == head.told
    found.longest = head.longest  # version 6 keeps it with the tokenizer
    np.testing.assert_allclose(ours(tmp_path / "theirs", found), ours(directory, head), atol=1e-6)


def test_newer_names(tmp_path: Path) -> None:
    """As version 6 writes them, without the package."""
    directory = tiny.saved_encoder(tmp_path / "model")
    write_head(directory, SentenceHead("cls", normalise=True), 16)
    base = "sentence_transformers"
    kinds = (
        "base.modules.transformer.Transformer",
        "sentence_transformer.modules.pooling.Pooling",
        "base.modules.normalize.Normalize",
    )
    modules = json.loads((directory / "modules.json").read_text())
    for module, kind in zip(modules, kinds, strict=True):
        module["type"] = f"{base}.{kind}"
    (directory / "modules.json").write_text(json.dumps(modules))
    pooling = {"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (directory / "sentence_bert_config.json").write_text('{"transformer_task": "x"}')
    found = read_head(directory)
    assert found is not None
    assert (found.pooling, found.normalise, found.longest) == ("cls", True, None)


def test_the_demos_teacher_and_plain_encoders(tmp_path: Path) -> None:
    head = read_head(demo_teacher_path())
    assert head is not None
    assert (head.pooling, head.normalise, len(head.dense), head.longest) == ("mean", True, 0, 256)
    assert read_head(tiny.saved_encoder(tmp_path / "plain")) is None


def test_padding_and_batch_mates_change_no_vector() -> None:
    states, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    spoilt = states.clone()
    spoilt[0, 3:] = 99.0
    for pooling in ("mean", "cls"):
        assert torch.equal(pooled(states, mask, pooling)[0], pooled(spoilt, mask, pooling)[0])
        alone = pooled(states[:1, :3], mask[:1, :3], pooling)
        torch.testing.assert_close(alone[0], pooled(states, mask, pooling)[0])


def change(directory: Path, file: str, **values: Any) -> None:
    path = directory / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def module(kind: str, place: str = "9_X") -> dict[str, Any]:
    return {"idx": 9, "name": "9", "path": place, "type": f"sentence_transformers.models.{kind}"}


def test_what_users_have_set_is_kept(tmp_path: Path) -> None:
    """Comparison and prompts by name, which change nothing here, and old names of the length."""
    directory = tiny.saved_encoder(tmp_path / "model")
    write_head(directory, SentenceHead("mean", longest=40), 16)
    prompts = {"query": "open: ", "passage": ""}
    change(directory, SETTINGS, similarity_fn_name="dot", prompts=prompts)
    change(directory, "1_Pooling/config.json", include_prompt=False)
    (directory / "sentence_bert_config.json").rename(directory / "sentence_roberta_config.json")
    found = read_head(directory)
    assert found is not None
    assert found.longest == 40
    other = tiny.saved_encoder(tmp_path / "other")
    write_head(other, found, 16)
    again = read_head(other)
    assert again is not None
    assert (again.similarity, again.prompts, again.prompt_pooled) == ("dot", prompts, False)
    assert json.loads((other / SETTINGS).read_text())["default_prompt_name"] is None
    assert json.loads((other / "1_Pooling" / "config.json").read_text())["include_prompt"] is False


def test_lower_case_is_the_tokenizers_affair(tmp_path: Path) -> None:
    for lower in (True, False):
        directory = tiny.saved_encoder(tmp_path / str(lower))
        write_head(directory, SentenceHead("mean"), 16)
        tongues.word_pieces(lower=lower).save_pretrained(directory)
        change(directory, "sentence_bert_config.json", do_lower_case=True)
    assert read_head(tmp_path / "True") is not None
    with pytest.raises(TinybertError, match="puts text into lower case before its tokenizer"):
        read_head(tmp_path / "False")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        directory = tiny.saved_encoder(tmp_path / name)
        write_head(directory, HEADS["two layers"](), 16)
        return directory

    def refused(directory: Path, message: str) -> None:
        with pytest.raises(TinybertError, match=message):
            read_head(directory)
        assert known_head(directory) is None

    place = fresh("weighted")
    flags = {"pooling_mode_mean_tokens": False, "pooling_mode_weightedmean_tokens": True}
    change(place, "1_Pooling/config.json", **flags)
    refused(place, "pools its states by weightedmean, and there are mean and cls here")
    change(place, "1_Pooling/config.json", pooling_mode="lasttoken")
    refused(place, "pools its states by lasttoken")
    change(place, "1_Pooling/config.json", pooling_mode=["mean", "cls"])
    refused(place, "by mean and cls, and")

    place = fresh("modules")
    modules = json.loads((place / "modules.json").read_text())
    for wrong, message in (
        ([*modules, module("LSTM")], "has a module LSTM that is not known here"),
        (modules[:1], "has no Pooling among its modules"),
        ({"a": 1}, "is no list of modules"),
    ):
        (place / "modules.json").write_text(json.dumps(wrong))
        refused(place, message)
    (place / "modules.json").write_text("{")
    refused(place, "modules.json is no JSON")

    place = fresh("dense")
    change(place, "2_Dense/config.json", activation_function="mine.Swish")
    refused(place, "has the activation mine.Swish, which is not known here")
    change(place, "2_Dense/config.json", activation_function="torch.nn.Tanh", in_features=9)
    refused(place, "dense layer 2_Dense of .* cannot be read")
    (place / "2_Dense" / "model.safetensors").unlink()
    refused(place, r"cannot be read \(no weights\)")

    for broken, weights in (
        (b"version https://git-lfs", "model.safetensors"),
        (b"version https://git-lfs", "pytorch_model.bin"),
        (b"", "pytorch_model.bin"),
    ):
        (place / "2_Dense" / weights).write_bytes(broken)
        change(place, "2_Dense/config.json", in_features=16)
        refused(place, "dense layer 2_Dense of .* cannot be read")
        (place / "2_Dense" / weights).unlink()

    for file in (
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        SETTINGS,
        "2_Dense/config.json",
    ):
        place = fresh(f"list-{file.replace('/', '-')}")
        (place / file).write_text("[1]")
        refused(place, f"{file} is no JSON object: save the model again")
    place = fresh("numbers")
    change(place, "1_Pooling/config.json", pooling_mode=5)
    refused(place, "pools its states by 5")
    place = fresh("nameless")
    change(place, SETTINGS, prompts=["query: "])
    refused(place, "have no names")

    place = fresh("prompt")
    change(place, SETTINGS, default_prompt_name="query")
    refused(place, r"puts a prompt \('query'\) before every sentence")
