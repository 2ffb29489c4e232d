"""Build a corpus of tokens, and show what is in one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from tinybert.corpus import build_corpus, find_sources, open_corpus, read_manifest
from tinybert.corpus.files import Manifest
from tinybert.corpus.sample import take_sample
from tinybert.corpus.sources import TextSource
from tinybert.jobs.common import check_json, required
from tinybert.outputs import check_output, write_json_whole
from tinybert.progress import Reporter, duration
from tinybert.settings import CorpusBuildSettings, CorpusShowSettings
from tinybert.teachers import load_tokenizer
from tinybert.work import check_apart

__all__ = ["run_corpus_build", "run_corpus_show"]

_BARS = 12
_BAR_WIDTH = 40


def run_corpus_build(settings: CorpusBuildSettings, reporter: Reporter) -> dict[str, Any]:
    """Tokenize text into a corpus; returns its counts, time and speed.

    Raises:
        TinybertError: whatever is wrong with text, tokenizer or output, in one sentence.
    """
    required(settings.corpus, "--corpus", "the text")
    path = required(settings.teacher, "--teacher", "the encoder whose tokens are wanted")
    output = Path(required(settings.output, "--output", "the output directory"))
    tokenizer = load_tokenizer(path)
    check_output(output, settings.overwrite)
    check_apart(output, corpus=settings.corpus, teacher=path)
    sources = find_sources(settings.corpus, settings.text)
    for note in [note for source in sources for note in source.notes]:
        reporter.say(note)
    if settings.dry_run:
        return _plan(settings, sources, tokenizer, reporter)
    begun = time.perf_counter()
    manifest = build_corpus(
        sources,
        tokenizer,
        output,
        max_length=settings.max_length,
        reporter=reporter,
        threads=settings.threads,
        resume=settings.resume,
        overwrite=settings.overwrite,
    )
    seconds = time.perf_counter() - begun
    results = _counts(manifest) | {
        "seconds": seconds,
        "tokens_per_second": manifest.tokens / seconds,
    }
    reporter.say(
        f"{manifest.tokens:,} tokens in {manifest.blocks:,} blocks of {manifest.documents:,} "
        f"documents, {duration(seconds)}: go on with `tinybert general --corpus {output}`"
    )
    return results


def run_corpus_show(settings: CorpusShowSettings, reporter: Reporter) -> dict[str, Any]:
    """Print and return counts, lengths and samples of a corpus; checks its checksums.

    Raises:
        TinybertError: no corpus, or one whose shards are not as they were written.
    """
    directory = Path(required(settings.corpus, "--corpus", "the corpus"))
    check_json(settings.json)
    manifest = read_manifest(directory)
    rows = open_corpus(directory, reporter=reporter)
    tokenizer = load_tokenizer(directory / "tokenizer")
    used = np.zeros(manifest.vocabulary, dtype=bool)
    unknown = 0
    for part in rows.parts():
        used[np.unique(part)] = True
        if tokenizer.unk_token_id is not None:
            unknown += int(np.count_nonzero(part == tokenizer.unk_token_id))
    chosen = np.random.default_rng(settings.seed).permutation(len(rows))[: settings.samples]
    samples = [tokenizer.decode(rows.block(int(i))) for i in np.sort(chosen)]
    results = _counts(manifest) | {
        "sources": manifest.sources,
        "lengths": manifest.lengths,
        "vocabulary": manifest.vocabulary,
        "vocabulary_used": int(used.sum()),
        "unknown": unknown,
        "samples": samples,
    }
    _show(directory, results, reporter)
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def _counts(manifest: Manifest) -> dict[str, Any]:
    return {
        "documents": manifest.documents,
        "blocks": manifest.blocks,
        "tokens": manifest.tokens,
        "max_length": manifest.max_length,
        "shards": len(manifest.shards),
        "bytes": sum(size for s in manifest.shards for size, _ in s.files.values()),
    }


def _plan(
    settings: CorpusBuildSettings,
    sources: list[TextSource],
    tokenizer: Any,
    reporter: Reporter,
) -> dict[str, Any]:
    """Tokenize the beginning in memory, and tell what the whole will take."""
    sample = take_sample(sources, tokenizer, settings.max_length)
    tokens, share = int(sample.rows.lengths.sum()), sample.share
    plan: dict[str, Any] = {
        "sources": [source.name for source in sources],
        "sampled_tokens": tokens,
        "tokens_per_second": tokens / sample.seconds,
        "tokens": None if share is None else round(share * tokens),
        "seconds": None if share is None else share * sample.seconds,
        "bytes": sample.bytes_to_write,
    }
    known = share is not None
    lines: list[list[str | None]] = [
        ["text", f"{len(sources)} files or data sets"],
        ["tokens", f"about {plan['tokens']:,}" if known else "nobody knows the text's length"],
        ["speed", f"{plan['tokens_per_second']:,.0f} tokens/s, one thread"],
        ["time", f"about {duration(plan['seconds'] or 0)}, one thread" if known else None],
        ["disk", f"about {plan['bytes'] / 1e9:.2g} GB" if known else None],
    ]
    reporter.table("plan", ["what", "value"], lines)
    return plan


def _show(directory: Path, results: dict[str, Any], reporter: Reporter) -> None:
    tokens, blocks = results["tokens"], results["blocks"]
    shown = results["sources"][:3]
    more = len(results["sources"]) - len(shown)
    lines = [
        ["text", ", ".join(shown) + (f" and {more} more" if more else "")],
        ["documents", f"{results['documents']:,}"],
        ["blocks", f"{blocks:,} of at most {results['max_length']} tokens"],
        ["tokens", f"{tokens:,}, {tokens / blocks:.1f} a block"],
        ["vocabulary", f"{results['vocabulary_used']:,} of {results['vocabulary']:,} pieces used"],
        ["unknown", f"{results['unknown']:,} tokens, {results['unknown'] / tokens:.3%}"],
        ["disk", f"{results['bytes'] / 1e6:,.1f} MB in {results['shards']} shards, checksums fit"],
    ]
    reporter.table(f"corpus {directory}", ["what", "value"], lines)
    reporter.table("lengths of blocks", ["tokens", "blocks", "share"], _histogram(results))
    if results["samples"]:
        reporter.table(
            "blocks drawn at random", ["text"], [[" ".join(s.split())] for s in results["samples"]]
        )


def _histogram(results: dict[str, Any]) -> list[list[str]]:
    """Lengths in a dozen ranges, with bars."""
    width = -(-results["max_length"] // _BARS)
    counts = [0] * (-(-(results["max_length"] + 1) // width))
    for length, count in results["lengths"].items():
        counts[length // width] += count
    most = max(counts)
    lines = []
    for i, count in enumerate(counts):
        last = min((i + 1) * width - 1, results["max_length"])
        name = f"{i * width} to {last}" if last > i * width else str(last)
        bar = "█" * round(_BAR_WIDTH * count / most)
        lines.append([name, f"{count:,}", f"{count / results['blocks']:6.1%} {bar}".rstrip()])
    return lines
