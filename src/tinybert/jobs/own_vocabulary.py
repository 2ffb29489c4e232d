"""A student with a vocabulary of its own: its tokenizer, its rows, and what is told of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.alignment import AlignedRows, align_rows, check_alignable
from tinybert.batching import TokenRows
from tinybert.corpus import find_sources
from tinybert.corpus.sources import read_all
from tinybert.errors import TinybertError
from tinybert.jobs.rows import TaskRows
from tinybert.progress import Reporter
from tinybert.settings import DistillSettings
from tinybert.student_tokenizer import (
    piece_sources,
    read_tokenizer,
    ready_tokenizer,
    same_tokens,
    train_wordpiece,
)
from tinybert.tasks.task import TaskData
from tinybert.teachers import load_tokenizer, tokenizers_agree

__all__ = ["aligned_task", "own_tokenizer", "vocabulary_facts", "vocabulary_told"]


@dataclass(frozen=True)
class _Texts:
    """Training rows and raw text, one text after the other; may be read again."""

    rows: Sequence[tuple[str, ...]]
    corpus: Sequence[str]

    def __iter__(self) -> Iterator[str]:
        for row in self.rows:
            yield from row
        if self.corpus:
            for piece in read_all(find_sources(self.corpus)):
                yield piece.text


def own_tokenizer(
    settings: DistillSettings,
    teacher: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, ...]],
    reporter: Reporter,
) -> PreTrainedTokenizerBase | None:
    """The student's tokenizer where it is another one than the teacher's; else None.

    Args:
        settings: say which one, or how many pieces to train.
        teacher: the teacher's tokenizer.
        rows: texts of the training rows, to train on.
        reporter: told what is done.

    Raises:
        TinybertError: two ways at once, or a tokenizer that cannot serve.
    """
    asked = {"--tokenizer": settings.tokenizer, "--vocabulary-size": settings.vocabulary_size}
    given = [flag for flag, value in asked.items() if value is not None]
    if len(given) > 1:
        raise TinybertError(
            "--tokenizer and --vocabulary-size both say which vocabulary the student has: give "
            "one of them."
        )
    if settings.corpus and settings.vocabulary_size is None:
        raise TinybertError(
            "--corpus is text to train the student's tokenizer on: say of how many pieces with "
            "--vocabulary-size, or leave it out."
        )
    if given and settings.max_size is not None:
        raise TinybertError(
            f"--max-size finds a student with the teacher's vocabulary, and {given[0]} gives it "
            "another one: name a shape with --student instead."
        )
    found: PreTrainedTokenizerBase | None = None
    whose, like = "the student's", teacher
    directory = Path(settings.student).expanduser()
    if directory.is_dir():
        carried = like = load_tokenizer(directory)
        if not tokenizers_agree(carried, teacher):
            if given:
                raise TinybertError(
                    f"{settings.student} has a tokenizer of its own already: leave out {given[0]}."
                )
            found = carried
    if settings.tokenizer is not None:
        found = read_tokenizer(settings.tokenizer, teacher)
        whose = f"the {settings.tokenizer}"
        if found.is_fast and teacher.is_fast and same_tokens(found, teacher):
            reporter.say(f"the tokenizer {settings.tokenizer} is the teacher's own")
            return None
    elif settings.vocabulary_size is not None:
        check_alignable(teacher, "the teacher's")
        reporter.say(
            f"training a tokenizer of {settings.vocabulary_size:,} pieces on {len(rows):,} rows"
            + (f" and {', '.join(settings.corpus)}" if settings.corpus else "")
        )
        found = train_wordpiece(_Texts(rows, settings.corpus), settings.vocabulary_size, teacher)
    if found is None:
        return None
    check_alignable(teacher, "the teacher's")
    check_alignable(found, whose)
    return ready_tokenizer(found, like)


def aligned_task(
    rows: TaskRows,
    data: TaskData,
    own: PreTrainedTokenizerBase,
    teacher: PreTrainedTokenizerBase,
    max_length: int,
    reporter: Reporter,
) -> TaskRows:
    """All parts under both tokenizers, with the labels that ``rows`` have."""
    assert data.test is not None
    parts = {"train": rows.train, "dev": rows.dev, "test": rows.test} | rows.extra
    texts = {"train": data.train, "dev": data.dev, "test": data.test} | dict(data.extra)
    made: dict[str, TokenRows] = {}
    total = sum(map(len, parts.values()))
    with reporter.track(total, "tokenizing for the student", unit="rows") as progress:
        for name, part in parts.items():
            made[name] = align_rows(
                texts[name].texts, own, teacher, max_length, part.labels, advance=progress.advance
            )
    if cut := sum(part.cut for part in made.values()):
        reporter.say(
            f"{cut:,} of {total:,} rows are longer than {max_length} of the student's tokens and "
            "are cut"
        )
    return replace(
        rows,
        train=made.pop("train"),
        dev=made.pop("dev"),
        test=made.pop("test"),
        extra=made,
    )


def vocabulary_facts(
    rows: TokenRows,
    own: PreTrainedTokenizerBase,
    tokenizer: PreTrainedTokenizerBase,
    teacher: PreTrainedModel,
    student: Any,
) -> dict[str, Any]:
    """What ``results.json`` says of two vocabularies.

    Args:
        rows: training rows under both.
        own, tokenizer: the student's and the teacher's.
        teacher: the teacher.
        student: the student's configuration.
    """
    assert isinstance(rows, AlignedRows)
    sources = piece_sources(own, tokenizer)
    table = cast(nn.Embedding, teacher.get_input_embeddings()).weight
    tokens = rows.lengths.mean(), rows.theirs.lengths.mean()
    return {
        "student_pieces": len(own),
        "teacher_pieces": len(table),
        "pieces_in_both": sources.kept,
        "pieces_unknown_to_teacher": sources.unknown,
        "student_table_parameters": len(own) * _embedding_width(student),
        "with_teacher_pieces": len(table) * _embedding_width(student),
        "teacher_table_parameters": table.numel(),
        "student_tokens_a_row": round(float(tokens[0]), 2),
        "teacher_tokens_a_row": round(float(tokens[1]), 2),
        **{name: round(value, 4) for name, value in rows.shared().items()},
    }


def _embedding_width(config: Any) -> int:
    return int(getattr(config, "embedding_size", None) or config.hidden_size)


def vocabulary_told(facts: dict[str, Any], reporter: Reporter) -> None:
    """Sizes of both vocabularies, and how far the two go together."""
    reporter.say(
        f"vocabulary: {facts['student_pieces']:,} pieces, the teacher's has "
        f"{facts['teacher_pieces']:,}; {facts['pieces_in_both']:,} are in both, the others start "
        "at the mean of the teacher's pieces"
    )
    reporter.say(
        f"embedding table: {facts['student_table_parameters'] / 1e6:.2f}M numbers, "
        f"{facts['with_teacher_pieces'] / 1e6:.2f}M with the teacher's vocabulary; "
        f"{facts['student_tokens_a_row']:.1f} tokens a row, the teacher's "
        f"{facts['teacher_tokens_a_row']:.1f}"
    )
    reporter.say(
        f"states are compared on {facts['spans']:,} spans: {100 * facts['one_to_one']:.1f} % are "
        f"one token on both sides, {100 * facts['student_several']:.1f} % several of the "
        f"student's, {100 * facts['teacher_several']:.1f} % several of the teacher's"
    )
