"""Figures of the model for the page's foot: what its export measured, as people read it."""

from __future__ import annotations

from typing import Any

from tinybert.webpage.model import MODEL_FILE, WebModel

__all__ = ["facts"]


def facts(model: WebModel, size: int) -> list[tuple[str, str]]:
    """(name, value) of what is known; what export.json lacks is left out.

    Args:
        model: the exported model.
        size: bytes of its int8 file.
    """
    found = [("Model", f"{size / 1e6:.1f} MB, int8")]
    if model.layers and model.width:
        found.append(("Shape", f"{model.layers} layers, {model.width} wide"))
    metric = str(model.export.get("metric"))
    for form in _part(model.export, "forms").values():
        if isinstance(form, dict) and form.get("file") == MODEL_FILE:
            score = _number(_part(form, "scores").get(metric))
            if score is not None:
                before = _number(_part(model.export, "score_before").get(metric))
                found.append((_title(metric), _beside(score, before)))
    return found


def _title(metric: str) -> str:
    """A metric as a heading.

    >>> _title("macro_f1"), _title("mcc"), _title("accuracy")
    ('Macro F1', 'MCC', 'Accuracy')
    """
    words = metric.replace("_", " ").replace("f1", "F1")
    return words.upper() if metric == "mcc" else words[:1].upper() + words[1:]


def _beside(score: float, before: float | None) -> str:
    return f"{score:.3f}" if before is None else f"{score:.3f} ({before:.3f} before int8)"


def _number(value: Any) -> float | None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if real else None


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}
