"""Text as sentences: split, and drawn so that any number of different ones follows from a seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

__all__ = ["LEAST", "draw", "split_sentences"]

LEAST = 10
"""Characters of a sentence of running text: less is a fragment, such as a number of a list."""

_END = re.compile(r"""([.!?…]+["'”’»)\]]*)\s+|[。！？]+[」』”’）]*\s*""")
_SHORT = re.compile(
    r"(?:^|[\s(\[\"'“])(?:[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]|"
    r"mr|mrs|ms|dr|prof|st|jr|sr|rev|gen|col|capt|lt|sgt|hon|gov|sen|rep|vs|etc|e\.g|i\.e|cf|ca|"
    r"approx|no|vol|pp|ed|eds|fig|al|inc|ltd|co|corp|dept|univ|jan|feb|mar|apr|jun|jul|aug|sep|"
    r"sept|oct|nov|dec)$",
    re.IGNORECASE,
)


def split_sentences(text: str) -> Iterator[str]:
    """Sentences of running text; a line's end ends a sentence.

    A mark (. ! ? …) with spaces behind it ends one, unless an abbreviation or an initial stands
    before it or a small letter follows; a mark with spaces on both sides, as in text that was
    tokenized, ends one in any case; so does 。. Fragments of fewer than :data:`LEAST` characters
    are left out.

    >>> list(split_sentences("Dr. Smith (b. 1950) left at 5 p.m. and slept. Was he tired? He was!"))
    ['Dr. Smith (b. 1950) left at 5 p.m. and slept.', 'Was he tired?']
    """
    for line in text.splitlines():
        start = 0
        for match in _END.finditer(line):
            if match[1] is not None and not _ends(line, match):
                continue
            yield from _worth(line[start : match.end()])
            start = match.end()
        yield from _worth(line[start:])


def _ends(line: str, match: re.Match[str]) -> bool:
    before, after = line[: match.start()], line[match.end() :].lstrip("\"'“‘«([")
    if before[-1:].isspace():
        return True
    if after[:1].islower():
        return False
    return not (match[1].startswith(".") and _SHORT.search(before[-12:]))


def _worth(sentence: str) -> Iterator[str]:
    sentence = " ".join(sentence.split())
    # A character of Chinese or Japanese says as much as several letters.
    if len(sentence.encode()) >= LEAST:
        yield sentence


def draw(sentences: Iterable[str], count: int, seed: int) -> list[str]:
    """Up to ``count`` different sentences, a random draw in random order.

    A sentence's place follows from it and the seed alone, so that neither the order of the texts
    nor how often one is repeated matters, and a smaller draw is the beginning of a larger one.
    Memory holds twice ``count`` sentences at most, however many there are.
    """
    key = seed.to_bytes(8, "little")
    held: dict[bytes, str] = {}
    bound: bytes | None = None
    for sentence in sentences:
        place = hashlib.blake2b(sentence.encode("utf-8"), digest_size=12, key=key).digest()
        if bound is not None and place > bound:
            continue
        held[place] = sentence
        if len(held) >= 2 * count:
            kept = sorted(held)[:count]
            bound = kept[-1]
            held = {each: held[each] for each in kept}
    return [held[place] for place in sorted(held)[:count]]
