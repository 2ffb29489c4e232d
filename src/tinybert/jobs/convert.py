"""A checkpoint of the TinyBERT authors' code → a Hugging Face directory."""

from __future__ import annotations

from typing import Any

from tinybert.jobs.common import required
from tinybert.measure import parameters
from tinybert.original import convert_checkpoint, read_checkpoint, read_tokenizer
from tinybert.outputs import check_output, whole_directory
from tinybert.progress import Reporter
from tinybert.settings import ConvertSettings
from tinybert.stages import save_student

__all__ = ["run_convert"]


def run_convert(settings: ConvertSettings, reporter: Reporter) -> dict[str, Any]:
    """Convert a checkpoint and tell what was found; returns the same as data.

    Raises:
        TinybertError: the checkpoint is not whole or contradicts itself, or the output exists.
    """
    path = required(settings.model, "--model", "the checkpoint")
    output = check_output(
        required(settings.output, "--output", "the output directory"), settings.overwrite
    )
    checkpoint = read_checkpoint(path)
    labels = settings.labels
    converted = convert_checkpoint(
        checkpoint,
        head=settings.head,
        labels=None if labels is None else [name.strip() for name in labels.split(",")],
    )
    tokenizer, note = read_tokenizer(checkpoint, settings.vocab, settings.lower_case)
    for line in (*converted.notes, note):
        reporter.say(line)
    model, projections = converted.model, converted.projections
    figures: dict[str, Any] = {
        "class": type(model).__name__,
        "parameters": parameters(model),
        "layers": model.config.num_hidden_layers,
        "hidden": model.config.hidden_size,
        "head": converted.head,
        "labels": list(converted.labels),
        "projected_to": None if projections is None else projections.teacher_width,
        "left_out": list(converted.left_out),
    }
    if settings.dry_run:
        reporter.say("a dry run: nothing was written")
        return figures
    with whole_directory(output, settings.overwrite) as temporary:
        save_student(temporary, model, tokenizer, projections)
    reporter.say(f"{type(model).__name__} written to {output}")
    return figures
