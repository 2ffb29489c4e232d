"""Text as a stream of pieces, from text files: one paragraph a line, blank lines between documents.

A piece is a document, or a part of one that is very long: memory never depends on the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from tinybert.errors import TinybertError
from tinybert.tasks.reading.streams import Advance, open_text

__all__ = ["PIECE", "Piece", "check_characters", "cut", "documents_of", "file_pieces"]

PIECE = 1 << 20
"""Characters of a piece at most, or little more."""


class Piece(NamedTuple):
    """A document's text, or a part of it; ``first`` where the document begins."""

    text: str
    first: bool


def documents_of(lines: TextIO | Iterable[str]) -> Iterator[list[str]]:
    """Group lines into documents at blank lines."""
    document: list[str] = []
    for line in lines:
        if text := line.strip():
            document.append(text)
        elif document:
            yield document
            document = []
    if document:
        yield document


def file_pieces(path: Path, advance: Advance) -> Iterator[Piece]:
    """Pieces of one text file; its end ends a document.

    Raises:
        TinybertError: as :func:`open_text`; or no text in it.
    """
    found = False
    with open_text(path, advance) as stream:
        for piece in _pieces(_bounded_lines(stream)):
            found = True
            yield piece
    if not found:
        raise TinybertError(f"{path} holds no text: check the file.")


def _bounded_lines(stream: TextIO) -> Iterator[tuple[str, bool]]:
    """Lines, those beyond :data:`PIECE` in parts; and whether each begins a line."""
    begins, rest, returned = True, "", False
    while chunk := stream.readline(PIECE):
        if returned and chunk == "\n":  # the second half of a line's end
            returned = False
            continue
        returned = chunk.endswith("\r")
        ended = chunk.endswith(("\n", "\r"))
        text = rest + chunk
        rest = ""
        torn = not ended and len(chunk) >= PIECE
        if torn and (at := text.rfind(" ")) > 0:  # no word is torn apart
            text, rest = text[:at], text[at + 1 :]
        yield text, begins
        begins = ended
    if rest:
        yield rest, begins


def _pieces(lines: Iterable[tuple[str, bool]]) -> Iterator[Piece]:
    held: list[str] = []
    size, first = 0, True
    for line, begins in lines:
        text = line.strip()
        if text:
            held.append(text)
            size += len(text) + 1
            if size >= PIECE:
                yield Piece("\n".join(held), first)
                held, size, first = [], 0, False
        elif begins:
            if held:
                yield Piece("\n".join(held), first)
            held, size, first = [], 0, True
    if held:
        yield Piece("\n".join(held), first)


def check_characters(text: str, where: str) -> None:
    """Raise ``TinybertError`` where a text holds half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 30) : error.start]
        raise TinybertError(
            f"{where}: after '{near}' the text holds half of a surrogate pair, which is no "
            "character: mend it."
        ) from None


def cut(text: str) -> Iterator[Piece]:
    """A document that is one string, cut at white space where it is longer than a piece."""
    start, first = 0, True
    while len(text) - start > PIECE:
        end = text.rfind(" ", start + 1, start + PIECE)
        end = start + PIECE if end < 0 else end
        yield Piece(text[start:end], first)
        start, first = end, False
    if (last := text[start:]).strip():
        yield Piece(last, first)
