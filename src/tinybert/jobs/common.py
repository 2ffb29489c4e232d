"""What the jobs share: opening a run, and the figures of ``results.json``."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, TrainerCallback

from tinybert import __version__
from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.evaluation import scores_of
from tinybert.export import model_card
from tinybert.measure import flops, parameters
from tinybert.progress import Reporter
from tinybert.settings import RunSettings
from tinybert.stages import Run, StageResult


def required(value: Any, flag: str, what: str) -> Any:
    """The value of a setting that has no default."""
    if value is None or value == [] or value == "":
        raise TinybertError(f"{what} is missing: give it with {flag}.")
    return value


# Settings that change no weight: a run goes on whatever they are now.
_ONLY_HOW = (
    *("resume", "overwrite", "dry_run", "output", "log_every", "tensorboard"),
    *("checkpoint_minutes", "report", "push_to_hub", "private"),
)


def check_json(path: Path | None) -> None:
    """Refuse, before any work, a file of figures that cannot be written."""
    if path is not None and not path.absolute().parent.is_dir():
        raise TinybertError(f"there is no directory {path.parent} for {path}.")
    if path is not None and path.is_dir():
        raise TinybertError(f"{path} is a directory: give a file's name.")


def open_run(
    settings: RunSettings,
    reporter: Reporter,
    inputs: Mapping[str, str] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """The run of these settings; what only says how to run is no part of its identity.

    ``inputs`` are fingerprints of what is read: a file changed under the same name is another run.
    """
    plain = asdict(settings)
    for name in _ONLY_HOW:
        plain.pop(name, None)
    plain |= inputs or {}
    return Run(
        Path(required(settings.output, "--output", "the output directory")),
        plain,
        reporter,
        seed=settings.seed,
        resume=settings.resume,
        overwrite=settings.overwrite,
        precision=settings.precision,
        teacher_precision=settings.teacher_precision,
        attention=settings.attention,
        tensorboard=settings.tensorboard,
        callbacks=callbacks,
    )


def described(model: PreTrainedModel, score: float | None) -> dict[str, Any]:
    """A model's figures for ``results.json``."""
    longest = getattr(model.config, "max_position_embeddings", 128)
    return {
        "score": score,
        "parameters": parameters(model),
        "flops_128": flops(model, length=128) if longest >= 128 else None,
        "layers": model.config.num_hidden_layers,
        "hidden": model.config.hidden_size,
    }


def part_scores(
    metric: str, outputs: Mapping[str, Any], parts: Mapping[str, TokenRows]
) -> dict[str, dict[str, float]]:
    """Part → metric → score, the main metric first, for the parts that have labels."""
    return {
        name: scores_of(metric, outputs[name], rows)
        for name, rows in parts.items()
        if rows.labels is not None
    }


def retention(student: float | None, teacher: float | None) -> float | None:
    """The share of the teacher's score that the student keeps; None where that means nothing."""
    if student is None or teacher is None or teacher <= 0 or not np.isfinite(student):
        return None
    return student / teacher


def publish(
    run: Run,
    result: StageResult,
    results: dict[str, Any],
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Make the last stage's student the output, with its results and its model card beside it.

    ``more`` are further files, as :meth:`tinybert.stages.Run.finish` takes them.
    """
    card = model_card(result.directory, results, name=run.output.name) if run.is_main else ""
    files = {"results.json": results, "README.md": card}
    return run.finish(result, files | dict(more or {}))


def versions() -> dict[str, str]:
    """Of everything that numbers depend on."""
    return {
        "tinybert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def short_stages(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stage records without their logs."""
    return [{k: v for k, v in record.items() if k != "log"} for record in records]


def plain_settings(settings: Any) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
