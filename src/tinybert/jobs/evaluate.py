"""Score a model on labelled rows; with a teacher, also how far they agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import agreement_of, predict, scores_of
from tinybert.jobs.common import check_json, described, required
from tinybert.jobs.predict import (
    check_glue_flags,
    glue_outputs,
    load_for_words,
    load_with_head,
    outputs_of,
)
from tinybert.jobs.row_tasks import as_asked, ranking_figures, read_for, row_tokens
from tinybert.jobs.similarity import run_similarity
from tinybert.jobs.word_tasks import agreement_between, read_answered, word_tokens
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import EvaluateSettings, ExportSettings
from tinybert.task_heads import Answering
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.glue.reader import HUB_NAME, read_glue_dev
from tinybert.tasks.task import Rows, Task
from tinybert.teachers import Teacher, aligned_labels, cached_logits, check_head, head_of

__all__ = ["run_evaluate", "scored_parts"]


def run_evaluate(settings: EvaluateSettings, reporter: Reporter) -> dict[str, Any]:
    """Print and return the figures; written as JSON where asked."""
    settings = as_asked(settings)
    path = required(settings.model, "--model", "the model")
    if settings.similarity is not None:
        return run_similarity(settings.settled(questions=False), reporter)
    if settings.task is None:
        required(settings.data, "--data", "the file of rows")
    else:
        check_glue_flags(settings)
    check_json(settings.json)
    if (answering := head_of(path)) in ("tokens", "spans"):
        return _evaluate_words(settings, path, answering, reporter)
    settings = settings.settled(questions=False)
    model, tokenizer, names = load_with_head(path, settings.max_length)
    # The rows' class numbers are in their own order; the model's outputs are put into it.
    order: list[int] | None = None
    if settings.task is not None:  # before GLUE's rows are read
        order = glue_outputs(find_glue_task(settings.task), names)
    task, parts = scored_parts(settings, names, reporter, answering)
    if order is None:
        order = outputs_of(names, task)
    rows = parts["test"]
    if rows.labels is None and settings.teacher is None:
        raise TinybertError(
            f"{settings.data} has no label column: name it with --label, or give a teacher to "
            "agree with by --teacher."
        )
    results: dict[str, Any] = {"model": described(model, None), "rows": len(rows)}
    for name, part in parts.items():
        tokens = row_tokens(
            tokenizer, part, task, settings.max_length, reporter=reporter, what=name
        )
        with reporter.track(len(part), f"answering {name} rows", unit="rows") as progress:
            logits = predict(model, tokens, advance=progress.advance)[:, order]
        if part.labels is not None:
            scores = scores_of(task.metric, logits, tokens)
            if name == "test":
                results["model"]["score"] = scores[task.metric]
                results |= {"metric": task.metric, "scores": scores}
            else:
                results.setdefault("extra", {})[name] = scores
        if name == "test" and settings.teacher is not None:
            its = _teachers(settings, settings.teacher, task, answering, part)
            results["agreement"] = agreement_of(logits, its, tokens)
            results |= ranking_figures(tokens, logits, its)
        elif name == "test":
            results |= ranking_figures(tokens)
    reporter.table(f"{path} on {len(rows)} rows", ["figure", "value"], _figures(results))
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def _evaluate_words(
    settings: EvaluateSettings, path: str, answering: Answering, reporter: Reporter
) -> dict[str, Any]:
    """The figures of a model that answers in words."""
    model, tokenizer, names, length = load_for_words(path, settings, answering)
    task, rows = read_answered(settings, names, answering, reporter)
    if rows.labels is None and settings.teacher is None:
        raise TinybertError(
            f"{settings.data} has no labels to score against: name their column with --label, or "
            "give a teacher to agree with by --teacher."
        )
    tokens = word_tokens(tokenizer, rows, task, length, settings, None, reporter, "scored")
    with reporter.track(len(tokens), "answering rows", unit="rows") as progress:
        outputs = predict(model, tokens, advance=progress.advance)
    results: dict[str, Any] = {"model": described(model, None), "rows": len(rows)}
    if tokens.labels is not None:
        scores = scores_of(task.metric, outputs, tokens)
        results["model"]["score"] = scores[task.metric]
        results |= {"metric": task.metric, "scores": scores}
    if settings.teacher is not None:
        its_model, its_tokenizer, its_names, _ = load_for_words(
            settings.teacher, settings, answering
        )
        order = aligned_labels(its_names, names)
        its = word_tokens(
            its_tokenizer, rows, task, length, settings, None, Reporter(quiet=True), "teacher's"
        )
        of_teacher = cached_logits(Teacher(its_model, its_tokenizer), its, None)[:, order]
        results["agreement"] = agreement_between(tokens, outputs, its, of_teacher)
    reporter.table(f"{path} on {len(rows)} rows", ["figure", "value"], _figures(results))
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def scored_parts(
    settings: EvaluateSettings | ExportSettings,
    names: tuple[str, ...],
    reporter: Reporter,
    answering: Answering | None = "rows",
) -> tuple[Task, dict[str, Rows]]:
    """The task and the parts to score on; of GLUE the official dev set, or both of them."""
    if settings.task is not None:
        return read_glue_dev(settings.task, settings.data or HUB_NAME, reporter=reporter)
    task, rows = read_for(settings, names, answering or "rows", reporter)
    return task, {"test": rows}


def _teachers(
    settings: EvaluateSettings, path: str, task: Task, answering: Answering | None, rows: Rows
) -> NDArray[np.float32]:
    """The outputs of the teacher to agree with, its labels matched by name."""
    check_head(path, answering or "rows")
    teacher_model: PreTrainedModel
    teacher_model, tokenizer, names = load_with_head(path, settings.max_length)
    if settings.task is not None:
        order = glue_outputs(find_glue_task(settings.task), names, "the teacher")
    elif task.kind != "regression":
        order = aligned_labels(names, task.label_names)
    elif len(names) > 1:
        raise TinybertError(f"{path} is a classifier and the model gives one value: no agreement.")
    else:
        order = [0]
    tokens = tokenize(tokenizer, rows.texts, settings.max_length)
    return cached_logits(Teacher(teacher_model, tokenizer), tokens, None)[:, order]


def _figures(results: dict[str, Any]) -> list[list[str]]:
    shown = [[name, f"{value:.4f}"] for name, value in results.get("scores", {}).items()]
    for part, scores in results.get("extra", {}).items():
        shown += [[f"{name} ({part})", f"{value:.4f}"] for name, value in scores.items()]
    if "agreement" in results:
        shown.append(["agreement with the teacher", f"{results['agreement']:.4f}"])
    shown.append(["parameters", f"{results['model']['parameters']:,}"])
    if results["model"]["flops_128"] is not None:
        shown.append(["FLOPs, 128 tokens", f"{results['model']['flops_128'] / 1e9:.3f} G"])
    return shown
