"""The students that a bound chooses from, with what is known of each without running it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tinybert.errors import TinybertError
from tinybert.measure import flops, parameters
from tinybert.students import Shape, check_start, parse_shape, shape_of

__all__ = [
    "Candidate",
    "build",
    "candidates",
    "described",
    "narrowest",
    "sized",
    "starts_narrower",
    "weights_mb",
    "written",
]

LEAST_HEAD = 16
# Width per layer. TinyBERT_4 has 78, TinyBERT_6 has 128 at the wide end; the narrow end is as far
# from 78 the other way.
ASPECT = (48.0, 128.0)
HEADER_BYTES = 100  # a tensor's entry in a safetensors header without its name, rounded up


@dataclass(frozen=True)
class Candidate:
    """One shape and what it is before any measurement.

    Attributes:
        shape: its four sizes.
        text: as users write it (``4x312``).
        parameters: with the teacher's head.
        megabytes: 10⁶ bytes of float32 safetensors, header included (rounded up).
        flops: of one sequence of the length asked for.
    """

    shape: Shape
    text: str
    parameters: int
    megabytes: float
    flops: int


def candidates(teacher: PreTrainedModel, length: int) -> list[list[Candidate]]:
    """Families of smaller students, the preferred family first, each by falling FLOPs.

    A student has the teacher's heads and feed-forward ratio, at most its layers and width, and
    heads at least 16 wide; widths go in steps of the number of heads. Depth and width are kept in
    balance: width per layer lies within 48 and 128, a factor of 1.64 on either side of
    TinyBERT_4's 78. For other teachers the range reaches to three quarters of their own width per
    layer, or up to their own. Every depth has a width, the nearest at least; a single layer has
    those from the narrowest there is to half as wide again.

    Where a narrower student would start at random (the ``pca`` start does not serve the
    architecture), a family of students as wide as the teacher with a third of its layers or more
    comes first: whole layers can be copied into them.

    Args:
        teacher: its weights are not read.
        length: tokens a sequence, for the FLOPs.

    Raises:
        TinybertError: no smaller student exists, or models of other sizes cannot be made of this
            configuration.
    """
    theirs = shape_of(teacher.config)
    step = _step(teacher, length)
    balanced = [
        (layers, width)
        for layers in range(1, theirs.layers + 1)
        for width in _widths(theirs, layers, step)
        if (layers, width) != (theirs.layers, theirs.hidden)
    ]
    families = [balanced]
    least = sized(teacher.config, 1, narrowest(theirs))
    if least.hidden < theirs.hidden and not starts_narrower(teacher, least):
        copied = range(max(1, math.ceil(theirs.layers / 3)), theirs.layers)
        families.insert(0, [(layers, theirs.hidden) for layers in copied])
    figures = _figures(teacher, length)
    found = [
        sorted(
            (figures(sized(teacher.config, *member)) for member in family),
            key=lambda c: (-c.flops, _imbalance(c.shape)),
        )
        for family in families
        if family
    ]
    if not found:
        raise TinybertError(
            f"no student is smaller than this teacher of {theirs}: its one layer has heads that "
            "are too narrow to cut; take a larger teacher."
        )
    return found


def described(teacher: PreTrainedModel, shape: Shape, length: int) -> Candidate:
    """A candidate from a model of its shape without numbers (torch's ``meta`` device), or with
    random ones where the model reads its own.

    Raises:
        TinybertError: no such model can be made and run.
    """
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device):
                model = type(teacher)(shape.config(teacher.config))
            return Candidate(
                shape=shape,
                text=written(shape, teacher.config),
                parameters=parameters(model),
                megabytes=weights_mb(model),
                flops=flops(model, length=length),
            )
        except Exception as error:
            if device == "cpu":
                raise TinybertError(
                    f"no {teacher.config.model_type} model of shape {shape} can be made and run "
                    f"({error}): name the student's shape with --student."
                ) from error
    raise AssertionError


def build(teacher: PreTrainedModel, shape: Shape) -> PreTrainedModel:
    """A model of this shape with random weights, on the teacher's device, in eval mode.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = type(teacher)(shape.config(teacher.config))
    model.to(device=teacher.device, dtype=torch.float32)  # type: ignore[call-arg]
    model.train(False)
    return model


def weights_mb(model: nn.Module) -> float:
    """Megabytes (10⁶ bytes) of ``model.safetensors`` in float32: tied tensors once, with header.

    The header is counted a little larger than it is, by less than 100 bytes a tensor.
    """
    kept: dict[str, Tensor] = model.state_dict(keep_vars=True)
    tensors = {id(tensor): (name, tensor) for name, tensor in kept.items()}
    count = sum(
        tensor.numel() * (4 if tensor.is_floating_point() else tensor.element_size())
        + len(name)
        + HEADER_BYTES
        for name, tensor in tensors.values()
    )
    return count / 1e6


def sized(config: PretrainedConfig, layers: int, width: int) -> Shape:
    """``layers x width`` with the teacher's heads; at its width also its feed-forward network."""
    theirs = shape_of(config)
    if width == theirs.hidden:
        return Shape(layers, width, theirs.intermediate, theirs.heads)
    return parse_shape(f"{layers}x{width}", config)


def written(shape: Shape, config: PretrainedConfig) -> str:
    """The shortest text that :func:`tinybert.students.parse_shape` reads as this shape."""
    short = f"{shape.layers}x{shape.hidden}"
    return short if parse_shape(short, config) == shape else str(shape)


def narrowest(theirs: Shape) -> int:
    """The least width: heads 16 wide, or the teacher's where they are narrower."""
    return theirs.heads * min(LEAST_HEAD, theirs.hidden // theirs.heads)


def starts_narrower(teacher: PreTrainedModel, shape: Shape) -> bool:
    """Whether ``start=pca`` serves this teacher and shape."""
    try:
        check_start("pca", teacher, shape)
    except TinybertError:
        return False
    return True


def _step(teacher: PreTrainedModel, length: int) -> int:
    """From one width to the next: the heads, or twice as many where heads are of even size
    (rotary positions)."""
    theirs = shape_of(teacher.config)
    size = theirs.hidden // theirs.heads
    if size % 2 == 0:
        try:
            described(teacher, sized(teacher.config, 1, theirs.heads * (size - 1)), length)
        except TinybertError:
            return 2 * theirs.heads
    return theirs.heads


def _widths(theirs: Shape, layers: int, step: int) -> range:
    own = theirs.hidden / theirs.layers
    least, most = min(ASPECT[0], 0.75 * own) * layers, max(ASPECT[1], own) * layers
    smallest = narrowest(theirs)
    # The slack is for rounding where a width lies on an edge.
    low = min(theirs.hidden, max(smallest, math.ceil(least / step - 1e-9) * step))
    if layers == 1:
        # From one layer to two is a large step: half as wide again as the narrowest fills it.
        low, most = smallest, max(most, 1.5 * smallest)
    high = min(theirs.hidden, max(low, math.floor(most / step + 1e-9) * step))
    return range(low, high + 1, step)


def _imbalance(shape: Shape) -> float:
    middle = math.sqrt(ASPECT[0] * ASPECT[1])
    return abs(math.log(shape.hidden / shape.layers / middle))


def _figures(teacher: PreTrainedModel, length: int) -> Callable[[Shape], Candidate]:
    """What :func:`described` gives, for any shape and without a model of it.

    Parameters, bytes and FLOPs grow linearly with the layers and are a·1 + b·W + c·W² + d·F + e·WF
    in the width W and the feed-forward width F, so that ten models determine them.
    """
    theirs = shape_of(teacher.config)

    def powers(width: int, feed_forward: int) -> list[float]:
        w, f = width / theirs.hidden, feed_forward / theirs.intermediate
        return [1.0, w, w * w, f, w * f]

    size, most = theirs.hidden // theirs.heads, theirs.intermediate
    # Three widths, with heads of even size wherever the teacher's is.
    sizes = (size, size // 4 * 2, size // 8 * 2) if size >= 8 else (size, 2 * size, 3 * size)
    one, two, three = (theirs.heads * own for own in sizes)
    places = [(one, most), (one, 2 * most), (two, most), (two, 2 * most), (three, most)]
    counts = np.empty((2, len(places), 3))
    for depth, (place, (width, feed_forward)) in product((0, 1), enumerate(places)):
        probe = described(teacher, Shape(depth + 1, width, feed_forward, theirs.heads), length)
        counts[depth, place] = probe.parameters, 1e6 * probe.megabytes, probe.flops
    features = np.array([powers(*place) for place in places])
    first = np.linalg.solve(features, counts[0])
    further = np.linalg.solve(features, counts[1] - counts[0])

    def figures(shape: Shape) -> Candidate:
        here = np.array(powers(shape.hidden, shape.intermediate))
        count, size, work = here @ (first + (shape.layers - 1) * further)
        return Candidate(
            shape=shape,
            text=written(shape, teacher.config),
            parameters=round(count),
            megabytes=round(size) / 1e6,
            flops=round(work),
        )

    return figures
