"""A tokenizer with fewer pieces, ids counted anew in the order of the old ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tinybert.errors import TinybertError
from tinybert.outputs import write_json_whole
from tinybert.vocabulary.kinds import Kind, kind_of

__all__ = ["Pieces", "plain_backend"]

# Vocabularies in other formats; beside a tokenizer.json nothing needs them, and they are the old.
_OTHER_FILES = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "*.model")


class Pieces:
    """The pieces of a tokenizer, and how to cut them.

    Args:
        tokenizer: a fast one.

    Attributes:
        kind: of its vocabulary.
        size: ids that there are, the highest plus one.
        unknown: the token for what cannot be read; None where there is none.

    Raises:
        TinybertError: it is written in Python, or of a kind that cannot be cut.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise TinybertError(
                f"{type(tokenizer).__name__} is written in Python and its vocabulary cannot be "
                "cut: save the model with a fast tokenizer (tokenizer.json)."
            )
        self._tokenizer = tokenizer
        self._data: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        self.kind: Kind = kind_of(self._data["model"])
        self.size = max(tokenizer.get_vocab().values()) + 1
        self.unknown: str | None = self._unknown()

    def _unknown(self) -> str | None:
        model = self._data["model"]
        if model["type"] == "Unigram":
            number = model.get("unk_id")
            return None if number is None else str(model["vocab"][number][0])
        name = model.get("unk_token")
        return None if name is None else str(name)

    def always(self) -> set[int]:
        """Ids that stay whatever the text."""
        own = self.kind.always() | self.kind.incomplete()
        added = {token["id"] for token in self._data["added_tokens"]}
        padding = self._data.get("padding") or {}
        named = {padding["pad_id"]} if "pad_id" in padding else set()
        around = set(_ids_around(self._data.get("post_processor")))
        return own | added | named | around | set(self._tokenizer.all_special_ids)

    def special(self) -> NDArray[np.bool_]:
        """(size,) bool, which ids are tokens added to the vocabulary, or stand for the unknown."""
        marked = np.zeros(self.size, dtype=bool)
        marked[[token["id"] for token in self._data["added_tokens"]]] = True
        marked[[i for i in self._tokenizer.all_special_ids if i < self.size]] = True
        if self.unknown in self.kind.pieces:
            marked[self.kind.pieces[self.unknown]] = True
        return marked

    def cut(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        """The ``tokenizer.json`` with the pieces ``kept`` alone; the i-th of them gets id i."""
        places = {int(old): new for new, old in enumerate(kept)}
        data = self._data | {
            "model": self.kind.cut(places),
            "added_tokens": [
                token | {"id": places[token["id"]]} for token in self._data["added_tokens"]
            ],
            "post_processor": _around(self._data.get("post_processor"), places),
        }
        if data.get("padding"):
            data["padding"] = data["padding"] | {"pad_id": places[data["padding"]["pad_id"]]}
        return data

    def save(self, kept: NDArray[np.int64], directory: Path) -> PreTrainedTokenizerBase:
        """Write the cut tokenizer, and read it again.

        Raises:
            TinybertError: read again it is another one.
        """
        data = self.cut(kept)
        self._tokenizer.save_pretrained(directory)
        for pattern in _OTHER_FILES:
            for file in directory.glob(pattern):
                file.unlink()
        (directory / "tokenizer.json").write_text(
            json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8"
        )
        _drop_ids(directory / "tokenizer_config.json")
        made: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(directory))
        names = {i: token for token, i in self._tokenizer.get_vocab().items()}
        wanted = {names[int(old)]: new for new, old in enumerate(kept)}
        if made.get_vocab() != wanted:
            raise TinybertError(
                f"{type(made).__name__} does not read its pieces from tokenizer.json alone, so "
                "that its vocabulary cannot be cut: give a model with another tokenizer."
            )
        return made


def plain_backend(source: PreTrainedTokenizerBase | Mapping[str, Any]) -> Tokenizer:
    """A copy of the engine, that neither cuts off nor pads; of a tokenizer, or of its JSON."""
    if isinstance(source, PreTrainedTokenizerBase):
        text = source.backend_tokenizer.to_str()
    else:
        text = json.dumps(source)
    engine = Tokenizer.from_str(text)
    engine.no_truncation()
    engine.no_padding()
    return engine


def _drop_ids(path: Path) -> None:
    """Older versions of transformers write ids of added tokens a second time, the old ones."""
    settings = json.loads(path.read_text("utf-8"))
    if settings.pop("added_tokens_decoder", None) is not None:
        write_json_whole(path, settings)


def _parts(processor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """What is done after cutting, one step after the other."""
    if processor is None:
        return
    if processor["type"] == "Sequence":
        for part in processor["processors"]:
            yield from _parts(part)
    else:
        yield processor


def _ids_around(processor: Mapping[str, Any] | None) -> Iterable[int]:
    """Ids of the tokens that are put around a text.

    Raises:
        TinybertError: of a processor that nothing is known of.
    """
    for part in _parts(processor):
        if part["type"] == "TemplateProcessing":
            for token in part["special_tokens"].values():
                yield from token["ids"]
        elif part["type"] in ("BertProcessing", "RobertaProcessing"):
            yield from (part["sep"][1], part["cls"][1])
        elif part["type"] != "ByteLevel":
            raise TinybertError(
                f"the tokenizer finishes text by {part['type']}, which is not known here, so that "
                "its vocabulary cannot be cut: give a model with another tokenizer."
            )


def _around(
    processor: Mapping[str, Any] | None, places: Mapping[int, int]
) -> dict[str, Any] | None:
    if processor is None:
        return None
    part = dict(processor)
    if part["type"] == "Sequence":
        part["processors"] = [_around(inner, places) for inner in part["processors"]]
    elif part["type"] == "TemplateProcessing":
        part["special_tokens"] = {
            name: token | {"ids": [places[i] for i in token["ids"]]}
            for name, token in part["special_tokens"].items()
        }
    elif part["type"] != "ByteLevel":
        for end in ("sep", "cls"):
            part[end] = [part[end][0], places[part[end][1]]]
    return part
