"""What a reproduction reads: checked before anything is begun, fingerprinted, made ready once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tinybert.augmentation.shards import read_manifest
from tinybert.batching import TrainingRows
from tinybert.choices import Choices, choose
from tinybert.corpus import build_corpus, find_sources, is_corpus
from tinybert.corpus.build import build_directory
from tinybert.errors import TinybertError
from tinybert.jobs.general_corpus import check_corpus
from tinybert.jobs.reproduce.cells import Cell, Prints, chosen_systems, copies_of, takes_copies
from tinybert.jobs.reproduce.make import text_settings
from tinybert.measure.latency import check_length
from tinybert.processes import this_device
from tinybert.progress import Reporter
from tinybert.quantities import parse_count
from tinybert.settings import ReproduceSettings
from tinybert.students import check_start, start_student
from tinybert.students.shapes import Shape, shape_of
from tinybert.systems import system_shape
from tinybert.tasks.glue.facts import find_glue_task
from tinybert.tasks.glue.reader import HUB_NAME
from tinybert.tasks.glue.sources import task_folder
from tinybert.teachers import (
    fingerprint,
    has_head,
    has_masked_lm_head,
    load_encoder,
    load_tokenizer,
)

__all__ = ["check_settings", "fixed_choices", "prints_of", "text_of"]


def check_settings(settings: ReproduceSettings) -> None:
    """Refuse, before anything is read, what cannot be run.

    Raises:
        TinybertError: amounts that make no sense; a teacher without an output head where a system
            needs one; a teacher of a task; rows longer than it reads; a start that does not apply
            to it; no corpus where a system needs one.
    """
    if settings.grid and settings.scale != "paper":
        raise TinybertError("--grid is the paper's, for --scale paper: leave it out.")
    if settings.scale == "paper" and (settings.corpus_batch or settings.task_batch):
        raise TinybertError(
            "--corpus-batch and --task-batch are for --scale small; the paper's scale has the "
            "batches of each system's source: leave them out."
        )
    parse_count(settings.corpus_flops, "--corpus-flops")
    parse_count(settings.task_flops, "--task-flops")
    path = str(settings.teacher)
    load_tokenizer(path)
    if has_head(path):
        raise TinybertError(
            f"{path} is fine-tuned for a task, and students are pre-trained from a plain encoder: "
            "give that one; it is fine-tuned for each task here."
        )
    systems = [s for s in chosen_systems(settings).values() if not s.is_teacher]
    needing = [s.name for s in systems if s.needs_output_head]
    if needing and not has_masked_lm_head(path):
        raise TinybertError(
            f"{' and '.join(needing)} learn from the teacher's guesses of masked tokens, and "
            f"{path} has no output head: make one with `tinybert mlm`, or leave them out of "
            "--systems."
        )
    if not settings.corpus and (learning := [s.name for s in systems if s.corpus_steps]):
        raise TinybertError(
            f"{', '.join(learning)} are pre-trained on text: give it with --corpus, or choose "
            "others with --systems."
        )
    teacher = load_encoder(path)
    check_length(teacher, settings.max_length)
    if systems and shape_of(teacher.config).layers < 3:
        raise TinybertError(f"{path} has fewer than three layers: there is no third of it.")
    for system in systems:
        shape = system_shape(system, shape_of(teacher.config))
        if isinstance(shape, Shape):
            check_start({"first": "layers"}.get(system.start, system.start), teacher, shape)


def prints_of(
    settings: ReproduceSettings, cells: Iterable[Cell], tasks: list[str], reporter: Reporter
) -> Prints:
    """Fingerprints of teacher, text, the tasks' files and augmented rows.

    Raises:
        TinybertError: text or augmented rows are not there or cannot be read.
    """
    path = str(settings.teacher)
    teacher, tokenizer = load_encoder(path), load_tokenizer(path)
    corpus = ""
    if settings.corpus:
        corpus = check_corpus(text_settings(settings), teacher, tokenizer, reporter)
    where = settings.data or HUB_NAME
    systems = chosen_systems(settings)
    copies = {
        (cell.task, cell.seed): copies_of(settings, cell.task, cell.seed)
        for cell in cells
        if cell.kind == "student" and takes_copies(settings, systems[cell.system])
    }
    for (task, seed), place in copies.items():
        if not place.is_dir():
            raise TinybertError(
                f"there is no {place}: make the copies with `tinybert augment --task {task} "
                f"--seed {seed}`, or leave out --augment."
            )
    return Prints(
        teacher=fingerprint(teacher),
        corpus=corpus,
        tasks={task: _files_print(task, where) for task in tasks},
        copies={key: read_manifest(place).fingerprint() for key, place in copies.items()},
    )


def _files_print(task: str, where: str) -> str:
    """Of the bytes of a task's files; of a data set on the Hub its name."""
    root = Path(where).expanduser()
    if not root.is_dir():
        return where
    digest = hashlib.sha256()
    for path in sorted(task_folder(find_glue_task(task), root).iterdir()):
        if path.is_file():
            digest.update(f"{path.name}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def text_of(settings: ReproduceSettings, prints: Prints, reporter: Reporter) -> ReproduceSettings:
    """The settings with a built corpus: raw text is tokenized once, for all systems.

    It is kept under its fingerprint: other text, or other lengths, are another corpus.
    """
    if not settings.corpus or text_settings(settings).max_length is None:
        return settings
    assert settings.output is not None
    place = settings.output / f"corpus-{prints.corpus}-{settings.max_length}"
    if not is_corpus(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        build_corpus(
            find_sources(settings.corpus, None),
            load_tokenizer(str(settings.teacher)),
            place,
            max_length=settings.max_length,
            reporter=reporter,
            resume=build_directory(place).exists(),
        )
    return replace(settings, corpus=[str(place)])


def fixed_choices(settings: ReproduceSettings, rows: TrainingRows) -> Choices:
    """Precision and attention for all cells alike: measured once, kept beside them.

    Raises:
        TinybertError: others were asked for than those kept, or these cannot be read.
    """
    teacher = load_encoder(str(settings.teacher))
    shape = shape_of(teacher.config)
    layers = max(1, shape.layers // 3)
    small = Shape(layers, shape.hidden, shape.intermediate, shape.heads)
    student: PreTrainedModel = start_student(
        teacher, small, start="random", mapping=tuple(range(1, layers + 1))
    )
    student.to(this_device())  # type: ignore[arg-type]
    assert settings.output is not None
    file = settings.output / "choices.json"
    asked: dict[str, Any] = {
        "precision": settings.precision,
        "teacher_precision": settings.teacher_precision,
        "attention": settings.attention,
    }
    try:
        found = choose(file, student, rows, teachers=[teacher], **asked)
    except (ValueError, TypeError):
        raise TinybertError(f"{file} cannot be read: remove it, and it is measured anew.") from None
    _check_choices(file, asked, found)
    return found


def _check_choices(file: Path, asked: Mapping[str, Any], found: Choices) -> None:
    for name, value in asked.items():
        if value not in ("auto", getattr(found, name)):
            raise TinybertError(
                f"--{name.replace('_', '-')} {value}: the cells in {file.parent} compute in "
                f"{getattr(found, name)}, and one table compares like with like; give another "
                "--output."
            )
