"""Spans that two tokenizations share, and rows that carry both."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from support import tiny, tongues
from tinybert.alignment import AlignedRows, align_rows, check_alignable
from tinybert.batching import tokenize
from tinybert.errors import TinybertError


@cache
def kinds() -> dict[str, PreTrainedTokenizerFast]:
    return {
        "lower": tongues.word_pieces(),
        "cased": tongues.word_pieces(lower=False, more=("be", "##lie", "##v", "The")),
        "bytes": tongues.byte_pairs(),
        "pieces": tongues.sentence_pieces(),
    }


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(["The", "thread", "unbelievable", "OPENING", "été", "e\u0301te\u0301"]),
        st.sampled_from(["東京", "ﬁne", "\u200b", "🙂", "[SEP]", "don't", "İstanbul", "  ", "\n"]),
    ),
    max_size=6,
).map(" ".join)


def surrounded(rows: AlignedRows, row: int) -> list[tuple[list[int], list[int]]]:
    """The tokens of each span of a row, on both sides."""
    found = []
    for spans, side in ((rows.spans, rows), (rows.their_spans, rows.theirs)):
        own = spans[side.offsets[row] : side.offsets[row + 1]]
        found.append([np.flatnonzero(own == s).tolist() for s in range(int(rows.places[row]))])
    return list(zip(*found, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    TEXTS, TEXTS, st.sampled_from(["lower", "cased", "bytes", "pieces"]),
    st.sampled_from(["lower", "cased", "bytes", "pieces"]),
)  # fmt: skip
def test_spans_are_the_finest_that_both_cut(one: str, two: str, ours: str, theirs: str) -> None:
    """Every span has tokens on both sides; no token of another span reaches into it; and it cannot
    be cut where both sides have a boundary."""
    student, teacher = kinds()[ours], kinds()[theirs]
    rows = align_rows([(one, two)], student, teacher, 512)
    encoded = [t([one], [two]) for t in (student, teacher)]
    places = [e.encodings[0].offsets for e in encoded]
    texts = [e.encodings[0].sequence_ids for e in encoded]
    members = surrounded(rows, 0)
    assert members[0] == ([0], [0])  # CLS
    assert all(mine and other for mine, other in members)
    for mine, other in members:
        sides = list(zip(places, texts, (mine, other), strict=True))
        around = [t[i] is None for _, t, span in sides for i in span]
        assert all(around) or not any(around)
        if all(around):
            continue
        assert len({t[i] for _, t, span in sides for i in span}) == 1
        text = texts[0][mine[0]]
        begin = min(p[i][0] for p, _, span in sides for i in span)
        end = max(p[i][1] for p, _, span in sides for i in span)
        for place, t, span in sides:
            for i, (a, b) in enumerate(place):
                if i not in span and t[i] == text and a < b:
                    assert b <= begin or a >= end
        for cut in range(begin + 1, end):
            straddled = any(a < cut < b for p, _, span in sides for a, b in (p[i] for i in span))
            left = [any(p[i][1] <= cut for i in span) for p, _, span in sides]
            assert (
                straddled
                or not all(left)
                or not all(any(p[i][0] >= cut for i in span) for p, _, span in sides)
            )
    spans = rows.spans[rows.spans >= 0]
    assert np.all(np.diff(spans) >= 0)
    assert (np.unique(spans) == range(rows.places[0])).all()


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.one_of(st.none(), TEXTS), st.integers(4, 20), st.sampled_from(["lower", "bytes"]))
def test_equal_tokenizers_have_a_span_a_token(
    one: str, two: str | None, length: int, kind: str
) -> None:
    tokenizer = kinds()[kind]
    texts = [(one,) if two is None else (one, two)]
    if two is not None:
        length += 4
    rows = align_rows(texts, tokenizer, tokenizer, length)
    alone = tokenize(tokenizer, texts, length)
    assert rows.theirs.fingerprint() == alone.fingerprint() == rows.for_student().fingerprint()
    if kind == "lower":  # byte pairs cut characters themselves into tokens
        assert (rows.spans == np.arange(len(alone.ids))).all()
    assert (rows.spans == rows.their_spans).all()
    assert (rows.spans >= 0).all()


def test_spans_of_a_word() -> None:
    """un|be|lie|v|able and u|n|b|…: the longest pieces of either side make the spans."""
    student, teacher = kinds()["lower"], kinds()["cased"]
    rows = align_rows([("unbelievable",)], student, teacher, 64)
    assert student.convert_ids_to_tokens(rows.ids.tolist()) == [
        *("[CLS]", "un", "##b", "##e", "##l", "##i", "##e", "##v", "##able", "[SEP]")
    ]
    assert rows.spans.tolist() == [0, 1, 2, 3, 4, 4, 4, 5, 6, 7]
    assert rows.their_spans.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    shared = rows.shared()
    assert shared["spans"] == 8
    assert shared["student_several"] == 1 / 8
    assert shared["teacher_several"] == 0


def test_two_separators_between_a_pair_are_one_span() -> None:
    rows = align_rows([("open", "read")], kinds()["lower"], kinds()["bytes"], 64)
    members = surrounded(rows, 0)
    ids = rows.theirs.ids[members[2][1]]
    assert kinds()["bytes"].convert_ids_to_tokens(ids.tolist()) == ["[SEP]", "[SEP]"]
    assert len(members[-1][1]) == 1


def test_what_one_side_cut_off_is_in_no_span() -> None:
    student, teacher = kinds()["lower"], kinds()["cased"]
    rows = align_rows([("open unbelievable open",)], student, teacher, 8)
    words = [student.convert_ids_to_tokens(rows.ids.tolist()), rows.spans.tolist()]
    assert words[0] == ["[CLS]", "open", "un", "##b", "##e", "##l", "##i", "[SEP]"]
    assert words[1] == [0, 1, 2, 3, 4, -1, -1, 5]  # "##lie" is whole on the other side alone
    assert rows.their_spans.tolist() == [0, 1, 2, 3, 4, -1, -1, 5]
    assert rows.cut == rows.theirs.cut == 1


def test_rows_are_taken_saved_and_batched(tmp_path: Path) -> None:
    texts = [("open unbelievable thread",), ("été",), ("the server",)]
    rows = align_rows(
        texts, kinds()["lower"], kinds()["cased"], 32, np.array([1, 0, 1]), advance=None
    )
    assert rows.batch([0, 2])["labels"].tolist() == [1, 1]
    few = rows.take([2, 0])
    assert few.fingerprint() != rows.fingerprint()
    assert few.take([1, 0]).fingerprint() == rows.take([0, 2]).fingerprint()
    rows.save(tmp_path / "rows")
    again = AlignedRows.load(tmp_path / "rows")
    assert again.fingerprint() == rows.fingerprint()
    batch = rows.batch([0, 1])
    assert batch["spans"].shape == batch["input_ids"].shape
    assert batch["teacher_spans"].shape == batch["teacher_input_ids"].shape
    assert batch["spans"][1].max() + 1 == rows.places[1]
    kept = replace(rows, targets=np.zeros((3, 2), dtype=np.float32))
    assert kept.batch([0])["teacher_logits"].shape == (1, 2)
    assert (rows.lengths_of(np.array([0, 1, 2])) >= rows.lengths).all()


def test_tokenizers_that_cannot_be_aligned() -> None:
    def copy() -> PreTrainedTokenizerFast:
        return tiny.tokenizer()

    check_alignable(copy(), "the student's")
    bare = copy()
    bare.cls_token = bare.pad_token = None
    with pytest.raises(TinybertError, match="has no cls and no pad token: name it in its"):
        check_alignable(bare, "the student's")
    unframed = copy()
    unframed.backend_tokenizer.post_processor = tongues.processors_of_nothing()
    with pytest.raises(TinybertError, match=r"does not write a text as \[CLS\] … \[SEP\]"):
        check_alignable(unframed, "the student's")

    class Slow:
        is_fast = False

    with pytest.raises(TinybertError, match=r"\(Slow\) is written in Python"):
        check_alignable(Slow(), "the student's")  # type: ignore[arg-type]
