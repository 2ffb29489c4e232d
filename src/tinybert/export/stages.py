"""Stages of a run as cards and reports tell them: which made the student, what each learns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tinybert.export.figures import number

__all__ = ["made_the_student", "terms_told"]

_OTHERS = re.compile(r"^seed\d+-|(^|-)control-")


def made_the_student(name: str) -> bool:
    """Whether the stage ``name`` made the student: not one of a control or of a further seed.

    >>> made_the_student("prediction"), made_the_student("seed43-control-labels")
    (True, False)
    """
    return _OTHERS.search(name) is None


def terms_told(objective: Any) -> str:
    """Kinds of terms with their weights, one weight where all of a kind have the same.

    >>> terms_told([{"term": "attention.1", "weight": 0.1}, {"term": "logits", "weight": 1.0}])
    '0.1 · attention + logits'
    """
    weights: dict[str, list[float]] = {}
    for term in objective if isinstance(objective, list | tuple) else []:
        if not isinstance(term, Mapping):
            continue
        kind = str(term.get("term", "")).split(".")[0]
        weights.setdefault(kind, []).append(number(term.get("weight")) or 0.0)
    told = []
    for kind, found in weights.items():
        same = len(set(found)) == 1
        factor = f"{found[0]:g}" if same else "(" + ", ".join(f"{w:g}" for w in found) + ")"
        told.append(kind if factor == "1" else f"{factor} · {kind}")
    return " + ".join(told)
