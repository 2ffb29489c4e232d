"""SQuAD's questions as rankings: the sentence with the answer among others of its article.

    python runs/squad_rankings.py DIRECTORY_OF_SQUAD OUTPUT

Writes ``train.csv``, ``dev.csv`` and ``test.csv`` with a query, a passage and its relevance a row,
five passages a query, of which one is relevant. Training queries are of the training file, the
others of the dev file: no article is in two parts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

PASSAGES = 5
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(])")


def articles(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)["data"]
    return found


def sentences(text: str) -> list[tuple[int, str]]:
    """The sentences of a paragraph, each with the character that it begins at."""
    ends = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    return [(a, text[a:b].strip()) for a, b in pairwise(ends)]


def rankings(
    article: dict[str, Any], chance: random.Random
) -> Iterator[list[tuple[str, str, int]]]:
    """Five rows a question, in random order."""
    whole = [s for p in article["paragraphs"] for _, s in sentences(p["context"])]
    for paragraph in article["paragraphs"]:
        parts = sentences(paragraph["context"])
        for asked in paragraph["qas"]:
            answer = asked["answers"][0]
            right = [s for start, s in parts if start <= answer["answer_start"]][-1]
            others = sorted({s for s in whole if answer["text"] not in s and len(s.split()) > 4})
            if answer["text"] not in right or len(others) < PASSAGES - 1:
                continue  # the answer reaches into the next sentence
            rows = [(asked["question"].strip(), right, 1)]
            rows += [(rows[0][0], s, 0) for s in chance.sample(others, PASSAGES - 1)]
            chance.shuffle(rows)
            yield rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("squad", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--queries", type=int, nargs=3, default=(600, 100, 300))
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    others = articles(asked.squad / "dev-v1.1.json.gz")
    chance.shuffle(others)
    half = len(others) // 4
    parts = {
        "train": articles(asked.squad / "train-v1.1.json.gz"),
        "dev": others[:half],
        "test": others[half:],
    }
    asked.output.mkdir(parents=True, exist_ok=True)
    for (name, part), count in zip(parts.items(), asked.queries, strict=True):
        found = [rows for article in part for rows in rankings(article, chance)]
        seen: dict[str, list[tuple[str, str, int]]] = {
            rows[0][0].casefold(): rows for rows in found
        }
        chosen = chance.sample(sorted(seen.values()), min(count, len(seen)))
        with (asked.output / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("query", "passage", "relevance"))
            writer.writerows(row for rows in chosen for row in rows)
        print(f"{name}: {len(chosen)} queries of {len(part)} articles")  # noqa: T201 - a script of its own


if __name__ == "__main__":
    main()
