"""Models side by side: checked, loaded each in its process, measured in turns, told."""

from __future__ import annotations

import difflib
import json
import math
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig

from tinybert.batching import TokenRows, tokenize
from tinybert.contest.exported import export_random
from tinybert.contest.figures import described, ratios
from tinybert.contest.plot import check_picture, draw
from tinybert.contest.processes import Entry, measure, running
from tinybert.contest.random_models import RANDOM, random_config, save_random
from tinybert.contest.rows import as_they_come, real_texts
from tinybert.contest.shown import markdown, tables
from tinybert.contest.worker import PASSES_A_TURN
from tinybert.contest.workloads import Feed, Workload, fixed_feeds, row_feeds
from tinybert.errors import TinybertError
from tinybert.jobs.common import check_json, required, versions
from tinybert.measure.latency import cores
from tinybert.outputs import whole_file, write_json_whole
from tinybert.progress import Reporter
from tinybert.runtimes import FORMS, available_forms, longest_row, needs
from tinybert.settings import BenchSettings
from tinybert.teachers import load_tokenizer

__all__ = ["run_bench"]


@dataclass
class _Model:
    """One that was named.

    Attributes:
        name: as it is shown.
        given: as it was named.
        directory: where it lies, or a Hub name; of a shape, once it is made.
        config: its configuration as plain data.
        forms: those that are measured.
    """

    name: str
    given: str
    directory: str
    config: dict[str, Any]
    forms: list[str]

    @property
    def random(self) -> bool:
        return self.given.endswith(RANDOM)


def run_bench(settings: BenchSettings, reporter: Reporter) -> dict[str, Any]:
    """Print and return the figures; written where asked.

    Every model in every form is a process of its own with equal threads. In every round each takes
    its turn on every workload: one pass to warm up, then timed ones. Tokenizing is not measured.

    Returns:
        ``measured`` (threads, passes, versions, processor) and ``results``, one object a model and
        form: see ``docs/reference/results.md``.

    Raises:
        TinybertError: no model, form or rows; a length beyond a model's positions; a file that
            cannot be written; an engine that is not installed or fails.
    """
    _check(settings)
    models = _models(settings)
    _check_lengths(models, settings)
    scores = _scores(models) if settings.plot is not None and settings.against == "score" else None
    threads = settings.threads or cores()
    fixed = [Workload(b, n) for b in _distinct(settings.batch) for n in _distinct(settings.length)]
    with TemporaryDirectory(prefix="tinybert-bench-") as place:
        rows = _rows(models, settings, reporter)  # what cannot be read ends it at once
        _make_shapes(models, Path(place), reporter)
        real = [Workload(b, None) for b in _distinct(settings.batch)] if rows else []
        workloads = [*fixed, *real]
        smallest = min(_vocabulary(model) for model in models)
        entries = [Entry(m.name, m.directory, form) for m in models for form in m.forms]
        by_model = {m.name: _feeds(m, workloads, rows, smallest) for m in models}
        feeds = [by_model[entry.name] for entry in entries]
        rounds = math.ceil(settings.repeats / PASSES_A_TURN)
        with running(entries, feeds, threads, reporter) as contestants:
            measure(contestants, [each.name for each in workloads], rounds, reporter)
        results = [
            described(one, workloads, of_one)
            for one, of_one in zip(contestants, feeds, strict=True)
        ]
    for result, entry in zip(results, entries, strict=True):
        if any(m.random and m.name == entry.name for m in models):
            result["path"] = None  # it is gone
    ratios(results)
    measured = {
        "threads": threads,
        "rounds": rounds,
        "passes": rounds * PASSES_A_TURN,
        "rows": len(next(iter(rows.values()))) if rows else None,
        "processor": _processor(),
        "versions": versions() | _engines(entries),
    }
    return _tell(results, measured, settings, scores, fixed, reporter)


def _tell(
    results: list[dict[str, Any]],
    measured: Mapping[str, Any],
    settings: BenchSettings,
    scores: Mapping[str, float] | None,
    fixed: Sequence[Workload],
    reporter: Reporter,
) -> dict[str, Any]:
    shown = tables(results, measured)
    for table in shown:
        reporter.table(table.title, table.columns, table.rows)
    found = {"measured": measured, "results": results}
    if settings.json is not None:
        write_json_whole(settings.json, found)
    if settings.markdown is not None:
        with whole_file(settings.markdown) as partial:
            partial.write_text(markdown(shown), encoding="utf-8")
    if settings.plot is not None:
        last = [each for each in fixed if each.batch == settings.batch[0]][-1]
        draw(settings.plot, results, last.name, scores)
    return found


# --- before anything is loaded --------------------------------------------------------------------


def _check(settings: BenchSettings) -> None:
    required(settings.models, "--models", "the model")
    for form in settings.forms:
        if form not in FORMS:
            near = difflib.get_close_matches(form, FORMS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the forms are {', '.join(FORMS)}"
            more = "" if near else " (models stand before all flags)."
            raise TinybertError(f"there is no form {form}: {hint}{more}")
    for flag, values in (("--batch", settings.batch), ("--length", settings.length)):
        if not values or min(values) < 1:
            given = " ".join(map(str, values)) or "of nothing"
            raise TinybertError(f"{flag} {given} makes no sense: it has to be 1 or more.")
    if settings.task is not None and settings.text is not None:
        raise TinybertError("--text is for data of one's own: leave it out with --task.")
    check_json(settings.json)
    check_json(settings.markdown)
    for file in (settings.json, settings.markdown):
        if file is not None and not os.access(file.absolute().parent, os.W_OK | os.X_OK):
            raise TinybertError(f"nothing may be written into {file.parent}: choose another place.")
    if settings.plot is not None:
        check_picture(settings.plot)


def _models(settings: BenchSettings) -> list[_Model]:
    given = [name.rstrip("/") or name for name in settings.models]
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        raise TinybertError(f"{twice[0]} is named twice: name every model once.")
    short = Counter(Path(name).name for name in given)
    models = []
    for name in given:
        config = _config(name)
        shown = Path(name).name if short[Path(name).name] == 1 else name
        forms = [] if name.endswith(RANDOM) else available_forms(name)
        models.append(_Model(shown or name, name, name, config, forms))
    there = {form for model in models for form in model.forms}
    for model in models:  # a shape is made in every form that it can be compared in
        if model.random:
            made = settings.forms or [*there, "pytorch-float32"]
            model.forms = [form for form in FORMS if form in made and form != "openvino"]
            if not model.forms:
                raise TinybertError(
                    f"{model.given} is made in PyTorch's forms and ONNX's, not in "
                    f"{' or '.join(settings.forms)}: leave it out, or name another in --forms."
                )
            if any(form.startswith("onnx") for form in model.forms):
                needs("onnx", "onnxscript", "onnxruntime")
        elif settings.forms:
            has, model.forms = model.forms, [f for f in model.forms if f in settings.forms]
            if not model.forms:
                raise TinybertError(
                    f"{model.given} has no form {' or '.join(settings.forms)}, it has "
                    f"{', '.join(has)}: make it with `tinybert export`, or name another in --forms."
                )
    lacking = [f for f in settings.forms if all(f not in model.forms for model in models)]
    if lacking:
        raise TinybertError(
            f"no model has the form {lacking[0]}: make it with `tinybert export`, or leave it out "
            "of --forms."
        )
    return models


def _config(name: str) -> dict[str, Any]:
    if name.endswith(RANDOM):
        return random_config(name.removesuffix(RANDOM)).to_dict()
    available_forms(name)  # says what is wrong with a directory
    try:
        found: dict[str, Any] = AutoConfig.from_pretrained(name).to_dict()
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise TinybertError(
            f"{name} has no config that can be read ({said}): give a model directory, or a Hub "
            "model in the local cache."
        ) from error
    return found


def _check_lengths(models: Sequence[_Model], settings: BenchSettings) -> None:
    for model in models:
        longest = longest_row(model.config)
        length = max(settings.length)
        if longest is not None and length > longest:
            raise TinybertError(
                f"{model.given} takes {longest} tokens at most, --length {length} was asked for: "
                f"give {longest} or less."
            )


def _scores(models: Sequence[_Model]) -> dict[str, float]:
    """Model → its score, as distillation left it."""
    found = {}
    for model in models:
        try:
            results = json.loads((Path(model.directory) / "results.json").read_text("utf-8"))
            found[model.name] = float(results["student"]["score"])
        except (OSError, ValueError, KeyError, TypeError):
            raise TinybertError(
                f"no score of {model.given} is known, it has no results.json with one: plot with "
                "--against size."
            ) from None
    return found


# --- what they are given --------------------------------------------------------------------------


def _make_shapes(models: Sequence[_Model], place: Path, reporter: Reporter) -> None:
    """Give shapes their weights, and the forms in which they are compared."""
    wanted = [model for model in models if model.random]
    if not wanted:
        return
    with reporter.track(len(wanted), "making random weights", unit="models") as progress:
        for number, model in enumerate(wanted):
            directory = place / str(number)
            save_random(model.given.removesuffix(RANDOM), directory)
            export_random(directory, [f for f in model.forms if f.startswith("onnx")], reporter)
            model.directory = str(directory)
            progress.advance(note=model.name)


def _rows(
    models: Sequence[_Model], settings: BenchSettings, reporter: Reporter
) -> dict[str, TokenRows]:
    """Model → the real rows as its tokenizer cuts them; empty where none is to be measured.

    A shape has no tokenizer and is given the first other model's rows.
    """
    real = [model for model in models if not model.random]
    if not settings.traffic:
        return {}
    if not real:
        reporter.say("real rows are left out: shapes have no tokenizer")
        return {}
    tokenizers = {model.name: load_tokenizer(model.directory) for model in real}
    texts = real_texts(settings.data, settings.task, settings.text, settings.rows, reporter)
    bounds = [longest_row(model.config) or settings.max_length for model in models]
    longest = min(settings.max_length, *bounds)
    rows = {name: tokenize(own, texts, longest) for name, own in tokenizers.items()}
    return rows | {model.name: rows[real[0].name] for model in models if model.random}


def _feeds(
    model: _Model, workloads: Sequence[Workload], rows: Mapping[str, TokenRows], smallest: int
) -> list[list[Feed]]:
    return [
        row_feeds(as_they_come(rows[model.name], each.batch), _vocabulary(model))
        if each.length is None
        else fixed_feeds(each, smallest)
        for each in workloads
    ]


def _vocabulary(model: _Model) -> int:
    return int(model.config.get("vocab_size") or 1000)


def _distinct(values: Sequence[int]) -> list[int]:
    return [*dict.fromkeys(values)]


# --- what figures hold for ------------------------------------------------------------------------


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _engines(entries: Sequence[Entry]) -> dict[str, str]:
    found = {}
    for package, form in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        if any(entry.form.startswith(form) for entry in entries):
            try:
                found[package] = version(package)
            except PackageNotFoundError:  # under another name, as onnxruntime-gpu
                continue
    return found
