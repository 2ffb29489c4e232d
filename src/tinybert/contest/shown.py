"""The figures as tables: for the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Table", "markdown", "tables"]

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A title, columns, and rows whose empty cells are None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def tables(results: Sequence[Result], measured: Mapping[str, Any]) -> list[Table]:
    """One of size and memory, and one a workload.

    Args:
        results: as :func:`tinybert.contest.figures.described` makes them, with their ratios.
        measured: ``threads``, ``passes``.
    """
    first = f"{results[0]['model']} {results[0]['form']}"
    found = [
        Table(
            f"size, and memory of its own process; smaller and faster than {first}; like for like: "
            "than the same form of it",
            ("model", "form", "size MB", "smaller", "like for like", "loaded MB", "peak MB"),
            tuple(_size_row(each) for each in results),
        )
    ]
    for number, cell in enumerate(results[0]["workloads"]):
        found.append(
            Table(
                f"{cell['name']}, {_threads(measured['threads'])}",
                ("model", "form", "ms", "p95", "rows/s", "tokens/s", "faster", "like for like"),
                tuple(_pace_row(each, each["workloads"][number]) for each in results),
            )
        )
    return found


def markdown(shown: Sequence[Table]) -> str:
    """The tables for a document.

    >>> print(markdown([Table("size", ("model", "MB"), (("a|b", "1.0"), ("c", None)))]))
    **size**
    <BLANKLINE>
    | model | MB |
    | --- | ---: |
    | a\\|b | 1.0 |
    | c | – |
    <BLANKLINE>
    """
    parts = []
    for table in shown:
        words = ("model", "form")
        rule = ["---" if column in words else "---:" for column in table.columns]
        lines = [f"**{table.title}**", "", _line(table.columns), _line(rule)]
        lines += [_line(["–" if cell is None else cell for cell in row]) for row in table.rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _size_row(each: Result) -> tuple[str | None, ...]:
    memory = each["memory"]
    return (
        each["model"],
        each["form"],
        _megabytes(each["size"]),
        _times(each["smaller"]),
        _times(each["smaller_like"]),
        _megabytes(memory["after_load"]),
        _megabytes(memory["peak"]),
    )


def _pace_row(each: Result, cell: Result) -> tuple[str | None, ...]:
    return (
        each["model"],
        each["form"],
        f"{cell['median_ms']:.2f}",
        f"{cell['p95_ms']:.2f}",
        f"{cell['sequences_per_second']:.1f}",
        f"{cell['tokens_per_second']:.0f}",
        _times(cell["speedup"]),
        _times(cell["speedup_like"]),
    )


def _megabytes(count: int | None) -> str | None:
    return f"{count / 1e6:.1f}" if count else None


def _times(ratio: float | None) -> str | None:
    return None if ratio is None else f"{ratio:.2f}x"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
