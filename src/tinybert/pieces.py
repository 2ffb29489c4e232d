"""What the pieces of a vocabulary are as text: which ones are words, which ones continue a word.

Found from the tokenizer's own encoder and decoder, so that word-pieces (``##ing``),
sentence-pieces (``▁the``) and byte pairs (``Ġthe``) are treated alike.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinybert.errors import TinybertError

__all__ = ["Pieces", "fast_tokenizer", "has_word_character", "is_unsegmented", "pieces_of"]

# Scripts that put no spaces between words, as far as Unicode's names tell.
_UNSEGMENTED = (
    *("CJK ", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "IDEOGRAPHIC ITERATION"),
    *("IDEOGRAPHIC NUMBER", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN "),
)
_ASCII = re.compile(r"[\x00-\x7f]*")
_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Pieces:
    """The vocabulary of a tokenizer, by token id.

    Attributes:
        surface: the text that a piece stands for, without the marks of its kind ("ing" for
            ``##ing``); empty for specials and for bytes that are no characters.
        special: (vocabulary,) bool, tokens such as [CLS].
        continues: (vocabulary,) bool, pieces with a letter or digit that are written on to the
            piece before them, without a space.
        mark: (vocabulary,) bool, pieces without any text, such as a lone "▁".
        word: (vocabulary,) bool, pieces that stand in a text as a word of their own: written
            alone, they become this one token again. In scripts without spaces every piece does.
    """

    surface: list[str]
    special: NDArray[np.bool_]
    continues: NDArray[np.bool_]
    word: NDArray[np.bool_]
    mark: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.surface)


def fast_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, if it tells which word a token belongs to.

    Raises:
        TinybertError: it is written in Python and does not.
    """
    if not tokenizer.is_fast:
        raise TinybertError(
            f"{type(tokenizer).__name__} does not tell which word a token belongs to: save the "
            "model with a fast tokenizer (tokenizer.json)."
        )
    return tokenizer


def pieces_of(tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """What every token of a fast tokenizer stands for.

    Raises:
        TinybertError: the tokenizer is not a fast one.
    """
    size = len(fast_tokenizer(tokenizer))
    tokens = tokenizer.convert_ids_to_tokens(list(range(size)))
    special = np.zeros(size, dtype=bool)
    special[[i for i in tokenizer.all_special_ids if i < size]] = True
    decode = tokenizer.backend_tokenizer.decoder
    before = _plain_piece(tokenizer)
    alone = decode.decode([before]) if decode is not None else before
    surface: list[str] = []
    continues = np.zeros(size, dtype=bool)
    mark = np.zeros(size, dtype=bool)
    for i, token in enumerate(tokens):
        if special[i] or token is None:
            surface.append("")
            special[i] = True
            continue
        # After another piece its own mark ("##", "▁", "Ġ") has become a join or a space.
        both = decode.decode([before, token]) if decode is not None else f"{before} {token}"
        rest = both[len(alone) :] if both.startswith(alone) else ""
        text = rest.strip()
        surface.append("" if _BROKEN in text else text)
        mark[i] = not text
        continues[i] = bool(text) and not rest[0].isspace() and has_word_character(text)
    word = np.zeros(size, dtype=bool)
    kept = [i for i, text in enumerate(surface) if text and not any(map(str.isspace, text))]
    for form in ("{}", " {}"):  # byte pairs have a word at the start of a text and one after it
        written = [form.format(surface[i]) for i in kept]
        if written:
            encoded = tokenizer(written, add_special_tokens=False, padding=False)["input_ids"]
            word[[i for i, ids in zip(kept, encoded, strict=True) if ids == [i]]] = True
    word[[i for i in kept if is_unsegmented(surface[i])]] = True
    return Pieces(surface, special, continues, word, mark)


def _plain_piece(tokenizer: PreTrainedTokenizerBase) -> str:
    """A token that decodes to letters, to stand before others."""
    for text in ("a", "i", "1", "the"):
        ids = tokenizer(text, add_special_tokens=False, padding=False)["input_ids"]
        if ids and ids[-1] not in tokenizer.all_special_ids:
            return str(tokenizer.convert_ids_to_tokens(int(ids[-1])))
    for i in range(len(tokenizer)):
        if i not in tokenizer.all_special_ids:
            return str(tokenizer.convert_ids_to_tokens(i))
    raise TinybertError("the tokenizer knows special tokens alone.")


def has_word_character(text: str) -> bool:
    """Whether a letter or a digit is in a text.

    >>> has_word_character("it's"), has_word_character("--")
    (True, False)
    """
    return any(map(str.isalnum, text))


def is_unsegmented(text: str) -> bool:
    """Whether a text has a character of a script that puts no spaces between words.

    >>> is_unsegmented("東京"), is_unsegmented("ひらがな"), is_unsegmented("Tokyo")
    (True, True, False)
    """
    if _ASCII.fullmatch(text):
        return False
    return any(unicodedata.name(c, "").startswith(_UNSEGMENTED) for c in text)
