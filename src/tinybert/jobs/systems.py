"""Show the systems of the paper's table: what they are, and how one of them is made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch
from transformers import AutoModel, BertConfig, PretrainedConfig

from tinybert.attention_transfer import relation_heads
from tinybert.jobs.common import check_json, required
from tinybert.mapping import layer_mapping
from tinybert.measure import parameters
from tinybert.objectives import Objective, Term
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import SystemsSettings, SystemsShowSettings
from tinybert.students import Shape, shape_of
from tinybert.systems import SYSTEMS, System, find_system, student_config, system_shape
from tinybert.systems.steps import Given, RelationTransfer, Step
from tinybert.teachers import load_encoder

__all__ = ["billions", "millions", "run_systems", "run_systems_show", "without_weights"]

_STARTS = {
    "teacher": "it is the teacher",
    "random": "random weights",
    "layers": "the teacher's layers of the uniform mapping, copied",
    "first": "the teacher's lowest layers, copied",
    "pca": "the teacher's principal axes",
}


def run_systems(settings: SystemsSettings, reporter: Reporter) -> list[dict[str, Any]]:
    """Print a table of all systems, and return what is known of each.

    Returns:
        One dictionary a system: ``name``, ``in_paper``, ``shape``, ``start``, ``what``,
        ``source``, ``note``, ``corpus_steps`` and ``task_steps`` (each with ``name`` and its
        hyper-parameters), ``paper`` (None for systems that are not of its table).

    Raises:
        TinybertError: a file that cannot be written.
    """
    check_json(settings.json)
    rows = [
        [
            system.name,
            str(system.shape),
            system.start,
            _names(system.corpus_steps),
            _names(system.task_steps),
            _short(system.source),
            "yes" if system.paper else "no",
        ]
        for system in SYSTEMS.values()
    ]
    columns = ["system", "shape", "start", "on the corpus", "on the task", "source", "in the paper"]
    reporter.table("systems", columns, rows)
    reporter.say("how one is made: `tinybert systems show NAME`; sizes: `tinybert profile`")
    results = [_described(system) for system in SYSTEMS.values()]
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def run_systems_show(settings: SystemsShowSettings, reporter: Reporter) -> dict[str, Any]:
    """Print how a system is made, and return it.

    Returns:
        As :func:`run_systems`; with a teacher also ``beside_teacher``: ``shape``, ``parameters``.

    Raises:
        TinybertError: no such system, or no such teacher.
    """
    system = find_system(required(settings.name, "--name", "the system"))
    results = _described(system)
    teacher: PretrainedConfig | None = None
    if settings.teacher is not None:
        teacher = load_encoder(settings.teacher).config
        results["beside_teacher"] = {
            "shape": str(system_shape(system, shape_of(teacher))),
            "parameters": parameters(without_weights(student_config(system, teacher))),
        }
    given = _given(system, None if teacher is None else shape_of(teacher))
    reporter.table(system.name, ["what", "value"], _overview(system, results))
    met: dict[str, Term] = {}
    for number, step in enumerate(system.steps, 1):
        objectives = step.objectives(given)
        title = f"step {number} of {len(system.steps)}: {step.name}, on the {step.part}"
        reporter.table(title, ["what", "value"], _step(step, objectives))
        met |= {term.kind: term for objective in objectives for term in objective.terms}
    terms = [[kind, _said(type(term))] for kind, term in met.items()]
    reporter.table("what is compared", ["term", "is"], terms)
    if system.paper is not None and system.paper.scores:
        scores = [[task, f"{score:.1f}"] for task, score in system.paper.scores.items()]
        reporter.table("the paper's GLUE test scores", ["task", "score"], scores)
    return results


def without_weights(config: PretrainedConfig) -> Any:
    """The encoder of that configuration on torch's ``meta`` device: sizes without numbers."""
    with torch.device("meta"):
        return AutoModel.from_config(config)  # type: ignore[no-untyped-call]


def millions(count: float) -> str:
    """
    >>> millions(14_350_248)
    '14.35M'
    """
    return f"{count / 1e6:.2f}M"


def billions(count: float) -> str:
    """
    >>> billions(22_348_431_360)
    '22.35G'
    """
    return f"{count / 1e9:.2f}G"


def _described(system: System) -> dict[str, Any]:
    """A system as plain data."""
    return {
        "name": system.name,
        "in_paper": system.paper is not None,
        "shape": str(system.shape),
        "start": system.start,
        "what": system.what,
        "source": system.source,
        "note": system.note,
        "corpus_steps": [{"name": step.name, **asdict(step)} for step in system.corpus_steps],
        "task_steps": [{"name": step.name, **asdict(step)} for step in system.task_steps],
        "paper": None if system.paper is None else asdict(system.paper),
    }


def _names(steps: Iterable[Step]) -> str | None:
    return ", ".join(step.name for step in steps) or None


def _short(source: str) -> str:
    """A source without its chapter and verse.

    >>> _short("PKD, arXiv 1908.09355, section 4 (alpha 0.2 to 0.7)")
    'PKD, arXiv 1908.09355'
    """
    found = re.match(r".*?arXiv [\d.]+", source)
    return found[0] if found else source


def _given(system: System, teacher: Shape | None) -> Given:
    """What the objectives depend on, with that teacher or with the paper's."""
    base = SYSTEMS["BERT_BASE"].shape
    assert isinstance(base, Shape)
    own = system_shape(system, teacher)
    # MobileBERT's authors have a teacher as deep as the student.
    depth = teacher.layers if teacher is not None else max(own.layers, base.layers)
    heads = 1
    for step in system.steps:
        if isinstance(step, RelationTransfer) and isinstance(own, Shape):
            heads = relation_heads((teacher or base).hidden, own.hidden, step.relation_heads)
    mapping = layer_mapping("uniform", own.layers, depth)
    return Given(mapping, teacher_layers=depth, relation_heads=heads)


# --- tables ---------------------------------------------------------------------------------------


def _overview(system: System, results: dict[str, Any]) -> list[list[str]]:
    size = parameters(without_weights(student_config(system, BertConfig(), paper=True)))
    rows = [
        ["is", system.what],
        ["source", system.source],
        *([["differs from it", system.note]] if system.note else []),
        ["shape", f"{system.shape}, {millions(size)} parameters"],
    ]
    if beside := results.get("beside_teacher"):
        text = f"{beside['shape']}, {millions(beside['parameters'])} parameters"
        rows.append(["beside the teacher", text])
    rows.append(["starts from", _STARTS[system.start]])
    if system.paper is None:
        return [*rows, ["in the paper", "no"]]
    speed = system.paper.speedup
    figures = [
        f"{system.paper.parameters / 1e6:g}M parameters",
        f"{system.paper.flops / 1e9:g}G FLOPs at 128 tokens",
        "no speed-up given" if speed is None else f"{speed:.1f}x as fast as BERT_BASE",
    ]
    return [*rows, ["in the paper", ", ".join(figures)]]


def _step(step: Step, objectives: Sequence[Objective]) -> list[list[str]]:
    own = step.weights()
    small = {k.removeprefix("small_"): own.pop(k) for k in [*own] if k.startswith("small_")}
    rows = [
        ["trains for", f"{step.steps:,} steps" if step.steps else f"{step.epochs or 1:g} epochs"],
        ["batch", f"{step.batch_size:,}"],
        ["learning rate", f"{step.learning_rate:g}"],
        ["of its own", _pairs(own) or "nothing"],
        ["minimises", _formula(objectives)],
    ]
    if layers := _layers(objectives):
        rows.append(["layers", layers])
    scaled = {"batch": step.small_batch_size, "learning rate": step.small_learning_rate}
    rows.append(
        ["at small scale", f"{_pairs(scaled | small)}; {step.share:.0%} of the {step.part}'s FLOPs"]
    )
    return [*rows, ["source", step.source]]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def _formula(objectives: Sequence[Objective]) -> str:
    """The weighted sum, layers of one kind and weight as one summand.

    >>> from tinybert.objectives import intermediate_objective
    >>> _formula([intermediate_objective((3, 6), hidden=0.5)])
    'embedding + Σ attention + 0.5 Σ hidden'
    """
    common = {"weight", "m", "n", "regression", "of"}
    counts: dict[str, int] = {}
    for term in objectives[0].terms:
        extra = {
            f.name: getattr(term, f.name)
            for f in fields(term)
            if f.name not in common and getattr(term, f.name) not in (None, 1)
        }
        many = sum(other.kind == term.kind for other in objectives[0].terms) > 1
        weight = "" if term.weight == 1 else f"{term.weight:.3g} "
        text = f"{weight}{'Σ ' if many else ''}{term.kind}{f' ({_pairs(extra)})' if extra else ''}"
        counts[text] = counts.get(text, 0) + 1
    text = " + ".join(counts)
    return text if len(objectives) == 1 else f"{text}, one layer after the other"


def _layers(objectives: Sequence[Objective]) -> str:
    """Student layer → teacher layer, of the terms that compare layers."""
    terms = [term for objective in objectives for term in objective.terms]
    pairs = dict.fromkeys((t.m, t.n) for t in terms if hasattr(t, "m") and hasattr(t, "n"))
    return " ".join(f"{m}→{n}" for m, n in pairs)


def _said(kind: type) -> str:
    """What a term's class says of itself, in one line."""
    paragraph = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return " ".join(paragraph.replace("``", "").split())
