"""Exact match and F1 of answers, as the evaluation scripts of SQuAD 1.1 and 2.0 count them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["answer_scores", "exact_match", "normalised", "word_f1"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles and spare spaces.

    (Rajpurkar et al., arXiv 1606.05250, section 6.1.)

    >>> normalised("The  Normans, in France!")
    'normans in france'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, truths: Sequence[str]) -> float:
    """1 where the answer is one of the right ones, normalised; "" is right where there are none."""
    return float(normalised(answer) in {normalised(truth) for truth in _known(truths)})


def word_f1(answer: str, truths: Sequence[str]) -> float:
    """F1 of the answer's words, against the right answer that it is nearest to.

    >>> word_f1("the Norman dynasty", ["Normans", "Norman"])
    0.6666666666666666
    """
    return max(_f1(answer, truth) for truth in _known(truths))


def _known(truths: Sequence[str]) -> Sequence[str]:
    return [truth for truth in truths if normalised(truth)] or [""]


def _f1(answer: str, truth: str) -> float:
    given, wanted = normalised(answer).split(), normalised(truth).split()
    if not given or not wanted:  # no answer is right as a whole or not at all
        return float(given == wanted)
    same = (Counter(given) & Counter(wanted)).total()
    return 2 * same / (len(given) + len(wanted)) if same else 0.0


def answer_scores(answers: Sequence[str], truths: Sequence[Sequence[str]]) -> dict[str, float]:
    """F1 and exact match, means over questions, 0 … 1.

    Where some questions have no answer and others have, also ``has_answer_f1`` and
    ``no_answer_accuracy`` (Rajpurkar et al., arXiv 1806.03822).

    Args:
        answers: one a question, "" for none.
        truths: of each question the right answers, none of them where it has no answer.

    >>> answer_scores(["Paris", ""], [["paris", "in Paris"], []])["answer_f1"]
    1.0
    """
    matches = [exact_match(a, t) for a, t in zip(answers, truths, strict=True)]
    f1 = [word_f1(a, t) for a, t in zip(answers, truths, strict=True)]
    scores = {"answer_f1": sum(f1) / len(f1), "exact_match": sum(matches) / len(matches)}
    has = [bool(truth) for truth in truths]
    if any(has) and not all(has):
        of_known = [value for value, known in zip(f1, has, strict=True) if known]
        of_none = [value for value, known in zip(f1, has, strict=True) if not known]
        scores["has_answer_f1"] = sum(of_known) / len(of_known)
        scores["no_answer_accuracy"] = sum(of_none) / len(of_none)
    return scores
