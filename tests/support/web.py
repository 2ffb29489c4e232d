"""Exported models for the page, made small; stand-ins for the scripts that npm fetches."""

from __future__ import annotations

import hashlib
import json
import shutil
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import tinybert
from support import tiny
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.webpage.third_party import Package

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_pieces(lowercase: bool = True) -> PreTrainedTokenizerFast:
    """BERT's tokenizer over letters, some words and some of everything else."""
    letters = [*string.ascii_letters, *string.digits, *"αβγδος", *"абвг", *"あア가"]
    signs = [*string.punctuation, *"«»„“…–—¿¡§€", *"東京日本𠀀", "😀", "✓"]
    words = ["the", "cafe", "naive", "play", "##ing", "##ed", "##s", "un", "##able", "##ο", "##ς"]
    names = [*SPECIALS, *tiny.WORDS, *letters, *(f"##{c}" for c in letters), *signs, *words]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return wrapped(inner)


def wrapped(inner: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def fake_export(directory: Path, labels: tuple[str, ...] = tiny.LABELS, **config: Any) -> Path:
    """An exported directory whose model is a few bytes: enough to build a page of."""
    word_pieces().save_pretrained(directory)
    names = dict(enumerate(labels))
    made = tiny.config(id2label=names, label2id={name: i for i, name in names.items()}, **config)
    made.architectures = ["BertForSequenceClassification"]
    made.save_pretrained(directory)
    (directory / "onnx").mkdir()
    (directory / "onnx" / "model_quantized.onnx").write_bytes(b"model" * 50)
    return directory


def small_export(directory: Path, labels: tuple[str, ...] = tiny.LABELS) -> Path:
    """What ``tinybert export`` makes of a random classifier."""
    tokenizer = word_pieces()
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "width": 64, "initializer_range": 0.3}
    model = directory.with_name(f"{directory.name}-model")
    tiny.classifier(1, labels, **sizes).save_pretrained(model)
    tokenizer.save_pretrained(model)
    tinybert.export_model(model=model, output=directory, to=["int8"], quiet=True)
    return directory


def bag_export(directory: Path, labels: tuple[str, ...]) -> Path:
    """The mean of a row's embeddings, times a matrix: an int8 graph that is made in no time."""
    from onnx import TensorProto, helper, numpy_helper, save

    fake_export(directory, labels)
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.integers(-127, 128, (len(word_pieces()), 16)).astype(np.int8),
        "scale": np.array(0.05, np.float32),
        "head": rng.normal(size=(16, len(labels))).astype(np.float32),
        "axis": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    steps = [
        ("Gather", ["table", "input_ids"], "small", {}),
        ("DequantizeLinear", ["small", "scale"], "tokens", {}),
        ("Cast", ["attention_mask"], "mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["mask", "last"], "column", {}),
        ("Mul", ["tokens", "column"], "kept", {}),
        ("ReduceSum", ["kept", "axis"], "sum", {"keepdims": 0}),
        ("ReduceSum", ["mask", "axis"], "count", {"keepdims": 1}),
        ("Div", ["sum", "count"], "mean", {}),
        ("MatMul", ["mean", "head"], "logits", {}),
    ]
    shape = ["batch", "length"]
    graph = helper.make_graph(
        [helper.make_node(kind, given, [made], **more) for kind, given, made, more in steps],
        "bag",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    save(model, directory / "onnx" / "model_quantized.onnx")
    return directory


def fake_packages(place: Path) -> list[Package]:
    """Packages of a few bytes under the real ones' paths, written as ``place/node_modules``."""
    from tinybert.webpage.third_party import packages

    made = []
    for package in packages():
        pinned = {}
        for path, (to, _) in package.files.items():
            content = f"{package.exact} {path}".encode()
            file = place / "node_modules" / package.name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            pinned[path] = (to, hashlib.sha256(content).hexdigest())
        made.append(
            Package(
                name=package.name,
                version=package.version,
                licence=package.licence,
                source=package.source,
                integrity="sha512-",
                files=pinned,
            )
        )
    return made


def real_files() -> dict[str, Path]:
    """The scripts that a page really runs on; skips the test where they are not to be had."""
    from tinybert.webpage import third_party_files

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("npm_config_fetch_timeout", "40000")  # a firewall that swallows is no failure
        try:
            return third_party_files(None, Reporter(quiet=True))
        except TinybertError as error:
            pytest.skip(f"the page's packages are not to be had: {error}")


def stand_in(patch: pytest.MonkeyPatch, place: Path) -> Path:
    """Fake packages in a cache in ``place``, and no npm; returns a folder of them."""
    from tinybert.webpage import third_party

    made = fake_packages(place)
    fill_cache(place / "cache", place, made)
    patch.setattr(third_party, "packages", lambda: made)
    patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    patch.setenv("PATH", "")
    return place / "node_modules"


def fill_cache(cache: Path, place: Path, packages: list[Package]) -> None:
    """Put ``place/node_modules`` where npm's packages are kept."""
    for package in packages:
        target = cache / "tinybert" / "npm" / package.exact
        shutil.copytree(place / "node_modules" / package.name, target)


def told(page: Path) -> dict[str, Any]:
    """What a page's scripts are told."""
    found: dict[str, Any] = json.loads((page / "page.json").read_text("utf-8"))
    return found
