"""What a model's directory says of its training, also once its vocabulary is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["REPORT_FILE", "kept_facts", "trained_facts"]

REPORT_FILE = "vocabulary.json"
_TRAINED = "trained"


def trained_facts(directory: str | Path) -> dict[str, Any]:
    """What ``results.json`` holds; of a model that was cut, what it kept of that; else nothing."""
    found = _object(Path(directory) / "results.json")
    if found:
        return found
    kept = _object(Path(directory) / REPORT_FILE).get(_TRAINED)
    return kept if isinstance(kept, dict) else {}


def kept_facts(directory: str | Path) -> dict[str, Any]:
    """What holds after a cut too: ``task``, ``metric``, ``text_columns`` and ``max_length``.

    Scores and speed are of the model before, and settings name local paths: they stay behind.
    """
    found = trained_facts(directory)
    settings = found.get("settings")
    asked = settings.get("max_length") if isinstance(settings, dict) else None
    facts = {name: found.get(name) for name in ("task", "metric", "text_columns")}
    facts["max_length"] = found.get("max_length") or asked
    return {name: fact for name, fact in facts.items() if fact is not None}


def _object(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
