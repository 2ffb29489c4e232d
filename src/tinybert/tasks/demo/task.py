"""The task that every Python installation carries.

A row is one sentence of the installed standard library's docstrings; its label is the part of the
library that it comes from. Nothing is downloaded and nothing is imported: the sources are parsed.

Three parts: ``train``, ``dev`` (to choose a model by) and ``test`` (to report). Sentences go to a
part by whole groups of near-duplicates (:mod:`tinybert.tasks.demo.near_duplicates`), so none has
its like in another part. A *module* may have sentences in every part: the question is where in a
known library a new sentence belongs, and a part of the library never read could only be guessed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError
from tinybert.tasks.demo.docstrings import (
    paragraphs,
    read_docstrings,
    sentences,
    split_sentences,
    standard_library,
)
from tinybert.tasks.demo.near_duplicates import groups, normalised
from tinybert.tasks.task import Rows, Task, TaskData

__all__ = ["TOPICS", "demo_task", "general_text"]

# Modules left out: applications that touch every topic (idlelib, pydoc), parts that Python 3.12
# and 3.13 no longer have and that are large (distutils, lib2to3), generated text (encodings), and
# modules whose text is about something else than their place (cgi about debugging, for one).
TOPICS: dict[str, str] = {
    "graphical interfaces": "tkinter turtle turtledemo curses colorsys",
    "internet": """asynchat asyncore ftplib http imaplib ipaddress netrc nntplib poplib smtpd
        smtplib socket socketserver ssl telnetlib urllib webbrowser wsgiref xmlrpc""",
    "email": "email mailbox mailcap mimetypes quopri base64 uu",
    "concurrency": """asyncio concurrent contextvars multiprocessing queue sched selectors signal
        subprocess threading _threading_local""",
    "testing and debugging": """bdb cgitb cProfile doctest logging pdb profile pstats timeit trace
        traceback tracemalloc unittest warnings""",
    "files": """aifc bz2 chunk dbm filecmp fileinput fnmatch _compression compression genericpath
        glob gzip imghdr io linecache lzma ntpath nturl2path os pathlib pipes posixpath _pyio
        shelve shutil sndhdr stat sunau tarfile tempfile wave zipfile""",
    "numbers and time": """calendar datetime decimal fractions numbers _pydatetime _pydecimal random
        secrets statistics zoneinfo""",
    "text and formats": """argparse codecs configparser copyreg csv difflib getopt gettext html json
        locale _markupbase optparse pickle pickletools plistlib re reprlib shlex sre_compile
        sre_parse string stringprep textwrap tomllib xml""",
    "types and structures": """abc bisect collections _collections_abc contextlib copy dataclasses
        enum functools graphlib hashlib heapq hmac operator _py_abc types typing weakref
        _weakrefset""",
    "code and imports": """ast compileall dis ensurepip imp importlib inspect keyword modulefinder
        opcode pkgutil py_compile pyclbr runpy site symtable sysconfig token tokenize venv zipapp
        zipimport""",
}
"""The ten topics and the top-level modules of each, whichever Python versions have them."""

# Words that docstrings of every topic are made of: a sentence without three others has no topic.
_GENERIC_WORDS = """
    a about above after all already also always an and any are argument arguments as at attribute
    attributes base be because been before being below between both but by call called calling
    calls can cannot case cases class classes could create created creates current data default
    defaults do does don each either else error even every example exception false first following
    for from function functions get gets give given gives had has have here how if in instance
    instances into is it its itself just like made make makes may method methods might more most
    must name names need needed needs new next no none nor not note nothing now object objects of
    on once one only optional or other otherwise our out over overridden override own parameter
    parameters per possible raise raised raises result results return returned returning returns
    same see self set sets should since so some specified string strings subclass subclasses such
    take takes than that the their them then there these they this those through thus to too true
    two type types under until up use used useful user users uses using value values very via was
    way we well were what when where whether which while who whose why will with within without
    would you your
"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
_LEAST_TOPICAL_WORDS = 3
_LEAST_ROWS = 2_000
_HELD_OUT_SHARE = 0.1


def demo_task(seed: int = 42, *, library: Path | None = None) -> TaskData:
    """From which part of the standard library does this sentence come?

    The rows depend on the Python version only, their split on ``seed`` as well: 80% train,
    10% dev, 10% test. Sentences that occur in two topics are left out.

    Args:
        seed: of the split.
        library: the library's sources; those of the running Python when ``None``.

    Raises:
        TinybertError: this Python came without its library's sources.
    """
    texts, labels = _rows(library or standard_library())
    if len(texts) < _LEAST_ROWS:
        raise TinybertError(
            f"only {len(texts)} sentences found in the docstrings under "
            f"{library or standard_library()}: use a Python whose standard library lies there as "
            ".py files, or give files of your own"
        )
    rows = Rows([(text,) for text in texts], labels)
    train, dev, test = _split(groups(texts), seed)
    task = Task(
        name="stdlib-topics",
        kind="classification",
        label_names=tuple(TOPICS),
        metric="accuracy",
        text_columns=("sentence",),
        label_column="topic",
    )
    return TaskData(task, rows.take(train), rows.take(dev), rows.take(test))


def general_text(leave_out: Iterable[Rows] = (), *, library: Path | None = None) -> list[str]:
    """Unlabelled text for general distillation: every docstring's prose, and Python's help topics.

    Args:
        leave_out: rows whose sentences must not be in it, such as the dev and test rows of
            :func:`demo_task`, so that the student has not even read what it is scored on.
        library: as in :func:`demo_task`.

    Returns:
        Distinct paragraphs, in a fixed order.
    """
    library = library or standard_library()
    held_out = {normalised(text) for rows in leave_out for texts in rows.texts for text in texts}
    found: dict[str, None] = {}
    for text in [doc.text for doc in read_docstrings(library)] + _help_topics(library):
        for paragraph in paragraphs(text):
            kept = " ".join(
                piece for piece in split_sentences(paragraph) if normalised(piece) not in held_out
            )
            if len(re.findall(r"[^\W\d_]{2,}", kept)) >= 4:
                found.setdefault(kept)
    return list(found)


def _rows(library: Path) -> tuple[list[str], NDArray[np.int64]]:
    topic_of = {
        module: number for number, names in enumerate(TOPICS.values()) for module in names.split()
    }
    kept: dict[str, tuple[str, int]] = {}
    ambiguous: set[str] = set()
    for docstring in read_docstrings(library):
        topic = topic_of.get(docstring.module.partition(".")[0])
        if topic is None:
            continue
        prose = [piece for part in paragraphs(docstring.text) for piece in sentences(part)]
        for sentence in prose:
            if not _topical(sentence):
                continue
            key = normalised(sentence)
            if kept.setdefault(key, (sentence, topic))[1] != topic:
                ambiguous.add(key)
    rows = [row for key, row in kept.items() if key not in ambiguous]
    return [row[0] for row in rows], np.array([row[1] for row in rows], dtype=np.int64)


def _topical(sentence: str) -> bool:
    words = set(re.findall(r"[a-z]{3,}", sentence.lower()))
    return len(words - _GENERIC) >= _LEAST_TOPICAL_WORDS


def _split(group: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Places of the train, dev and test rows; a group is never divided."""
    size = np.bincount(group)
    target = round(_HELD_OUT_SHARE * len(group))
    part_of = np.zeros(len(size), dtype=np.int64)
    filled = {1: 0, 2: 0}
    for number in np.random.default_rng(seed).permutation(len(size)):
        for part in (1, 2):
            if filled[part] + size[number] <= target:
                filled[part] += int(size[number])
                part_of[number] = part
                break
    return tuple(np.flatnonzero(part_of[group] == part) for part in (0, 1, 2))


def _help_topics(library: Path) -> list[str]:
    """The texts of ``pydoc_data.topics``: a file that is one dictionary of strings."""
    try:
        tree = ast.parse((library / "pydoc_data" / "topics.py").read_bytes())
    except (OSError, SyntaxError):
        return []  # some distributions leave it out
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics = ast.literal_eval(node.value)
            return [topics[name] for name in sorted(topics)]
    return []
