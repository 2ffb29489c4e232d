"""Questions with their passages as token rows: overlapping windows of long passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from tinybert.batching import IGNORED, TokenRows, narrowest
from tinybert.errors import TinybertError
from tinybert.losses import ENDS, STARTS
from tinybert.tasks.questions.reader import Answers, QuestionRows
from tinybert.tasks.questions.reading import QuestionReading, Search

__all__ = ["tokenize_questions"]

_AT_ONCE = 512


def tokenize_questions(
    tokenizer: PreTrainedTokenizerBase,
    rows: QuestionRows,
    max_length: int,
    stride: int,
    search: Search | None = None,
    *,
    advance: Callable[[int], None] | None = None,
) -> TokenRows:
    """A window a row: the question, and as much of its passage as ``max_length`` tokens hold.

    Windows of one passage share ``stride`` tokens (BERT, arXiv 1810.04805, section 4.2, and its
    code). Asked are the passage's tokens and the first one, which stands for "no answer here": of
    a window without the whole answer it is start and end.

    Args:
        tokenizer: of the models; one that tells where its tokens stand in the text.
        rows: questions.
        max_length: tokens a window at most, specials included.
        stride: tokens that two windows share.
        search: how answers are found.
        advance: called with the number of questions done since it was last called.

    Returns:
        The windows, with ``asked`` and a :class:`QuestionReading`; ``cut`` says how many questions
        took more than one.

    Raises:
        TinybertError: there are no rows; the tokenizer does not tell places; a question leaves its
            passage no more room than windows share; they share as much as they hold.
    """
    if not len(rows):
        raise TinybertError("there are no rows to tokenize: the data is empty.")
    if not tokenizer.is_fast:
        raise TinybertError(
            f"{type(tokenizer).__name__} does not tell where a token stands in the text: give a "
            "model with a fast tokenizer (tokenizer.json)."
        )
    special = tokenizer.num_special_tokens_to_add(pair=False)  # all that the tokenizer counts
    if stride >= max_length - special:
        raise TinybertError(
            f"windows of {max_length} tokens, {special} of them special, cannot share {stride} and "
            "go on: give a greater --max-length or a smaller --stride"
        )
    dtype = narrowest(len(tokenizer))
    takes_types = "token_type_ids" in tokenizer.model_input_names
    ids, types, asked, spans, labels, of, lengths = [], [], [], [], [], [], []
    cut = lost = 0
    for begin in range(0, len(rows), _AT_ONCE):
        piece = [rows.texts[i] for i in range(begin, min(begin + _AT_ONCE, len(rows)))]
        _check_room(tokenizer, piece, rows.ids[begin:], max_length, stride)
        encodings = tokenizer(
            [question for question, _ in piece],
            [passage for _, passage in piece],
            return_attention_mask=False,
            verbose=False,
        ).encodings
        for row, encoding in enumerate(encodings, begin):
            passage = np.array([text == 1 for text in encoding.sequence_ids], dtype=bool)
            places = np.where(passage[:, None], np.asarray(encoding.offsets, dtype=np.int32), -1)
            tokens = np.asarray(encoding.ids, dtype=dtype)
            kinds = np.asarray(encoding.type_ids, dtype=np.uint8)
            windows = _windows(passage, max_length, stride)
            found_whole = False
            for number, chosen in enumerate(windows):
                inside = passage[chosen]
                known = inside.copy()
                known[0] = True
                ids.append(tokens[chosen])
                if takes_types:
                    types.append(kinds[chosen])
                asked.append(known)
                spans.append(places[chosen])
                of.append(row)
                lengths.append(len(chosen))
                if rows.labels is not None:
                    first, last = number == 0, number + 1 == len(windows)
                    label, whole = _labels(rows.labels[row], inside, places[chosen], first, last)
                    label[~known] = IGNORED
                    labels.append(label)
                    found_whole |= whole
            cut += len(windows) > 1
            lost += rows.labels is not None and bool(rows.labels[row].texts) and not found_whole
        if advance is not None:
            advance(len(piece))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.concatenate(asked)
    reading = QuestionReading(
        ids=list(rows.ids),
        texts=list(rows.texts),
        answers=None if rows.labels is None else [answers.texts for answers in rows.labels],
        of=np.asarray(of),
        offsets=offsets,
        spans=np.concatenate(spans).astype(np.int32),
        asked=flat,
        search=search or Search(),
        lost=lost,
    )
    return TokenRows(
        ids=np.concatenate(ids),
        offsets=offsets,
        pad_id=tokenizer.pad_token_id or 0,
        type_ids=np.concatenate(types) if takes_types else None,
        takes_types=takes_types,
        labels=np.concatenate(labels) if labels else None,
        asked=flat,
        cut=cut,
        reading=reading,
    )


def _windows(passage: np.ndarray, max_length: int, stride: int) -> list[np.ndarray]:
    """Places of each window's tokens in a whole pair, of which ``passage`` are the passage's.

    The tokenizer's own overflow is not used: with tokenizers 0.23.1 and 0.23.2 it ends early, and
    a passage's last windows are lost.
    """
    around, inside = np.flatnonzero(~passage), np.flatnonzero(passage)
    if len(passage) <= max_length:
        return [np.arange(len(passage))]
    room = max_length - len(around)
    windows = []
    for start in range(0, len(inside), room - stride):
        windows.append(np.sort(np.concatenate([around, inside[start : start + room]])))
        if start + room >= len(inside):
            break
    return windows


def _labels(
    answers: Answers, inside: np.ndarray, places: np.ndarray, first: bool, last: bool
) -> tuple[np.ndarray, bool]:
    """Start and end as bits of each token's label, and whether the window holds the answer whole.

    Only the first of several answers is learned.
    """
    label = np.zeros(len(inside), dtype=np.int64)
    tokens = np.flatnonzero(inside)
    if answers.texts and len(tokens):
        begin, stop = answers.starts[0], answers.starts[0] + len(answers.texts[0])
        starts, ends = places[tokens, 0], places[tokens, 1]
        held = (first or starts[0] <= begin) and (last or ends[-1] >= stop)
        after, before = np.flatnonzero(ends > begin), np.flatnonzero(starts < stop)
        if held and len(after) and len(before) and after[0] <= before[-1]:
            label[tokens[after[0]]] |= STARTS
            label[tokens[before[-1]]] |= ENDS
            return label, True
    label[0] = STARTS | ENDS
    return label, False


def _check_room(
    tokenizer: PreTrainedTokenizerBase,
    piece: list[tuple[str, ...]],
    ids: Sequence[str],
    max_length: int,
    stride: int,
) -> None:
    """Refuse a question that leaves a window of its passage no room to go on."""
    special = tokenizer.num_special_tokens_to_add(pair=True)

    def lengths(texts: list[str]) -> list[int]:
        encoded = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        return [len(tokens) for tokens in encoded["input_ids"]]

    for row, asked in enumerate(lengths([question for question, _ in piece])):
        room = max_length - special - asked
        if room > stride or lengths([piece[row][1]])[0] <= room:
            continue
        left = f"{room} of {max_length}" if room > 0 else f"none of {max_length}"
        raise TinybertError(
            f"question {ids[row]} ({piece[row][0][:40]}) has {asked} tokens and leaves {left} for "
            f"its passage, where windows share {stride}: give a greater --max-length or a smaller "
            "--stride"
        )
