"""Parameters, FLOPs and speed of the systems, from the real modules, beside the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from transformers import AutoModel, BertConfig, PretrainedConfig

from tinybert.errors import TinybertError
from tinybert.jobs.common import check_json
from tinybert.jobs.systems import billions, millions, without_weights
from tinybert.measure import flops, latency, parameters
from tinybert.measure.latency import check_length, longest_input
from tinybert.outputs import write_json_whole
from tinybert.progress import Reporter
from tinybert.settings import ProfileSettings
from tinybert.students import shape_of
from tinybert.systems import (
    SYSTEMS,
    PaperFigures,
    System,
    find_system,
    student_config,
    system_shape,
)
from tinybert.teachers import load_encoder

__all__ = ["run_profile", "speedups_over"]

_REFERENCE = "BERT_BASE"
_FLOPS_LENGTH = 128
_WARM_UP = 2

Times = dict[str, dict[int, float]]
"""Shape → batch → median milliseconds of a pass."""


@dataclass(frozen=True)
class _Sized:
    """One system at the scale asked for.

    Attributes:
        system: which.
        shape: at that scale.
        config: of its encoder.
        parameters: embeddings and pooler included.
        flops: of one sequence of 128 tokens; None where it takes no sequence that long.
        paper: the paper's figures, where they are of this shape.
    """

    system: System
    shape: str
    config: PretrainedConfig
    parameters: int
    flops: int | None
    paper: PaperFigures | None


def run_profile(settings: ProfileSettings, reporter: Reporter) -> list[dict[str, Any]]:
    """Print and return what every system costs.

    Sizes are counted on modules without numbers. Speed is of the encoder with random weights,
    float32, on the processor, no gradients; every round has a pass of each shape, so that what
    else the machine does slows all alike.

    Returns:
        One dictionary a system: ``name``, ``shape``, ``parameters``, ``flops_128``, ``speedup``
        (over BERT_BASE at the first batch), ``speedups`` and ``milliseconds`` (batch → value),
        ``measured`` (what speeds hold for), ``paper_parameters``, ``paper_flops``,
        ``paper_speedup``. None where nothing was measured or the paper says nothing.

    Raises:
        TinybertError: no such system or teacher, a batch below 1, a length beyond the positions,
            a file that cannot be written.
    """
    check_json(settings.json)
    named = {find_system(name).name for name in settings.systems} or {*SYSTEMS}
    chosen = [system for name, system in SYSTEMS.items() if name in named]
    batches = _batches(settings)
    teacher = None if settings.teacher is None else load_encoder(settings.teacher).config
    reference = _sized(SYSTEMS[_REFERENCE], teacher, settings)
    sized = [_sized(system, teacher, settings) for system in chosen]
    _size_table(sized, reporter)
    times, measured = None, None
    if settings.speed:
        with _threads(settings.threads):
            measured = {
                "length": settings.length,
                "repeats": settings.repeats,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "precision": "float32",
                "device": "cpu",
            }
            configs = {each.shape: each.config for each in [reference, *sized]}
            times = _times(configs, batches, settings.length, settings.repeats, reporter)
        _speed_table(sized, reference, times, measured, reporter)
    results = [_figures(each, reference, batches, times, measured) for each in sized]
    if settings.json is not None:
        write_json_whole(settings.json, results)
    return results


def _batches(settings: ProfileSettings) -> list[int]:
    wrong = [batch for batch in settings.batch if batch < 1]
    if wrong or not settings.batch:
        given = " ".join(map(str, settings.batch)) or "of nothing"
        raise TinybertError(f"--batch {given} makes no sense: it has to be 1 or more.")
    return [*dict.fromkeys(settings.batch)]


def _sized(system: System, teacher: PretrainedConfig | None, settings: ProfileSettings) -> _Sized:
    config = student_config(system, teacher or BertConfig(), paper=teacher is None)
    shape = system_shape(system, None if teacher is None else shape_of(teacher))
    model = without_weights(config)
    if settings.speed:
        check_length(model, settings.length)
    longest = longest_input(model)
    fits = longest is None or longest >= _FLOPS_LENGTH
    return _Sized(
        system=system,
        shape=str(shape),
        config=config,
        parameters=parameters(model),
        flops=flops(model, _FLOPS_LENGTH) if fits else None,
        paper=system.paper if shape == system.shape else None,
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch takes so many threads within, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def speedups_over(
    reference: PretrainedConfig,
    configs: Mapping[str, PretrainedConfig],
    length: int,
    repeats: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Name → how many times as fast as ``reference``, one sequence of ``length`` tokens."""
    alike = {name: _alike(config) for name, config in configs.items()}
    shapes = {_alike(reference): reference, **{alike[n]: c for n, c in configs.items()}}
    times = _times(shapes, [1], length, repeats, reporter)
    base = times[_alike(reference)][1]
    return {name: base / times[key][1] for name, key in alike.items()}


def _alike(config: PretrainedConfig) -> str:
    """The same text for models of one architecture and shape."""
    kept = [
        *("model_type", "num_hidden_layers", "hidden_size", "intermediate_size"),
        *("num_attention_heads", "intra_bottleneck_size", "num_feedforward_networks"),
    ]
    return " ".join(str(getattr(config, name, "")) for name in kept)


def _times(
    configs: Mapping[str, PretrainedConfig],
    batches: Sequence[int],
    length: int,
    repeats: int,
    reporter: Reporter,
) -> Times:
    """Median time of each shape; a shape that several systems have is measured once."""
    make: Any = AutoModel.from_config
    models = {shape: make(config).eval() for shape, config in configs.items()}
    times: Times = {shape: {} for shape in models}
    rounds = len(batches) * repeats
    with reporter.track(rounds, f"speed of {len(models)} shapes", unit="rounds") as tracker:
        for batch in batches:
            taken: dict[str, list[float]] = {shape: [] for shape in models}
            for number in range(repeats):
                # A round a call, so that progress is told between them.
                found = latency(
                    models,
                    length=length,
                    batch=batch,
                    repeats=1,
                    warm_up=0 if number else _WARM_UP,
                )
                for shape, one in found.items():
                    taken[shape].append(one.median)
                tracker.advance(note=f"batch {batch}")
            for shape, milliseconds in taken.items():
                times[shape][batch] = median(milliseconds)
    return times


def _speedups(each: _Sized, reference: _Sized, times: Times) -> dict[int, float]:
    """Batch → time of BERT_BASE over the system's own."""
    return {b: times[reference.shape][b] / own for b, own in times[each.shape].items()}


def _figures(
    each: _Sized,
    reference: _Sized,
    batches: Sequence[int],
    times: Times | None,
    measured: dict[str, Any] | None,
) -> dict[str, Any]:
    speedups = None if times is None else _speedups(each, reference, times)
    return {
        "name": each.system.name,
        "shape": each.shape,
        "parameters": each.parameters,
        "flops_128": each.flops,
        "speedup": None if speedups is None else speedups[batches[0]],
        "speedups": speedups,
        "milliseconds": None if times is None else times[each.shape],
        "measured": measured,
        "paper_parameters": each.paper.parameters if each.paper else None,
        "paper_flops": each.paper.flops if each.paper else None,
        "paper_speedup": each.paper.speedup if each.paper else None,
    }


# --- tables ---------------------------------------------------------------------------------------


def _size_table(sized: Sequence[_Sized], reporter: Reporter) -> None:
    with_paper = any(each.paper for each in sized)
    columns = ["system", "shape", "parameters", "FLOPs"]
    if with_paper:
        columns[3:3] = ["paper's", "off by"]
        columns += ["paper's", "off by"]
    rows = []
    for each in sized:
        row: list[str | None] = [each.system.name, each.shape, millions(each.parameters)]
        operations = None if each.flops is None else billions(each.flops)
        if not with_paper:
            rows.append([*row, operations])
        elif each.paper is None:
            rows.append([*row, None, None, operations, None, None])
        else:
            row += [f"{each.paper.parameters / 1e6:g}M"]
            row += [_off(each.parameters, each.paper.parameters), operations]
            rows.append([*row, f"{each.paper.flops / 1e9:g}G", _off(each.flops, each.paper.flops)])
    reporter.table(f"size (FLOPs of {_FLOPS_LENGTH} tokens)", columns, rows)


def _speed_table(
    sized: Sequence[_Sized],
    reference: _Sized,
    times: Times,
    measured: Mapping[str, Any],
    reporter: Reporter,
) -> None:
    with_paper = any(each.paper and each.paper.speedup for each in sized)
    batches = [*times[reference.shape]]
    columns = ["system", "shape", *(["paper's"] if with_paper else [])]
    for batch in batches:
        columns += [f"batch {batch}: ms", "speed-up", *(["off by"] if with_paper else [])]
    rows = []
    for each in sized:
        asked = each.paper.speedup if each.paper else None
        row: list[str | None] = [each.system.name, each.shape]
        if with_paper:
            row.append(None if asked is None else f"{asked:.1f}x")
        for batch, speedup in _speedups(each, reference, times).items():
            row += [f"{times[each.shape][batch]:.1f}", f"{speedup:.2f}x"]
            is_reference = each.shape == reference.shape
            row += [None if is_reference else _off(speedup, asked)] if with_paper else []
        rows.append(row)
    title = (
        f"speed-up over {_REFERENCE} here: sequences of {measured['length']} tokens, "
        f"{_threads_shown(measured['threads'])}, PyTorch {measured['torch']}, "
        f"{measured['precision']}, median of {measured['repeats']}"
    )
    reporter.table(title, columns, rows)


def _threads_shown(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _off(own: float | None, papers: float | None) -> str | None:
    """How far a figure is from the paper's.

    >>> _off(1.25, 1.2)
    '+4.2 %'
    """
    if own is None or papers is None:
        return None
    return f"{100 * (own / papers - 1):+.1f} %"
