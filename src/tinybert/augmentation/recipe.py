"""What an augmentation is: the paper's algorithm, or what the authors' code does.

=================== ================================== =========================================
                    paper                              reference
=================== ================================== =========================================
masked LM reads     the sentence, the word masked      the same, and the original beside it
words replaced      all with a letter or digit         a-z alone, no stop words
candidates          the K most probable words, the     the K most probable pieces, less those
                    word itself left out               that continue a word; itself may be one
word vectors        all lines up to 400,000            the first 100,000 lines
a pair              both texts in one copy             one text a copy, the other as it was
copies              20 a row                           10, 20 or 30 a text, by task
=================== ================================== =========================================

Sources: TinyBERT, arXiv 1909.10351, Algorithm 1 and section 4.2; the authors' ``data_augmentation``
program. In both a word is replaced with probability 0.4 by one of 15 candidates, drawn evenly, and
candidates belong to the original sentence: a replaced word does not change those of its neighbours.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinybert.augmentation.masked_lm import Choice
from tinybert.errors import TinybertError
from tinybert.pieces import Pieces, has_word_character
from tinybert.settings import AugmentChoices

__all__ = ["Recipe", "WordFilter", "read_stop_words", "recipe_of"]

MODES = ("paper", "reference")
_REFERENCE_COPIES = {
    **dict.fromkeys(("cola", "mrpc", "rte", "sts-b"), 30),
    **dict.fromkeys(("sst-2", "qnli"), 20),
    **dict.fromkeys(("mnli", "qqp"), 10),
}
_COPIES = 20
_VECTOR_LINES = {"paper": 400_000, "reference": 100_000}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which copies a row gets, but for the models and the rows.

    Attributes:
        mode: ``paper`` or ``reference``.
        copies: N_a, copies a row (reference: a text).
        probability: p_t, of a word to be replaced.
        candidates: K.
        replace: which words: ``words``, ``all`` or ``a-z``.
        stop_words: ``replace`` them like others, ``keep`` them, or ``avoid`` them as candidates
            too.
        vector_lines: lines of the vector file that are read.
        max_length: tokens of a text that the masked language model reads.
        seed: of the draws.
    """

    mode: str
    copies: int
    probability: float
    candidates: int
    replace: str
    stop_words: str
    vector_lines: int
    max_length: int
    seed: int

    @property
    def reference(self) -> bool:
        return self.mode == "reference"

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def recipe_of(settings: AugmentChoices, mode: str, task: str, max_length: int, seed: int) -> Recipe:
    """The recipe of these settings; what they leave open is the mode's own."""
    if mode not in MODES:
        raise TinybertError(f"augmentation '{mode}' is unknown: choose paper or reference.")
    reference = mode == "reference"
    copies = _REFERENCE_COPIES.get(task, _COPIES) if reference else _COPIES
    own = {"replace": "a-z", "stop_words": "keep"} if reference else {}
    replace = own.get("replace", "words") if settings.replace == "auto" else settings.replace
    kept = (
        own.get("stop_words", "replace") if settings.stop_words == "auto" else settings.stop_words
    )
    return Recipe(
        mode=mode,
        copies=settings.copies or copies,
        probability=settings.replace_probability,
        candidates=settings.candidates,
        replace=replace,
        stop_words=kept,
        vector_lines=settings.vector_lines or _VECTOR_LINES[mode],
        max_length=max_length,
        seed=seed,
    )


def read_stop_words(file: Path | None) -> frozenset[str]:
    """Stop words of a file, one a line, or scikit-learn's English ones."""
    if file is None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    try:
        words = file.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise TinybertError(f"the stop words {file} cannot be read ({error}).") from error
    if not words:
        raise TinybertError(f"{file} holds no stop words: give one a line.")
    return frozenset(word.casefold() for word in words)


class WordFilter:
    """Which words are replaced, and which may stand for them.

    Args:
        recipe: says so.
        stop_words: case-folded; needed where the recipe does not simply replace them.
    """

    def __init__(self, recipe: Recipe, stop_words: Collection[str] = ()) -> None:
        self.recipe = recipe
        self.stop_words = frozenset(stop_words) if recipe.stop_words != "replace" else frozenset()

    def replaces(self, word: str) -> bool:
        """Whether a word of a text is replaced at all."""
        return self._is_word(word) and word.casefold() not in self.stop_words

    def offers(self, word: str) -> bool:
        """Whether a text may stand for a word."""
        if self.recipe.stop_words == "avoid" and word.casefold() in self.stop_words:
            return False
        # The authors' code looks at the words it replaces alone, not at what it puts there.
        return self.recipe.reference or self._is_word(word)

    def choice(self, pieces: Pieces) -> Choice:
        """The same for tokens of a masked language model."""
        offered = np.array([bool(text) and self.offers(text) for text in pieces.surface])
        if self.recipe.reference:
            start = offered & ~pieces.continues & ~pieces.special
        else:
            start = offered & pieces.word & ~pieces.continues
        numbers: dict[str, int] = {}
        same = [
            numbers.setdefault(text.casefold() if text else f"\0{i}", len(numbers))
            for i, text in enumerate(pieces.surface)
        ]
        return Choice(
            k=self.recipe.candidates,
            start=start,
            inner=offered & pieces.word & pieces.continues,
            same=np.array(same, dtype=np.int64),
            itself=self.recipe.reference,
            filter_first=not self.recipe.reference,
        )

    def _is_word(self, word: str) -> bool:
        if self.recipe.replace == "all":
            return True
        if self.recipe.replace == "a-z":
            lower = word.lower()
            return lower.isascii() and lower.isalpha()
        return has_word_character(word)
