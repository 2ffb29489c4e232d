"""Questions: files, scores, windows that cover every passage, and the search for spans."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny, words
from tinybert.errors import TinybertError
from tinybert.losses import ENDS, STARTS
from tinybert.tasks.questions import (
    QuestionReading,
    QuestionRows,
    Search,
    answer_scores,
    best_spans,
    exact_match,
    normalised,
    read_questions,
    read_questions_scored,
    tokenize_questions,
    word_f1,
)

PASSAGE = "The quick brown fox jumped over the lazy dog."


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "q",
        "question": "Who jumped?",
        "context": PASSAGE,
        "answers": {"text": ["brown fox"], "answer_start": [10]},
    }
    return plain | changes


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


# --- scores ---------------------------------------------------------------------------------------


def test_scores_by_the_official_rules() -> None:
    """Values that the evaluation script of SQuAD 2.0 gives."""
    assert normalised("An  apple, the PEAR!") == "apple pear"
    assert exact_match("the Brown fox.", ["brown fox"]) == 1
    assert word_f1("quick brown fox", ["brown fox", "dog"]) == pytest.approx(0.8)
    assert word_f1("fox fox", ["fox"]) == pytest.approx(2 / 3)
    assert word_f1("", ["fox"]) == 0 == word_f1("fox", [])
    assert word_f1("", []) == 1 == exact_match("", [])
    scores = answer_scores(["fox", "", "dog"], [("fox",), (), ()])
    assert scores == {
        "answer_f1": pytest.approx(2 / 3),
        "exact_match": pytest.approx(2 / 3),
        "has_answer_f1": 1.0,
        "no_answer_accuracy": 0.5,
    }


# --- files ----------------------------------------------------------------------------------------


def test_squad_and_rows_are_the_same(tmp_path: Path) -> None:
    squad = words.squad(tmp_path / "a.json", 6, unanswerable=True)
    with gzip.open(tmp_path / "b.json.gz", "wt") as file:
        file.write(squad.read_text())
    task, rows, _ = read_questions_scored(squad)
    assert task.kind == "question-answering"
    assert rows.labels is not None
    assert [len(answers.texts) for answers in rows.labels] == [1, 0] * 6
    plain = [
        {
            "id": one,
            "question": q,
            "context": c,
            "answers": {"text": list(a.texts), "answer_start": list(a.starts)},
        }
        for one, (q, c), a in zip(rows.ids, rows.texts, rows.labels, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "c.parquet")
    lines(tmp_path / "d.jsonl", *plain)
    for name in ("b.json.gz", "c.parquet", "d.jsonl"):
        _, other, _ = read_questions_scored(tmp_path / name)
        assert list(other.texts) == list(rows.texts)
        assert list(other.ids) == list(rows.ids)
        assert other.labels is not None
        assert [*other.labels] == [*rows.labels]


def test_answers_that_are_not_known(tmp_path: Path) -> None:
    """Questions without the key are rows without labels, and not unanswerable ones."""
    whole = words.squad(tmp_path / "all.json", 3, unanswerable=True)
    told = json.loads(whole.read_text())
    asked = [one for paragraph in told["data"][0]["paragraphs"] for one in paragraph["qas"]]
    del asked[1]["answers"]  # which is impossible: that says it
    whole.write_text(json.dumps(told))
    known = read_questions_scored(whole)[1].labels
    assert known is not None
    assert [len(answers.texts) for answers in known] == [1, 0] * 3
    del asked[2]["answers"]
    (tmp_path / "some.json").write_text(json.dumps(told))
    for one in asked:
        one.pop("answers", None)
        one.pop("is_impossible")
    (tmp_path / "none.json").write_text(json.dumps(told))
    without = {name: value for name, value in row().items() if name != "answers"}
    lines(tmp_path / "some.jsonl", row(), without)
    lines(tmp_path / "none.jsonl", row(answers=None), without)
    for name in ("none.json", "none.jsonl"):
        task, rows, _ = read_questions_scored(tmp_path / name)
        assert task.label_column is rows.labels is None
        tokens = tokenize_questions(tiny.tokenizer(), rows, 24, 4)
        assert isinstance(tokens.reading, QuestionReading)
        assert tokens.labels is tokens.reading.answers is None
        assert not tokens.reading.may_be_none
    data = read_questions(tmp_path / "none.json", dev_share=0.5)
    assert data.train.labels is data.dev.labels is None
    for asked_for, more, said in (
        (("some.json",), {}, r"question 3: question 1-0 \(what .+\) has no 'answers', and others"),
        (("some.jsonl",), {}, "line 2: question q .+ give an empty list where the passage does"),
        (("none.jsonl",), {"label": "answers"}, "has no answers in its column 'answers'"),
        (("all.json", "none.json"), {}, "has no answer column 'answers'"),
        (("all.json", "none.jsonl"), {}, "has no answers in a column 'answers' to choose by"),
        (("all.json", "rows.json", "none.jsonl"), {}, "in a column 'answers' to report on"),
    ):
        words.squad(tmp_path / "rows.json", 2, 1)
        with pytest.raises(TinybertError, match=said):
            read_questions(*(tmp_path / name for name in asked_for), **more)  # type: ignore[arg-type]
    with pytest.raises(TinybertError, match="has no answers in its column 'answers'"):
        read_questions_scored(tmp_path / "none.jsonl", label="answers")


def test_whole_passages_are_held_out(tmp_path: Path) -> None:
    data = read_questions(words.squad(tmp_path / "a.json", 20), dev_share=0.2)
    passages = [{context for _, context in part.texts} for part in (data.train, data.dev)]
    assert not passages[0] & passages[1]
    assert len(data.dev) == 8


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(answers={"text": ["fox"], "answer_start": [10]}), "'fox' is not in its passage at"),
        (row(answers={"text": ["fox"], "answer_start": [400]}), r"\(nothing is there\)"),
        (row(answers={"text": ["fox"], "answer_start": []}), "not as many answer_start"),
        (row(answers={"text": [""], "answer_start": [0]}), "an answer without text"),
        (row(answers="fox"), "holds a str and no answers"),
        (row(question=" "), "line 2: 'question' holds no text"),
        (row(context=None), "line 2: 'context' holds no text"),
    ],
)
def test_bad_rows(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(TinybertError, match=said):
        read_questions(lines(tmp_path / "rows.jsonl", row(), bad))


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"data": []}')
    (tmp_path / "other.json").write_text('{"data": [{"paragraphs": [{"qas": [{"id": 1}]}]}]}')
    lines(tmp_path / "text.jsonl", {"text": "a", "label": "b"})
    lines(tmp_path / "good.jsonl", row(), row(context="a brown fox", answers=[]))
    for name, said in (
        ("empty.json", "holds no questions"),
        ("other.json", "is not in SQuAD's format, after question 1"),
        ("text.jsonl", "which columns are question and passage"),
    ):
        with pytest.raises(TinybertError, match=said):
            read_questions(tmp_path / name)
    for more, said in (
        ({"text": "question"}, "name two columns with a comma"),
        ({"metric": "f1"}, "does not score answers: choose one of answer_f1, exact_match"),
        ({"label": "answer"}, "has no answer column 'answer'"),
    ):
        with pytest.raises(TinybertError, match=said):
            read_questions(tmp_path / "good.jsonl", **more)  # type: ignore[arg-type]


# --- windows --------------------------------------------------------------------------------------


def rows_of(seed: int, *, unanswerable: bool = False) -> QuestionRows:
    with tempfile.TemporaryDirectory() as place:
        file = words.squad(Path(place) / "a.json", 4, seed, unanswerable=unanswerable)
        return read_questions_scored(file)[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.integers(12, 32), st.integers(1, 4))
def test_windows_cover_passages_and_hold_answers(seed: int, length: int, stride: int) -> None:
    """Every token of a passage is in a window; an answer of two tokens is whole in one."""
    rows, tokenizer = rows_of(seed), tiny.tokenizer()
    tokens = tokenize_questions(tokenizer, rows, length, stride)
    reading = tokens.reading
    assert isinstance(reading, QuestionReading)
    assert tokens.labels is not None
    assert tokens.asked is not None
    assert int(tokens.lengths.max()) <= length
    seen: dict[int, set[tuple[int, int]]] = {}
    whole = set()
    for window, question in enumerate(reading.of):
        piece = slice(tokens.offsets[window], tokens.offsets[window + 1])
        spans, labels = reading.spans[piece], tokens.labels[piece]
        seen.setdefault(int(question), set()).update((int(a), int(b)) for a, b in spans if a >= 0)
        start = int((labels > 0).argmax()) if not labels[0] > 0 else 0
        starts = np.flatnonzero((labels > 0) & (labels & STARTS > 0))
        ends = np.flatnonzero((labels > 0) & (labels & ENDS > 0))
        assert len(starts) == len(ends) == 1
        if start:
            text = rows.texts[question][1][spans[starts[0], 0] : spans[ends[0], 1]]
            assert text == rows.labels[question].texts[0]  # type: ignore[index]
            whole.add(int(question))
    for question, (_, passage) in enumerate(rows.texts):
        encoded = tokenizer(passage, add_special_tokens=False, return_offsets_mapping=True)
        assert seen[question] == {tuple(span) for span in encoded["offset_mapping"]}
    if stride >= 2:
        assert whole == set(range(len(rows)))
        assert reading.lost == 0
    assert len(rows) - len(whole) == reading.lost


def test_a_question_that_fills_its_window(tmp_path: Path) -> None:
    rows = rows_of(0)
    with pytest.raises(TinybertError, match=r"leaves 2 of 8 for its passage, where windows share"):
        tokenize_questions(tiny.tokenizer(), rows, 8, 2)
    for stride in (10, 11, 12):  # also where every passage would fit
        with pytest.raises(TinybertError, match="2 of them special, cannot share .+ smaller --str"):
            tokenize_questions(tiny.tokenizer(), rows, 12, stride)
    with pytest.raises(TinybertError, match="where windows share 9: give"):
        tokenize_questions(tiny.tokenizer(), rows, 12, 9)
    with pytest.raises(TinybertError, match=r"leaves none of 6 for its passage"):
        tokenize_questions(tiny.tokenizer(), rows, 6, 0)


# --- answers --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12),
    st.integers(1, 14),
    st.integers(1, 6),
)
def test_spans_as_by_brute_force(drawn: list[tuple[int, int]], most: int, count: int) -> None:
    starts, ends = (np.array([pair[i] for pair in drawn], dtype=np.float64) for i in (0, 1))
    every = [
        (starts[i] + ends[j], i, j)
        for i in range(len(starts))
        for j in range(i, min(len(starts), i + most))
    ]
    every.sort(key=lambda found: -found[0])
    found = best_spans(starts, ends, most, count)
    assert [span.score for span in found] == [score for score, _, _ in every[:count]]
    assert {(span.score, span.start, span.end) for span in found} <= set(every)
    assert best_spans(starts, ends, most)[0] == found[0]


def outputs_for(reading: QuestionReading, rows: Any, *, null: float = -5.0) -> np.ndarray:
    """Logits that point at the labels of every window."""
    outputs = np.full((len(reading.asked), 2), -9.0, dtype=np.float32)
    known = np.maximum(rows.labels, 0)
    outputs[known & STARTS > 0, 0] = 5.0
    outputs[known & ENDS > 0, 1] = 5.0
    for window in range(len(reading.of)):
        first = reading.offsets[window]
        outputs[first] = np.maximum(outputs[first], null) if known[first] else null
    return outputs


def test_answers_come_from_all_windows_of_a_passage() -> None:
    rows = rows_of(3, unanswerable=True)
    tokens = tokenize_questions(tiny.tokenizer(), rows, 14, 4, Search(count=3))
    reading = tokens.reading
    assert isinstance(reading, QuestionReading)
    assert len(reading.of) > len(reading) == 8
    outputs = outputs_for(reading, tokens)
    scores = reading.scores("exact_match", outputs)
    assert scores["exact_match"] == scores["answer_f1"] == scores["no_answer_accuracy"] == 1
    answered = reading.answered(outputs)
    for one, (_, passage) in zip(answered, rows.texts, strict=True):
        assert len(one["n_best"]) == 3
        if one["answer"]:
            assert passage[one["start"] :].startswith(one["answer"])
    # Without the right to say nothing every question gets a span.
    bound = tokenize_questions(tiny.tokenizer(), rows, 14, 4, Search(no_answer="no")).reading
    assert isinstance(bound, QuestionReading)
    assert all(bound.texts_found(outputs))
    threshold = Search(threshold=1e6)
    bound = tokenize_questions(tiny.tokenizer(), rows, 14, 4, threshold).reading
    assert isinstance(bound, QuestionReading)
    assert all(bound.texts_found(outputs))


def test_nan_is_told() -> None:
    tokens = tokenize_questions(tiny.tokenizer(), rows_of(1), 24, 4)
    assert tokens.reading is not None
    with pytest.raises(TinybertError, match="NaN or infinity"):
        tokens.reading.scores("answer_f1", np.full((len(tokens.ids), 2), np.nan, np.float32))
