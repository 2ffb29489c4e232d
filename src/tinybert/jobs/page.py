"""An exported model → a web page that answers as one types."""

from __future__ import annotations

from typing import Any

from tinybert.errors import TinybertError
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.settings import PageSettings
from tinybert.webpage import (
    PageText,
    WebModel,
    example_texts,
    read_web_model,
    reads_pairs,
    third_party_files,
    write_page,
)
from tinybert.work import check_apart

__all__ = ["run_page"]


def run_page(settings: PageSettings, reporter: Reporter) -> dict[str, Any]:
    """Write the page; returns where it is, what it says, and its files with their bytes.

    Raises:
        TinybertError: the model cannot stand on a page, the scripts of others are not to be had,
            or the output exists.
    """
    if not settings.model:
        raise TinybertError("the exported model is missing: give it with --model.")
    if settings.output is None:
        raise TinybertError("the output directory is missing: give it with --output.")
    output = check_output(settings.output, settings.overwrite)
    check_apart(output, model=settings.model, assets=settings.assets)
    model = read_web_model(settings.model)
    texts = _texts(settings, model)
    text = PageText(
        title=settings.title or model.name,
        fields=_fields(model, texts),
        examples=example_texts(model.labels, texts, settings.examples),
        max_length=model.length(settings.max_length),
    )
    files = write_page(
        output, model, text, third_party_files(settings.assets, reporter), settings.overwrite
    )
    size = sum(files.values())
    reporter.say(
        f"a page of {size / 1e6:.1f} MB written to {output}; {texts} text"
        f"{'s' if texts > 1 else ''} of at most {text.max_length} tokens"
    )
    reporter.say(
        f"look at it: python -m http.server --directory {output}, then http://localhost:8000"
    )
    return {
        "output": str(output),
        "title": text.title,
        "fields": list(text.fields),
        "examples": [list(row) for row in text.examples],
        "labels": list(model.labels),
        "max_length": text.max_length,
        "bytes": size,
        "files": files,
    }


def _texts(settings: PageSettings, model: WebModel) -> int:
    if settings.texts != "auto":
        return int(settings.texts)
    if model.text_names:
        return len(model.text_names)
    return 2 if reads_pairs(model.labels) else 1


def _fields(model: WebModel, texts: int) -> tuple[str, ...]:
    """What the fields are called: as the columns that the model learned from, if they fit."""
    if texts == 1:
        return ("Text",)
    if len(model.text_names) == texts:
        return tuple(name.replace("_", " ").capitalize() for name in model.text_names)
    return ("First text", "Second text")
