"""Entities and their scores: known values, and seqeval where it is installed."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.task_heads import are_entity_tags
from tinybert.tasks.tagging import entities, entity_scores, tag_f1_rows

TAGS = ["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("X", "Y-Z")), "B", "I"]
SENTENCES = st.lists(st.sampled_from(TAGS), max_size=10)


def test_every_scheme_marks_the_same_entities() -> None:
    wanted = [("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4)]
    schemes = {
        "IOB1": ["I-PER", "I-PER", "O", "I-LOC", "B-LOC"],
        "IOB2": ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"],
        "BIOES": ["B-PER", "E-PER", "O", "S-LOC", "S-LOC"],
        "BILOU": ["B-PER", "L-PER", "O", "U-LOC", "U-LOC"],
    }
    for name, tags in schemes.items():
        assert entities(tags) == wanted, name
        assert are_entity_tags(tags), name
    assert not are_entity_tags(["NN", "VB", "O"])
    assert not are_entity_tags(["O"])


def test_known_scores() -> None:
    """By hand: 3 entities there, 3 answered, 1 right in type and both ends."""
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"]]
    answers = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O"]]
    scores = entity_scores(truth, answers)
    assert scores == pytest.approx(
        {"entity_f1": 1 / 3, "entity_precision": 1 / 3, "entity_recall": 1 / 3}
    )
    rows = {row.name: (row.count, row.precision, row.recall) for row in tag_f1_rows(truth, answers)}
    assert rows == {"LOC": (1, 1.0, 1.0), "ORG": (1, 0.0, 0.0), "PER": (1, 0.0, 0.0)}
    assert entity_scores([["O"]], [["O"]])["entity_f1"] == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SENTENCES, st.randoms(use_true_random=False)), min_size=1, max_size=4))
def test_as_seqeval(drawn: list[tuple[list[str], object]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    truth = [tags for tags, _ in drawn]
    answers = [[r.choice(TAGS) for _ in tags] for tags, r in drawn]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tags in (*truth, *answers):
            assert labelling.get_entities(list(tags)) == entities(tags)
        wanted = metrics.f1_score(truth, answers) if any(truth) else 0.0
    assert entity_scores(truth, answers)["entity_f1"] == pytest.approx(float(wanted))


@given(SENTENCES)
def test_entities_do_not_overlap_and_cover_what_is_not_outside(tags: list[str]) -> None:
    found = entities(tags)
    places = [place for _, start, end in found for place in range(start, end + 1)]
    assert sorted(set(places)) == places
    assert places == [place for place, tag in enumerate(tags) if tag != "O"]
