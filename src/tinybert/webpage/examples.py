"""Texts to click on the page, by what the model's labels say of its task."""

from __future__ import annotations

from collections.abc import Sequence

from tinybert.errors import TinybertError

__all__ = ["BETWEEN", "example_texts", "reads_pairs"]

BETWEEN = "||"
"""Stands between the two texts of an example."""

_SENTIMENT = (
    ("A warm, funny film that earns every one of its tears.",),
    ("Two hours of my life that I would like to have back.",),
    ("The plot is thin, but the actors carry it with ease.",),
    ("It starts as a thriller and ends as a shrug.",),
)
_ENTAILMENT = (
    ("A man is playing a guitar on a stage.", "Somebody makes music."),
    ("The museum is closed on Mondays.", "You can visit the museum every day."),
    ("She bought a ticket for the early train.", "She wants to see the mountains."),
)
_PARAPHRASE = (
    ("The company raised its prices in May.", "In May the firm put its prices up."),
    ("The company raised its prices in May.", "The company was founded in May."),
    ("How do I learn to swim as an adult?", "What is a good way to learn swimming late?"),
)
_GRAMMAR = (
    ("The children were playing in the garden.",),
    ("The children was play the garden in.",),
    ("Whom did you say that she met?",),
)
_SIMILAR = (
    ("A dog runs across the beach.", "A dog is running along the shore."),
    ("A dog runs across the beach.", "A woman reads the newspaper."),
)
_PLAIN = (
    ("The train to the coast leaves at seven and takes two hours.",),
    ("I have waited three weeks for an answer, and nobody calls back.",),
    ("Thank you, that was quick and exactly what I needed!",),
    ("Rain in the north, sun in the south, and a cold wind everywhere.",),
)

_BY_LABELS: tuple[tuple[frozenset[str], tuple[tuple[str, ...], ...]], ...] = (
    (frozenset({"positive", "negative"}), _SENTIMENT),
    (frozenset({"entailment", "contradiction"}), _ENTAILMENT),
    (frozenset({"entailment", "not_entailment"}), _ENTAILMENT),
    (frozenset({"equivalent", "not_equivalent"}), _PARAPHRASE),
    (frozenset({"paraphrase", "not_paraphrase"}), _PARAPHRASE),
    (frozenset({"duplicate", "not_duplicate"}), _PARAPHRASE),
    (frozenset({"acceptable", "unacceptable"}), _GRAMMAR),
)


def example_texts(
    labels: Sequence[str], texts: int, given: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    """Rows of ``texts`` texts: those given, else some that suit the labels.

    Args:
        labels: names of the model's outputs.
        texts: 1 or 2.
        given: one row each; ``||`` between two texts.

    Raises:
        TinybertError: a row has another number of texts.

    >>> example_texts(["no", "yes"], 2, ["Is it open? || Open all day."])
    [('Is it open?', 'Open all day.')]
    """
    if given:
        return [_row(text, texts) for text in given]
    known = _known(labels)
    if known and len(known[0]) == texts:
        return list(known)
    return list(_SIMILAR if texts == 2 else _PLAIN)


def reads_pairs(labels: Sequence[str]) -> bool:
    """Whether the labels are those of a task about two texts.

    >>> reads_pairs(["entailment", "neutral", "contradiction"]), reads_pairs(["bad", "good"])
    (True, False)
    """
    known = _known(labels)
    return known is not None and len(known[0]) == 2


def _known(labels: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    names = {label.lower().replace("-", "_").replace(" ", "_") for label in labels}
    return next((rows for needed, rows in _BY_LABELS if needed <= names), None)


def _row(text: str, texts: int) -> tuple[str, ...]:
    row = tuple(part.strip() for part in text.split(BETWEEN))
    if len(row) != texts:
        wanted = f"two texts with {BETWEEN} between them" if texts == 2 else "one text"
        raise TinybertError(
            f"the example '{text}' holds {len(row)} text{'s' if len(row) > 1 else ''}, and the "
            f"page asks for {wanted}: say how many a row has with --texts, or change the example"
        )
    return row
