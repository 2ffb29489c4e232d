"""Words as token rows: which token answers for a word, and what answers come to in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from transformers import PreTrainedTokenizerBase

from tinybert.batching import IGNORED, TokenRows, narrowest
from tinybert.errors import TinybertError
from tinybert.task_heads import OUTSIDE, are_entity_tags
from tinybert.tasks.tagging.entities import (
    EntityRow,
    entities,
    entity_scores,
    tag_f1_rows,
)
from tinybert.tasks.task import Rows
from tinybert.truncation import cut_rows

__all__ = ["TaggedReading", "tokenize_words"]

_AT_ONCE = 2048


@dataclass(frozen=True)
class TaggedReading:
    """The words that token rows were read from.

    Attributes:
        names: of the tags, in the order of the outputs.
        words: of every sentence.
        ends: (sentences + 1,) places of the sentences among all words.
        asked: (tokens,) bool, as of the rows.
        of: (asked tokens,) the word, among all words, that each of them answers for.
        gold: (words,) tag numbers; None without tags.
    """

    names: tuple[str, ...]
    words: Sequence[tuple[str, ...]]
    ends: NDArray[np.int64]
    asked: NDArray[np.bool_]
    of: NDArray[np.int64]
    gold: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.words)

    def tags(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """The number of each word's tag, (words,); of words that were cut ``O``'s.

        Where no tag is called ``O`` it is -1 then, which is no tag and right for no word.
        """
        missed = self.names.index(OUTSIDE) if OUTSIDE in self.names else -1
        found = np.full(int(self.ends[-1]), missed, dtype=np.int64)
        found[self.of] = np.asarray(outputs)[self.asked].argmax(axis=1)
        return found

    def named(self, numbers: NDArray[np.int64]) -> Iterator[list[str]]:
        """Tags of every sentence by name."""
        names = [*self.names, OUTSIDE]  # the last for -1
        for start, end in zip(self.ends[:-1], self.ends[1:], strict=True):
            yield [names[number] for number in numbers[start:end]]

    def scores(self, metric: str, outputs: NDArray[np.float32]) -> dict[str, float]:
        """Entity F1 with precision and recall, and the share of words with the right tag."""
        assert self.gold is not None
        if not np.isfinite(np.asarray(outputs)[self.asked]).all():
            raise TinybertError(
                "the model's outputs contain NaN or infinity: train again with a lower learning "
                "rate or in float32"
            )
        found = self.tags(outputs)
        scores = {"token_accuracy": float((found == self.gold).mean())}
        if are_entity_tags(self.names):
            scores |= entity_scores(self.named(self.gold), self.named(found))
        return {metric: scores.pop(metric)} | dict(sorted(scores.items()))

    def settled(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The tags of all words: two models agree as far as these are the same."""
        return self.tags(outputs)

    def answered(self, outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Words, their tags, and the probability of each tag; ``null`` of a word that was cut.

        Where the tags are those of entities, these too, with the places of their words.
        """
        missed = self.tags(outputs)
        sure = np.full(len(missed), np.nan)
        sure[self.of] = softmax(np.asarray(outputs, np.float64)[self.asked], axis=1).max(axis=1)
        found = []
        for row, tags in enumerate(self.named(missed)):
            words, start = self.words[row], int(self.ends[row])
            shares = sure[start : start + len(words)]
            answer: dict[str, Any] = {
                "row": row,
                "tokens": list(words),
                "tags": tags,
                "probabilities": [None if np.isnan(p) else round(float(p), 6) for p in shares],
            }
            if are_entity_tags(self.names):
                answer["entities"] = [
                    {"type": kind, "start": a, "end": b + 1, "text": " ".join(words[a : b + 1])}
                    for kind, a, b in entities(tags)
                ]
            found.append(answer)
        return found

    def told(
        self, student: NDArray[np.float32], teacher: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """Figures of every type, which tag was answered with which, and differing sentences."""
        mine = self.tags(student)
        its = None if teacher is None else self.tags(teacher)
        truth = self.gold if self.gold is not None else its
        said: dict[str, Any] = {
            "kind": "tokens",
            "rows": len(self),
            "labelled": self.gold is not None,
            "classes": [],
            "teacher_f1": [],
            "matrices": {},
            "example": [" ".join(self._example())],
        }
        if truth is not None:
            rows = self._rows(truth, mine)
            said["classes"] = [asdict(row) for row in rows]
            outputs = {"student": mine}
            if self.gold is not None and its is not None:
                of_teacher = {row.name: row.f1 for row in self._rows(truth, its)}
                said["teacher_f1"] = [of_teacher.get(row.name, 0.0) for row in rows]
                outputs["teacher"] = its
            said["names"] = list(self.names)
            said["matrices"] = {
                name: confusion_matrix(truth, tags, labels=range(len(self.names))).tolist()
                for name, tags in outputs.items()
            }
        return said | self._differing(mine, its)

    def _example(self) -> tuple[str, ...]:
        """A sentence of a dozen words, or as near as there is."""
        lengths = np.diff(self.ends)
        return self.words[int(np.abs(lengths - 12).argmin())]

    def _rows(self, truth: NDArray[np.int64], answers: NDArray[np.int64]) -> list[EntityRow]:
        """By type of entity; of other tags by tag."""
        if are_entity_tags(self.names):
            return tag_f1_rows(self.named(truth), self.named(answers))
        precision, recall, f1, counts = precision_recall_fscore_support(
            truth, answers, labels=range(len(self.names)), zero_division=0.0
        )
        return [
            EntityRow(name, int(n), float(p), float(r), float(f))
            for name, p, r, f, n in zip(self.names, precision, recall, f1, counts, strict=True)
        ]

    def _differing(self, mine: NDArray[np.int64], its: NDArray[np.int64] | None) -> dict[str, Any]:
        """Sentences that the two tag differently, those with most such words first."""
        if its is None:
            return {"differ": 0, "differing": [], "split": None}
        starts = self.ends[:-1]
        apart = np.add.reduceat((mine != its).astype(np.int64), starts)
        order = [int(row) for row in np.argsort(-apart, kind="stable") if apart[row]]
        answers = [list(self.named(numbers)) for numbers in (mine, its)]
        gold = None if self.gold is None else list(self.named(self.gold))
        differing = []
        for row in order:
            own, of_teacher = answers[0][row], answers[1][row]
            words = self.words[row]
            wanted = None if gold is None else gold[row]
            differing.append(
                {
                    "row": row,
                    "texts": [" ".join(words)],
                    "label": None if wanted is None else self._shown(words, wanted),
                    "teacher": self._shown(words, of_teacher),
                    "student": self._shown(words, own),
                    "teacher_right": None if wanted is None else of_teacher == wanted,
                    "student_right": None if wanted is None else own == wanted,
                }
            )
        split = None
        if self.gold is not None:
            wrong = [np.add.reduceat(tags != self.gold, starts) for tags in (mine, its)]
            right = [np.asarray(found) == 0 for found in wrong]
            split = {
                "both_right": int((right[0] & right[1]).sum()),
                "teacher_alone": int((right[1] & ~right[0]).sum()),
                "student_alone": int((right[0] & ~right[1]).sum()),
                "both_wrong": int((~right[0] & ~right[1]).sum()),
            }
        return {"differ": len(order), "differing": differing, "split": split}

    def _shown(self, words: Sequence[str], tags: Sequence[str]) -> str:
        """Entities as ``PER Peter Blackburn``; of other tags each word's."""
        if not are_entity_tags(self.names):
            return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
        found = [f"{kind} {' '.join(words[a : b + 1])}" for kind, a, b in entities(tags)]
        return "; ".join(found) or "none"


def tokenize_words(
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    names: Sequence[str],
    max_length: int,
    *,
    advance: Callable[[int], None] | None = None,
) -> TokenRows:
    """Sentences of words as token rows, cut to ``max_length`` tokens (specials included).

    A word is asked for at its first piece (as BERT's authors do: arXiv 1810.04805, section 5.3).
    Words beyond ``max_length`` are cut, and count as ``O`` in every score.

    Args:
        tokenizer: of the models; one that knows which word a piece is of.
        rows: texts are words, labels arrays of tag numbers.
        names: of the tags, in the order of the outputs.
        max_length: tokens a row at most.
        advance: called with the number of rows done since it was last called.

    Returns:
        The rows, with ``asked`` and a :class:`TaggedReading`; ``cut`` says how many were longer.

    Raises:
        TinybertError: there are no rows; the tokenizer does not tell words.
    """
    if not len(rows):
        raise TinybertError("there are no rows to tokenize: the data is empty.")
    if not tokenizer.is_fast:
        raise TinybertError(
            f"{type(tokenizer).__name__} does not tell which word a piece is of: give a model with "
            "a fast tokenizer (tokenizer.json)."
        )
    spaced = needs_spaces(tokenizer)
    ids, lengths, asked, of, labels = [], [], [], [], []
    ends = np.concatenate([[0], np.cumsum([len(words) for words in rows.texts])]).astype(np.int64)
    cut = 0
    for start in range(0, len(rows), _AT_ONCE):
        piece = [list(rows.texts[i]) for i in range(start, min(start + _AT_ONCE, len(rows)))]
        if spaced:
            piece = [[words[0], *(f" {word}" for word in words[1:])] for words in piece]
        encoded = tokenizer(
            piece,
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
        )
        one = [(words,) for words in piece]
        cut += int(cut_rows(tokenizer, encoded, one, max_length, is_split_into_words=True).sum())
        for number, tokens in enumerate(encoded["input_ids"]):
            row = start + number
            found = np.asarray(
                [-1 if word is None else word for word in encoded.word_ids(number)], dtype=np.int64
            )
            first = (found >= 0) & (found != np.concatenate([[-1], found[:-1]]))
            ids.append(np.asarray(tokens, dtype=narrowest(len(tokenizer))))
            lengths.append(len(tokens))
            asked.append(first)
            of.append(ends[row] + found[first])
            if rows.labels is not None:
                known = np.full(len(tokens), IGNORED, dtype=np.int64)
                known[first] = np.asarray(rows.labels[row])[found[first]]
                labels.append(known)
        if advance is not None:
            advance(len(piece))
    flat = np.concatenate(asked)
    gold = None if rows.labels is None else np.concatenate([*rows.labels]).astype(np.int64)
    return TokenRows(
        ids=np.concatenate(ids),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        pad_id=tokenizer.pad_token_id or 0,
        takes_types="token_type_ids" in tokenizer.model_input_names,
        labels=np.concatenate(labels) if labels else None,
        asked=flat,
        cut=cut,
        reading=TaggedReading(tuple(names), list(rows.texts), ends, flat, np.concatenate(of), gold),
    )


def needs_spaces(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether split words have to bring the space before them along, as with RoBERTa's pieces."""
    words = ["the", "of"]
    plain = tokenizer(" ".join(words))["input_ids"]
    if tokenizer(words, is_split_into_words=True)["input_ids"] == plain:
        return False
    spaced = tokenizer([words[0], f" {words[1]}"], is_split_into_words=True)["input_ids"]
    return bool(spaced == plain)
