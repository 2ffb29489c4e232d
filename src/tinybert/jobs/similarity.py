"""The label-free check: a model's similarities of sentences, people's and the teacher's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import tokenize
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.jobs.common import check_json, described
from tinybert.measure.latency import check_length
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.sentence_modules import SentenceHead, read_head
from tinybert.settings import EvaluateSettings
from tinybert.similarity import SentencePairs, similarity_figures, similarity_watch
from tinybert.tasks.labels import values_of
from tinybert.tasks.reading.columns import choose_columns
from tinybert.tasks.reading.formats import ending_of
from tinybert.tasks.reading.rows import read_part
from tinybert.tasks.reading.sources import open_source
from tinybert.tasks.reading.streams import open_text
from tinybert.teachers import load_encoder, load_tokenizer, tokenizer_print

__all__ = ["read_pairs", "run_similarity", "sentence_head", "watched"]

MAX_LENGTH = 128
SENTENCES = 2000
"""Of a plain text, taken from its beginning."""
DRAWN = 10_000
"""Pairs of them, drawn at random."""


def run_similarity(settings: EvaluateSettings, reporter: Reporter) -> dict[str, Any]:
    """Print and return the figures of ``tinybert evaluate --similarity``.

    Raises:
        TinybertError: pairs that cannot be read or say nothing; neither scores nor a teacher.
    """
    for name in ("data", "task", "metric"):
        if getattr(settings, name) is not None:
            raise TinybertError(
                f"--similarity needs no --{name}: leave it out, or leave out --similarity."
            )
    check_json(settings.json)
    assert settings.model is not None
    assert settings.similarity is not None
    model, tokenizer = load_encoder(settings.model), load_tokenizer(settings.model)
    check_length(model, settings.max_length)
    pairs = read_pairs(
        settings.similarity,
        tokenizer,
        max_length=settings.max_length,
        text=settings.text,
        label=settings.label,
        reporter=reporter,
    )
    if pairs.scores is None and settings.teacher is None:
        raise TinybertError(
            f"{settings.similarity} has no scores: name their column with --label, or give a "
            "teacher to agree with by --teacher."
        )
    head = sentence_head(settings.model, settings.pooling)
    if settings.pooling == "auto" and read_head(settings.model) is not None:
        reporter.say(f"{settings.model} makes its vectors by its own modules: {head.told}")
    own = _cosines(pairs, model, head, "the model", reporter)
    results: dict[str, Any] = {"model": described(model, None), "pairs": len(pairs)}
    if settings.teacher is None:
        results |= similarity_figures(own, pairs.scores)
    else:
        teacher, its_tokenizer = load_encoder(settings.teacher), load_tokenizer(settings.teacher)
        check_length(teacher, settings.max_length)
        its = pairs
        if tokenizer_print(its_tokenizer) != tokenizer_print(
            tokenizer
        ):  # its own tokens of the same texts
            its = read_pairs(
                settings.similarity,
                its_tokenizer,
                max_length=settings.max_length,
                text=settings.text,
                label=settings.label,
            )
        its_head = sentence_head(settings.teacher, settings.pooling)
        theirs = _cosines(its, teacher, its_head, "the teacher", reporter)
        results |= similarity_figures(own, pairs.scores, theirs)
        results["teacher"] = described(teacher, None) | similarity_figures(theirs, pairs.scores)
    _show(settings, results, reporter)
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def sentence_head(path: str | Path, pooling: str) -> SentenceHead:
    """What makes a model's vectors: its own modules with ``auto``, or plain pooling.

    Raises:
        TinybertError: modules that are not ours.
    """
    if pooling == "auto":
        return read_head(path) or SentenceHead("mean")
    return SentenceHead("cls" if pooling == "cls" else "mean")


def watched(
    given: str,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
    longest: int | None,
) -> Callable[[Distiller], dict[str, float]]:
    """What ``--watch`` adds to every evaluation of a general student; both models take ``longest``
    tokens at most, None where nothing bounds them."""
    longest = min(MAX_LENGTH, longest or MAX_LENGTH)
    pairs = read_pairs(given, tokenizer, max_length=longest, reporter=reporter)
    theirs = _cosines(pairs, teacher, "mean", "the teacher", reporter)
    if pairs.scores is not None:
        score = similarity_figures(theirs, pairs.scores)["similarity_spearman"]
        reporter.say(f"{given}: the teacher's similarities go with the scores by {score:.4f}")
    return similarity_watch(pairs, theirs)


def read_pairs(
    given: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int = MAX_LENGTH,
    text: str | None = None,
    label: str | None = None,
    reporter: Reporter | None = None,
) -> SentencePairs:
    """Pairs of sentences with or without scores; of a plain text, pairs drawn at random.

    Args:
        given: a file of rows, a directory or a Hub data set with two text columns; or a text file,
            one sentence a line.
        tokenizer: of the model.
        max_length: tokens a sentence.
        text, label: columns; guessed and told where None.
        reporter: tells what was guessed.

    Raises:
        TinybertError: it cannot be read; one text column; fewer than three pairs; scores that are
            no numbers or all the same.
    """
    reporter = reporter or Reporter(quiet=True)
    path = Path(given).expanduser()
    if path.is_file() and ending_of(path) is None:
        return _drawn(path, tokenizer, max_length, reporter)
    source = open_source(given, reporter)
    notes = list(source.notes)
    part = source.whole or source.part("dev" if "dev" in source.parts else "test")
    columns = choose_columns(part, text, label, notes)
    if len(columns.text) != 2:
        raise TinybertError(
            f"{given} has one text a row ('{columns.text[0]}'), and similarities need two: name "
            "both columns with --text one,other, or give a text file of one sentence a line."
        )
    table = read_part(part, columns, "pairs", reporter)
    for note in notes:
        reporter.say(note)
    if len(table.texts) < 3:
        raise TinybertError(f"{given} has {len(table.texts)} pairs: give three or more.")
    scores = None
    if not table.is_unlabelled:
        assert table.labels is not None
        with columns.about_label():
            scores = values_of(table.labels, table.places, table.name).astype(np.float64)
            if np.ptp(scores) == 0:
                raise TinybertError(f"{given}: all scores are the same, which ranks nothing.")
    sentences = [(sentence,) for pair in table.texts for sentence in pair]
    numbers = np.arange(len(table.texts), dtype=np.int64)
    rows = tokenize(tokenizer, sentences, max_length)
    return SentencePairs(rows, 2 * numbers, 2 * numbers + 1, scores)


def _drawn(
    path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int, reporter: Reporter
) -> SentencePairs:
    with open_text(path) as stream:
        lines = (line.strip() for line in stream)
        sentences = [(line,) for line in islice(filter(None, lines), SENTENCES)]
    if len(sentences) < 3:
        raise TinybertError(f"{path} has {len(sentences)} sentences: give three or more.")
    rng = np.random.default_rng(0)
    first = rng.integers(0, len(sentences), DRAWN)
    second = (first + rng.integers(1, len(sentences), DRAWN)) % len(sentences)
    reporter.say(f"{path}: {len(sentences):,} sentences, {DRAWN:,} pairs of them drawn at random")
    return SentencePairs(tokenize(tokenizer, sentences, max_length), first, second)


def _cosines(
    pairs: SentencePairs, model: PreTrainedModel, pooling: Any, what: str, reporter: Reporter
) -> NDArray[np.float64]:
    with reporter.track(len(pairs.rows), f"sentences of {what}", unit="rows") as progress:
        return pairs.cosines(model, pooling, progress.advance)


_NAMES = {
    "similarity_spearman": "Spearman against the scores",
    "similarity_pearson": "Pearson against the scores",
    "similarity_agreement": "Spearman against the teacher's",
    "similarity_gap": "mean difference from the teacher's",
}


def _show(settings: EvaluateSettings, results: dict[str, Any], reporter: Reporter) -> None:
    teacher = results.get("teacher", {})
    lines = [
        [told, f"{results[name]:.4f}", f"{teacher[name]:.4f}" if name in teacher else None]
        for name, told in _NAMES.items()
        if name in results
    ]
    sizes = [f"{m['parameters']:,}" if m else None for m in (results["model"], teacher)]
    lines.append(["parameters", *sizes])
    columns = ["figure", "model", "teacher"]
    if not teacher:
        columns, lines = columns[:2], [line[:2] for line in lines]
    reporter.table(f"similarities of {results['pairs']:,} pairs", columns, lines)
