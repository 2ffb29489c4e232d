"""Task distillation: a teacher and a task to a small student (TinyBERT, section 3.2)."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.ensemble import Ensemble
from tinybert.errors import TinybertError
from tinybert.evaluation import agreement_of, predict
from tinybert.export import check_private, check_repository, push_directory
from tinybert.jobs.augmented import augmented_rows, augmented_tokens
from tinybert.jobs.common import (
    described,
    open_run,
    part_scores,
    plain_settings,
    publish,
    required,
    retention,
    short_stages,
    versions,
)
from tinybert.jobs.own_vocabulary import (
    aligned_task,
    own_tokenizer,
    vocabulary_facts,
    vocabulary_told,
)
from tinybert.jobs.published import local_student
from tinybert.jobs.report import report_beside
from tinybert.jobs.row_tasks import ranking_figures
from tinybert.jobs.rows import TaskRows, task_texts, task_tokens
from tinybert.jobs.sizes import FIT_FILE, check_bounds, chosen_student
from tinybert.jobs.students import begin_student, check_student, frozen, student_print
from tinybert.jobs.task_stages import control_stages, distillation_stages, epochs_of
from tinybert.jobs.task_teacher import (
    fine_tuned,
    kept_teacher,
    other_teachers,
    task_teacher,
)
from tinybert.jobs.word_tasks import refuse_words
from tinybert.measure.latency import check_length
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.reporting import kept_answers
from tinybert.settings import DistillSettings
from tinybert.sizing import Fitted, reached, write_fit
from tinybert.stages import Run, StageResult, check_no_run
from tinybert.tasks.task import TaskData
from tinybert.teachers import (
    Teacher,
    cached_logits,
    fingerprint,
    has_head,
    load_encoder,
    load_tokenizer,
    load_with_own_head,
    tokenizer_print,
)
from tinybert.training import Schedule
from tinybert.work import check_apart

__all__ = ["run_distill"]


def run_distill(settings: DistillSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil a task student from a teacher; returns what ``results.json`` holds."""
    begun = time.perf_counter()
    path = str(required(settings.teacher, "--teacher", "the teacher"))
    output = Path(required(settings.output, "--output", "the output directory"))
    check_output(output, settings.overwrite)  # before a teacher is fine-tuned for hours
    names = ["teacher", "ensemble", "data", "dev", "test", "student", "augment"]
    names += ["tokenizer", "corpus"]
    check_apart(output, **{name: getattr(settings, name) for name in names})
    check_no_run(output, resume=settings.resume, overwrite=settings.overwrite)
    if settings.intermediate_epochs == settings.prediction_epochs == 0:
        raise TinybertError("both stages have 0 epochs: there is nothing to train.")
    check_bounds(settings)
    if settings.augment is not None:
        refuse_words(settings.task, "augment", "leave --augment out")
    check_private(settings.private, settings.push_to_hub)
    if settings.push_to_hub is not None:
        check_repository(settings.push_to_hub)
    asked = settings
    local = local_student(asked.student, reporter)
    settings = replace(asked, student=local)
    tokenizer = load_tokenizer(path)
    data = task_texts(settings, reporter)
    rows = task_tokens(settings, data, tokenizer, reporter)
    teacher, rows = task_teacher(settings, rows, reporter)
    others = other_teachers(settings, rows, tokenizer, reporter)
    for model in (teacher, *others):
        check_length(model, settings.max_length)
    if settings.controls and rows.test.labels is None:
        raise TinybertError(
            "--controls are scored against labels, and the data has none: leave them out, or name "
            "the label column with --label."
        )
    settings, fitted = chosen_student(settings, teacher, len(rows.train), reporter)
    own = _own_tokenizer(settings, rows, data, tokenizer, reporter)
    shape = check_student(settings, teacher, tokenizer, own, settings.max_length)
    manifest = augmented_rows(settings.augment, rows, reporter)
    learned = len(rows.train) if manifest is None else manifest.counts.total
    epochs, why = epochs_of(settings, learned)
    if epochs:
        reporter.say(f"intermediate stage of {epochs:g} epoch{'s' * (epochs != 1)}: {why}")
    if settings.dry_run:
        return _dry_run(settings, rows, reporter, shape, learned, own)
    tuned_here = not has_head(path)
    if tuned_here:
        teacher = fine_tuned(settings, rows, tokenizer, reporter)
    if own is not None:
        rows = aligned_task(rows, data, own, tokenizer, settings.max_length, reporter)
    inputs = {"rows": rows.fingerprint(), "teacher weights": fingerprint(teacher)}
    if others:
        inputs["other teachers"] = " ".join(map(fingerprint, others))
    inputs |= student_print(settings)
    if own is not None:
        inputs["tokenizer"] = tokenizer_print(own)
    if manifest is not None:
        inputs["augmentation"] = manifest.fingerprint()
    # Known by the name on the Hub, wherever its files are kept; its weights are among the inputs.
    named = replace(settings, student=asked.student) if settings.student == local else settings
    run = open_run(named, reporter, inputs)
    originals = rows.counts()
    if manifest is not None:
        rows = replace(rows, train=augmented_tokens(run, settings, manifest, rows, tokenizer, own))
    if fitted is not None and run.is_main:
        write_fit(run.work / FIT_FILE, fitted)
    figures: dict[str, Any] = {
        "task": rows.task.name,
        "metric": rows.task.metric if rows.test.labels is not None else None,
        "teacher": described(teacher, None),
    }
    result, measured = _distilled(run, settings, rows, teacher, others, tokenizer, own)
    student = _loaded(run, result, rows)
    figures["teacher"] |= measured.pop("teacher")
    answers: dict[str, Any] = measured.pop("answers")
    results = figures | {
        "student": described(student, None) | measured.pop("student"),
        **measured,
        "rows": originals,
        "augmented_rows": None if manifest is None else len(rows.train),
        "size": _size(fitted, kept_teacher(settings) if tuned_here else path, student, run),
        "inputs": inputs,
        "teacher_name": path,
        "teacher_fine_tuned": tuned_here,
        "data": settings.data,
        "text_columns": list(rows.task.text_columns),
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(asked),
        "versions": versions(),
    }
    publish(run, result, results, answers)
    _tell(results, reporter, run.output)
    # All met when the output was published; no process waits for what the main one does now.
    if settings.report and run.is_main:
        report_beside(run.output, reporter)
    if settings.push_to_hub is not None and run.is_main:
        push_directory(run.output, settings.push_to_hub, reporter, private=settings.private)
    return results


def _own_tokenizer(
    settings: DistillSettings,
    rows: TaskRows,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase,
    reporter: Reporter,
) -> PreTrainedTokenizerBase | None:
    """The student's tokenizer where it is another one, which not every kind of task allows."""
    whole = rows.test.reading is None  # each row has one answer, which no token carries
    asked = settings.tokenizer is not None or settings.vocabulary_size is not None
    own = None
    if whole or not asked:  # none is trained only to be refused; a given student may bring one
        own = own_tokenizer(settings, tokenizer, data.train.texts, reporter)
    if not whole and (asked or own is not None):
        raise TinybertError(
            "a student with a tokenizer of its own is for classification and regression so far, "
            f"not for --task {settings.task}: leave --tokenizer and --vocabulary-size out, or give "
            "a student with the teacher's tokenizer."
        )
    return own


def _distilled(
    run: Run,
    settings: DistillSettings,
    rows: TaskRows,
    model: PreTrainedModel,
    others: list[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    own: PreTrainedTokenizerBase | None,
) -> tuple[StageResult, dict[str, Any]]:
    """Train the student and, where asked, the controls; and score all of them."""
    reporter = run.reporter
    regression = rows.task.kind == "regression"
    begun = begin_student(
        run,
        settings,
        model,
        tokenizer,
        rows.train,
        labels=("score",) if regression else rows.task.label_names,
        answering=rows.task.answering,
        own=own,
    )
    vocabulary = None
    if own is not None:
        vocabulary = vocabulary_facts(rows.train, own, tokenizer, model, begun.config)
        vocabulary_told(vocabulary, reporter)
    teacher = frozen(
        run,
        model,
        tokenizer,
        begun.directory,
        rows.train,
        settings.batch_size,
        others,
        settings.temperature,
        rows.task.answering,
    )
    if not regression and rows.task.answering != "spans":
        teacher.speak_labels(rows.task.label_names)
    outputs = _outputs(run, teacher, rows)
    metric = rows.task.metric
    scores = part_scores(metric, outputs, rows.reported)
    alone = _each_alone(run, teacher, rows) if scores else []
    if scores:
        whose = "the teachers' mean" if others else "the teacher's"
        reporter.say(f"{whose} {metric} is {_shown(scores, metric)} on {_counted(rows)}")
    stages = distillation_stages(run, settings, rows, teacher, begun, reporter)
    result = run.run_all(stages, begun.directory)
    finished = list(run.finished)
    controls: dict[str, dict[str, dict[str, float]]] = {}
    if settings.controls and scores:
        reporter.heading("Controls: the same start, as many steps")
        for name, stage in control_stages(run, settings, rows, teacher, stages, reporter).items():
            control = _loaded(run, run.run(stage, begun.directory), rows)
            found = {part: predict(control, tokens) for part, tokens in rows.reported.items()}
            controls[name] = part_scores(metric, found, rows.reported)
            reporter.say(f"{name}: {_shown(controls[name], metric)}")
    run.finished = finished  # the student's own
    logits = {
        part: predict(_loaded(run, result, rows), tokens) for part, tokens in rows.reported.items()
    }
    student_scores = part_scores(metric, logits, rows.reported)
    score, teacher_score = (
        each["test"][metric] if "test" in each else None for each in (student_scores, scores)
    )
    return result, {
        "teacher": {"score": teacher_score, "scores": scores} | ({"each": alone} if others else {}),
        "student": {"score": score, "scores": student_scores},
        "retention": retention(score, teacher_score),
        "agreement": agreement_of(logits["test"], outputs["test"], rows.test),
        "controls": {name: found["test"][metric] for name, found in controls.items()},
        "control_scores": controls,
        "start": begun.start,
        "vocabulary": vocabulary,
        "layer_mapping": list(begun.mapping),
        **ranking_figures(rows.test, logits["test"], outputs["test"]),
        "answers": kept_answers(logits["test"], outputs["test"], rows.test.for_student()),
    }


def _outputs(run: Run, teacher: Teacher, rows: TaskRows) -> dict[str, NDArray[np.float32]]:
    """The teacher's logits of every reported part."""
    with run.state.main_process_first():
        return {
            name: cached_logits(teacher, part, run.work, run.reporter, f"teacher on {name} rows")
            for name, part in rows.reported.items()
        }


def _each_alone(run: Run, teacher: Teacher, rows: TaskRows) -> list[float]:
    """The score of each of several teachers on the test rows."""
    if not isinstance(teacher, Ensemble):
        return []
    found = []
    for number, each in enumerate((teacher.first, *teacher.others), 1):
        logits = _outputs(run, each, rows)
        scores = part_scores(rows.task.metric, logits, rows.reported)
        found.append(scores["test"][rows.task.metric])
        run.reporter.say(f"teacher {number} alone: {_shown(scores, rows.task.metric)}")
    return found


def _loaded(run: Run, result: StageResult, rows: TaskRows) -> PreTrainedModel:
    """What a stage left, with the task's head."""
    model = load_encoder(
        result.directory,
        labels=rows.task.label_names,
        regression=rows.task.kind == "regression",
        answering=rows.task.answering,
    )
    return model.to(run.device)  # type: ignore[no-any-return]


def _size(
    fitted: Fitted | None, source: str | Path, student: PreTrainedModel, run: Run
) -> dict[str, Any] | None:
    """What the finished student reaches of each bound asked for.

    The run's own teacher is in the run's precision by then: another one is loaded from ``source``.
    """
    if fitted is None or not run.is_main:  # one process measures, undisturbed by others
        return None
    teacher = load_with_own_head(source)
    found = reached(fitted, teacher, student)
    units = {"max_latency": " ms", "max_size": " MB", "speedup": "x"}
    for name, figures in found.items():
        told = (
            "within" if figures["kept"] else "NOT within, the machine may be busier now than then"
        )
        run.reporter.say(
            f"{name.replace('_', ' ')}: {figures['reached']:.4g}{units[name]} "
            f"({told}; asked for {figures['bound']:.4g}{units[name]})"
        )
    return dict(found)


def _shown(scores: dict[str, dict[str, float]], metric: str) -> str:
    """The main score; with further parts, each by its name."""
    shown = [f"{found[metric]:.4f}" for found in scores.values()]
    if len(shown) == 1:
        return shown[0]
    return ", ".join(f"{figure} ({part})" for part, figure in zip(scores, shown, strict=True))


def _counted(rows: TaskRows) -> str:
    counts = rows.counts()
    return " and ".join(f"{counts[name]:,} {name} rows" for name in rows.reported)


def _dry_run(
    settings: DistillSettings,
    rows: TaskRows,
    reporter: Reporter,
    shape: str,
    learned: int,
    own: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    def steps(epochs: float) -> int:
        if epochs <= 0:
            return 0
        return Schedule(epochs, batch_size=settings.batch_size).total_steps(learned)

    plan: dict[str, Any] = {
        "teacher": "as it is" if has_head(str(settings.teacher)) else "to be fine-tuned first",
        **({"further teachers": len(settings.ensemble)} if settings.ensemble else {}),
        "training rows": learned,
        "intermediate steps": steps(epochs_of(settings, learned)[0]),
        "prediction steps": steps(settings.prediction_epochs),
        "student": shape,
        **({} if own is None else {"student's vocabulary": f"{len(own):,} pieces"}),
        "metric": rows.task.metric,
    }
    reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in plan.items()])
    return plan


def _tell(results: dict[str, Any], reporter: Reporter, output: Path) -> None:
    teacher, student = results["teacher"], results["student"]

    def line(name: str, score: float | None, model: dict[str, Any]) -> list[str]:
        kept = retention(score, teacher["score"])
        return [
            name,
            "–" if score is None else f"{score:.4f}",
            "–" if kept is None else f"{100 * kept:.1f} %",
            f"{model['parameters'] / 1e6:.2f}M",
            f"{(model['flops_128'] or 0) / 1e9:.3f}G",
        ]

    lines = [
        line("teacher", teacher["score"], teacher),
        line("student", student["score"], student),
    ]
    lines += [line(name, score, student) for name, score in results["controls"].items()]
    reporter.table(
        f"{results['task']}: {results['metric'] or 'no labels'}, {results['rows']['test']:,} rows",
        ["model", "score", "kept", "parameters", "FLOPs (128 tokens)"],
        lines,
    )
    for part, found in student["scores"].items():
        if part != "test":
            reporter.say(f"{part}: student {_shown({part: found}, results['metric'])}")
    reporter.say(f"it agrees with the teacher on {results['agreement']:.4f}; written to {output}")
