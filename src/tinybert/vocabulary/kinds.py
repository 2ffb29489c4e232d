"""What each kind of vocabulary needs to go on working when pieces are taken out.

The promise is the same for all: a word whose pieces are all kept is cut as before, and no text
becomes unreadable that was not. Why it holds differs.

- **Word-pieces** take the longest piece that fits, from left to right. The longest one is still
  the longest among fewer.
- **Unigram** takes the segmentation of the best score. The best one is still the best among fewer,
  as long as the price of an unknown character stays: it follows from the lowest score, so the
  piece with the lowest score stays.
- **Byte pairs** join the pair of the lowest rank. A piece is kept with every way to make it and
  the pieces on the way, so that each join of before is still there, and still the first.

Characters of their own stay in all of them, so that other words fall into smaller pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tinybert.errors import TinybertError

__all__ = ["BytePairs", "Kind", "Unigram", "WordPieces", "kind_of"]

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class Kind:
    """The model part of a ``tokenizer.json``, and which pieces depend on which.

    Args:
        model: the part, as data.

    Attributes:
        pieces: id of each piece.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        self._model = dict(model)
        self.pieces = self._pieces()

    def always(self) -> set[int]:
        """Ids that stay whatever the text: characters, bytes, the unknown piece."""
        kept = {i for piece, i in self.pieces.items() if len(self._characters(piece)) == 1}
        if self._model.get("byte_fallback"):
            kept |= {i for piece, i in self.pieces.items() if _BYTE.fullmatch(piece)}
        unknown = self._model.get("unk_token")
        return kept | ({self.pieces[unknown]} if unknown in self.pieces else set())

    def incomplete(self) -> set[int]:
        """Ids of pieces with a character that is no piece: without them it could not be read."""
        single = {parts[0] for piece in self.pieces if len(parts := self._characters(piece)) == 1}
        return {
            i for piece, i in self.pieces.items() if not single.issuperset(self._characters(piece))
        }

    def needs(self, piece: int) -> Iterable[int]:
        """Ids that one piece cannot be made without."""
        return ()

    def cut(self, places: Mapping[int, int]) -> dict[str, Any]:
        """The model part with the pieces of ``places`` (old id → new id) alone."""
        vocabulary = {piece: places[i] for piece, i in self.pieces.items() if i in places}
        return self._model | {"vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1]))}

    def _pieces(self) -> dict[str, int]:
        return dict(self._model["vocab"])

    def _characters(self, piece: str) -> list[str]:
        """The characters of a piece as pieces of their own would be written."""
        return list(piece)


class WordPieces(Kind):
    """Longest match first (BERT, DistilBERT, ELECTRA, MPNet)."""

    def _characters(self, piece: str) -> list[str]:
        prefix = self._model.get("continuing_subword_prefix") or ""
        if prefix and piece.startswith(prefix) and len(piece) > len(prefix):
            return [prefix + character for character in piece[len(prefix) :]]
        return [piece[:1], *(prefix + character for character in piece[1:])]


class Unigram(Kind):
    """Best score (ALBERT, XLM-RoBERTa, DeBERTa-v2)."""

    def _pieces(self) -> dict[str, int]:
        return {piece: i for i, (piece, _) in enumerate(self._model["vocab"])}

    def always(self) -> set[int]:
        rows = self._model["vocab"]
        kept = super().always() | {min(range(len(rows)), key=lambda i: rows[i][1])}
        unknown = self._model.get("unk_id")
        return kept if unknown is None else kept | {unknown}

    def cut(self, places: Mapping[int, int]) -> dict[str, Any]:
        rows = [row for i, row in enumerate(self._model["vocab"]) if i in places]
        unknown = self._model.get("unk_id")
        return self._model | {
            "vocab": rows,
            "unk_id": None if unknown is None else places[unknown],
        }


class BytePairs(Kind):
    """Merges by rank (RoBERTa, ModernBERT), over characters or bytes."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__(model)
        if model.get("dropout"):
            raise TinybertError(
                "the tokenizer leaves merges out at random (dropout), so that a text has other "
                'pieces each time: set "dropout": null in its tokenizer.json.'
            )
        prefix = len(model.get("continuing_subword_prefix") or "")
        self._merges: list[tuple[int, int, int]] = []
        self._made: dict[int, set[int]] = {}
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            made = self.pieces[left + right[prefix:]]
            self._merges.append((self.pieces[left], self.pieces[right], made))
            self._made.setdefault(made, set()).update(self._merges[-1][:2])

    def incomplete(self) -> set[int]:
        return set()  # a character that is no piece is unknown before any merge

    def needs(self, piece: int) -> Iterable[int]:
        return self._made.get(piece, ())

    def cut(self, places: Mapping[int, int]) -> dict[str, Any]:
        merges = [
            merge
            for merge, ids in zip(self._model["merges"], self._merges, strict=True)
            if places.keys() >= {*ids}
        ]
        return super().cut(places) | {"merges": merges}

    def _characters(self, piece: str) -> list[str]:
        prefix = self._model.get("continuing_subword_prefix") or ""
        suffix = self._model.get("end_of_word_suffix") or ""
        return list(piece.removeprefix(prefix).removesuffix(suffix) or piece)


_KINDS = {"WordPiece": WordPieces, "Unigram": Unigram, "BPE": BytePairs}


def kind_of(model: Mapping[str, Any]) -> Kind:
    """The kind of a vocabulary.

    Args:
        model: the ``model`` part of a ``tokenizer.json``.

    Raises:
        TinybertError: it is none that can be cut.
    """
    name = str(model.get("type"))
    if name not in _KINDS:
        raise TinybertError(
            f"the tokenizer is of the kind {name}, whose vocabulary cannot be cut, as what is no "
            "piece is unknown there: give a model with word-pieces, sentence-pieces or byte pairs."
        )
    return _KINDS[name](model)
