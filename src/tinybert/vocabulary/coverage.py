"""How text is cut by two tokenizers: what stays as it was, what is unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tokenizers import Encoding, Tokenizer

from tinybert.vocabulary.counting import chunks

__all__ = ["Coverage", "compare"]


@dataclass
class Coverage:
    """Counts over the same texts before and after; special tokens around a text are not counted.

    Attributes:
        texts, words, tokens: of the tokenizer before; words as it parts them.
        texts_kept, words_kept, tokens_kept: those that came out the same.
        tokens_after: tokens of the tokenizer after.
        unknown, unknown_after: tokens that stand for what could not be read.
    """

    texts: int = 0
    words: int = 0
    tokens: int = 0
    texts_kept: int = 0
    words_kept: int = 0
    tokens_kept: int = 0
    tokens_after: int = 0
    unknown: int = 0
    unknown_after: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Some words that came out otherwise: their pieces before, and after. They are of the text."""

    def figures(self) -> dict[str, Any]:
        """Counts, and the shares that follow from them; no word of the text."""
        counts = asdict(self)
        del counts["examples"]
        return counts | {
            "share_of_texts_kept": _share(self.texts_kept, self.texts),
            "share_of_words_kept": _share(self.words_kept, self.words),
            "share_of_tokens_kept": _share(self.tokens_kept, self.tokens),
            "unknown_rate": _share(self.unknown, self.tokens),
            "unknown_rate_after": _share(self.unknown_after, self.tokens_after),
            "length_after": _share(self.tokens_after, self.tokens),
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def compare(
    before: Tokenizer,
    after: Tokenizer,
    texts: Iterable[str],
    unknown: str | None,
    *,
    examples: int = 5,
    advance: Callable[[int], None] | None = None,
) -> Coverage:
    """Cut texts by both tokenizers and count.

    Args:
        before, after: backends that differ in their pieces alone.
        texts: what is cut.
        unknown: the token for what cannot be read; None where there is none.
        examples: words to show at most.
        advance: called with the number of texts done.
    """
    found = Coverage()
    for chunk in chunks(texts):
        pairs = zip(
            before.encode_batch(chunk, add_special_tokens=False),
            after.encode_batch(chunk, add_special_tokens=False),
            strict=True,
        )
        for old, new in pairs:
            _count(found, old, new, unknown, examples)
        if advance is not None:
            advance(len(chunk))
    return found


def _count(found: Coverage, old: Encoding, new: Encoding, unknown: str | None, most: int) -> None:
    words = _words(old)
    found.texts += 1
    found.words += len(words)
    found.tokens += len(old.tokens)
    found.tokens_after += len(new.tokens)
    found.unknown += old.tokens.count(unknown or "")
    found.unknown_after += new.tokens.count(unknown or "")
    if old.tokens == new.tokens:
        found.texts_kept += 1
        found.words_kept += len(words)
        found.tokens_kept += len(old.tokens)
        return
    same = Counter(zip(old.offsets, old.tokens, strict=True))
    same &= Counter(zip(new.offsets, new.tokens, strict=True))
    found.tokens_kept += same.total()
    others = _words(new)
    for word, pieces in words.items():
        other = others.get(word, [])
        found.words_kept += pieces == other
        example = " ".join(pieces), " ".join(other)
        if pieces != other and len(found.examples) < most and example not in found.examples:
            found.examples.append(example)


def _words(encoding: Encoding) -> dict[int, list[str]]:
    """Pieces of each word, by its number."""
    words: dict[int, list[str]] = {}
    for word, token in zip(encoding.word_ids, encoding.tokens, strict=True):
        if word is not None:
            words.setdefault(word, []).append(token)
    return words
