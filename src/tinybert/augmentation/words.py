"""Texts as words that may be replaced: where each one lies, and which one token it is.

The rule is TinyBERT's (Algorithm 1): a word of one piece can be masked and guessed by a masked
language model, one of several pieces cannot. Words and pieces are the tokenizer's own. In scripts
that put no spaces between words (Chinese, Japanese, Thai …) each piece counts as a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from tinybert.pieces import is_unsegmented

__all__ = ["Sentence", "Word", "split_words"]

AT_ONCE = 1024


@dataclass(frozen=True)
class Word:
    """One word of a text: ``text[start:end]``.

    ``place`` is its token in :attr:`Sentence.ids` where it is one token; None where it has several.
    """

    start: int
    end: int
    text: str
    place: int | None


@dataclass(frozen=True)
class Sentence:
    """A text, as the masked language model reads it.

    Attributes:
        text: as it was given.
        ids: token ids, specials included, cut to what the model reads.
        type_ids: token types; None where the model takes none.
        words: in their order; those beyond the cut are left out.
        cut: whether something was.
    """

    text: str
    ids: list[int]
    type_ids: list[int] | None
    words: list[Word]
    cut: bool = False


def split_words(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    *,
    beside_itself: bool = False,
) -> list[Sentence]:
    """Texts as sentences.

    Args:
        tokenizer: a fast one.
        texts: one each.
        max_length: tokens at most, specials included.
        beside_itself: the text once more as second segment, as the authors' code has it; there
            ``words`` are those of the first, and the second is cut first.
    """
    return [
        sentence
        for start in range(0, len(texts), AT_ONCE)
        for sentence in _split(
            tokenizer, list(texts[start : start + AT_ONCE]), max_length, beside_itself
        )
    ]


def _split(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int, beside_itself: bool
) -> list[Sentence]:
    given: dict[str, Any] = {"text": texts}
    read = texts
    if beside_itself:
        single = tokenizer.num_special_tokens_to_add(pair=False)
        pair = tokenizer.num_special_tokens_to_add(pair=True)
        half = (max_length - pair) // 2 + single
        read = [_shortened(tokenizer, text, half) for text in texts]
        given = {"text": read, "text_pair": read}
    encoded = tokenizer(
        **given,
        truncation="only_second" if beside_itself else True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
    )
    sentences = []
    for i, text in enumerate(texts):
        types = encoded["token_type_ids"][i] if "token_type_ids" in encoded else None
        encoding = encoded.encodings[i]
        words = _words(text, encoding)
        cut = bool(encoding.overflowing) or len(read[i]) < len(text)
        if cut and words and (len(read[i]) < len(text) or _torn(encoding)):
            words.pop()
        sentences.append(Sentence(text, encoded["input_ids"][i], types, words, cut))
    return sentences


def _torn(encoding: Any) -> bool:
    """Whether the cut goes through a word of the first segment."""
    last = max((w for w, s in _marked(encoding) if s == 0), default=None)
    return any((last, 0) == each for over in encoding.overflowing[:1] for each in _marked(over))


def _marked(encoding: Any) -> list[tuple[int, int]]:
    pairs = zip(encoding.word_ids, encoding.sequence_ids, strict=True)
    return [(word, sequence) for word, sequence in pairs if word is not None]


def _shortened(tokenizer: PreTrainedTokenizerBase, text: str, max_length: int) -> str:
    """The text's beginning that fits; the text itself nearly always."""
    if len(text) < max_length:  # a token has at least one character
        return text
    encoded = tokenizer(
        [text], truncation=True, max_length=max_length, padding=False, return_offsets_mapping=True
    )
    if not encoded.encodings[0].overflowing:
        return text
    return text[: max(end for _, end in encoded["offset_mapping"][0])]


def _words(text: str, encoding: Any) -> list[Word]:
    groups: dict[int, list[int]] = {}
    for place, (word, sequence) in enumerate(
        zip(encoding.word_ids, encoding.sequence_ids, strict=True)
    ):
        if word is not None and sequence == 0:
            groups.setdefault(word, []).append(place)
    words = []
    for places in groups.values():
        spans = [(encoding.offsets[p], p) for p in places]
        spans = [((start, end), p) for (start, end), p in spans if end > start]
        if not spans:
            continue
        if len(spans) > 1 and is_unsegmented(text[spans[0][0][0] : spans[-1][0][1]]):
            # A lone mark of a word's beginning ("▁") says it lies where the next piece does.
            starts = [start for (start, _), _ in spans[1:]] + [len(text)]
            apart = [s for s, after in zip(spans, starts, strict=True) if s[0][1] <= after]
            words += [w for (start, end), p in apart if (w := _word(text, start, end, p))]
            continue
        only = spans[0][1] if len(spans) == 1 else None
        if word := _word(text, spans[0][0][0], spans[-1][0][1], only):
            words.append(word)
    return words


def _word(text: str, start: int, end: int, place: int | None) -> Word | None:
    """A word without the spaces that some tokenizers count to it."""
    inner = text[start:end]
    bare = inner.strip()
    if not bare:
        return None
    start += len(inner) - len(inner.lstrip())
    return Word(start, start + len(bare), bare, place)
