"""A small place for reproductions: a teacher, a text and two tasks; settings of seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support import tiny

__all__ = ["asked", "make_place"]

QUICK: dict[str, Any] = {
    "tasks": ["sst-2"],
    "seeds": 1,
    "corpus_flops": "20M",
    "task_flops": "20M",
    "teacher_epochs": 1.0,
    "max_length": 24,
    "held_out": 4,
    "precision": "float32",
    "teacher_precision": "float32",
    "attention": "direct",
    "quiet": True,
}


def make_place(tmp_path: Path) -> Path:
    """A teacher with an output head, a text, and SST-2 and STS-B in their layouts."""
    tiny.masked_lm(layers=6, width=64).save_pretrained(tmp_path / "teacher")
    tiny.tokenizer().save_pretrained(tmp_path / "teacher")
    tiny.corpus_file(tmp_path / "text.txt", 60)
    for name, count in (("train", 60), ("dev", 20)):
        texts, labels = tiny.sentences(count, seed=len(name))
        rows = list(enumerate(zip(texts, labels, strict=True)))
        lines = [f"{text} {n}\t{int(label == labels[0])}" for n, (text, label) in rows]
        write(tmp_path / "glue" / "SST-2" / f"{name}.tsv", ["sentence\tlabel", *lines])
        head = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
        more = [f"{n}\t\t\t\t\t\t\t{text}\t{text} {n}\t{n % 6}.0" for n, (text, _) in rows]
        write(tmp_path / "glue" / "STS-B" / f"{name}.tsv", [f"{head}\tscore", *more])
    return tmp_path


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def asked(place: Path, **more: Any) -> dict[str, Any]:
    base = QUICK | {
        "teacher": place / "teacher",
        "corpus": str(place / "text.txt"),
        "data": place / "glue",
        "output": place / "table",
    }
    return base | more
