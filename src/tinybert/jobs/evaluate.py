"""Score a model on labelled rows; with a teacher, also how far they agree."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig

from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import predict
from tinybert.jobs.common import described, required
from tinybert.measure.latency import check_length
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import EvaluateSettings
from tinybert.tasks.files import read_scored
from tinybert.tasks.metrics import agreement, compute
from tinybert.tasks.task import Rows
from tinybert.teachers import (
    Teacher,
    cached_logits,
    has_head,
    load_encoder,
    load_tokenizer,
)

__all__ = ["run_evaluate"]


def _names(model: Any) -> list[str]:
    return [model.config.id2label[i] for i in range(model.config.num_labels)]


def _load(path: str, max_length: int) -> tuple[Any, Any]:
    """A model with its own head, and its tokenizer."""
    tokenizer = load_tokenizer(path)
    if not has_head(path):
        raise TinybertError(f"{path} has no task head: evaluate a fine-tuned or distilled model.")
    config = AutoConfig.from_pretrained(path)
    names = [config.id2label[i] for i in range(config.num_labels)]
    model = load_encoder(path, labels=names, regression=config.num_labels == 1)
    check_length(model, max_length)
    return model, tokenizer


def _agreement(settings: EvaluateSettings, path: str, model: Any, logits: Any, rows: Rows) -> float:
    """How far the model answers as the teacher does, their labels matched by name."""
    teacher_model, tokenizer = _load(path, settings.max_length)
    teacher = Teacher(teacher_model, tokenizer)
    if model.config.num_labels > 1:
        teacher.speak_labels(_names(model))
    elif teacher_model.config.num_labels > 1:
        raise TinybertError(f"{path} is a classifier and the model gives one value: no agreement.")
    tokens = tokenize(tokenizer, rows.texts, settings.max_length)
    return agreement(logits, cached_logits(teacher, tokens, None))


def run_evaluate(settings: EvaluateSettings, reporter: Reporter) -> dict[str, Any]:
    """Print and return the figures; written as JSON where asked."""
    path = required(settings.model, "--model", "the model")
    data = required(settings.data, "--data", "the file of rows")
    if settings.json is not None and not settings.json.absolute().parent.is_dir():
        raise TinybertError(f"there is no directory {settings.json.parent} for {settings.json}.")
    if settings.json is not None and settings.json.is_dir():
        raise TinybertError(f"{settings.json} is a directory: give a file's name.")
    model, tokenizer = _load(path, settings.max_length)
    regression = model.config.num_labels == 1
    task, rows, notes = read_scored(
        data,
        kind="regression" if regression else "classification",
        label_names=[] if regression else _names(model),
        text=settings.text,
        label=settings.label,
        metric=settings.metric,
    )
    for note in notes:
        reporter.say(note)
    if rows.labels is None and settings.teacher is None:
        raise TinybertError(
            f"{data} has no label column: name it with --label, or give a teacher to agree with "
            "by --teacher."
        )
    logits = predict(model, tokenize(tokenizer, rows.texts, settings.max_length, rows.labels))
    results: dict[str, Any] = {"model": described(model, None), "rows": len(rows)}
    if rows.labels is not None:
        scores = compute(task.metric, logits, rows.labels)
        results["model"]["score"] = scores[task.metric]
        results |= {"metric": task.metric, "scores": scores}
    if settings.teacher is not None:
        results["agreement"] = _agreement(settings, settings.teacher, model, logits, rows)
    reporter.table(f"{path} on {len(rows)} rows", ["figure", "value"], _figures(results))
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def _figures(results: dict[str, Any]) -> list[list[str]]:
    shown = [[name, f"{value:.4f}"] for name, value in results.get("scores", {}).items()]
    if "agreement" in results:
        shown.append(["agreement with the teacher", f"{results['agreement']:.4f}"])
    shown.append(["parameters", f"{results['model']['parameters']:,}"])
    if results["model"]["flops_128"] is not None:
        shown.append(["FLOPs, 128 tokens", f"{results['model']['flops_128'] / 1e9:.3f} G"])
    return shown
