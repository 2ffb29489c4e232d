"""Rankings from data to report, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tinybert
from support import several, tiny
from tinybert.errors import TinybertError

QUICK = tiny.QUICK | {"student": "2x16", "task": "ranking"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranking")
    several.ranked_file(place / "train.csv", 30)
    several.ranked_file(place / "test.csv", 12, 1)
    several.ranked_file(place / "texts.csv", 60, 2, labelled=False)
    tiny.saved_classifier(place / "cross-encoder", labels=("LABEL_0",), layers=3, width=32)
    tiny.saved_encoder(place / "plain", layers=3, width=32)
    tinybert.distill(
        **QUICK | {"report": True},
        teacher=place / "plain",
        data=place / "train.csv",
        test=place / "test.csv",
        label="relevance",
        output=place / "student",
    )
    return place


def test_a_plain_encoder_becomes_teacher_and_student(place: Path) -> None:
    found = json.loads((place / "student" / "results.json").read_text())
    assert found["metric"] == "ndcg@10"
    for model in ("teacher", "student"):
        assert set(found[model]["scores"]["test"]) == {"ndcg@10", "mrr@10", "map"}
    counts = {name: found["ranking"][name] for name in ("queries", "single_passage")}
    assert counts == {"queries": 12, "single_passage": 0}
    assert found["agreement"] == found["ranking"]["kendall"]
    tuned = json.loads((place / "student-teacher" / "results.json").read_text())
    assert tuned["metric"] == "ndcg@10"
    card = (place / "student" / "README.md").read_text()
    assert "the higher, the more relevant" in card
    assert "Within a query its order goes with the teacher's (Kendall's tau" in card
    page = (place / "student" / "report.html").read_text()
    assert "Query by query" in page
    assert "They put another passage first for" in page


def test_scored_and_written(place: Path) -> None:
    wanted = json.loads((place / "student" / "results.json").read_text())
    asked = {"data": place / "test.csv", "label": "relevance", "max_length": 24, "quiet": True}
    found = tinybert.evaluate(
        model=place / "student", teacher=place / "student-teacher", task="ranking", **asked
    )
    assert found["scores"] == pytest.approx(wanted["student"]["scores"]["test"])
    assert found["ranking"] == pytest.approx(wanted["ranking"])
    told = tinybert.predict(
        model=place / "student", output=place / "values.csv", metric="mrr@10", **asked
    )
    assert next(iter(told["scores"])) == "mrr@10"
    assert (place / "values.csv").read_text().startswith("row,value\n0,")


def test_without_labels(place: Path) -> None:
    found = tinybert.distill(
        **QUICK | {"intermediate_epochs": 0.0},
        teacher=place / "cross-encoder",
        data=place / "texts.csv",
        output=place / "unlabelled",
    )
    assert found["metric"] is None
    assert found["ranking"]["queries"] == 3
    assert -1 <= found["ranking"]["spearman"] <= 1


def test_mistakes_are_told_before_the_run(place: Path, tmp_path: Path) -> None:
    tiny.saved_classifier(tmp_path / "classes", layers=3, width=32)
    asked = QUICK | {"teacher": place / "plain", "data": place / "train.csv", "label": "relevance"}
    asked |= {"output": tmp_path / "new"}
    none = tmp_path / "none.csv"
    none.write_text("query,passage,relevance\nwait,lock,0\nwait,file,0\nsend,file,1\n")
    for message, more in (
        ("a ranking needs one value for each pair", {"teacher": tmp_path / "classes"}),
        ("metric 'accuracy' does not score an order", {"metric": "accuracy"}),
        ("none of the 2 queries of the test rows has both a relevant", {"test": none}),
        ("ranking needs two texts a row", {"text": "query"}),
    ):
        with pytest.raises(TinybertError, match=message):
            tinybert.distill(**(asked | more))
    with pytest.raises(TinybertError, match="a ranking needs one value for each pair"):
        tinybert.distill(
            **QUICK,
            teacher=tmp_path / "classes",
            data=place / "texts.csv",
            output=tmp_path / "new",
        )
    assert not list(tmp_path.glob("new*"))
