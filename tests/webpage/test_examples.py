"""Texts to click: given ones, or some that suit the labels."""

from __future__ import annotations

import pytest

from tinybert.errors import TinybertError
from tinybert.webpage import example_texts, reads_pairs


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (("negative", "positive"), 1),
        (("entailment", "neutral", "contradiction"), 2),
        (("not equivalent", "EQUIVALENT"), 2),
        (("files", "network"), 1),
        (("files", "network"), 2),
        (("negative", "positive"), 2),
        (("score",), 1),
    ],
)
def test_rows_have_as_many_texts_as_fields(labels: tuple[str, ...], texts: int) -> None:
    rows = example_texts(labels, texts)
    assert len(rows) >= 2
    assert {len(row) for row in rows} == {texts}
    assert len({*rows}) == len(rows)


def test_labels_choose_the_examples() -> None:
    assert "film" in example_texts(["negative", "positive"], 1)[0][0]
    assert example_texts(["a", "b"], 1) != example_texts(["negative", "positive"], 1)


def test_pairs_are_known_by_their_labels() -> None:
    assert reads_pairs(["not_entailment", "entailment"])
    assert not reads_pairs(["negative", "positive"])
    assert not reads_pairs(["score"])


@pytest.mark.parametrize(("text", "texts"), [("only one", 2), ("a || b || c", 2), ("a || b", 1)])
def test_an_example_of_another_number_of_texts(text: str, texts: int) -> None:
    with pytest.raises(TinybertError, match="say how many a row has with --texts"):
        example_texts(["a", "b"], texts, [text])
