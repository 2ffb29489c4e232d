"""Text of any origin as safe Markdown: labels and names may hold anything."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

__all__ = ["bullets", "escaped", "fenced", "last_part", "quoted", "table", "visible"]

_JOINERS = "\u200c\u200d"  # spelling in Persian and Hindi, and parts of emoji
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# What CommonMark, its tables, HTML and the Hub's formulas ($$) give a meaning within a line.
_MEANT = re.compile(r"([`*_\[\]<>#|~&$])")


def visible(text: str) -> str:
    r"""``text`` in one line: what cannot be seen or breaks lines becomes its escape.

    >>> print(visible("a\nb\u202e \U0001f600"))
    a\nb\u202e 😀
    """
    return "".join(
        char
        if unicodedata.category(char) not in _HIDDEN or char in _JOINERS
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def escaped(text: str) -> str:
    r"""``text`` as Markdown that shows just that, within a line or a table cell.

    >>> print(escaped("a|b *c*"))
    a\|b \*c\*
    """
    escapes = _MEANT.sub(r"\\\1", visible(text).replace("\\", "\0"))
    return escapes.replace("\0", "&#92;")  # two backslashes and a bracket begin a formula


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A Markdown table of cells that are Markdown already; "" without rows.

    With ``numbers`` all columns but the first stand to the right.
    """
    if not rows:
        return ""
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def fenced(text: str, language: str) -> str:
    """A code block, its fence longer than any run of backticks in ``text``."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def quoted(text: str) -> str:
    """``text`` as a Python literal."""
    plain = text.isprintable() and not set(text) & set('"\\')
    return f'"{text}"' if plain else repr(text)


def last_part(value: Any) -> Any:
    """``value`` with every local path in it cut to its last part; names on the Hub stay whole.

    A path is a ``Path``, or a text that is absolute, begins with ``.`` or ``~``, has more than one
    separator, or exists. Lists, and texts of several parts with commas, are cut part by part.

    >>> last_part(["/home/me/books.txt", "google-bert/bert-base-uncased", 3, "../a,b/c/d"])
    ['books.txt', 'google-bert/bert-base-uncased', 3, 'a,d']
    """
    if isinstance(value, Path):
        return value.name or str(value)
    if isinstance(value, list | tuple):
        return [last_part(item) for item in value]
    if isinstance(value, str):
        return ",".join(_cut(part) for part in value.split(","))
    return value


def _cut(text: str) -> str:
    # A Windows path takes both separators.
    path = PureWindowsPath(text.strip())
    if not re.search(r"[/\\]", text):
        return text
    local = (
        path.root != ""
        or path.drive != ""
        or text.strip()[:1] in (".", "~")
        or len(path.parts) > 2
        or _exists(text)
    )
    return path.name if local else text


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False
