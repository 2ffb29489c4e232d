"""Texts as words that may be replaced: where each one lies, and which one token it is.

The rule is TinyBERT's (Algorithm 1): a word of one piece can be masked and guessed by a masked
language model, one of several pieces cannot. Words and pieces are the tokenizer's own. In scripts
that put no spaces between words (Chinese, Japanese, Thai …) each piece counts as a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from tinybert.pieces import Pieces, has_word_character, is_unsegmented
from tinybert.truncation import cut_rows

__all__ = ["Sentence", "Word", "split_words"]

AT_ONCE = 1024
_JOINERS = "\u200d\ufe0f"


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
    pieces: Pieces,
    texts: Sequence[str],
    max_length: int,
    *,
    beside_itself: bool = False,
) -> list[Sentence]:
    """Texts as sentences.

    Args:
        tokenizer: a fast one, which cuts at the end.
        pieces: its own, from :func:`tinybert.pieces.pieces_of`.
        texts: one each.
        max_length: tokens at most, specials included.
        beside_itself: the text once more as second segment, as the authors' code has it; there
            ``words`` are those of the first, and the second is cut first.
    """
    return [
        sentence
        for start in range(0, len(texts), AT_ONCE)
        for sentence in _split(
            tokenizer, pieces, list(texts[start : start + AT_ONCE]), max_length, beside_itself
        )
    ]


def _split(
    tokenizer: PreTrainedTokenizerBase,
    pieces: Pieces,
    texts: list[str],
    max_length: int,
    beside_itself: bool,
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
    rows = [(text, text) if beside_itself else (text,) for text in read]
    longer = cut_rows(tokenizer, encoded, rows, max_length)
    sentences = []
    for i, text in enumerate(texts):
        types = encoded["token_type_ids"][i] if "token_type_ids" in encoded else None
        encoding = encoded.encodings[i]
        words = _words(text, encoding, pieces)
        shorter = len(read[i]) < len(text)
        cut = shorter or bool(longer[i])
        torn = shorter if beside_itself else cut and _torn(tokenizer, text, encoding)
        if words and torn:
            words.pop()
        sentences.append(Sentence(text, encoded["input_ids"][i], types, words, cut))
    return sentences


def _torn(tokenizer: PreTrainedTokenizerBase, text: str, encoding: Any) -> bool:
    """Whether the cut goes through a word."""
    last = max((word for word in encoding.word_ids if word is not None), default=None)
    if last is None:
        return False
    whole = tokenizer([text], padding=False, verbose=False).encodings[0]
    return bool(whole.word_ids.count(last) > encoding.word_ids.count(last))


def _shortened(tokenizer: PreTrainedTokenizerBase, text: str, max_length: int) -> str:
    """The text's beginning that fits; the text itself nearly always."""
    if len(text.encode()) < max_length - tokenizer.num_special_tokens_to_add(pair=False):
        return text  # a token has at least one byte
    encoded = tokenizer(
        [text], truncation=True, max_length=max_length, padding=False, return_offsets_mapping=True
    )
    if not cut_rows(tokenizer, encoded, [(text,)], max_length)[0]:
        return text
    return text[: max(end for _, end in encoded["offset_mapping"][0])]


@dataclass
class _Part:
    """Neighbouring tokens that share characters: one token nearly always."""

    start: int
    end: int
    places: list[int]


def _words(text: str, encoding: Any, pieces: Pieces) -> list[Word]:
    groups: dict[int, list[_Part]] = {}
    for place, (group, sequence) in enumerate(
        zip(encoding.word_ids, encoding.sequence_ids, strict=True)
    ):
        start, end = encoding.offsets[place]
        if group is None or sequence != 0 or end <= start or pieces.mark[encoding.ids[place]]:
            continue
        parts = groups.setdefault(group, [])
        if parts and start < parts[-1].end:  # bytes of one character, or of its expansion
            parts[-1].end = max(end, parts[-1].end)
            parts[-1].places.append(place)
        else:
            parts.append(_Part(start, end, [place]))
    words: list[Word] = []
    for parts in groups.values():
        for run in _runs(text, parts):
            whole = len(run) == 1 and len(run[0].places) == 1
            if whole and run[0] is not parts[0] and not is_unsegmented(_span(text, run)):
                # A continuation is no word, and no word may be written on to what is before it.
                whole = not pieces.continues[encoding.ids[run[0].places[0]]]
            token = run[0].places[0] if whole else None
            word = _word(text, run[0].start, run[-1].end, token)
            if word is None:
                continue
            if words and word.start < words[-1].end:  # one character became several words
                before = words.pop()
                end = max(word.end, before.end)
                word = Word(before.start, end, text[before.start : end], None)
            words.append(word)
    return words


def _span(text: str, run: Sequence[_Part]) -> str:
    return text[run[0].start : run[-1].end]


def _runs(text: str, parts: list[_Part]) -> list[list[_Part]]:
    """The words in one group of the tokenizer's: punctuation at its ends stands alone, and so does
    every piece of a script without spaces; all between them is one word."""
    first, last = 0, len(parts)
    while first < last - 1 and not has_word_character(_span(text, parts[first : first + 1])):
        first += 1
    while last - 1 > first and not has_word_character(_span(text, parts[last - 1 : last])):
        last -= 1
    runs = [[part] for part in parts[:first]]
    run: list[_Part] = []
    for part in parts[first:last]:
        if is_unsegmented(_span(text, [part])):
            runs += [run] if run else []
            runs.append([part])
            run = []
        else:
            run.append(part)
    runs += [run] if run else []
    return runs + [[part] for part in parts[last:]]


def _word(text: str, start: int, end: int, place: int | None) -> Word | None:
    """A word without the spaces that some tokenizers count to it, and with the marks that belong to
    its last letter, which some leave out."""
    inner = text[start:end]
    bare = inner.strip()
    if not bare:
        return None
    start += len(inner) - len(inner.lstrip())
    end = start + len(bare)
    while end < len(text) and (unicodedata.category(text[end])[0] == "M" or text[end] in _JOINERS):
        end += 1
    return Word(start, end, text[start:end], place)
