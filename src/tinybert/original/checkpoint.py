"""Reading a directory of the authors' code: configuration and named tensors."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.activations import ACT2FN

from tinybert.errors import TinybertError

__all__ = ["Checkpoint", "read_checkpoint"]

WEIGHTS_FILE = "pytorch_model.bin"
CONFIG_FILES = ("config.json", "bert_config.json")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_OTHERS = (
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
    "layer_norm_eps",
)


@dataclass(frozen=True)
class Checkpoint:
    """What a directory of the authors' code holds.

    Attributes:
        directory: where it was read.
        config: what ``BertConfig`` takes of its configuration.
        architectures: class names that its configuration has if transformers wrote it.
        tensors: float32 weights by name, spelled as transformers spells them.
        labels: names of the outputs that its configuration has if transformers wrote it.
    """

    directory: Path
    config: dict[str, Any]
    architectures: tuple[str, ...]
    tensors: dict[str, Tensor]
    labels: tuple[str, ...] = ()


def read_checkpoint(directory: str | Path) -> Checkpoint:
    """Read configuration and weights; nothing in the weights file is run as code.

    Raises:
        TinybertError: no such directory; a file is missing, damaged, or not what it should be.
    """
    path = Path(directory).expanduser()
    if not path.is_dir():
        raise TinybertError(
            f"there is no directory {directory}: give the unpacked directory of a checkpoint, with "
            f"{WEIGHTS_FILE}, config.json and vocab.txt in it."
        )
    config, architectures, labels = _read_config(path)
    return Checkpoint(path, config, architectures, _read_tensors(path), labels)


def _read_config(path: Path) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    file = next((path / name for name in CONFIG_FILES if (path / name).is_file()), None)
    if file is None:
        raise TinybertError(f"{path} has no {' or '.join(CONFIG_FILES)}: copy it there.")
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise TinybertError(f"{file} is no JSON ({error}): get the file again.") from error
    if not isinstance(content, dict) or (missing := [n for n in _SIZES if n not in content]):
        lacks = ", ".join(missing) if isinstance(content, dict) else "all sizes"
        raise TinybertError(f"{file} is no configuration of a BERT: it lacks {lacks}.")
    for name in _SIZES:
        if type(content[name]) is not int or content[name] < 1:
            raise TinybertError(
                f"{file} has {name} {content[name]!r}: it has to be a whole number above 0."
            )
    activation = content.get("hidden_act", "gelu")
    if activation not in ACT2FN:
        raise TinybertError(f"{file} has an activation that is not known: {activation!r}.")
    if content["hidden_size"] % content["num_attention_heads"]:
        raise TinybertError(
            f"{file} has hidden_size {content['hidden_size']}, which its "
            f"{content['num_attention_heads']} attention heads do not divide: get the file again."
        )
    kept = {name: content[name] for name in (*_SIZES, *_OTHERS) if name in content}
    # The authors' code has 1e-12 built in.
    kept.setdefault("layer_norm_eps", 1e-12)
    architectures = tuple(map(str, content.get("architectures") or ()))
    return kept, architectures, _label_names(content.get("id2label"))


def _label_names(found: Any) -> tuple[str, ...]:
    """The names of ``id2label`` by their numbers; empty where it names nothing.

    >>> _label_names({"1": "positive", "0": "negative"}), _label_names({"0": "LABEL_0"})
    (('negative', 'positive'), ())
    """
    if not isinstance(found, Mapping) or found.keys() != {str(i) for i in range(len(found))}:
        return ()
    names = tuple(found[str(i)] for i in range(len(found)))
    if not all(isinstance(name, str) and name.strip() for name in names):
        return ()
    if len(set(names)) < len(names) or all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return ()
    return names


def _read_tensors(path: Path) -> dict[str, Tensor]:
    file = path / WEIGHTS_FILE
    if not file.is_file():
        if (path / "model.safetensors").is_file():
            raise TinybertError(
                f"{path} holds model.safetensors, Hugging Face's own format: nothing to convert."
            )
        others = sorted(entry.name for entry in path.glob("*.bin"))
        hint = f"copy one of {', '.join(others)} to that name" if others else "copy it there"
        raise TinybertError(f"{path} has no {WEIGHTS_FILE}: {hint}.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise TinybertError(
                f"{file} holds more than tensors and is not read, since that could run code: have "
                "it written again as torch.save(model.state_dict(), ...)."
            ) from error
        raise TinybertError(
            f"{file} cannot be read as PyTorch weights: get the file again."
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise TinybertError(
            f"{file} is no state dict (names and their tensors): have it written again as "
            "torch.save(model.state_dict(), ...)."
        )
    tensors: dict[str, Tensor] = {}
    for name, tensor in _named(content).items():
        if tensor.is_floating_point():
            tensor = tensor.float()
            if not bool(tensor.isfinite().all()):
                raise TinybertError(f"{file} has values in {name} that are not finite: no model.")
        tensors[name] = tensor
    return tensors


def _named(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names: wrapped, bare and older spellings made one.

    >>> list(_named({"module.embeddings.LayerNorm.gamma": torch.ones(1)}))
    ['bert.embeddings.LayerNorm.weight']
    """
    wrapped = all(name.startswith("module.") for name in content)  # saved under DataParallel
    bare = not any(re.match(r"(module\.)?bert\.", name) for name in content)
    named: dict[str, Tensor] = {}
    for name, tensor in content.items():
        new = name.removeprefix("module.") if wrapped else name
        if bare and new.startswith(("embeddings.", "encoder.", "pooler.")):
            new = f"bert.{new}"
        new = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", new))
        if new in named:
            raise TinybertError(f"the weights hold {new} under two spellings: which one counts?")
        named[new] = tensor
    return named
