"""Cut a model's vocabulary to what text and rows need; tell what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import tokenize
from tinybert.corpus import find_sources
from tinybert.errors import TinybertError
from tinybert.evaluation import predict
from tinybert.jobs.common import required
from tinybert.jobs.predict import glue_outputs
from tinybert.jobs.row_tasks import scores_on
from tinybert.jobs.rows import task_texts
from tinybert.jobs.word_tasks import refuse_words
from tinybert.measure.latency import check_length
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.settings import TrimSettings
from tinybert.settings.kinds import own_task
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.task import Rows, TaskData
from tinybert.teachers import aligned_labels, has_head, head_labels, load_tokenizer
from tinybert.vocabulary import cut_by_texts, lines_of
from tinybert.vocabulary.embeddings import load_whole
from tinybert.vocabulary.rewriting import Pieces
from tinybert.work import check_apart

__all__ = ["run_trim"]


def run_trim(settings: TrimSettings, reporter: Reporter) -> dict[str, Any]:
    """Cut, and print and return the figures.

    Raises:
        TinybertError: whatever is wrong with model, text, rows or output, in one sentence.
    """
    path = required(settings.model, "--model", "the model")
    refuse_words(settings.task, "trim", "name the text whose pieces are kept with --corpus")
    output = check_output(
        required(settings.output, "--output", "the output directory"), settings.overwrite
    )
    names = ("corpus", "data", "dev", "test", "model")
    check_apart(output, **{name: getattr(settings, name) for name in names})
    has_rows = settings.data is not None or not own_task(settings.task)
    if not has_rows and not settings.corpus:
        raise TinybertError(
            "the text is missing: give text with --corpus, or rows with --data, whose pieces are "
            "to be kept."
        )
    Pieces(load_tokenizer(path))  # a tokenizer that cannot be cut is told before text is read
    sources = []
    if settings.corpus:
        sources = find_sources(settings.corpus, None if has_rows else settings.text)
    data = task_texts(settings, reporter) if has_rows else None
    order = None if data is None else _order(path, settings, data)
    if order is not None:
        check_length(load_whole(path), settings.max_length)

    def texts() -> Iterator[str]:
        if sources:
            yield from lines_of(sources, reporter)
        if data is not None:
            with reporter.track(len(data.train), "counting pieces", unit="rows") as progress:
                for row in data.train.texts:
                    progress.advance()
                    yield from row

    def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        assert data is not None
        assert data.test is not None
        cast(nn.Module, model).float()
        rows = tokenize(tokenizer, data.test.texts, settings.max_length)
        with reporter.track(len(rows), "answering test rows", unit="rows") as progress:
            logits = predict(model, rows, advance=progress.advance)
        return scores_on(data.task, data.test, logits[:, order])

    report = cut_by_texts(
        path,
        texts(),
        output,
        reporter,
        pieces=settings.pieces,
        min_count=settings.min_count,
        others=None if data is None else _others(data),
        named="dev and test rows",
        score=None if order is None else score,
        overwrite=settings.overwrite,
        dry_run=settings.dry_run,
    )
    figures = report.figures()
    reporter.table(f"{path} with fewer pieces", ["", "before", "after"], _shown(figures))
    examples = [] if report.coverage is None else report.coverage.examples
    _tell(figures, examples, output, settings.dry_run, reporter)
    return figures


def _others(data: TaskData) -> list[str]:
    """Texts of all rows that are not counted."""
    parts = [data.dev, data.test, *data.extra.values()]
    return [text for part in parts if part is not None for row in part.texts for text in row]


def _order(path: str, settings: TrimSettings, data: TaskData) -> list[int] | None:
    """The model's output for each class of the rows; None where there is nothing to score.

    Raises:
        TinybertError: the model's outputs are not the rows' labels.
    """
    rows: Rows | None = data.test
    if rows is None or rows.labels is None or not has_head(path, data.task.answering):
        return None
    names = head_labels(path)
    if not own_task(settings.task):
        return glue_outputs(find_glue_task(settings.task), names)
    regression = data.task.kind == "regression"
    if regression != (len(names) == 1) and data.task.kind != "multi-label":
        gives = "one value" if len(names) == 1 else f"{len(names)} classes"
        raise TinybertError(
            f"{path} gives {gives} and the rows' labels were read as {data.task.kind}: give rows "
            "of the model's task, or say which it is with --task."
        )
    if regression:
        return [0]
    try:
        return aligned_labels(names, data.task.label_names)
    except TinybertError:
        raise TinybertError(
            f"{path} answers with {', '.join(names[:10])} and the rows' labels are "
            f"{', '.join(data.task.label_names[:10])}: give rows of the model's task, or text "
            "alone with --corpus."
        ) from None


def _shown(figures: dict[str, Any]) -> list[list[str]]:
    before, after = figures["before"], figures["after"]
    rows = [[name, f"{before[name]:,}", f"{after[name]:,}"] for name in ("pieces", "parameters")]
    rows.append(["weights", *(f"{size['bytes'] / 1e6:.1f} MB" for size in (before, after))])
    if coverage := figures["coverage"]:
        rows += [
            ["unknown tokens", *(f"{100 * coverage[name]:.2f} %" for name in _UNKNOWN)],
            ["tokens a text", *(f"{coverage[n] / coverage['texts']:.1f}" for n in _LENGTHS)],
        ]
    if scores := figures["scores"]:
        rows += [
            [name, f"{value:.4f}", f"{scores['after'][name]:.4f}"]
            for name, value in scores["before"].items()
        ]
    return rows


_UNKNOWN = ("unknown_rate", "unknown_rate_after")
_LENGTHS = ("tokens", "tokens_after")


def _tell(
    figures: dict[str, Any],
    examples: list[tuple[str, str]],
    output: Path,
    dry_run: bool,
    reporter: Reporter,
) -> None:
    reporter.say(
        f"counted {figures['tokens']:,} tokens in {figures['texts']:,} texts; "
        f"{100 * figures['tokens_kept']:.2f} % of them keep their piece; {figures['always']:,} "
        "pieces stay whatever the text"
    )
    if coverage := figures["coverage"]:
        shares = [coverage[f"share_of_{name}_kept"] for name in ("texts", "words", "tokens")]
        told = ", ".join(
            f"{100 * share:.2f} % of the {name}"
            for share, name in zip(shares, ("texts", "words", "tokens"), strict=True)
            if share is not None
        )
        reporter.say(f"read as before, on {figures['compared_on']}: {told}")
        for old, new in examples:
            reporter.say(f"  {old}  →  {new}")
    if dry_run:
        reporter.say("a dry run: nothing was written")
    else:
        reporter.say(f"written to {output}")
