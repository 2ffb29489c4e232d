"""Cells of a reproduction: what there is to make, in which order, and where it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tinybert.errors import TinybertError
from tinybert.settings import ReproduceSettings
from tinybert.systems import SYSTEMS, System, find_system
from tinybert.systems.variants import ablation_systems, from_teacher, without_copies

__all__ = [
    "Cell",
    "Prints",
    "all_cells",
    "chosen_systems",
    "copies_of",
    "identity",
    "kept",
    "takes_copies",
]

Kind = Literal["pretrained", "teacher", "student"]


@dataclass(frozen=True)
class Cell:
    """One thing to make: a system's pre-training, or a task's teacher or student with a seed."""

    kind: Kind
    system: str
    task: str = ""
    seed: int = 0

    @property
    def title(self) -> str:
        """For people."""
        if self.kind == "pretrained":
            return f"{self.system}, pre-training"
        return f"{self.system}, {self.task}, seed {self.seed}"

    def place(self, output: Path) -> Path:
        """Its directory."""
        slug = re.sub(r"[^\w.-]+", "-", self.system)
        if self.kind == "pretrained":
            return output / "pretrained" / slug
        if self.kind == "teacher":
            return output / "teachers" / self.task / f"seed-{self.seed}"
        return output / "students" / self.task / f"seed-{self.seed}" / slug


def chosen_systems(settings: ReproduceSettings) -> dict[str, System]:
    """Name → system, the teacher first.

    Raises:
        TinybertError: a system that there is not, or one named twice, or systems and an ablation.
    """
    teacher = SYSTEMS["BERT_BASE"]
    if settings.ablation != "none":
        if settings.systems:
            raise TinybertError("--ablation says which systems are compared: leave out --systems.")
        found = _ablation(settings)
    else:
        chosen = [find_system(name) for name in settings.systems]
        found = _started(settings, chosen or [s for s in SYSTEMS.values() if s.paper is not None])
    names = [system.name for system in found]
    if len(set(names)) < len(names):
        raise TinybertError(f"--systems {' '.join(settings.systems)} names a system twice.")
    return {s.name: s for s in [teacher, *(s for s in found if not s.is_teacher)]}


def _ablation(settings: ReproduceSettings) -> list[System]:
    assert settings.ablation != "none"
    if settings.ablation == "start" and settings.starts != "own":
        raise TinybertError("--ablation start compares the starts by itself: leave out --starts.")
    found: list[System] = []
    for start in ("own", "teacher"):
        if settings.starts in (start, "both"):
            some = ablation_systems(settings.ablation, start)
            if settings.ablation == "stages" and settings.augment is not None:
                some.append(without_copies(some[0]))
            found += some
    return found


def _started(settings: ReproduceSettings, systems: list[System]) -> list[System]:
    """The systems with their own starts, on their teacher where there is such a start, or both."""
    if settings.starts == "own":
        return systems
    found: dict[str, System] = {}
    for system in systems:
        other = from_teacher(system)
        if other is None or settings.starts == "both":
            found[system.name] = system
        if other is not None:
            found[other.name] = other
    return [*found.values()]


def takes_copies(settings: ReproduceSettings, system: System) -> bool:
    """Whether a system learns from augmented rows: where there are any, and its source has them."""
    return settings.augment is not None and system.augmented


def copies_of(settings: ReproduceSettings, task: str, seed: int) -> Path:
    """The directory of a task's augmented rows."""
    name = str(settings.augment).replace("{task}", task).replace("{seed}", str(seed))
    return Path(name).expanduser()


def all_cells(settings: ReproduceSettings, tasks: list[str]) -> dict[Cell, tuple[Cell, ...]]:
    """Cell → the cells that it needs, in an order in which a run that is cut off still holds whole
    comparisons: pre-training, then seed by seed and task by task all systems."""
    systems = [s for s in chosen_systems(settings).values() if not s.is_teacher]
    cells: dict[Cell, tuple[Cell, ...]] = {}
    pretrained = {s.name: Cell("pretrained", s.name) for s in systems if s.corpus_steps}
    cells |= dict.fromkeys(pretrained.values(), ())
    for seed in range(settings.seed, settings.seed + settings.seeds):
        for task in tasks:
            teacher = Cell("teacher", "BERT_BASE", task, seed)
            cells[teacher] = ()
            for system in systems:
                needs = [teacher]
                if system.name in pretrained:
                    needs.append(pretrained[system.name])
                cells[Cell("student", system.name, task, seed)] = tuple(needs)
    return cells


@dataclass(frozen=True)
class Prints:
    """Fingerprints of what is read: a file or weights changed under a name make other cells.

    Attributes:
        teacher: of the encoder's weights.
        corpus: of the text.
        tasks: of each task's files.
        copies: of augmented rows, by task and seed.
    """

    teacher: str = ""
    corpus: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[tuple[str, int], str] = field(default_factory=dict)


# What says how to run, which cells there are, or where things lie: those have fingerprints.
_NOT_ITS_OWN = (
    *(
        "output",
        "systems",
        "ablation",
        "starts",
        "tasks",
        "seeds",
        "seed",
        "jobs",
        "keep_models",
        "dry_run",
    ),
    *("precision", "teacher_precision", "attention", "teacher", "corpus", "data", "augment"),
)
_OF_TASKS = ("rows", "task_flops", "task_batch", "teacher_epochs", "teacher_learning_rate", "grid")
# The batches of every step where none is asked for: naming them makes no other cell.
_BATCHES = {"corpus_batch": 64, "task_batch": 32}
_OF_PRETRAINING = ("corpus_flops", "corpus_batch", "held_out", "pretraining_seed")


def identity(settings: ReproduceSettings, prints: Prints, cell: Cell) -> dict[str, Any]:
    """What makes this cell what it is, as plain data: a kept one was made of the same."""
    plain = {name: value for name, value in asdict(settings).items() if name not in _NOT_ITS_OWN}
    for name, batch in _BATCHES.items():
        plain[name] = plain[name] or batch
    system = chosen_systems(settings)[cell.system]
    dropped: tuple[str, ...] = ()
    told: dict[str, Any] = {"teacher": prints.teacher}
    if cell.kind == "pretrained":
        dropped, steps = _OF_TASKS, system.corpus_steps
    else:
        steps = system.steps
        told["data"] = prints.tasks[cell.task]
        if takes_copies(settings, system):
            told["augment"] = prints.copies[cell.task, cell.seed]
    if system.corpus_steps:
        told["corpus"] = prints.corpus
    else:
        dropped += _OF_PRETRAINING
    if cell.kind == "teacher":
        dropped += ("task_flops", "task_batch", "grid", "dropout")
    if cell.kind != "student" or settings.head == "random":  # as before it was asked
        dropped += ("head",)
    for name in dropped:
        plain.pop(name, None)
    told |= {
        "system": system.name,
        "start": system.start,
        "mapping": system.mapping,
        "steps": [{"name": step.name, **asdict(step)} for step in steps],
        "task": cell.task,
        "seed": cell.seed,
    }
    found: dict[str, Any] = json.loads(json.dumps(plain | told, default=str))
    return found


def kept(settings: ReproduceSettings, prints: Prints, cell: Cell) -> dict[str, Any] | None:
    """The results of a finished cell; None where it is still to be made.

    Raises:
        TinybertError: something else is there, or a cell that was made otherwise.
    """
    assert settings.output is not None
    place = cell.place(settings.output)
    if not place.exists():
        return None
    try:
        results: dict[str, Any] = json.loads((place / "results.json").read_text("utf-8"))
        before = results["cell"]
    except (OSError, ValueError, KeyError):
        raise TinybertError(
            f"{place} is in the way and is no finished cell: move it elsewhere."
        ) from None
    now = identity(settings, prints, cell)
    if changed := sorted(n for n in now.keys() | before.keys() if now.get(n) != before.get(n)):
        raise TinybertError(
            f"{place} was made of something else ({', '.join(changed)} changed): give another "
            "--output, or remove it."
        )
    return results
