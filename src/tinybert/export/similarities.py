"""Similarities of a sentence encoder in its card, at every size of its vector."""

from __future__ import annotations

from tinybert.export.figures import Results, number, part
from tinybert.export.markdown import escaped, last_part, table

__all__ = ["similarities_table", "vector_told"]

_COLUMNS = {
    "similarity_spearman": "Spearman with the scores",
    "similarity_agreement": "Spearman with the teacher's",
}


def similarities_table(results: Results) -> str:
    """How similarities go with people's scores and the teacher's; "" where none were measured."""
    found = part(results, "similarity")
    lines = [("teacher", part(found, "teacher")), ("all numbers", part(found, "student"))]
    lines += [
        (f"first {size} numbers", part(found, "sizes", size)) for size in part(found, "sizes")
    ]
    columns = [name for name in _COLUMNS if number(part(found, "student").get(name)) is not None]
    if not columns:
        return ""
    rows = []
    for told, figures in lines:
        values = [number(figures.get(name)) for name in columns]
        rows.append([escaped(told), *("–" if v is None else f"{v:.4f}" for v in values)])
    pairs = number(found.get("pairs"))
    watched = part(results, "settings").get("watch")
    source = f" from {escaped(str(last_part(watched)))}" if watched else ""
    note = "" if pairs is None else f"Cosines of {pairs:,.0f} pairs of sentences{source}."
    shown = table(["vectors", *(_COLUMNS[name] for name in columns)], rows)
    return "\n\n".join(block for block in (shown, note) if block)


def vector_told(results: Results) -> str:
    """How the vector is made and what it can be compared with, in sentences; "" for others."""
    vector = part(results, "vector")
    if not vector:
        return ""
    told = [f"A sentence's vector: {escaped(str(vector.get('told')))}."]
    sizes = vector.get("sizes")
    if isinstance(sizes, list | tuple) and sizes:
        told.append(
            f"It can be cut to its first {', '.join(str(size) for size in sizes)} numbers "
            "(`truncate_dim`)."
        )
    if vector.get("teachers_space"):
        told.append("Its vectors lie in the teacher's space, and can be compared with those.")
    else:
        told.append("Its space is not the teacher's: compare its vectors with its own alone.")
    return " ".join(told)
