from __future__ import annotations

from pathlib import Path

import pytest

from tinybert.tasks.demo.docstrings import is_prose, paragraphs, read_docstrings, sentences


def test_code_tables_and_literal_blocks_are_left_out() -> None:
    text = """open(file, mode) -> file object

    Open a file and return it.  The mode
    is a string::

        f = open("a")
        This line is part of the code block.

    After the block.

    >>> f = open("a")
    Printed by the doctest.

    Mode      Meaning
    ========= ===============
    'r'       open for reading

    - the first item of a list
      goes on here
    - a second item

    file -- the name of the file
    """
    assert paragraphs(text) == [
        "Open a file and return it. The mode is a string::",
        "After the block.",
        "the first item of a list goes on here",
        "a second item",
        "the name of the file",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Short one.",
        "foo(bar, baz=None, qux=1) -> int",
        "New in version 3.4 of the library here.",
        "Copyright (C) 2001 by some person or other.",
        "lower-case fragment of a longer sentence",
        "This is followed by a list:",
        "A sentence whose (bracket never closes.",
        "See https://example.org for more about this.",
        "x = [a, b] + {c: d} // 2 ** (e - f) % 3 # ...",
        "THE AUTHOR SPECIFICALLY DISCLAIMS ALL OF THIS.",
    ],
)
def test_what_is_no_prose(text: str) -> None:
    assert not is_prose(text)


def test_sentences_end_where_they_end() -> None:
    text = (
        "Split a path, e.g. a URL (see the standard). Use ``os.path`` or :func:`~glob.glob`! "
        '"Quoted words end here too." It\'s all (or nearly all) there.'
    )
    assert sentences(text) == [
        "Split a path, e.g. a URL (see the standard).",
        "Use os.path or glob.glob!",
        '"Quoted words end here too."',
        "It's all (or nearly all) there.",
    ]


def test_sources_are_read_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").write_text('"""Package a."""\nraise SystemExit\n')
    (tmp_path / "b.py").write_text(
        'class C:\n    """A class."""\n    def m(self):\n        """A method."""\n'
        '        def inner():\n            """Inside."""\n'
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    for skipped in ("test", "site-packages"):
        (tmp_path / skipped).mkdir()
        (tmp_path / skipped / "c.py").write_text('"""Not read."""')
    found = [(doc.module, doc.owner, doc.text) for doc in read_docstrings(tmp_path)]
    assert found == [
        ("a", "", "Package a."),
        ("b", "C", "A class."),
        ("b", "C.m", "A method."),
        ("b", "C.m.inner", "Inside."),
    ]
