"""How states become a sentence's vector: pooling, dense layers, length 1; sentence-transformers'
files.

A directory of sentence-transformers is one of Hugging Face with ``modules.json`` in it, which names
modules that run one after the other: the Transformer, ``Pooling``, any ``Dense``, ``Normalize``.
Here they are one :class:`SentenceHead`, read from such a directory and written into one, without
that package.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from tinybert.errors import TinybertError

__all__ = [
    "MODULES_FILE",
    "Pooling",
    "SentenceHead",
    "known_head",
    "pooled",
    "read_head",
    "write_head",
]

MODULES_FILE = "modules.json"
_SETTINGS_FILE = "config_sentence_transformers.json"
# Of the Transformer; named after the encoder by versions long ago.
_LENGTH_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
]

Pooling = Literal["mean", "cls"]

_POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "cls"}
# Names of before version 5.5: a flag each.
_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
}
_OWN = "sentence_transformers.models"
"""Where modules are named in files: every version reads these names."""


def pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a row, (batch, width), of states (batch, length, width).

    ``mean`` is over real tokens, specials included, by ``mask`` (batch, length); ``cls`` is the
    first token.
    """
    if pooling == "cls":
        return states[:, 0]
    real = mask.unsqueeze(-1).to(states.dtype)
    return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1e-9)


class SentenceHead(nn.Module):
    """Last hidden states to sentence vectors.

    Args:
        pooling: of states.
        dense: linear layers with their activations, one after the other; empty for none.
        normalise: whether vectors get length 1.
        longest: tokens a sentence is cut to; None where nothing says.
        similarity: how vectors are meant to be compared, by sentence-transformers' name.
        prompts: name → text that users may have put before a sentence; never done here.
        prompt_pooled: whether the tokens of a prompt count in the mean.
    """

    def __init__(
        self,
        pooling: Pooling = "mean",
        dense: Sequence[nn.Sequential] = (),
        normalise: bool = False,
        longest: int | None = None,
        similarity: str = "cosine",
        prompts: Mapping[str, str] | None = None,
        prompt_pooled: bool = True,
    ) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.dense = nn.ModuleList(dense)
        self.normalise, self.longest = normalise, longest
        self.similarity, self.prompts = similarity, dict(prompts or {})
        self.prompt_pooled = prompt_pooled
        self.requires_grad_(False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Vectors (batch, :meth:`width`) of states (batch, length, width of the encoder)."""
        vectors = pooled(states, mask, self.pooling)
        for layer in self.dense:
            vectors = layer(vectors)
        return nn.functional.normalize(vectors, dim=-1) if self.normalise else vectors

    @property
    def linear(self) -> list[nn.Linear]:
        """Linear parts of the dense layers."""
        return [cast(nn.Linear, cast(nn.Sequential, layer)[0]) for layer in self.dense]

    def width(self, hidden: int) -> int:
        """Numbers of a vector, for an encoder of width ``hidden``."""
        return self.linear[-1].out_features if len(self.dense) else hidden

    @property
    def told(self) -> str:
        """In words."""
        what = {"mean": "mean of the states", "cls": "state of the first token"}[self.pooling]
        layers = [f"a dense layer to {linear.out_features}" for linear in self.linear]
        return ", ".join([what, *layers, *(["length 1"] if self.normalise else [])])


def read_head(path: str | Path) -> SentenceHead | None:
    """The head of a directory, or model on the Hub, of sentence-transformers; None of any other.

    Raises:
        TinybertError: modules, a pooling or an activation that are not among ours; files that are
            broken; a prompt that is put before every sentence; text that is lower-cased outside of
            the tokenizer.
    """
    modules = _parsed(path, MODULES_FILE)
    if modules is None:
        return None
    pooling: Pooling | None = None
    prompt_pooled = True
    dense: list[nn.Sequential] = []
    normalise = False
    if not isinstance(modules, list) or not all(isinstance(each, Mapping) for each in modules):
        raise TinybertError(f"{path}/{MODULES_FILE} is no list of modules: save the model again.")
    for each in modules[1:]:
        kind, place = str(each.get("type", "")).rsplit(".", 1)[-1], str(each.get("path", ""))
        if kind == "Pooling" and pooling is None:
            config = _read(path, f"{place}/config.json")
            pooling = _pooling(path, config)
            prompt_pooled = bool(config.get("include_prompt", True))
        elif kind == "Dense" and pooling is not None and not normalise:
            dense.append(_dense(path, place))
        elif kind == "Normalize" and pooling is not None:
            normalise = True
        else:
            raise TinybertError(
                f"{path} has a module {kind} that is not known here or not in this place: give a "
                "sentence encoder of Transformer, Pooling, Dense and Normalize."
            )
    if pooling is None:
        raise TinybertError(
            f"{path} has no Pooling among its modules: give a sentence encoder that pools its "
            "states."
        )
    settings = _read(path, _SETTINGS_FILE)
    if settings.get("default_prompt_name"):
        raise TinybertError(
            f"{path} puts a prompt ('{settings['default_prompt_name']}') before every sentence, "
            f"which is not done here: set default_prompt_name to null in its {_SETTINGS_FILE}, or "
            "give another sentence encoder."
        )
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, Mapping):
        raise TinybertError(f"the prompts in {path}/{_SETTINGS_FILE} have no names: name them.")
    return SentenceHead(
        pooling,
        dense,
        normalise,
        _longest(path),
        similarity=str(settings.get("similarity_fn_name") or "cosine"),
        prompts=prompts,
        prompt_pooled=prompt_pooled,
    )


def known_head(path: str | Path) -> SentenceHead | None:
    """The head of a sentence encoder; None where there is none, or none that is known here."""
    try:
        return read_head(path)
    except TinybertError:
        return None


def write_head(directory: str | Path, head: SentenceHead, hidden: int) -> list[str]:
    """Make a Hugging Face directory one of sentence-transformers.

    Args:
        directory: with the encoder and its tokenizer.
        head: what comes after.
        hidden: width of the encoder.

    Returns:
        The names of what was written.
    """
    where = Path(directory)
    names = ["", "1_Pooling", *(f"{i}_Dense" for i, _ in enumerate(head.dense, 2))]
    names += [f"{len(names)}_Normalize"] if head.normalise else []
    for name in names[1:]:
        (where / name).mkdir(exist_ok=True)
    modules = []
    for i, name in enumerate(names):
        kind = name.partition("_")[2] or "Transformer"
        modules.append({"idx": i, "name": str(i), "path": name, "type": f"{_OWN}.{kind}"})
    flags = {flag: pooling == head.pooling for flag, pooling in _FLAGS.items()}
    config: dict[str, Any] = {"word_embedding_dimension": hidden, **flags}
    config["include_prompt"] = head.prompt_pooled
    _write(where / "1_Pooling" / "config.json", config)
    for name, layer, linear in zip(names[2:], head.dense, head.linear, strict=False):
        activation = cast(nn.Sequential, layer)[1]
        config = {
            "in_features": linear.in_features,
            "out_features": linear.out_features,
            "bias": linear.bias is not None,
            "activation_function": f"{type(activation).__module__}.{type(activation).__name__}",
        }
        _write(where / name / "config.json", config)
        weights = {f"linear.{key}": t.contiguous() for key, t in linear.state_dict().items()}
        save_file(weights, where / name / "model.safetensors", metadata={"format": "pt"})
    if head.normalise:
        _write(where / names[-1] / "config.json", {})
    _write(where / MODULES_FILE, modules)
    length = {"max_seq_length": head.longest, "do_lower_case": False}
    _write(where / _LENGTH_FILES[0], length)
    settings = {
        "prompts": head.prompts,
        "default_prompt_name": None,
        "similarity_fn_name": head.similarity,
    }
    _write(where / _SETTINGS_FILE, settings)
    return [*names[1:], MODULES_FILE, _LENGTH_FILES[0], _SETTINGS_FILE]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _file(path: str | Path, name: str) -> Path | None:
    if Path(path).is_dir():
        file = Path(path) / name
        return file if file.is_file() else None
    try:
        found = cached_file(
            str(path),
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:
        return None  # no such model: who loads its weights says so
    return None if found is None else Path(found)


def _read(path: str | Path, name: str) -> Mapping[str, Any]:
    """An object of JSON; empty where there is no such file."""
    found = _parsed(path, name)
    if found is not None and not isinstance(found, Mapping):
        raise TinybertError(f"{path}/{name} is no JSON object: save the model again.")
    return found or {}


def _parsed(path: str | Path, name: str) -> Any:
    file = _file(path, name)
    if file is None:
        return None
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise TinybertError(f"{path}/{name} is no JSON ({error}): save the model again.") from error


def _longest(path: str | Path) -> int | None:
    """Tokens that the Transformer cuts to, whose other settings are looked at on the way."""
    for name in _LENGTH_FILES:
        settings = _read(path, name)
        if settings.get("do_lower_case") and not _lowers(path):
            raise TinybertError(
                f"{path} puts text into lower case before its tokenizer (do_lower_case in {name}), "
                "which is not done here: give its tokenizer a normalizer that does, and set "
                "do_lower_case to false."
            )
        if settings:
            longest = settings.get("max_seq_length")
            return longest if isinstance(longest, int) else None
    return None


def _lowers(path: str | Path) -> bool:
    """Whether the tokenizer puts text into lower case itself."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError):  # who loads it to use it says what is wrong
        return False
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    cased = "Ab ÉÄ Γδ Жз"
    return normalizer is not None and bool(
        normalizer.normalize_str(cased) == normalizer.normalize_str(cased.lower())
    )


def _pooling(path: str | Path, config: Mapping[str, Any]) -> Pooling:
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [name for flag, name in _FLAGS.items() if config.get(flag)]
    modes = list(map(str, mode if isinstance(mode, list) else [mode]))
    if not modes:
        modes = ["mean"]  # sentence-transformers' own default
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise TinybertError(
            f"{path} pools its states by {' and '.join(modes)}, and there are mean and "
            "cls here: give a sentence encoder of one of these."
        )
    return _POOLINGS[modes[0]]


# What libraries raise of weights that are cut off, of another format, or of other sizes.
_BROKEN = (
    *(KeyError, ValueError, TypeError, AttributeError, RuntimeError, OSError, EOFError),
    *(SafetensorError, pickle.UnpicklingError),
)


def _dense(path: str | Path, place: str) -> nn.Sequential:
    config = _read(path, f"{place}/config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = _ACTIVATIONS.get(name.rsplit(".", 1)[-1]) if name.startswith("torch.") else None
    if kind is None:
        raise TinybertError(
            f"the dense layer {place} of {path} has the activation {name}, which is not known "
            f"here: give a sentence encoder with one of {', '.join(_ACTIVATIONS)}."
        )
    try:
        sizes = int(config["in_features"]), int(config["out_features"])
        linear = nn.Linear(*sizes, bias=bool(config.get("bias", True)))
        weights = _weights(path, place)
        linear.load_state_dict({k.removeprefix("linear."): t.float() for k, t in weights.items()})
    except _BROKEN as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise TinybertError(
            f"the dense layer {place} of {path} cannot be read ({said}): save the model again."
        ) from error
    return nn.Sequential(linear, kind())


def _weights(path: str | Path, place: str) -> dict[str, Tensor]:
    if (file := _file(path, f"{place}/model.safetensors")) is not None:
        return load_file(file)
    if (file := _file(path, f"{place}/pytorch_model.bin")) is not None:
        found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return found
    raise OSError("no weights")
