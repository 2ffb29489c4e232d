"""A run is a list of stages; a stage takes a student directory and leaves a student directory.

Everything unfinished lives in ``OUTPUT.run`` beside the output: settings, choices, kept logits,
one directory a finished stage, and the checkpoints of the stage that is under way. The output
itself appears whole, at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import set_seed
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from tinybert.batching import TrainingRows, rows_an_epoch
from tinybert.choices import Choices, choose
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.objectives import Objective
from tinybert.outputs import (
    check_output,
    check_space,
    remove_directory,
    whole_directory,
    write_json_whole,
)
from tinybert.processes import this_process
from tinybert.progress import Reporter
from tinybert.projections import Projections
from tinybert.taps import shows_attention, use_attention
from tinybert.task_heads import Answering
from tinybert.teachers import Teacher, load_encoder, load_tokenizer, without_bars
from tinybert.training import DistillationTrainer, Schedule
from tinybert.work import LOCK, bytes_in, check_unfinished, open_work

__all__ = ["Run", "Stage", "StageResult", "save_student", "set_dropout"]

STAGE_FILE = "stage.json"
SETTINGS_FILE = "settings.json"
LOG_FILE = "log.jsonl"
STAGE_COPIES = 12
"""Copies of its float32 weights that a stage leaves on the disk at most: two checkpoints and one
being written, each with two moments of the optimiser; the best weights; two student directories."""


@dataclass
class Stage:
    """A teacher, data, an objective and a schedule.

    Attributes:
        name: unique within the run.
        objective, schedule, rows: what is minimised, how long, on what.
        labels: label names of the task head the student carries; None for the bare encoder.
        regression: one output instead of labels.
        answering: which task head the student carries.
        masked_lm: the student carries an output head for masked tokens.
        teacher: None for plain fine-tuning, or where ``rows`` keep the teacher's logits.
        evaluation, metric, greater_is_better: how the best weights are chosen (None: the last).
        prepare: changes the student before training, with the projections it carries; runs in
            every process, so it draws no random numbers.
        dropout: the student's while it trains; None leaves its config alone.
        load: reads the student of several tasks, each with its head, from the directory that the
            stage takes; None: a model with the head above.
    """

    name: str
    objective: Objective
    schedule: Schedule
    rows: TrainingRows
    labels: Sequence[str] | None = None
    regression: bool = False
    answering: Answering = "rows"
    masked_lm: bool = False
    teacher: Teacher | None = None
    evaluation: Callable[[Distiller], dict[str, float]] | None = None
    metric: str | None = None
    greater_is_better: bool = True
    prepare: Callable[[PreTrainedModel, Projections | None], None] | None = None
    dropout: float | None = None
    load: Callable[[Path], PreTrainedModel] | None = None


@dataclass
class StageResult:
    """What a stage left: the student's directory and its record."""

    directory: Path
    record: dict[str, Any] = field(default_factory=dict)


def save_student(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    projections: Projections | None,
    record: Mapping[str, Any] | None = None,
) -> None:
    """A student directory: Hugging Face's own files, the projections, and the stage's record."""
    with without_bars():
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if projections is not None:
        projections.save(directory)
    if record is not None:
        write_json_whole(directory / STAGE_FILE, dict(record))


def work_directory(output: str | Path) -> Path:
    """Where a run keeps what is unfinished."""
    return Path(output).with_name(Path(output).name + ".run")


def check_no_run(output: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin beside an unfinished run that is neither gone on with nor replaced."""
    place = work_directory(output)
    check_unfinished(place, SETTINGS_FILE, "run", resume=resume, overwrite=overwrite)


class Run:
    """One output directory in the making: its work directory, choices and finished stages.

    Args:
        output: final directory; must not exist unless ``overwrite``.
        settings: what makes this run what it is, as plain data: what the user asked for and
            fingerprints of what is read. A resumed run must bring the same.
        reporter: where progress is told.
        resume, overwrite: what to do with an unfinished run found beside ``output``.

    Raises:
        TinybertError: the output exists, an unfinished run exists and neither flag is given, or it
            was begun with other settings.
    """

    def __init__(
        self,
        output: Path,
        settings: Mapping[str, Any],
        reporter: Reporter,
        *,
        seed: int = 42,
        resume: bool = False,
        overwrite: bool = False,
        precision: str = "auto",
        teacher_precision: str = "auto",
        attention: str = "auto",
        tensorboard: bool = False,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.state = this_process()
        self.output = check_output(output, overwrite)
        self.reporter, self.seed = reporter, seed
        self.work = work_directory(self.output)
        self.overwrite, self.tensorboard = overwrite, tensorboard
        self.wanted = (precision, teacher_precision, attention)
        self.callbacks = list(callbacks)
        self.device = self.state.device
        plain = json.loads(json.dumps(dict(settings), default=str, sort_keys=True))
        plain["processes"] = self.state.num_processes
        if self.state.is_main_process:
            self._hold = open_work(
                self.work, SETTINGS_FILE, plain, "run", resume=resume, overwrite=self.overwrite
            )
        self.state.wait_for_everyone()
        self.finished: list[dict[str, Any]] = []

    @property
    def is_main(self) -> bool:
        return bool(self.state.is_main_process)

    def choices(
        self,
        student: PreTrainedModel,
        rows: TrainingRows,
        batch_size: int,
        teachers: Sequence[PreTrainedModel] = (),
    ) -> Choices:
        """Precision and attention of this run: measured by the main process, once."""
        file = self.work / "choices.json"
        precision, teacher_precision, attention = self.wanted

        def decide() -> Choices:
            return choose(
                file,
                student,
                rows,
                precision=precision,
                teacher_precision=teacher_precision,
                attention=attention,
                batch_size=batch_size,
                teachers=teachers,
            )

        fresh = not file.is_file()
        if self.is_main:
            try:
                chosen = decide()
            except TinybertError:
                self.discard()  # nothing was trained before there were choices
                raise
            if fresh:
                self.reporter.say(
                    f"computing in {chosen.precision} with {chosen.attention} attention, the "
                    f"teacher in {chosen.teacher_precision} ({chosen.reason})"
                )
        self.state.wait_for_everyone()
        return decide()

    def stage_directory(self, name: str) -> Path:
        return self.work / name

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A directory of this run that ``make`` fills, once, whole or absent."""
        directory = self.stage_directory(name)
        if self.is_main and not directory.exists():
            try:
                with whole_directory(directory) as temporary:
                    make(temporary)
            except TinybertError:
                self.discard_if_empty()
                raise
        self.state.wait_for_everyone()
        return directory

    def discard(self) -> None:
        """Leave nothing of this run: what it was asked for cannot be."""
        if self.is_main and self.work.is_dir():
            self._hold.release()
            remove_directory(self.work)

    def discard_if_empty(self) -> None:
        """Input that fits nothing leaves no run behind that would have to be cleared away."""
        if self.is_main and all(e.name in (SETTINGS_FILE, LOCK) for e in self.work.iterdir()):
            self.discard()

    def run(self, stage: Stage, student: Path) -> StageResult:
        """Run one stage from the directory ``student``, or return what it left earlier."""
        directory = self.stage_directory(stage.name)
        if (directory / STAGE_FILE).is_file():
            record = json.loads((directory / STAGE_FILE).read_text())
            self.finished.append(record)
            self.reporter.say(f"{stage.name}: already finished")
            return StageResult(directory, record)
        begun = time.perf_counter()
        trainer, tokenizer, projections = self.trainer(stage, student)
        with self.reporter.track(trainer.total_steps, stage.name) as progress:
            trainer.add_callback(_Progress(progress, trainer.total_steps))
            trainer.resume()
        trainer.use_best()
        record = {
            "name": stage.name,
            "seconds": round(time.perf_counter() - begun, 2),
            "steps": trainer.total_steps,
            "rows": rows_an_epoch(stage.rows),
            "schedule": asdict(stage.schedule),
            "objective": stage.objective.described(),
            "best": {"metric": stage.metric, "value": trainer.state.best_metric},
            "log": trainer.state.log_history,
        }
        if self.is_main:
            with whole_directory(directory) as temporary:
                model = trainer.accelerator.unwrap_model(trainer.model).student
                save_student(temporary, model, tokenizer, projections, record)
            shutil.rmtree(trainer.directory, ignore_errors=True)
        self.state.wait_for_everyone()
        self.finished.append(record)
        return StageResult(directory, record)

    def run_all(self, stages: Sequence[Stage], student: Path) -> StageResult:
        """Run stages one after the other, each from what the one before it left."""
        result = StageResult(student)
        for stage in stages:
            result = self.run(stage, result.directory)
        return result

    def trainer(
        self, stage: Stage, student: Path
    ) -> tuple[DistillationTrainer, PreTrainedTokenizerBase, Projections | None]:
        # A head or projections that are new get the same start in every process and on resume.
        set_seed(self.seed)
        tokenizer = load_tokenizer(student)
        model = (stage.load or self._one_model(stage))(student)
        cast(torch.nn.Module, model).to(self.device)
        choices = self.choices(model, stage.rows, stage.schedule.batch_size)
        projections = None
        if stage.objective.needs_projections:
            projections = Projections.load(student)
        elif (student / "projections.safetensors").is_file():
            projections = Projections.load(student)  # carried along untouched
        if stage.prepare is not None:
            stage.prepare(model, projections)
        if stage.dropout is not None:
            set_dropout(model, stage.dropout)
        if shows_attention(model):
            use_attention(model, choices.attention)
        distiller = Distiller(
            model, projections if stage.objective.needs_projections else None, stage.objective
        )
        if self.is_main:
            weights = sum(p.numel() for p in distiller.parameters())
            heads = len(getattr(model, "names", "1"))  # each is written with the body
            copies = STAGE_COPIES + 2 * (heads - 1)
            check_space(self.work, 4 * copies * weights - bytes_in(self.work))
        callbacks = list(self.callbacks)
        if self.tensorboard and self.is_main:
            callbacks.append(_tensorboard(self.work / "tensorboard" / stage.name))
        trainer = DistillationTrainer(
            distiller,
            stage.rows,
            stage.schedule,
            self.work / f"{stage.name}.unfinished",
            teacher=stage.teacher,
            evaluation=stage.evaluation,
            metric=stage.metric,
            greater_is_better=stage.greater_is_better,
            seed=self.seed,
            precision=choices.precision,
            callbacks=callbacks,
            owner=self._owner(stage),
        )
        return trainer, tokenizer, projections

    def _one_model(self, stage: Stage) -> Callable[[Path], PreTrainedModel]:
        """Reads a student with the head of the stage."""
        return partial(
            load_encoder,
            labels=stage.labels,
            regression=stage.regression,
            answering=stage.answering,
            masked_lm=stage.masked_lm,
            seed=self.seed,
        )

    def _owner(self, stage: Stage) -> str:
        """What its checkpoints are marked with: the run's settings and the stage's name."""
        text = (self.work / SETTINGS_FILE).read_bytes() + stage.name.encode()
        return hashlib.sha256(text).hexdigest()[:16]

    def finish(
        self, result: StageResult, files: Mapping[str, Any], *, weights: bool = True
    ) -> Path:
        """Publish the last student as the output directory, with ``files`` beside it.

        Text and bytes are written as they are, anything else as JSON. The log of every stage goes
        along as ``log.jsonl``, one line an entry. Without ``weights`` there is no student among
        them.
        """
        self.state.wait_for_everyone()  # the others may still read what is about to go
        if self.is_main:
            with whole_directory(self.output, overwrite=self.overwrite) as temporary:
                if weights:
                    shutil.copytree(result.directory, temporary, dirs_exist_ok=True)
                    (temporary / STAGE_FILE).unlink(missing_ok=True)
                (temporary / LOG_FILE).write_text(log_lines(self.finished), encoding="utf-8")
                if (self.work / "tensorboard").is_dir():
                    shutil.copytree(self.work / "tensorboard", temporary / "tensorboard")
                for name, content in files.items():
                    if isinstance(content, str):
                        (temporary / name).write_text(content, encoding="utf-8")
                    elif isinstance(content, bytes):
                        (temporary / name).write_bytes(content)
                    else:
                        write_json_whole(temporary / name, content)
            self.discard()
        self.state.wait_for_everyone()
        return self.output


def log_lines(records: Sequence[Mapping[str, Any]]) -> str:
    """Entries of all stages' logs, one JSON object a line, each with its stage's name."""
    entries = ({"stage": r["name"], **entry} for r in records for entry in r["log"])
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def set_dropout(model: torch.nn.Module, p: float) -> None:
    """Let every dropout of ``model`` be ``p`` from now on; its config, which is saved, stays."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = p
        elif isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT
            module.attention_dropout = p  # type: ignore[assignment]


class _Progress(TrainerCallback):
    """Moves the reporter's bar with the trainer's steps, resumed ones included."""

    def __init__(self, progress: Any, total: int) -> None:
        self.progress, self.seen, self.note = progress, 0, ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seen = state.global_step
        self.progress.start_from(self.seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.advance(state.global_step - self.seen, note=self.note)
        self.seen = state.global_step

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.4g}"


def _tensorboard(directory: Path) -> TrainerCallback:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TinybertError(
            "--tensorboard needs the package tensorboard: pip install 'tinybert[tensorboard]'."
        ) from error
    from transformers.integrations.integration_utils import TensorBoardCallback

    writer = SummaryWriter(log_dir=str(directory))
    callback: TrainerCallback = TensorBoardCallback(writer)  # type: ignore[no-untyped-call]
    return callback
