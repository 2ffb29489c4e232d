"""What the page has to know of an exported model, read from its directory without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tinybert.errors import TinybertError
from tinybert.task_heads import answering_of

__all__ = ["CONFIG_FILE", "MODEL_FILE", "Kind", "WebModel", "json_object", "read_web_model"]

MODEL_FILE = "onnx/model_quantized.onnx"
CONFIG_FILE = "tokenizer_config.json"
DEFAULT_LENGTH = 128

Kind = Literal["classes", "labels", "value"]
"""One of several classes, any number of labels, or a value."""

_KNOWN = {
    "model": {"WordPiece", "WordLevel", "BPE", "Unigram"},
    "normalizer": {
        *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "Prepend"),
        *("Replace", "Sequence", "Strip", "StripAccents"),
    },
    "pre_tokenizer": {
        *("BertPreTokenizer", "ByteLevel", "Digits", "FixedLength", "Metaspace", "Punctuation"),
        *("Replace", "Sequence", "Split", "Whitespace", "WhitespaceSplit"),
    },
    "post_processor": {
        *("BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"),
    },
}
"""Parts of a tokenizer.json that the pinned JavaScript library has."""

# Positions of these start behind the padding token's, as in RoBERTa.
_SHIFTED = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm"}


@dataclass(frozen=True)
class WebModel:
    """An exported model as the page shows it.

    Attributes:
        directory: where it lies.
        name: of the model that was exported, else of the directory.
        kind: what an answer is.
        labels: names of the outputs, in their order.
        text_names: what the one text, or the two, are called; empty where nothing says.
        max_length: tokens a row at most, specials included, as it was trained; None if unknown.
        longest: tokens that the model takes at most; None without a bound.
        layers, width: its shape; None if unknown.
        export: what ``export.json`` holds; empty without one.
    """

    directory: Path
    name: str
    kind: Kind
    labels: tuple[str, ...]
    text_names: tuple[str, ...]
    max_length: int | None
    longest: int | None
    layers: int | None
    width: int | None
    export: dict[str, Any]

    def length(self, asked: int | None) -> int:
        """Tokens a row, specials included.

        Raises:
            TinybertError: more are asked for than the model takes.
        """
        if asked is not None and self.longest is not None and asked > self.longest:
            raise TinybertError(
                f"the model takes {self.longest} tokens at most, --max-length {asked} were asked "
                f"for: give {self.longest} or less"
            )
        length = asked or self.max_length or DEFAULT_LENGTH
        return length if self.longest is None else min(length, self.longest)


def read_web_model(path: str | Path) -> WebModel:
    """Read and check an exported directory.

    Raises:
        TinybertError: no such directory, no int8 model in it, no tokenizer.json or one that
            JavaScript cannot follow, or no classifier.
    """
    directory = Path(path).expanduser()
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "is not there"
        raise TinybertError(f"{path} {what}: give a directory that `tinybert export` wrote")
    _check_files(directory, str(path))
    config = json_object(directory / "config.json")
    _check_head(config, str(path))
    _check_tokenizer(directory, str(path))
    export = json_object(directory / "export.json")
    trained = json_object(directory / "results.json")
    labels = _labels(config)
    return WebModel(
        directory=directory,
        name=str(export.get("model") or directory.resolve().name),
        kind=_kind(config, labels),
        labels=labels,
        text_names=tuple(trained.get("text_columns") or export.get("text_columns") or ()),
        max_length=_trained_length(trained) or _trained_length(export),
        longest=_longest(config),
        layers=_whole(config, "num_hidden_layers", "n_layers"),
        width=_whole(config, "hidden_size", "dim"),
        export=export,
    )


def _check_files(directory: Path, path: str) -> None:
    exporting = f"`tinybert export {path} --to int8 --output DIR`"
    if not (directory / "config.json").is_file():
        raise TinybertError(
            f"{path} has no config.json: give a directory that `tinybert export` wrote"
        )
    if not (directory / MODEL_FILE).is_file():
        if (directory / "onnx").is_dir():
            raise TinybertError(
                f"{path} has no int8 model ({MODEL_FILE}), which the page runs: export it again "
                "with --to int8"
            )
        raise TinybertError(
            f"{path} is not exported, and the page runs an int8 ONNX model: make one with "
            f"{exporting} and give DIR"
        )
    if not (directory / "tokenizer.json").is_file():
        raise TinybertError(
            f"{path} has no tokenizer.json, which the page reads: save a fast tokenizer beside the "
            "model with tokenizer.save_pretrained()"
        )


def _check_head(config: dict[str, Any], path: str) -> None:
    classes = config.get("architectures") or ["?"]
    if answering_of(classes) in ("tokens", "spans"):
        raise TinybertError(
            f"{path} answers with tags or spans ({classes[0]}), and the page shows classes or a "
            "value: run its ONNX form as its README.md shows, or use `tinybert predict`"
        )
    if not any(name.endswith("ForSequenceClassification") for name in classes):
        raise TinybertError(
            f"{path} is an encoder without a classifier ({classes[0]}), and the page shows classes "
            "or a value: fine-tune or distil it on a task, then export that"
        )


def _check_tokenizer(directory: Path, path: str) -> None:
    json_object(directory / CONFIG_FILE)  # copied later; told now if it cannot be read
    tokenizer = json_object(directory / "tokenizer.json")
    for part, known in _KNOWN.items():
        for name in _types(tokenizer.get(part)):
            if name not in known:
                raise TinybertError(
                    f"the tokenizer of {path} has a {part} of type {name}, which the page's "
                    "JavaScript does not know: use a model with a tokenizer of BERT's, RoBERTa's "
                    "or XLM-R's kind"
                )


def _types(part: Any) -> list[str]:
    """A part's type, and those of its parts where it is a sequence."""
    if not isinstance(part, dict) or "type" not in part:
        return []
    inner = [*part.get("normalizers", []), *part.get("pretokenizers", [])]
    inner += part.get("processors", [])
    return [str(part["type"]), *(name for each in inner for name in _types(each))]


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(2)}
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _kind(config: dict[str, Any], labels: tuple[str, ...]) -> Kind:
    if config.get("problem_type") == "multi_label_classification":
        return "labels"
    return "value" if len(labels) == 1 else "classes"


def _longest(config: dict[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 1:
        return None
    if config.get("model_type") in _SHIFTED:
        positions -= int(config.get("pad_token_id") or 0) + 1
    return positions


def _whole(config: dict[str, Any], *names: str) -> int | None:
    """The first of some settings that is a number; architectures spell them differently."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _trained_length(results: dict[str, Any]) -> int | None:
    found = results.get("max_length") or (results.get("settings") or {}).get("max_length")
    return found if isinstance(found, int) else None


def json_object(file: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is absent."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise TinybertError(f"{file} is not readable JSON ({error}): export the model again") from (
            error
        )
    return found if isinstance(found, dict) else {}
