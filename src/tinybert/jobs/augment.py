"""Data augmentation: training rows to shards of their copies (TinyBERT, Algorithm 1)."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.augmentation.build import Augmenter, Place, build_augmentation
from tinybert.augmentation.masked_lm import Guesser, load_masked_lm
from tinybert.augmentation.recipe import Recipe, WordFilter, read_stop_words, recipe_of
from tinybert.augmentation.sampler import Copy, Slots
from tinybert.augmentation.shards import ShardWriter
from tinybert.augmentation.vector_files import read_vectors
from tinybert.augmentation.word_vectors import nearest_words
from tinybert.choices import fast_bfloat16, refusal_of_bfloat16
from tinybert.errors import TinybertError
from tinybert.jobs.common import required, versions
from tinybert.jobs.rows import task_texts, texts_print
from tinybert.jobs.word_tasks import refuse_words
from tinybert.measure.latency import longest_input
from tinybert.outputs import check_output
from tinybert.processes import this_device, this_process
from tinybert.progress import Reporter, duration
from tinybert.settings import AugmentSettings
from tinybert.settings.kinds import own_task
from tinybert.tasks.task import Rows, Task, TaskData
from tinybert.teachers import fingerprint, tokenizer_print
from tinybert.work import check_apart

__all__ = ["run_augment"]

EXAMPLES_SHOWN = 3
NEIGHBOURS = 50
MEASURED_TEXTS = 64
LOOKED_AT = 200


class _Words:
    """The models that words come from."""

    def __init__(self, settings: AugmentSettings, recipe: Recipe, reporter: Reporter) -> None:
        path = str(required(settings.masked_lm, "--masked-lm", "the masked language model"))
        self.settings, self.recipe, self.reporter, self.path = settings, recipe, reporter, path
        self.model: PreTrainedModel
        self.tokenizer: PreTrainedTokenizerBase
        self.model, self.tokenizer = load_masked_lm(path)
        self.longest = longest_input(self.model) or 512
        self.print = fingerprint(self.model)
        if settings.vectors is not None and not Path(settings.vectors).expanduser().is_file():
            raise TinybertError(f"there is no file of word vectors {settings.vectors}.")
        if settings.vectors is not None:  # before hours of guessing
            read_vectors(settings.vectors, lines=LOOKED_AT)
        self.device = this_device()
        self._guesser: Guesser | None = None
        self._precision: str | None = None
        if settings.guess_precision != "auto":  # one that cannot be is told before the run
            self.precision()

    def precision(self) -> str:
        if self._precision is None:
            self._precision = self._chosen_precision()
        return self._precision

    def _chosen_precision(self) -> str:
        wanted = self.settings.guess_precision
        if wanted == "float32" or (wanted == "auto" and not fast_bfloat16(self.device)[0]):
            return "float32"
        refusal = refusal_of_bfloat16(self.model, self.device)
        if refusal and wanted != "auto":
            raise TinybertError(
                f"--guess-precision {wanted}: {refusal}: give float32, or leave it out."
            )
        if refusal:
            self.reporter.say(f"guessing in float32: {refusal}")
        return "float32" if refusal else "bfloat16"

    def identity(self) -> dict[str, Any]:
        """What makes these words what they are; how fast the machine is, is no part of it."""
        file = None if self.settings.vectors is None else Path(self.settings.vectors).expanduser()
        return {
            "masked_lm_weights": self.print,
            "tokenizer": tokenizer_print(self.tokenizer),
            "vectors": None if file is None else file.name,
            "vectors_bytes": None if file is None else file.stat().st_size,
            "guess_precision": self.settings.guess_precision,
            "stop_list": self._stop_print(),
        }

    def _stop_print(self) -> str | None:
        if self.recipe.stop_words == "replace":
            return None
        words = sorted(read_stop_words(self.settings.stop_list))
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    def filter(self) -> WordFilter:
        stops = self.recipe.stop_words != "replace"
        return WordFilter(self.recipe, read_stop_words(self.settings.stop_list) if stops else ())

    def guesser(self, precision: str) -> Guesser:
        if self._guesser is None:
            self._guesser = Guesser(
                self.model,
                self.tokenizer,
                precision=precision,
                device=self.device,
                threads=self.settings.threads,
            )
        return self._guesser

    def neighbours(self, words: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Nearest words; none where no vectors were given, which is said."""
        if self.settings.vectors is None:
            if words:
                self.reporter.say(
                    f"{len(words):,} words of several pieces stay as they are: --vectors would "
                    "give candidates for them"
                )
            return {}
        found = nearest_words(
            self.settings.vectors,
            words,
            k=max(NEIGHBOURS, self.recipe.candidates),
            lines=self.recipe.vector_lines,
            reporter=self.reporter,
            cache=self.settings.show is None and not self.settings.dry_run,
        )
        for note in found.notes:
            self.reporter.say(note)
        if found.unknown:
            self.reporter.say(
                f"{found.unknown:,} of {len(words):,} words of several pieces have no vector and "
                "stay as they are"
            )
        return found.of


def run_augment(settings: AugmentSettings, reporter: Reporter) -> dict[str, Any]:
    """Augment the training rows; returns what was made, with examples.

    With ``show`` some rows and copies are printed and nothing is written; with ``dry_run`` a
    little is measured, and the plan is printed and returned.
    """
    begun = time.perf_counter()
    refuse_words(settings.task, "augment", "copies are made of whole texts with a label")
    required(settings.data or not own_task(settings.task),
             "--data", "the training data")  # fmt: skip
    writes = settings.show is None and not settings.dry_run
    place = _place()
    output = settings.output
    if writes:
        output = Path(required(output, "--output", "the output directory"))
        read = {n: getattr(settings, n) for n in ("data", "dev", "test", "masked_lm", "vectors")}
        if place.main:
            check_output(output, settings.overwrite)
        check_apart(output, **read)
    data = task_texts(settings, reporter)
    task = settings.task.strip().casefold()  # GLUE's, not a file that is named like it
    recipe = recipe_of(settings, settings.mode, task, settings.max_length, settings.seed)
    words = _Words(settings, recipe, reporter)
    if settings.show is not None:
        return _show(settings, data, words, reporter)
    if not writes:
        return _dry_run(settings, data, words, reporter)
    assert output is not None
    return augmented(settings, data.task, data.train, words, output, reporter, begun)


def augmented(
    settings: AugmentSettings,
    task: Task,
    train: Rows,
    words: _Words,
    output: Path,
    reporter: Reporter,
    begun: float,
) -> dict[str, Any]:
    """Write the augmentation of ``train``, and tell what was made."""
    augmenter = Augmenter(train.texts, words.recipe, words.filter(), words.tokenizer, words.longest)
    _tell_recipe(words, augmenter, reporter)
    place = _place()
    manifest = build_augmentation(
        augmenter,
        words.guesser,
        words.neighbours,
        ShardWriter(task.text_columns, label_column(task, train)),
        output,
        identity=words.identity(),
        precision=words.precision,
        rows_fingerprint=texts_print(train),
        shard_rows=settings.shard_rows,
        place=place,
        reporter=reporter,
        resume=settings.resume,
        overwrite=settings.overwrite,
    )
    results = {
        "output": str(output),
        **asdict(manifest.counts),
        "copies_a_row": manifest.counts.copies / max(1, manifest.counts.rows),
        "share_changed": manifest.counts.changed / max(1, manifest.counts.words),
        "recipe": manifest.recipe,
        "models": manifest.models,
        "seconds": round(time.perf_counter() - begun, 1),
        "versions": versions(),
    }
    if place.main:
        _tell(results, output, manifest.shards[0], task, reporter)
    return results


def label_column(task: Task, rows: Rows) -> tuple[str, Sequence[Any]] | None:
    """Name and values of the label column: class names, or numbers."""
    if rows.labels is None or task.label_column is None:
        return None
    if task.kind == "regression":
        return task.label_column, [float(value) for value in rows.labels.tolist()]
    if task.kind == "multi-label":
        names = np.asarray(task.label_names, dtype=object)
        return task.label_column, [";".join(names[has]) for has in np.asarray(rows.labels)]
    return task.label_column, [task.label_names[int(i)] for i in rows.labels.tolist()]


def _place() -> Place:
    state = this_process()
    return Place(state.process_index, state.num_processes, state.wait_for_everyone)


def _tell_recipe(words: _Words, augmenter: Augmenter, reporter: Reporter) -> None:
    recipe = words.recipe
    reporter.say(
        f"{recipe.mode}: {recipe.copies} copies a {'text' if recipe.reference else 'row'}, words "
        f"replaced with probability {recipe.probability:g} by one of {recipe.candidates}; "
        f"{len(augmenter.distinct):,} different texts in {len(augmenter.rows):,} rows"
    )


def _tell(
    results: dict[str, Any], output: Path, shard: str, task: Task, reporter: Reporter
) -> None:
    import pyarrow.parquet as pq

    reporter.table(
        "augmentation",
        ["what", "value"],
        [
            ["rows", f"{results['rows']:,}"],
            ["copies", f"{results['copies']:,} ({results['copies_a_row']:.1f} a row)"],
            ["words changed", f"{100 * results['share_changed']:.1f} %"],
            ["duplicates dropped", f"{results['duplicates']:,}"],
            ["rows without a copy", f"{results['unchanged_rows']:,}"],
            ["time", duration(results["seconds"])],
        ],
    )
    file = pq.ParquetFile(output / shard)
    head = next(file.iter_batches(12, columns=list(task.text_columns)), None)
    lines = [] if head is None else head.to_pylist()
    for line in lines[: EXAMPLES_SHOWN + 1]:
        reporter.say("  " + " | ".join(line.values()))
    reporter.say(
        f"written to {output}: go on with `tinybert distill --augment {output}` and the same data"
    )


def _sampled(data: TaskData, count: int, seed: int) -> tuple[list[int], list[tuple[str, ...]]]:
    size = len(data.train)
    chosen = np.random.default_rng(seed).permutation(size)[:count]
    rows = sorted(int(i) for i in chosen)
    return rows, [data.train.texts[i] for i in rows]


def _slots(
    augmenter: Augmenter, words: _Words, texts: Sequence[tuple[str, ...]]
) -> list[list[Slots]]:
    """A few rows with their candidates, in memory."""
    flat = [text for row in texts for text in row]
    sentences = augmenter.split(flat)
    guesses = words.guesser(words.precision()).guesses(
        sentences, augmenter.wanted, augmenter.words.choice(augmenter.pieces)
    )
    several = {w.text for s in sentences for w in s.words if w.place is None}
    near = words.neighbours(sorted(w for w in several if augmenter.words.replaces(w)))
    slots = [augmenter.slots(s, g, near) for s, g in zip(sentences, guesses, strict=True)]
    width = len(texts[0])
    return [slots[i : i + width] for i in range(0, len(slots), width)]


def _show(
    settings: AugmentSettings, data: TaskData, words: _Words, reporter: Reporter
) -> dict[str, Any]:
    assert settings.show is not None
    rows, texts = _sampled(data, settings.show, settings.seed)
    augmenter = Augmenter(texts, words.recipe, words.filter(), words.tokenizer, words.longest)
    shown = []
    for row, original, slots in zip(rows, texts, _slots(augmenter, words, texts), strict=True):
        made = augmenter.copies(row, slots)
        reporter.heading(f"row {row}: " + " | ".join(original))
        copies = made.copies[: EXAMPLES_SHOWN + 2]
        for copy in copies:
            reporter.markup("  " + " | ".join(coloured(original, copy)))
        if not copies:
            reporter.say("  no word of it can be replaced")
        shown.append({"row": row, "texts": original, "copies": [c.texts for c in copies]})
    return {"shown": shown}


def coloured(original: Sequence[str], copy: Copy) -> list[str]:
    """The texts of a copy with its new words marked, in rich's markup.

    >>> from tinybert.augmentation.sampler import Change
    >>> coloured(["a good one"], Copy(("a fine one",), (Change(0, 2, "good", "fine"),)))
    ['a [bold green]fine[/bold green] one']
    """
    marked = []
    for i, text in enumerate(original):
        parts, done = [], 0
        for change in (c for c in copy.changes if c.text == i):
            parts.append(escape(text[done : change.start]))
            parts.append(f"[bold green]{escape(change.to)}[/bold green]")
            done = change.start + len(change.word)
        marked.append("".join(parts) + escape(text[done:]))
    return marked


def _dry_run(
    settings: AugmentSettings, data: TaskData, words: _Words, reporter: Reporter
) -> dict[str, Any]:
    _, texts = _sampled(data, MEASURED_TEXTS, settings.seed)
    few = Augmenter(texts, words.recipe, words.filter(), words.tokenizer, words.longest)
    guesser, choice = words.guesser(words.precision()), few.words.choice(few.pieces)
    sentences = few.split([text for row in texts for text in row])
    guesser.guesses(sentences[:2], few.wanted, choice)  # the first pass is slower
    begun = time.perf_counter()
    guesser.guesses(sentences, few.wanted, choice)
    seconds = (time.perf_counter() - begun) / max(1, len(sentences))
    whole = Augmenter(data.train.texts, words.recipe, few.words, words.tokenizer, words.longest)
    turns = len(texts[0]) if words.recipe.reference else 1
    copies = words.recipe.copies * turns * len(data.train)
    plan: dict[str, Any] = {
        "rows": len(data.train),
        "different_texts": len(whole.distinct),
        "copies": copies,
        "seconds_a_text": seconds,
        "guessing_seconds": seconds * len(whole.distinct),
        "precision": words.precision(),
    }
    with tempfile.TemporaryDirectory(prefix="tinybert-") as folder:
        plan["bytes"] = _bytes_a_copy(Path(folder), few, data, words) * copies
    reporter.table(
        "plan",
        ["what", "value"],
        [
            ["rows", f"{plan['rows']:,}"],
            ["different texts", f"{plan['different_texts']:,}"],
            ["copies", f"{copies:,} at most"],
            ["guessing", f"{1000 * seconds:.3g} ms a text, {plan['precision']}"],
            ["guessing all", f"about {duration(plan['guessing_seconds'])}"],
            ["disk", f"about {plan['bytes'] / 1e6:,.0f} MB"],
        ],
    )
    return plan


def _bytes_a_copy(folder: Path, few: Augmenter, data: TaskData, words: _Words) -> float:
    slots = _slots(few, replace_quietly(words), [few.rows[i] for i in range(len(few.rows))])
    rows = []
    for i, each in enumerate(slots):
        rows.append((i, [Copy(few.rows[i]), *few.copies(i, each).copies]))
    writer = ShardWriter(data.task.text_columns, None)
    writer.write(folder / "part.parquet", rows)
    return (folder / "part.parquet").stat().st_size / max(1, sum(len(c) for _, c in rows))


def replace_quietly(words: _Words) -> _Words:
    """The same models, without talk."""
    words.reporter = Reporter(quiet=True)
    return words
