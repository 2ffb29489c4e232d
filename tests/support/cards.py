"""Results that cards are made of, and cards as a reader and the Hub see them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from tinybert.settings import DistillSettings


def stage(name: str, **more: Any) -> dict[str, Any]:
    schedule = {"epochs": 3.0, "steps": None, "batch_size": 32, "learning_rate": 5e-5}
    return {
        "name": name,
        "steps": 60,
        "rows": 640,
        "schedule": schedule | more,
        "objective": [
            {"term": "embedding", "weight": 1.0},
            {"term": "attention.1", "weight": 0.1, "m": 1, "n": 2},
            {"term": "attention.2", "weight": 0.1, "m": 2, "n": 4},
        ],
        "best": {"metric": "accuracy", "value": 0.9},
    }


def described(score: float | None, **more: Any) -> dict[str, Any]:
    figures = {"score": score, "parameters": 1_500_000, "flops_128": 3_000_000_000}
    return figures | {"layers": 2, "hidden": 16} | more


def distilled(**more: Any) -> dict[str, Any]:
    """What a run of `distill` on MNLI-like data may leave."""
    settings = DistillSettings(
        output=Path("/home/secret/student"),
        teacher="/home/secret/models/teacher",
        data="/home/secret/rows.csv",
        student="2x16",
        seed=7,
        resume=True,
    )
    both = {"test": {"accuracy": 0.8}, "mismatched": {"accuracy": 0.81}}
    results = {
        "task": "mnli",
        "metric": "accuracy",
        "teacher": described(0.84, parameters=6_000_000, layers=4, hidden=32),
        "student": described(0.8, scores=both),
        "retention": 0.8 / 0.84,
        "agreement": 0.9,
        "controls": {"same start, labels alone": 0.7},
        "rows": {"train": 1000, "dev": 100, "test": 400},
        "stages": [stage("intermediate"), stage("prediction"), stage("control-labels")],
        "settings": vars(settings),
        "versions": {"tinybert": "0.1.0", "torch": "2.13.0+cpu"},
    }
    return results | more


def parsed(text: str, tmp_path: Path) -> ModelCard:
    (tmp_path / "card.md").write_text(text, encoding="utf-8")
    return ModelCard.load(tmp_path / "card.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```+{language}\n(.*?)\n```+$", text, re.M | re.S)


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, as a reader sees them."""
    found: list[list[list[str]]] = []
    body = ModelCard(text).text
    for token in MarkdownIt("commonmark").enable("table").parse(body):
        if token.type == "table_open":
            found.append([])
        if token.type == "tr_open":
            found[-1].append([])
        if token.type == "inline" and found and token.level > 3:
            pieces = token.children or []
            assert {piece.type for piece in pieces} <= {"text", "text_special"} | {
                "strong_open",
                "strong_close",
            }, token.content
            found[-1][-1].append("".join(piece.content for piece in pieces))
    return found


def table(text: str, corner: str) -> list[list[str]]:
    return next(rows for rows in tables(text) if rows[0][0] == corner)


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.M)
