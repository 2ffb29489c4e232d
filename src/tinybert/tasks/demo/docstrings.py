"""Plain sentences out of the docstrings of the installed standard library.

Sources are parsed with :mod:`ast` and never imported, so a module that needs a display, another
operating system or an old compiler is read like any other. What is kept is prose: doctests,
literal blocks, signatures, tables, one-word lines and version notes are left out.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = [
    "Docstring",
    "is_prose",
    "paragraphs",
    "read_docstrings",
    "sentences",
    "split_sentences",
    "standard_library",
]

_SKIPPED_FOLDERS = frozenset({"site-packages", "test", "tests", "idle_test", "__pycache__"})

_BULLET = re.compile(r"(?:[-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+(?=\S)")
_FIELD = re.compile(r":(?:param|type|returns?|rtype|raises?|keyword|arg)\b[^:]*:\s*", re.I)
_DEFINITION = re.compile(r"['\"*]*[\w.,*=/'\"\[\]()|-]+(?: or [\w.'\"]+)?\s*(?:--|:|\s-)\s+(?=\w)")
_MARKUP = (
    (re.compile(r":\w+(?::\w+)?:`~?([^`<]+)[^`]*`"), r"\1"),  # :class:`Path`
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"``?([^`'\s][^`']*?)''?(?!\w)"), r"'\1'"),  # quotation marks of TeX
    (re.compile(r"`([^`]+)`_?"), r"\1"),
)
_RULE = re.compile(r"^\W+$")
_CODE_LINE = re.compile(
    r"^(?:>>>|\.\.\. |\.\. |\$ |% |#|@|(?:import|from) \w+(?:\.\w+)*\s*(?:import\b|$)|"
    r"(?:def|class|for|while|if|elif|try|except|with|else)\b.*:$|return \w+\(|"
    r"[\w.]+\s*=\s*\S|[\w.]+\(.*\)(?:\s*(?:->|=|#|:|--).*)?$)"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|resp|approx|incl|no|fig|sec|dr|mr|st|al"
    r"|[A-Z])\.)$",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?][)\"'\]]*\s+(?=[\"'(\[]?[A-Z0-9_])")
_VERSION_NOTE = re.compile(
    r"\b(?:new|added|changed|removed|deprecated) (?:in|since)\b|\bdeprecated\b.*\bversion\b"
    r"|\bversion(?:added|changed)\b|\bcopyright\b|\ball rights reserved\b|\$revision|\$id"
    r"|\blicensed? (?:to|under)\b|\bwarrant(?:y|ies)\b|\bin no event\b"
    r"|\bpermission (?:is hereby|notice)\b|[\w.]+@[\w.]+|https?://|\bpython [23](?:\.\d+)?\+?\b",
    re.I,
)
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")


@dataclass(frozen=True)
class Docstring:
    """One docstring: its module (``"xml.sax.handler"``), the owner's name in it, and its text."""

    module: str
    owner: str
    text: str


def standard_library() -> Path:
    """The directory of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def read_docstrings(root: Path | None = None) -> list[Docstring]:
    """All docstrings of the ``.py`` files under ``root``, in a fixed order (path, then line).

    Args:
        root: a directory of sources; the installed standard library when ``None``. Installed
            packages and the library's own tests below it are left out.
    """
    return list(_read(root or standard_library()))


@lru_cache(maxsize=2)  # seconds to read, asked for twice in a run
def _read(root: Path) -> tuple[Docstring, ...]:
    found: list[Docstring] = []
    for path in _sources(root):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError, RecursionError):
            continue  # lib2to3 and friends carry broken sources on purpose
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        found += [Docstring(module, owner, text) for owner, text in _in_tree(tree)]
    return tuple(found)


def _sources(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            if entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("config-"):
                yield from _sources(entry)
        elif entry.suffix == ".py":
            yield entry


def _in_tree(tree: ast.Module) -> Iterator[tuple[str, str]]:
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=True)
            if text:
                yield name, text
        below = []
        for child in ast.iter_child_nodes(node):
            own = getattr(child, "name", None) if isinstance(child, ast.stmt) else None
            below.append((f"{name}.{own}".lstrip(".") if own else name, child))
        stack.extend(reversed(below))


def paragraphs(text: str) -> list[str]:
    """The prose paragraphs of one docstring, each on one line, code and tables left out.

    >>> paragraphs("Open a file.\\n\\n>>> open('a')\\n<file>\\n\\nThe mode\\nis a string.")
    ['Open a file.', 'The mode is a string.']
    """
    found: list[str] = []
    lines: list[str] = []
    literal = doctest = hanging = False
    base = 0  # indentation of the paragraph that announced a literal block

    def close() -> None:
        if lines:
            found.append(re.sub(r"\s+", " ", " ".join(lines)).strip())
            lines.clear()

    last = 0
    for raw in inspect.cleandoc(text).expandtabs().splitlines():
        line = raw.strip()
        indent = len(raw) - len(raw.lstrip())
        if not line:
            doctest = False
            literal = literal or bool(lines and lines[-1].endswith("::"))
            close()
            continue
        if line.startswith(">>>"):
            doctest = True
        if literal and indent > base:
            continue
        literal = False
        if doctest or _RULE.match(line) or _CODE_LINE.match(line) or re.search(r"\S {3,}\S", line):
            close()
            continue
        item = _BULLET.match(line) or _FIELD.match(line) or _DEFINITION.match(line)
        # What follows an item's first line may hang at any depth.
        moved = indent < base if hanging else abs(indent - last) >= 2
        if lines and (item or moved):
            close()
        if item:
            line = line[item.end() :]
        if not lines:
            base = indent
        last, hanging = indent, item is not None
        lines.append(line)
    close()
    return [paragraph for paragraph in found if paragraph]


def split_sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences in order, markup removed, nothing left out.

    >>> split_sentences("Split the :class:`Path`, e.g. a URL. Return a pair. I = 3")
    ['Split the Path, e.g. a URL.', 'Return a pair.', 'I = 3']
    """
    plain = paragraph
    for markup, bare in _MARKUP:
        plain = markup.sub(bare, plain)
    pieces, start = [], 0
    for end in _SENTENCE_END.finditer(plain):
        if _ABBREVIATION.search(plain[start : end.start() + 1]):
            continue
        pieces.append(plain[start : end.end()].strip())
        start = end.end()
    pieces.append(plain[start:].strip())
    return [piece for piece in pieces if piece]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph that are prose.

    >>> sentences("Split the path, e.g. a URL. Return a pair (head, tail). I = 3")
    ['Split the path, e.g. a URL.', 'Return a pair (head, tail).']
    """
    return [piece for piece in map(_unwrap, split_sentences(paragraph)) if is_prose(piece)]


def _unwrap(piece: str) -> str:
    """Without surrounding blanks, stars and quotation marks that have no partner."""
    piece = piece.strip().strip("*").strip()
    for mark in "\"'":
        if piece.count(mark) == 1 and (piece.startswith(mark) or piece.endswith(mark)):
            piece = piece.strip(mark)
    return piece


def is_prose(sentence: str) -> bool:
    """Whether a string reads as a sentence: enough words, few symbols, no version note.

    >>> is_prose("Return the number of items."), is_prose("foo(x, y=None) -> int")
    (True, False)
    """
    words = _WORD.findall(sentence)
    if len(words) < 4 or len(sentence) > 400 or _VERSION_NOTE.search(sentence):
        return False
    if not re.match(r"[\"']?[A-Z]", sentence) or sentence[-1] in ",;:=({[-":
        return False  # a fragment: the middle of a list, or the head of one
    if sentence.count("(") != sentence.count(")"):
        return False
    if sum(word.isupper() for word in words) > len(words) / 2:
        return False
    letters = sum(len(word) for word in words) + sentence.count(" ")
    plain = [word for word in words if len(word) > 1 or word in {"a", "A", "I"}]
    return letters >= 0.85 * len(sentence) and len(plain) >= 4
