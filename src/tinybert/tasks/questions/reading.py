"""What windows of questions were read from: answers out of a model's starts and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from tinybert.errors import TinybertError
from tinybert.tasks.questions.metric import answer_scores, exact_match, normalised, word_f1
from tinybert.tasks.questions.spans import best_spans

__all__ = ["Found", "QuestionReading", "Search"]

_WORDS = ("what", "who", "when", "where", "which", "how", "why")
_EXCERPT = 160


@dataclass(frozen=True)
class Search:
    """How answers are found.

    Attributes:
        max_tokens: of an answer.
        count: answers listed for each question.
        threshold: how much better no answer must score than the best span to be given.
        no_answer: whether no answer may be given; auto: where some question of the rows has none.
    """

    max_tokens: int = 30
    count: int = 1
    threshold: float = 0.0
    no_answer: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True)
class Found:
    """An answer: its text and first character ("" and -1: none), the sum of its logits, and the
    product of the probabilities of its start and end in its window."""

    text: str
    start: int
    score: float
    probability: float


@dataclass(frozen=True)
class QuestionReading:
    """The questions that windows were cut from.

    Attributes:
        ids, texts: of the questions; texts are (question, passage).
        answers: the right ones of each question; None where they are not known.
        of: (rows,) the question of each window.
        offsets: (rows + 1,) of the windows' tokens.
        spans: (tokens, 2) first character in the passage and the one after the last; -1 of tokens
            that are not the passage's.
        asked: (tokens,) bool, the passage's tokens and the first of each window.
        search: how answers are found.
        lost: answers that no window holds whole.
    """

    ids: Sequence[str]
    texts: Sequence[tuple[str, ...]]
    answers: Sequence[tuple[str, ...]] | None
    of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    spans: NDArray[np.int32]
    asked: NDArray[np.bool_]
    search: Search = field(default_factory=Search)
    lost: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def may_be_none(self) -> bool:
        """Whether no answer may be given."""
        if self.search.no_answer != "auto":
            return self.search.no_answer == "yes"
        return self.answers is not None and any(not texts for texts in self.answers)

    def found(self, outputs: NDArray[np.float32], count: int = 1) -> list[list[Found]]:
        """The best answers of every question over all of its windows, best first.

        The score of no answer is the least of its windows' (as in BERT's code for SQuAD 2.0): a
        passage has no answer where none of its windows has.
        """
        listed: list[list[Found]] = [[] for _ in self.texts]
        nulls = np.full(len(self), np.inf)
        shares = np.zeros(len(self))
        for window, question in enumerate(self.of):
            piece = slice(self.offsets[window], self.offsets[window + 1])
            logits = np.asarray(outputs[piece], dtype=np.float64)
            asked = np.flatnonzero(self.asked[piece])
            chances = log_softmax(logits[asked], axis=0)
            null = float(logits[asked[0]].sum())
            if null < nulls[question]:
                nulls[question] = null
                shares[question] = float(np.exp(chances[0].sum()))
            passage, places = asked[1:], self.spans[piece][asked[1:]]
            best = best_spans(logits[passage, 0], logits[passage, 1], self.search.max_tokens, count)
            for span in best:
                start, end = int(places[span.start, 0]), int(places[span.end, 1])
                share = np.exp(chances[1 + span.start, 0] + chances[1 + span.end, 1])
                text = self.texts[question][1][start:end]
                listed[question].append(Found(text, start, span.score, float(share)))
        for question, answers in enumerate(listed):
            answers.sort(key=lambda each: -each.score)
            best_of: dict[tuple[str, int], Found] = {}
            for each in answers:  # windows overlap, so that one span may be found twice
                best_of.setdefault((each.text, each.start), each)
            answers[:] = list(best_of.values())[:count]
            none = Found("", -1, float(nulls[question]), float(shares[question]))
            if not answers:
                answers.append(none)
            elif self.may_be_none:
                if none.score - answers[0].score > self.search.threshold:
                    answers.insert(0, none)
                else:
                    answers.append(none)
                del answers[max(count, 1) :]
        return listed

    def texts_found(self, outputs: NDArray[np.float32]) -> list[str]:
        """The answer to every question, "" for none."""
        return [answers[0].text for answers in self.found(outputs)]

    def scores(self, metric: str, outputs: NDArray[np.float32]) -> dict[str, float]:
        """F1 and exact match by SQuAD's own rules, over questions."""
        assert self.answers is not None
        if not np.isfinite(np.asarray(outputs)[self.asked]).all():
            raise TinybertError(
                "the model's outputs contain NaN or infinity: train again with a lower learning "
                "rate or in float32"
            )
        scores = answer_scores(self.texts_found(outputs), self.answers)
        return {metric: scores.pop(metric)} | scores

    def settled(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The answers, normalised: two models agree on a question where these are the same."""
        return np.array([normalised(text) for text in self.texts_found(outputs)], dtype=object)

    def answered(self, outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Of every question the answer ("" for none), its first character in the passage (-1), its
        score and probability; with ``search.count`` above 1 also the next best."""
        found = []
        for place, answers in enumerate(self.found(outputs, self.search.count)):
            best = answers[0]
            answer: dict[str, Any] = {
                "row": place,
                "id": self.ids[place],
                "question": self.texts[place][0],
                "answer": best.text,
                "start": best.start,
                "score": round(best.score, 6),
                "probability": round(best.probability, 6),
            }
            if self.search.count > 1:
                answer["n_best"] = [
                    {
                        "answer": each.text,
                        "start": each.start,
                        "score": round(each.score, 6),
                        "probability": round(each.probability, 6),
                    }
                    for each in answers
                ]
            found.append(answer)
        return found

    def told(
        self, student: NDArray[np.float32], teacher: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """Figures by the question's word, and questions that the two answer differently."""
        mine = self.found(student)
        its = None if teacher is None else self.found(teacher)
        truths = self.answers
        if truths is None and its is not None:
            truths = [(a[0].text,) if a[0].text else () for a in its]
        said: dict[str, Any] = {
            "kind": "spans",
            "rows": len(self),
            "labelled": self.answers is not None,
            "classes": [],
            "teacher_f1": [],
            "differ": 0,
            "differing": [],
            "split": None,
        }
        if truths is not None:
            said["classes"] = self._by_word(mine, truths)
            if self.answers is not None and its is not None:
                of_teacher = self._by_word(its, truths)
                said["teacher_f1"] = [row["f1"] for row in of_teacher]
        if its is not None:
            said |= self._differing(mine, its)
        return said

    def _by_word(
        self, answers: Sequence[Sequence[Found]], truths: Sequence[tuple[str, ...]]
    ) -> list[dict[str, Any]]:
        f1 = [word_f1(a[0].text, t) for a, t in zip(answers, truths, strict=True)]
        exact = [exact_match(a[0].text, t) for a, t in zip(answers, truths, strict=True)]
        kinds = [_word(question) for question, _ in self.texts]
        rows = []
        for kind in (*_WORDS, "other words"):
            places = [place for place, found in enumerate(kinds) if found == kind]
            if places:
                rows.append(
                    {
                        "name": kind,
                        "count": len(places),
                        "exact": sum(exact[p] for p in places) / len(places),
                        "f1": sum(f1[p] for p in places) / len(places),
                    }
                )
        return rows

    def _right(self, found: Sequence[Sequence[Found]]) -> NDArray[np.bool_]:
        """Which questions are answered exactly; none where the right answers are not known."""
        truths = self.answers or [()] * len(found)
        return np.array(
            [exact_match(a[0].text, t) > 0 for a, t in zip(found, truths, strict=True)], dtype=bool
        )

    def _differing(
        self, mine: Sequence[Sequence[Found]], its: Sequence[Sequence[Found]]
    ) -> dict[str, Any]:
        """Questions answered differently, those first where both are surest."""
        apart = [
            place
            for place, (one, other) in enumerate(zip(mine, its, strict=True))
            if normalised(one[0].text) != normalised(other[0].text)
        ]
        apart.sort(key=lambda place: -(mine[place][0].probability + its[place][0].probability))
        right = [self._right(found) for found in (mine, its)]
        differing = []
        for place in apart:
            question, passage = self.texts[place]
            own, of_teacher = mine[place][0], its[place][0]
            truths = None if self.answers is None else self.answers[place]
            differing.append(
                {
                    "row": place,
                    "texts": [question, _excerpt(passage, own.start, of_teacher.start)],
                    "label": None if truths is None else _shown(truths[0] if truths else ""),
                    "teacher": _shown(of_teacher.text),
                    "student": _shown(own.text),
                    "teacher_right": None if truths is None else bool(right[1][place]),
                    "student_right": None if truths is None else bool(right[0][place]),
                }
            )
        split = None
        if self.answers is not None:
            split = {
                "both_right": int((right[0] & right[1]).sum()),
                "teacher_alone": int((right[1] & ~right[0]).sum()),
                "student_alone": int((right[0] & ~right[1]).sum()),
                "both_wrong": int((~right[0] & ~right[1]).sum()),
            }
        return {"differ": len(apart), "differing": differing, "split": split}


def _word(question: str) -> str:
    words = normalised(question).split()
    return next((word for word in words if word in _WORDS), "other words")


def _shown(text: str) -> str:
    return text or "no answer"


def _excerpt(passage: str, *starts: int) -> str:
    """The passage around some places."""
    known = [start for start in starts if start >= 0] or [0]
    first, last = max(0, min(known) - _EXCERPT), max(known) + _EXCERPT
    before, after = "… " * (first > 0), " …" * (last < len(passage))
    return f"{before}{passage[first:last].strip()}{after}"
