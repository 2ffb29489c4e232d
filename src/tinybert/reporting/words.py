"""Answers of more than a label a row on the page: sets, orders, tagged sentences, spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinybert.reporting.classes import Confusions, Differing

__all__ = ["HEADINGS", "MOST_IN_MATRIX", "WordRow", "word_classes", "word_differing"]

MOST_IN_MATRIX = 20
MOST_CONFUSED = 8

HEADINGS = {
    "sets": "Label by label",
    "ranking": "Query by query",
    "tokens": "Type by type",
    "spans": "Question by question",
}
_HEADS = {
    "sets": ["label", "rows", "precision", "recall", "F1"],
    "tokens": ["type", "number", "precision", "recall", "F1"],
    "spans": ["questions with", "number", "exact match", "F1"],
}
_ROWS = {"sets": "rows", "ranking": "queries", "tokens": "sentences", "spans": "questions"}


@dataclass(frozen=True)
class WordRow:
    """One line of the table: a type and how many there are, figures, and the F1, all 0 … 1."""

    name: str
    count: int
    middle: tuple[float, ...]
    f1: float


def word_classes(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of the page on each type, from what a reading told."""
    if told and told.get("agreement"):
        alike = {str(name).capitalize(): value for name, value in told["agreement"].items()}
        return {"values": [("student and teacher, mean over queries", alike)]}
    if not told or not told["classes"]:
        return {}
    kind = str(told["kind"])
    against = "the labels" if told["labelled"] else "the teacher's answers"
    said: dict[str, Any] = {
        "classes": [
            WordRow(
                str(row["name"]),
                int(row["count"]),
                (row["exact"],) if kind == "spans" else (row["precision"], row["recall"]),
                float(row["f1"]),
            )
            for row in told["classes"]
        ],
        "classes_told": f"The student's answers to {told['rows']:,} {_ROWS[kind]}, held against "
        f"{against}.",
        "class_heads": _HEADS[kind],
        "teacher_f1": list(told.get("teacher_f1") or []),
    }
    names = tuple(map(str, told.get("names") or ()))
    tables = {
        f"The {who}’s answers, word by word.": Confusions(names, np.asarray(counts, dtype=np.int64))
        for who, counts in (told.get("matrices") or {}).items()
    }
    if names and len(names) <= MOST_IN_MATRIX:
        said["matrices"] = [
            {
                "title": title,
                "rows": "the label" if told["labelled"] else "the teacher's answer",
                "names": table.names,
                "counts": table.counts.tolist(),
                "shares": table.shares.tolist(),
            }
            for title, table in tables.items()
        ]
    if tables:
        said["confused"] = next(iter(tables.values())).commonest(MOST_CONFUSED)
    return said


def word_differing(told: Mapping[str, Any] | None, most: int) -> dict[str, Any]:
    """The part of the page on sentences or questions that the two answer differently."""
    if not told or told.get("split", "") == "":
        return {}
    rows, kind = int(told["rows"]), _ROWS[str(told["kind"])]
    found = [
        Differing(
            int(row["row"]),
            tuple(map(str, row["texts"])),
            row["label"],
            str(row["teacher"]),
            str(row["student"]),
            None,
            None,
            row["teacher_right"],
            row["student_right"],
        )
        for row in told["differing"][:most]
    ]
    differ = int(told["differ"])
    said: dict[str, Any] = {"labelled": bool(told["labelled"]), "differing": found}
    share = f"{differ:,} of {rows:,} {kind} ({100 * differ / max(1, rows):.1f} %)"
    said["differ_told"] = f"They answer {share} differently."
    if told["kind"] == "ranking":
        said["differ_told"] = f"They put another passage first for {share}."
    if found:
        which = "All of them" if len(found) == differ else f"The first {len(found)}"
        said["differ_told"] += f" {which}, those first where they are furthest apart:"
    if split := told.get("split"):
        kinds = {
            "both_right": ("both right", "both-right"),
            "teacher_alone": ("teacher alone right", "teacher"),
            "student_alone": ("student alone right", "student"),
            "both_wrong": ("both wrong", "both-wrong"),
        }
        said["split"] = [
            {"name": name, "rows": split[key], "share": split[key] / max(1, rows), "style": style}
            for key, (name, style) in kinds.items()
        ]
        said["split_told"] = ", ".join(
            f"{name}: {split[key]} {kind}" for key, (name, _) in kinds.items()
        )
    return said
