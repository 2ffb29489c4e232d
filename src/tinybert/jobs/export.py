"""A model in forms for other engines, each checked before anything appears."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TokenRows, tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import predict, scores_of
from tinybert.export import check_private, check_repository, model_card, push_directory
from tinybert.export.figures import part
from tinybert.export.markdown import last_part
from tinybert.forms import SENTENCE_OUTPUT, check_finite, no_part, output_names
from tinybert.forms.sentences import SENTENCES
from tinybert.jobs.common import described, plain_settings, required, versions
from tinybert.jobs.evaluate import scored_parts
from tinybert.jobs.exported_forms import Maker, Scored
from tinybert.jobs.exported_scales import calibration_rows, calibration_tokens
from tinybert.jobs.exported_vectors import Vectors
from tinybert.jobs.predict import (
    check_glue_flags,
    glue_outputs,
    load_for_words,
    load_with_head,
    outputs_of,
)
from tinybert.jobs.row_tasks import as_asked, row_tokens
from tinybert.jobs.similarity import read_pairs
from tinybert.jobs.word_tasks import read_answered, refuse_glue, word_tokens
from tinybert.measure.latency import longest_input
from tinybert.measure.parameters import parameters
from tinybert.outputs import check_output, check_space, whole_directory, write_json_whole
from tinybert.progress import Reporter
from tinybert.runtimes import needs
from tinybert.sentence_modules import MODULES_FILE, read_head, write_head
from tinybert.settings import ExportSettings
from tinybert.task_heads import Answering
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.teachers import (
    has_head,
    head_labels,
    head_of,
    load_encoder,
    load_tokenizer,
    load_with_own_head,
)
from tinybert.vocabulary import cut_vocabulary, trained_facts, vocabulary_told
from tinybert.work import check_apart

__all__ = ["EXPORT_FILE", "run_export"]

EXPORT_FILE = "export.json"
_PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


@dataclass
class _Source:
    """The model to export, and the rows that it is checked on."""

    path: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    names: tuple[str, ...] | None  # label names; None of an encoder
    rows: TokenRows
    scored: Scored | None = None
    vectors: Vectors | None = None  # of a sentence encoder
    trained: dict[str, Any] = field(default_factory=dict)  # what is known of its training
    name: str = ""  # as it is told
    uncut: bool = False  # the score before is that of the model before its vocabulary was cut


def run_export(settings: ExportSettings, reporter: Reporter) -> dict[str, Any]:
    """Write the forms asked for; returns what ``export.json`` holds.

    Raises:
        TinybertError: whatever is wrong with model, rows or output; a form that answers otherwise
            than PyTorch, or whose score falls by more than ``max_drop``. Nothing is written then.
    """
    start = time.monotonic()
    settings = as_asked(settings)
    path = required(settings.model, "the model's directory", "the model")
    asked = _asked(settings)
    output = check_output(
        required(settings.output, "--output", "the output directory"), settings.overwrite
    )
    names = ("data", "calibration", "vocabulary", "similarity")
    check_apart(output, model=path, **{name: getattr(settings, name) for name in names})
    check_private(settings.private, settings.push_to_hub)
    if settings.push_to_hub is not None:
        check_repository(settings.push_to_hub)
    for form in asked:
        needs(*_PACKAGES[form])
    _check_kept(path, settings)
    head = head_of(path)
    if head in ("tokens", "spans"):
        refuse_glue(settings.task, head)
    _check_scored(head, settings)
    settings = settings.settled(questions=head == "spans")
    calibration = calibration_rows(path, head, settings, reporter)
    name, whole = _name(path), None
    trained, told = trained_facts(path), ""  # a directory that is cut holds no results
    with tempfile.TemporaryDirectory(prefix="tinybert-export-") as scratch:
        if settings.vocabulary:
            cut = Path(scratch) / name
            report = cut_vocabulary(path, settings.vocabulary, cut, reporter)
            told = _cut_told(report.figures(), trained)
            whole, path = path, str(cut)
        source = _source(path, settings, reporter, whole)
        source.name, source.trained, source.uncut = name, trained, whole is not None
        check_space(output, 4 * parameters(source.model) * (len(asked) + 1))
        with whole_directory(output, settings.overwrite) as partial:
            _save_beside(source, partial)
            scales = source.rows if settings.int8 == "static" else None
            if calibration is not None:
                scales = calibration_tokens(
                    calibration, source.model, source.tokenizer, settings, reporter
                )
            maker = Maker(
                source.model,
                source.rows,
                scales,
                source.scored,
                partial,
                Path(scratch),
                settings,
                reporter,
                source.vectors,
            )
            forms = maker.make(asked)
            found = _found(source, settings, asked, maker, forms)
            found["seconds"] = time.monotonic() - start
            write_json_whole(partial / EXPORT_FILE, found)
            card = model_card(partial, _card_results(source, found), name=output.name)
            (partial / "README.md").write_text(card + told, encoding="utf-8", newline="\n")
    _tell(found, output, reporter)
    if settings.push_to_hub is not None:
        push_directory(output, settings.push_to_hub, reporter, private=settings.private)
    return found


def _asked(settings: ExportSettings) -> list[str]:
    """The forms asked for, each once, in the order that they are made in."""
    names = [name.strip() for entry in settings.to for name in entry.split(",") if name.strip()]
    for name in names:
        if name not in _PACKAGES:
            raise TinybertError(f"--to {name} is no form: give {', '.join(_PACKAGES)}.")
    if not names:
        raise TinybertError(f"nothing is asked for: give --to {', '.join(_PACKAGES)}.")
    if settings.openvino_half and "openvino" not in names:
        raise TinybertError("--openvino-half is for openvino: add openvino to --to.")
    if "int8" not in names:
        for flag, value in (
            (f"--int8 {settings.int8}", settings.int8 != "auto"),
            ("--int8-keep", settings.int8_keep),
            (f"--table-bits {settings.table_bits}", settings.table_bits != 8),
            ("--calibration", settings.calibration),
        ):
            if value:
                raise TinybertError(f"{flag} is for int8: add int8 to --to.")
    if settings.table_bits not in (4, 8):
        raise TinybertError(f"--table-bits {settings.table_bits}: give 8 or 4.")
    if settings.table_bits != 8 and "embeddings" in settings.int8_keep:
        raise TinybertError("--int8-keep embeddings leaves no table for --table-bits: drop one.")
    if settings.calibration is not None and settings.int8 != "static":
        raise TinybertError("--calibration is for static scales: add --int8 static.")
    return [name for name in _PACKAGES if name in names]


# --- what is exported ---------------------------------------------------------------------------


def _name(path: str) -> str:
    """What a model is called: of a directory its own name, also where it was given as ``.``."""
    return Path(path).resolve().name if Path(path).is_dir() else Path(path).name


def _check_kept(path: str, settings: ExportSettings) -> None:
    """Refuse parts that no model of so many layers has, before work of minutes."""
    if not settings.int8_keep:
        return
    has_head(path)  # says what is wrong with a directory
    layers = int(getattr(AutoConfig.from_pretrained(path), "num_hidden_layers", 0) or 0)
    there = {"embeddings", "classifier", *map(str, range(1, layers + 1))}
    for kept in settings.int8_keep:
        if kept not in there:
            raise TinybertError(no_part(kept, layers))


def _check_scored(head: Answering | None, settings: ExportSettings) -> None:
    """Refuse what says how rows are scored where a model has none to be scored on."""
    if head is None or settings.data is not None or settings.task is not None:
        return
    for flag, value in (("--label", settings.label), ("--metric", settings.metric)):
        if value is not None:
            raise TinybertError(
                f"{flag} {value} is for rows to score, and none are given: name them with --data, "
                f"or leave {flag} out."
            )


def _source(
    path: str, settings: ExportSettings, reporter: Reporter, whole: str | None = None
) -> _Source:
    """What is exported.

    Args:
        path: of the model.
        settings: of the verb.
        reporter: tells what happens.
        whole: the model before its vocabulary was cut: the score before is that model's.
    """
    if not has_head(path):
        for flag, value in (("--data", settings.data), ("--task", settings.task)):
            if value is not None:
                raise TinybertError(
                    f"{path} has no task head, so it has no score on {flag}: leave {flag} out."
                )
        tokenizer, model = load_tokenizer(path), _ready(load_encoder(path))
        rows = _sentences(tokenizer, model, settings.max_length)
        vectors = _vectors(path, model, tokenizer, rows, settings, reporter)
        return _Source(path, model, tokenizer, None, rows, vectors=vectors)
    if settings.similarity is not None:
        raise TinybertError(
            f"{path} is no sentence encoder, and --similarity compares sentence vectors: leave it "
            "out, or check on --data."
        )
    if (head := head_of(path)) in ("tokens", "spans"):
        return _word_source(path, head, settings, reporter, whole)
    longest = settings.max_length
    if settings.data is None and settings.task is None:  # nothing of that length has to fit
        longest = 1
    if settings.task is not None:
        check_glue_flags(settings)
    model, tokenizer, names = load_with_head(path, longest)
    _ready(model)
    if settings.data is None and settings.task is None:
        rows = _sentences(tokenizer, model, settings.max_length)
        return _Source(path, model, tokenizer, names, rows)
    order = None
    if settings.task is not None:
        order = glue_outputs(find_glue_task(settings.task), names)
    task, parts = scored_parts(settings, names, reporter, head)
    if parts["test"].labels is None:
        raise TinybertError(
            f"{settings.data} has no label column: name it with --label, or leave --data out."
        )
    rows = row_tokens(
        tokenizer, parts["test"], task, settings.max_length, reporter=reporter, what="scored"
    )
    order = outputs_of(names, task) if order is None else order
    asked, answering = rows, model
    if whole is not None:
        answering, uncut, _ = load_with_head(whole, longest)
        _ready(answering)
        asked = row_tokens(uncut, parts["test"], task, longest)
    with reporter.track(len(asked), "answering in PyTorch", unit="rows") as progress:
        logits = predict(answering, asked, advance=progress.advance)
    check_finite(logits)
    before = scores_of(task.metric, logits[:, order], asked)
    settled = logits if rows.reading is None else rows.reading.settled(logits[:, order])
    scored = Scored(task.metric, order, before, settled)
    return _Source(path, model, tokenizer, names, rows, scored)


def _word_source(
    path: str,
    answering: Answering,
    settings: ExportSettings,
    reporter: Reporter,
    whole: str | None,
) -> _Source:
    """A model that answers in words, with rows where some are given."""
    if settings.data is None:
        names = head_labels(path)
        model, tokenizer = load_with_own_head(path), load_tokenizer(path)
        rows = _sentences(tokenizer, model, settings.max_length)
        return _Source(path, _ready(model), tokenizer, names, rows)
    model, tokenizer, names, length = load_for_words(path, settings, answering)
    _ready(model)
    task, found = read_answered(settings, names, answering, reporter)
    if found.labels is None:
        raise TinybertError(
            f"{settings.data} has no labels to score against: name their column with --label, or "
            "leave --data out."
        )
    rows = word_tokens(tokenizer, found, task, length, settings, None, reporter, "scored")
    asked, answering_model = rows, model
    if whole is not None:
        answering_model, uncut, _, _ = load_for_words(whole, settings, answering)
        _ready(answering_model)
        quiet = Reporter(quiet=True)
        asked = word_tokens(uncut, found, task, length, settings, None, quiet, "scored")
    with reporter.track(len(asked), "answering in PyTorch", unit="rows") as progress:
        logits = predict(answering_model, asked, advance=progress.advance)
    assert asked.asked is not None
    assert asked.reading is not None
    check_finite(logits[asked.asked])
    before = scores_of(task.metric, logits, asked)
    scored = Scored(task.metric, list(range(len(names))), before, asked.reading.settled(logits))
    return _Source(path, model, tokenizer, names, rows, scored)


def _vectors(
    path: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenRows,
    settings: ExportSettings,
    reporter: Reporter,
) -> Vectors | None:
    """What the vectors of a sentence encoder are compared with; None of a plain encoder."""
    try:
        head = read_head(path)
    except TinybertError as error:
        if settings.similarity is not None:
            raise
        reporter.say(f"exported as a plain encoder, without sentence vectors: {error}")
        return None
    if head is None:
        if settings.similarity is not None:
            raise TinybertError(
                f"{path} is no sentence encoder (it has no {MODULES_FILE}), and --similarity "
                "compares sentence vectors: leave it out."
            )
        return None
    reporter.say(f"sentence vectors are in the graph, as {SENTENCE_OUTPUT}: {head.told}")
    pairs = None
    if settings.similarity is not None:
        longest = min(settings.max_length, longest_input(model) or settings.max_length)
        pairs = read_pairs(
            settings.similarity,
            tokenizer,
            max_length=longest,
            text=settings.text,
            label=settings.label,
            reporter=reporter,
        )
    return Vectors(model, head, rows, pairs)


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    model.train(False)
    model.requires_grad_(False)
    return model


def _sentences(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, max_length: int
) -> TokenRows:
    longest = longest_input(model) or max_length
    return tokenize(tokenizer, [(text,) for text in SENTENCES], min(max_length, longest))


def _save_beside(source: _Source, directory: Path) -> None:
    """Config and tokenizer, as the libraries of all engines read them."""
    source.model.config.architectures = [type(source.model).__name__]
    source.model.config.save_pretrained(directory)
    # Loaded anew: the one that was used here cuts rows to the length of the checks.
    load_tokenizer(source.path).save_pretrained(directory)
    if source.vectors is not None:
        write_head(directory, source.vectors.head, source.model.config.hidden_size)


# --- what is told ---------------------------------------------------------------------------------


def _found(
    source: _Source,
    settings: ExportSettings,
    asked: list[str],
    maker: Maker,
    forms: dict[str, Any],
) -> dict[str, Any]:
    """What ``export.json`` holds."""
    trained = source.trained
    length = trained.get("max_length") or part(trained, "settings").get("max_length")
    scored, vectors = source.scored, source.vectors
    metric, before = (None, {}) if scored is None else (scored.metric, scored.before)
    if vectors is not None and vectors.before:
        metric, before = "spearman", vectors.before
    pairs = None if vectors is None else vectors.pairs
    count = None if scored is None else _counted(source.rows)
    outputs = output_names(source.model, None if vectors is None else vectors.head)
    return {
        "model": source.name,
        "architecture": type(source.model).__name__,
        "labels": None if source.names is None else list(source.names),
        "output_name": outputs[0],
        "output_names": outputs,
        "inputs": list(maker.inputs),
        "asked": asked,
        "forms": forms,
        "fused_attention": maker.fused,
        "int8": maker.int8_told,
        "checked": maker.checked(),
        "metric": metric,
        "score_before": before,
        "scored_rows": count if pairs is None else len(pairs),
        "max_length": length if isinstance(length, int) else settings.max_length,
        "text_columns": trained.get("text_columns"),
        "settings": {name: last_part(value) for name, value in plain_settings(settings).items()},
        "versions": versions() | maker.versions(asked),
    }


def _counted(rows: TokenRows) -> int:
    """Rows, or of answers in words sentences or questions."""
    return len(rows) if rows.reading is None else len(rows.reading)


def _card_results(source: _Source, found: dict[str, Any]) -> dict[str, Any]:
    """The model's own results, with the forms."""
    results = dict(source.trained) or {"max_length": found["max_length"]}
    figures = described(source.model, None)
    del figures["score"]
    results["student"] = dict(part(results, "student")) | figures
    results["versions"] = found["versions"]
    told = found["int8"]
    return results | {
        "exports": found["forms"],
        "score_before": found["score_before"],
        "scored_rows": found["scored_rows"],
        "uncut": source.uncut,
        "output_name": found["output_name"],
        "output_names": found["output_names"],
        "int8_told": None if told is None else told["told"],
    }


def _cut_told(figures: dict[str, Any], trained: dict[str, Any]) -> str:
    """The end of the card of a model whose vocabulary was cut first."""
    told = f"\n{vocabulary_told(figures)}\n"
    if trained.get("student"):
        told += "\nThe scores and times of its training were measured before that cut.\n"
    return told


def _tell(found: dict[str, Any], output: Path, reporter: Reporter) -> None:
    metric = found["metric"]
    columns = ["form", "MB", "from PyTorch", "alone / in a batch"]
    vectors = any("cosine" in form for form in found["forms"].values())
    if vectors:
        columns.append("cosine, mean / least")
    if metric is not None:
        columns.append(metric)
    rows: list[list[Any]] = []
    if metric is not None:
        empty = [None] * (len(columns) - 2)
        rows.append(["pytorch-float32", *empty, f"{found['score_before'][metric]:.4f}"])
    for name, form in found["forms"].items():
        row = [name, f"{form['bytes'] / 1e6:.1f}", f"{form['difference']:.1e}"]
        row.append(f"{form['alone_and_together']:.1e}")
        if vectors:
            row.append(f"{form['cosine']:.5f} / {form['cosine_least']:.5f}")
        if metric is not None:
            row.append(f"{form['scores'][metric]:.4f}")
        rows.append(row)
    reporter.table(f"{found['model']} exported to {output}", columns, rows)
