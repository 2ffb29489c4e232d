"""The embedding stage: the teacher's vectors as targets, their space, and what learns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import TokenRows
from tinybert.distiller import Distiller
from tinybert.evaluation import held_out_losses
from tinybert.jobs.embedder_rows import Sentences
from tinybert.jobs.students import frozen
from tinybert.outputs import whole_file
from tinybert.projections import Projections
from tinybert.sentence_modules import SentenceHead
from tinybert.sentence_terms import sentence_objective
from tinybert.settings import EmbedderSettings
from tinybert.similarity import cached_vectors
from tinybert.stages import Run, Stage, save_student
from tinybert.teachers import load_encoder, load_tokenizer
from tinybert.training import Schedule

__all__ = [
    "embedding_stage",
    "embedding_start",
    "needs_rotation",
    "principal_axes",
    "teacher_vectors",
]

_AT_ONCE = 8192
"""Vectors that are multiplied at a time."""

Evaluation = Callable[[Distiller], dict[str, float]]


def needs_rotation(settings: EmbedderSettings, width: int, sizes: Sequence[int]) -> bool:
    """Whether the student's space is not the teacher's: fewer numbers, or sizes to cut it to."""
    return bool(sizes) or (settings.dimensions or width) < width


def principal_axes(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Axes (dimensions, width) along which the vectors (rows, width) are longest, by length.

    Eigenvectors of the second moments, not centred: the first k numbers of the turned vectors keep
    scalar products as well as any k numbers that follow linearly from them (Eckart and Young), and
    cosines of whole vectors stay as they are.
    """
    width = vectors.shape[1]
    moments = np.zeros((width, width))
    for start in range(0, len(vectors), _AT_ONCE):
        piece = np.asarray(vectors[start : start + _AT_ONCE], dtype=np.float64)
        moments += piece.T @ piece
    _, axes = np.linalg.eigh(moments)
    axes = axes[:, ::-1].T[:dimensions]
    # An axis has no direction of its own: its largest number shall be positive.
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return np.ascontiguousarray(axes, dtype=np.float32)


def teacher_vectors(
    run: Run,
    settings: EmbedderSettings,
    model: PreTrainedModel,
    head: SentenceHead,
    rows: Sentences,
    student: Path,
    sizes: Sequence[int],
) -> tuple[Sentences, NDArray[np.float32] | None]:
    """The sentences with their targets; and the student's axes, None in the teacher's own space.

    The main process runs the teacher, once; the others read the files.
    """
    place = run.work / "vectors"
    teacher = frozen(run, model, None, student, rows.train, settings.batch_size)

    def vectors(of: TokenRows) -> NDArray[np.float32]:
        return cached_vectors(teacher, head, of, place, run.reporter)

    if run.is_main:
        place.mkdir(exist_ok=True)
        vectors(rows.train)
        vectors(rows.held_out)
    run.state.wait_for_everyone()
    train, held = vectors(rows.train), vectors(rows.held_out)
    axes = None
    if needs_rotation(settings, train.shape[1], sizes):
        file = place / "axes.npy"
        if run.is_main and not file.is_file():
            found = principal_axes(train, settings.dimensions or train.shape[1])
            with whole_file(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, found)
        run.state.wait_for_everyone()
        axes = np.load(file)
        assert axes is not None
        train, held = _turned(train, axes), _turned(held, axes)
    return Sentences(replace(rows.train, targets=train), replace(rows.held_out, targets=held)), axes


def _turned(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    turned = np.empty((len(vectors), len(axes)), dtype=np.float32)
    for start in range(0, len(vectors), _AT_ONCE):
        turned[start : start + _AT_ONCE] = vectors[start : start + _AT_ONCE] @ axes.T
    return turned


def embedding_start(
    run: Run, student: Path, head: SentenceHead, axes: NDArray[np.float32] | None
) -> Path:
    """The directory that the embedding stage takes, whose projections lead to the vectors' space.

    General distillation leaves a map W_h to the teacher's states. A mean of mapped states is the
    map of their mean, so that W_h is where the map to vectors starts: turned by ``axes``, and led
    through the linear part of the teacher's own dense layers, where it has any.
    """
    if axes is None and not len(head.dense):
        return student

    def make(directory: Path) -> None:
        old = Projections.load(student)
        turn = torch.eye(old.teacher_width)
        for linear in head.linear:
            turn = linear.weight.cpu() @ turn
        turn = turn if axes is None else torch.from_numpy(axes) @ turn
        own_bias = any(linear.bias is not None for linear in head.linear)
        new = Projections(old.student_width, len(turn), old.layers, bias=old.bias or own_bias)
        with torch.no_grad():
            new.set_all(turn @ old.weight_for(old.layers))
        save_student(directory, load_encoder(student), load_tokenizer(student), new)

    return run.made("turned", make)


def embedding_stage(
    settings: EmbedderSettings,
    head: SentenceHead,
    rows: Sentences,
    student: Path,
    sizes: Sequence[int],
    steps: int | None,
    watch: Any = None,
    name: str = "embedding",
) -> Stage:
    """The stage that learns the vectors; ``rows`` have them as targets.

    ``watch`` makes an evaluation for a pooling of states (:class:`tinybert.jobs.embedder.Watch`).
    """
    losses = held_out_losses(rows.held_out, None, settings.token_budget)
    more: Evaluation | None = None if watch is None else watch(SentenceHead(head.pooling))
    layers = Projections.load(student).layers
    return Stage(
        name=name,
        objective=sentence_objective(layers, head.pooling, settings.sentence_loss, sizes),
        schedule=Schedule(
            epochs=settings.epochs,
            steps=steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            token_budget=settings.token_budget,
            evaluations_in_all=settings.evaluations,
            checkpoints=4,
            checkpoint_seconds=60 * settings.checkpoint_minutes,
            log_every=settings.log_every,
            gradient_norms_every=settings.gradient_norms_every,
        ),
        rows=rows.train,
        evaluation=losses if more is None else lambda d: losses(d) | more(d),
        dropout=settings.dropout,
    )
