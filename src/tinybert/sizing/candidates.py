"""The students that a bound chooses from, with what is known of each without running it."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    TinyBERT_4's 78. The range reaches on to the teacher's own; every depth has the widths from its
    narrowest to half as much again, and a single layer goes down to the narrowest there is.

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
    balanced = [
        (layers, width)
        for layers in range(1, theirs.layers + 1)
        for width in _widths(theirs, layers)
        if (layers, width) != (theirs.layers, theirs.hidden)
    ]
    families = [balanced]
    least = sized(teacher.config, 1, narrowest(theirs))
    if least.hidden < theirs.hidden and not starts_narrower(teacher, least):
        copied = range(max(1, math.ceil(theirs.layers / 3)), theirs.layers)
        families.insert(0, [(layers, theirs.hidden) for layers in copied])
    by_width: dict[int, tuple[Candidate, Candidate]] = {}
    found = []
    for family in families:
        members = []
        for layers, width in family:
            if width not in by_width:
                one, two = (sized(teacher.config, n, width) for n in (1, 2))
                by_width[width] = described(teacher, one, length), described(teacher, two, length)
            members.append(_extended(teacher.config, *by_width[width], layers))
        if members:
            found.append(sorted(members, key=lambda c: (-c.flops, _imbalance(c.shape))))
    if not found:
        raise TinybertError(
            f"no student is smaller than this teacher of {theirs}: its one layer has heads that "
            "are too narrow to cut; take a larger teacher."
        )
    return found


def described(teacher: PreTrainedModel, shape: Shape, length: int) -> Candidate:
    """A candidate from a model of its shape without numbers (torch's ``meta`` device)."""
    with torch.device("meta"):
        model = _made(teacher, shape)
    return Candidate(
        shape=shape,
        text=written(shape, teacher.config),
        parameters=parameters(model),
        megabytes=weights_mb(model),
        flops=flops(model, length=length),
    )


def build(teacher: PreTrainedModel, shape: Shape) -> PreTrainedModel:
    """A model of this shape with random weights, on the teacher's device, in eval mode.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _made(teacher, shape)
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


def _widths(theirs: Shape, layers: int) -> range:
    own = theirs.hidden / theirs.layers
    least, most = min(ASPECT[0], own) * layers, max(ASPECT[1], own) * layers
    smallest, heads = narrowest(theirs), theirs.heads
    # The slack is for teachers whose own aspect is the edge.
    low = min(theirs.hidden, max(smallest, math.ceil(least / heads - 1e-9) * heads))
    low = smallest if layers == 1 else low
    # At the narrowest width another layer is a large step: half as wide again fills it.
    high = min(theirs.hidden, math.floor(max(most, 1.5 * low) / heads + 1e-9) * heads)
    return range(low, high + 1, heads)


def _imbalance(shape: Shape) -> float:
    middle = math.sqrt(ASPECT[0] * ASPECT[1])
    return abs(math.log(shape.hidden / shape.layers / middle))


def _extended(config: PretrainedConfig, one: Candidate, two: Candidate, layers: int) -> Candidate:
    """Another depth at the same width: a layer more costs what the second one did."""
    shape = Shape(layers, one.shape.hidden, one.shape.intermediate, one.shape.heads)
    more = layers - 1
    return Candidate(
        shape=shape,
        text=written(shape, config),
        parameters=one.parameters + more * (two.parameters - one.parameters),
        megabytes=one.megabytes + more * (two.megabytes - one.megabytes),
        flops=one.flops + more * (two.flops - one.flops),
    )


def _made(teacher: PreTrainedModel, shape: Shape) -> PreTrainedModel:
    config = shape.config(teacher.config)
    try:
        return type(teacher)(config)
    except Exception as error:
        raise TinybertError(
            f"no {teacher.config.model_type} model of shape {shape} can be made ({error}): name "
            "the student's shape with --student."
        ) from error
