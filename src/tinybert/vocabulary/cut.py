"""A model directory with the vocabulary that given text needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.corpus.sources import TextSource, find_sources, read_all, total_size
from tinybert.errors import TinybertError
from tinybert.measure import parameters
from tinybert.outputs import check_output, whole_directory, write_json_whole
from tinybert.progress import Reporter
from tinybert.projections import PROJECTIONS_FILE
from tinybert.teachers import load_tokenizer, without_bars
from tinybert.vocabulary.card import write_trimmed_card
from tinybert.vocabulary.choosing import choose
from tinybert.vocabulary.counting import Counts, count_pieces
from tinybert.vocabulary.coverage import Coverage, compare
from tinybert.vocabulary.embeddings import cut_model, load_whole, named_ids
from tinybert.vocabulary.rewriting import Pieces, plain_backend
from tinybert.vocabulary.trained import REPORT_FILE, kept_facts

__all__ = ["REPORT_FILE", "VocabularyReport", "cut_by_texts", "cut_vocabulary", "lines_of"]

# Rows that the model answers before and after, of token ids and of text, and how far the answers
# may differ: the same rows are looked up, and smaller matrices may be multiplied in another order.
_CHECKED = 16
_TOLERANCE = 1e-4

_ODD_TEXT = 0.5
"""Share of unknown tokens from which on text is not of the model's language."""

Score = Callable[[PreTrainedModel, PreTrainedTokenizerBase], dict[str, Any]]


@dataclass
class Size:
    """Of a model: pieces of its vocabulary, parameters, bytes of its weights."""

    pieces: int
    parameters: int
    bytes: int


@dataclass
class VocabularyReport:
    """What was cut, and what it changes.

    Attributes:
        before, after: sizes.
        always: pieces that stay whatever the text.
        texts, tokens: counted; ``tokens_kept`` is the share of them whose piece is kept.
        unknown_rate: share of the counted tokens that stand for what could not be read.
        complete: whether every character of the vocabulary is a piece, so that no word becomes
            unknown that was not.
        compared_on: what ``coverage`` was measured on; None where there was nothing.
        coverage: how text is cut before and after.
        difference: largest difference of outputs on kept pieces, and on texts whose pieces are all
            kept; None of a dry run.
        scores: before and after, where there are labelled rows.
        trained: what is known of the model's training and holds after the cut too.
    """

    before: Size
    after: Size
    always: int
    texts: int
    tokens: int
    tokens_kept: float
    unknown_rate: float
    complete: bool
    compared_on: str | None = None
    coverage: Coverage | None = None
    difference: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """The report as plain data, shares included."""
        found = asdict(self)
        found["coverage"] = None if self.coverage is None else self.coverage.figures()
        return found


def cut_vocabulary(
    model: str | Path,
    texts: Sequence[str],
    output: str | Path,
    reporter: Reporter,
    *,
    column: str | None = None,
    **options: Any,
) -> VocabularyReport:
    """Write ``model`` with the pieces that the text of files needs; see :func:`cut_by_texts`.

    Args:
        model: directory or Hub name.
        texts: files, directories, globs, Hub data sets, as for a corpus.
        output: directory to write.
        reporter: tells progress.
        column: of the text in files of rows.
        options: of :func:`cut_by_texts`.
    """
    lines = lines_of(find_sources(texts, column), reporter)
    return cut_by_texts(model, lines, output, reporter, **options)


def lines_of(sources: Sequence[TextSource], reporter: Reporter) -> Iterator[str]:
    """The lines of all sources, with progress in MB."""
    for note in (note for source in sources for note in source.notes):
        reporter.say(note)
    size = total_size(sources)
    total = None if size is None else max(1, size >> 20)
    read = 0
    with reporter.track(total, "counting pieces", unit="MB") as progress:

        def advance(count: int) -> None:
            nonlocal read
            read += count
            progress.advance(min(read >> 20, total or read) - progress.done)

        for piece in read_all(sources, advance):
            yield from piece.text.split("\n")


def cut_by_texts(
    model: str | Path,
    texts: Iterable[str],
    output: str | Path,
    reporter: Reporter,
    *,
    pieces: int | None = None,
    min_count: int = 1,
    others: Iterable[str] | None = None,
    named: str = "other text",
    score: Score | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> VocabularyReport:
    """Write ``model`` with the pieces that ``texts`` need, its tokenizer cut alike.

    Kept are the pieces used, special tokens, and single characters. A word whose pieces are all
    kept is cut as before and its embeddings are the same rows, so that the model answers the same.

    Args:
        model: directory or Hub name of an encoder, with any head.
        texts: read once.
        output: directory to write, in Hugging Face's format; whole or absent.
        reporter: tells progress.
        pieces: pieces at most, the most frequent first.
        min_count: uses of a piece to be kept.
        others: text to measure coverage on. None: a tenth of ``texts``, by what the other nine
            tenths would keep.
        named: what ``others`` are, for the report.
        score: scores a model with its tokenizer.
        overwrite: replace ``output``.
        dry_run: write nothing.

    Raises:
        TinybertError: no text, or none of the model's language; a tokenizer or a model that cannot
            be cut; too few ``pieces``; ``output`` exists.
    """
    output = check_output(output, overwrite)
    tokenizer = load_tokenizer(model)
    table = Pieces(tokenizer)
    whole = load_whole(model)
    if table.size > whole.config.vocab_size:
        raise TinybertError(
            f"{model} has {table.size:,} pieces and {whole.config.vocab_size:,} embeddings: give a "
            "model whose tokenizer is its own."
        )
    always = (table.always() | named_ids(whole.config)) & {*tokenizer.get_vocab().values()}
    engine = plain_backend(tokenizer)
    counts = count_pieces(engine, texts, table.size, hold_out=others is None)
    unknown_rate = _check_text(counts, table, model)

    def chosen(found: NDArray[np.int64]) -> NDArray[np.int64]:
        return choose(found, always, table.kind.needs, most=pieces, least=min_count)

    kept = chosen(counts.pieces)
    made = cut_model(whole, kept)
    report = VocabularyReport(
        before=_size(whole, table.size),
        after=_size(made, len(kept)),
        always=len(always),
        texts=counts.texts,
        tokens=int(counts.pieces.sum()),
        tokens_kept=float(counts.pieces[kept].sum() / counts.pieces.sum()),
        unknown_rate=unknown_rate,
        complete=not table.kind.incomplete() - {*np.flatnonzero(table.special()).tolist()},
        trained=kept_facts(model),
    )
    compared: Sequence[str] = counts.held if others is None else [*others]
    if compared:
        trial = kept if others is not None else chosen(counts.pieces - counts.held_pieces)
        report.compared_on = named if others is not None else "a tenth of the text, by the rest"
        after = plain_backend(table.cut(trial))
        with reporter.track(len(compared), "comparing", unit="texts") as progress:
            report.coverage = compare(
                engine, after, compared, table.unknown, advance=progress.advance
            )
    if dry_run:
        return report
    with whole_directory(output, overwrite) as temporary:
        with without_bars():
            made.save_pretrained(temporary)
        small = table.save(kept, temporary)
        _carry(Path(model), temporary)
        read = [*counts.first, *compared]
        pairs = chain(_kept_rows(whole, kept), _texts_alike(whole, tokenizer, small, read))
        report.difference = _difference(whole, made, pairs, model)
        if score is not None:
            report.scores = {"before": score(whole, tokenizer), "after": score(made, small)}
        write_json_whole(temporary / REPORT_FILE, report.figures())
        write_trimmed_card(temporary, report.figures(), made.config, name=output.name)
    return report


def _check_text(counts: Counts, table: Pieces, model: str | Path) -> float:
    """The share of unknown tokens, if the text is one that the model can read."""
    total = int(counts.pieces.sum())
    if not total:
        raise TinybertError("there is no text to count pieces of: give some with words in it.")
    unknown = table.kind.pieces.get(table.unknown or "")
    rate = 0.0 if unknown is None else float(counts.pieces[unknown] / total)
    if rate >= _ODD_TEXT or not counts.pieces[~table.special()].any():
        raise TinybertError(
            f"{100 * rate:.0f} % of this text is {table.unknown or 'unknown'} to the tokenizer of "
            f"{model}: give text in the model's language."
        )
    return rate


def _size(model: PreTrainedModel, pieces: int) -> Size:
    tensors = {p.data_ptr(): p for p in model.parameters()}
    held = sum(p.numel() * p.element_size() for p in tensors.values())
    return Size(pieces, parameters(model), held)


def _carry(source: Path, target: Path) -> None:
    """What lies beside a model and does not depend on its pieces: projections, how it is pooled."""
    if not source.is_dir():
        return
    names = [PROJECTIONS_FILE, "modules.json", "config_sentence_transformers.json"]
    names += ["sentence_*_config.json", "[0-9]_*"]
    for path in [path for name in names for path in source.glob(name)]:
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.is_file():
            shutil.copy(path, target / path.name)


Pair = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Inputs of one row, for the model before and for the one after."""


def _longest(model: PreTrainedModel) -> int:
    return max(1, min(64, getattr(model.config, "max_position_embeddings", 64) - 4))


def _kept_rows(model: PreTrainedModel, kept: NDArray[np.int64]) -> Iterator[Pair]:
    """Rows of kept pieces from all over the vocabulary, which there are whatever the text."""
    longest = _longest(model)
    most = min(len(kept), _CHECKED * longest)
    places = np.linspace(0, len(kept) - 1, most).astype(np.int64)
    for begin in range(0, most, longest):
        new = places[begin : begin + longest]
        seen = torch.ones(1, len(new), dtype=torch.long)
        old_ids, new_ids = (torch.from_numpy(ids)[None] for ids in (kept[new], new))
        old = {"input_ids": old_ids, "attention_mask": seen}
        yield old, {"input_ids": new_ids, "attention_mask": seen}


def _texts_alike(
    model: PreTrainedModel,
    before: PreTrainedTokenizerBase,
    after: PreTrainedTokenizerBase,
    texts: Iterable[str],
) -> Iterator[Pair]:
    """The first texts that both tokenizers cut alike; there may be none."""
    options: dict[str, Any] = {"truncation": True, "max_length": _longest(model)}
    options["return_tensors"] = "pt"

    def alike() -> Iterator[Pair]:
        for text in texts:
            old, new = before(text, **options), after(text, **options)
            pieces = before.convert_ids_to_tokens(old["input_ids"][0])
            if pieces == after.convert_ids_to_tokens(new["input_ids"][0]):
                yield old, new

    return islice(alike(), _CHECKED)


@torch.no_grad()
def _difference(
    whole: PreTrainedModel, made: PreTrainedModel, pairs: Iterable[Pair], model: str | Path
) -> float:
    """The largest difference of outputs.

    Raises:
        TinybertError: the answers differ.
    """
    largest = 0.0
    for old, new in pairs:
        states = [each.base_model(**row)[0].float() for each, row in ((whole, old), (made, new))]
        difference = float((states[0] - states[1]).abs().max())
        if not difference <= _TOLERANCE:
            raise TinybertError(
                f"{model} answers otherwise with fewer pieces (by {difference:.2g}), as its "
                "positions or types follow from token ids: it cannot be cut."
            )
        largest = max(largest, difference)
    return largest
