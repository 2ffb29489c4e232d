"""The sentences that a sentence encoder learns from: of a corpus, or of files of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from tinybert.batching import TokenRows, tokenize
from tinybert.corpus import find_sources, is_corpus, open_corpus
from tinybert.corpus.sentences import draw, split_sentences
from tinybert.corpus.sources import read_all
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.settings import EmbedderSettings
from tinybert.tasks.reading.columns import choose_columns
from tinybert.tasks.reading.formats import ending_of
from tinybert.tasks.reading.rows import read_part
from tinybert.tasks.reading.sources import Part, open_source
from tinybert.tasks.reading.streams import open_text

__all__ = ["Sentences", "check_sentences", "read_sentences"]

LEAST = 16
"""Sentences, to train on some and keep back others."""
_DECODED = 256
"""Blocks of a built corpus that become text at a time."""


@dataclass(frozen=True)
class Sentences:
    """Sentences as tokens.

    Attributes:
        train: to learn from, in random order.
        held_out: kept back.
    """

    train: TokenRows
    held_out: TokenRows

    def fingerprint(self) -> str:
        """To know on resume whether they are the same."""
        return f"{self.train.fingerprint()} {self.held_out.fingerprint()}"


def read_sentences(
    settings: EmbedderSettings,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    reporter: Reporter,
    most: int | None = None,
) -> Sentences:
    """Different sentences, drawn by the seed.

    Args:
        settings: of the run.
        tokenizer: of the models.
        max_length: tokens a sentence.
        reporter: tells what was found.
        most: stop reading after so many sentences, for a sample; None: read all.

    Raises:
        TinybertError: nothing that can be read; too few sentences.
    """
    found = _named(settings, reporter) if settings.sentences else _of_corpus(settings, tokenizer)
    held = settings.held_out
    with reporter.track(None, "reading sentences", unit="sentences") as progress:
        told = _counted(found, progress.advance, most)
        texts = draw(told, settings.rows + held, settings.seed)
    if len(texts) < LEAST:
        raise TinybertError(
            f"{' '.join(settings.sentences or settings.corpus)} gives {len(texts)} different "
            f"sentences: give text of {LEAST} or more."
        )
    held = min(held, len(texts) // 10)
    kept, rest = texts[:held], texts[held : held + settings.rows]
    rows = [tokenize(tokenizer, [(t,) for t in part], max_length) for part in (rest, kept)]
    cut = f", {rows[0].cut:,} of them cut to {max_length} tokens" if rows[0].cut else ""
    reporter.say(
        f"{len(rest):,} different sentences{cut}, {np.mean(rows[0].lengths):.0f} tokens each; "
        f"{len(kept):,} held out"
    )
    return Sentences(rows[0], rows[1])


def check_sentences(settings: EmbedderSettings) -> None:
    """Look into the files of sentences before anything is begun.

    Raises:
        TinybertError: as :func:`read_sentences`, as far as it can be known without reading all.
    """
    for name in settings.sentences:
        path = Path(name).expanduser()
        if not path.is_file() or ending_of(path) is not None:
            for part in _parts(name, Reporter(quiet=True)):
                choose_columns(part, settings.text, None, [])
        elif path.stat().st_size == 0:
            raise TinybertError(f"{path} holds no text: it is empty.")


def _counted(sentences: Iterable[str], advance: object, most: int | None) -> Iterator[str]:
    assert callable(advance)
    for number, sentence in enumerate(sentences, 1):
        if number % 1000 == 0:
            advance(1000)
        yield sentence
        if number == most:
            return


def _of_corpus(settings: EmbedderSettings, tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    built = [name for name in settings.corpus if is_corpus(Path(name).expanduser())]
    if built:
        rows = open_corpus(Path(built[0]).expanduser(), tokenizer, verify=False)
        for start in range(0, len(rows), _DECODED):
            blocks = range(start, min(start + _DECODED, len(rows)))
            for text in tokenizer.batch_decode(
                [rows.block(i).tolist() for i in blocks], skip_special_tokens=True
            ):
                yield from split_sentences(text)
        return
    column = None if settings.sentences else settings.text
    for piece in read_all(find_sources(settings.corpus, column)):
        yield from split_sentences(piece.text)


def _named(settings: EmbedderSettings, reporter: Reporter) -> Iterator[str]:
    """Sentences of files of their own: lines, or the texts of rows."""
    for name in settings.sentences:
        path = Path(name).expanduser()
        if path.is_file() and ending_of(path) is None:
            with open_text(path) as stream:
                yield from filter(None, (line.strip() for line in stream))
            continue
        for part in _parts(name, reporter):
            notes: list[str] = []
            columns = choose_columns(part, settings.text, None, notes)
            reporter.say(f"{name}: {notes[0] if notes else f'text: {columns.text}'}")
            columns = replace(columns, label=None)  # whatever they are, they are not read
            for texts in read_part(part, columns, "sentences", reporter).texts:
                yield from texts


def _parts(name: str, reporter: Reporter) -> Sequence[Part]:
    """All rows, or the training rows where there are parts."""
    source = open_source(name, reporter)
    if source.whole is not None:
        return [source.whole]
    return [source.part("train")]
