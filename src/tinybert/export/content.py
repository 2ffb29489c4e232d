"""Labels, training and limits in a card, from what ``results.json`` holds.

Every table and sentence is Markdown, "" where there is nothing to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from tinybert import settings as all_settings
from tinybert.export.figures import Results, number, part, scored, seeds
from tinybert.export.markdown import bullets, escaped, fenced, last_part, table
from tinybert.export.stages import made_the_student, terms_told
from tinybert.settings.kinds import word_task

__all__ = [
    "labels_table",
    "limits",
    "max_length",
    "settings_told",
    "stages_table",
    "takes_pairs",
    "verb",
    "versions_line",
]

SHOWN_LABELS = 200
_RUN_ONLY = {"overwrite", "resume", "dry_run", "output", "push_to_hub", "private"}


def max_length(results: Results) -> int | None:
    """Tokens a row, specials included."""
    asked = part(results, "settings").get("max_length")
    found = number(results.get("max_length") if asked is None else asked)
    return None if found is None else int(found)


def takes_pairs(results: Results) -> bool:
    """Whether a row is known to be two texts."""
    columns = results.get("text_columns") or part(results, "settings").get("text") or ""
    names = columns.split(",") if isinstance(columns, str) else columns
    return isinstance(names, list | tuple) and len(names) == 2


def verb(results: Results) -> str | None:
    """The verb whose settings these are."""
    cls = _settings_class(results)
    return None if cls is None else cls.__name__.removesuffix("Settings").lower()


def _settings_class(results: Results) -> type | None:
    """The class with just these settings; None for those of another version."""
    names = set(part(results, "settings"))
    for cls in vars(all_settings).values():
        if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
            continue
        if {f.name for f in dataclasses.fields(cls)} == names:
            return cls
    return None


def labels_table(labels: Sequence[str]) -> str:
    rows = [
        [str(i), escaped(name).strip() or "(blank)"] for i, name in enumerate(labels[:SHOWN_LABELS])
    ]
    more = len(labels) - len(rows)
    note = f"… and {more:,} more, in `config.json`." if more else ""
    shown = table(["output", "label"], rows, numbers=False)
    return "\n\n".join(block for block in (shown, note) if block)


def stages_table(results: Results) -> str:
    """The stages that made the model; those of controls and of further seeds are left out."""
    records = results.get("stages")
    rows = []
    for record in records if isinstance(records, list | tuple) else []:
        if not isinstance(record, Mapping):
            continue
        name = str(record.get("name", ""))
        if not made_the_student(name):
            continue
        plan, best = part(record, "schedule"), part(record, "best")
        steps_asked = number(plan.get("steps"))
        rows.append(
            [
                escaped(name),
                _figure(record.get("rows"), ",.0f"),
                "–" if steps_asked is not None else _figure(plan.get("epochs"), "g"),
                _figure(record.get("steps"), ",.0f"),
                _figure(plan.get("batch_size"), ",.0f"),
                _figure(plan.get("learning_rate"), "g"),
                escaped(terms_told(record.get("objective"))) or "–",
                f"best {escaped(str(best['metric']))}" if best.get("metric") else "last",
            ]
        )
    head = ["stage", "rows", "epochs", "steps", "batch", "learning rate", "learns", "weights kept"]
    return table(head, rows)


def _figure(value: Any, form: str) -> str:
    found = number(value)
    return "–" if found is None else format(found, form)


def settings_told(results: Results) -> str:
    """How to make it again: the settings that are not defaults, as ``--config`` reads them."""
    given, cls = part(results, "settings"), _settings_class(results)
    if not given:
        return ""
    defaults: dict[str, Any] = {}
    paths: set[str] = set()
    if cls is not None:
        defaults = {f.name: _default(f) for f in dataclasses.fields(cls)}
        paths = {name for name, kind in get_type_hints(cls).items() if "Path" in str(kind)}
    shown = {
        str(key): last_part(Path(value) if key in paths and value is not None else value)
        for key, value in given.items()
        if key not in _RUN_ONLY and (key not in defaults or value != defaults[key])
    }
    command = f"Made with `tinybert {verb(results)} --output DIRECTORY`"
    if not shown:
        return f"{command}: all settings had their defaults."
    text = fenced(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), "yaml")
    if cls is None:
        return f"Its settings, paths by their last part:\n\n{text}"
    return (
        f"{command} and these settings in a file for `--config`. The others had their defaults; "
        f"paths are told by their last part.\n\n{text}"
    )


def _default(entry: dataclasses.Field[Any]) -> Any:
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    if entry.default is None:
        return entry.metadata.get("usual")
    return None if entry.default is dataclasses.MISSING else entry.default


def limits(results: Results, *, licence: bool) -> str:
    """What was not measured and what is known to end somewhere."""
    told = []
    rows = number(part(results, "rows").get("train"))
    if rows is not None:
        told.append(f"It learnt from {rows:,.0f} rows; texts unlike them were not measured.")
    longest = max_length(results)
    asked = str(part(results, "settings").get("task") or "")
    if longest is not None and not asked:  # a run on raw text has no task
        told.append(f"It learnt from blocks of at most {longest:,} tokens.")
    elif longest is not None and word_task(asked) == "question-answering":
        told.append(f"Passages were read in windows of {longest:,} tokens, which overlap.")
    elif longest is not None:
        told.append(f"Texts were cut to {longest:,} tokens, in training and in every score.")
    scores = scored(results, "student")
    if not scores and number(results.get("agreement")) is not None:
        told.append("There were no labels: how often its answers are right was not measured.")
    if scores and seeds(results) < 2:
        seed = number(part(results, "settings").get("seed"))
        told.append(f"The figures are of one run{'' if seed is None else f', seed {seed:.0f}'}.")
    if scores and part(results, "teacher") and not part(results, "controls"):
        told.append(
            "No control was trained: how much of the score is due to distillation is not known."
        )
    if not part(results, "latency") and not part(results, "size"):
        told.append("Its speed was not measured.")
    told.append(
        "Not measured: other data, fairness between groups of people, calibration, robustness."
    )
    if not licence:
        told.append(
            "No licence is stated here: look at those of the teacher and of the training data."
        )
    return bullets(told)


def versions_line(results: Results) -> str:
    return ", ".join(
        f"{escaped(str(name))} {escaped(str(version))}"
        for name, version in part(results, "versions").items()
    )
