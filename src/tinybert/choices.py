"""What is chosen by measurement is chosen once: precision and form of attention.

The choice is kept in the run and read again on resume and by every process; otherwise two halves
of one run would not be the same computation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from tinybert.batching import TrainingRows
from tinybert.errors import TinybertError
from tinybert.outputs import write_json_whole
from tinybert.taps import TapRequest, run_with_taps, shows_attention, use_attention

__all__ = ["OWN_ATTENTION", "Choices", "choose", "fast_bfloat16", "refusal_of_bfloat16"]

OWN_ATTENTION = "own"
"""The form of an encoder whose attention is not transformers' common one: there is no choice."""


@dataclass(frozen=True)
class Choices:
    """How this run computes."""

    teacher_precision: str
    precision: str
    attention: str
    reason: str


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
    function()
    seconds = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def fast_bfloat16(device: torch.device) -> tuple[bool, str]:
    """Whether bfloat16 matrix products beat float32 clearly here, and why so said."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        fast = major >= 8
        return fast, f"GPU of compute capability {major}.{minor}"
    if device.type != "cpu":
        return False, f"{device.type}: not measured"
    ratio = _bfloat16_ratio()
    return ratio > 1.3, f"bfloat16 products run at {ratio:.2g}x float32's speed"


@cache
def _bfloat16_ratio() -> float:
    """How many times as fast a product is in bfloat16 as in float32 on this processor.

    Processors without the units take seconds for what takes milliseconds in float32: where a small
    product says so already, the large one is left out.
    """
    generator = torch.Generator().manual_seed(0)  # the global random state must not move
    ratio = 0.0
    for size in (160, 768):
        one = torch.randn(size, size, generator=generator)
        half = one.bfloat16()
        seconds = [_median_seconds(partial(torch.matmul, x, x), 7) for x in (one, half)]
        ratio = seconds[0] / seconds[1]
        if ratio < 0.25:
            break
    return ratio


def refusal_of_bfloat16(model: PreTrainedModel, device: torch.device) -> str | None:
    """Why a model cannot compute in bfloat16; None where it can.

    One forward pass over a few tokens tells: Fourier transforms (FNet), for one, know no bfloat16.

    Args:
        model: left as it is, wherever it lies; a copy of its weights is run.
        device: where it would compute.
    """
    tensors = {
        name: tensor.detach().to(device, torch.bfloat16 if tensor.is_floating_point() else None)
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    ids = torch.zeros(1, 4, dtype=torch.long, device=device)
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            functional_call(model, tensors, (), {"input_ids": ids})
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        return _refusal(model, error)
    finally:
        model.train(was_training)
    return None


def _refusal(model: PreTrainedModel, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{type(model).__name__} cannot compute in bfloat16 here "
        f"({lines[0][:120] if lines else type(error).__name__})"
    )


def _teachers_precision(
    wanted: str, fast: bool, teachers: Sequence[PreTrainedModel], device: torch.device
) -> tuple[str, str | None]:
    """The precision, and why it is another one than the machine is fast at."""
    if wanted == "float32" or (wanted == "auto" and not fast):
        return "float32", None
    for teacher in teachers:
        refusal = refusal_of_bfloat16(teacher, device)
        if refusal and wanted == "auto":
            return "float32", f"the teacher's {refusal}"
        if refusal:
            raise TinybertError(
                f"--teacher-precision {wanted}: {refusal}: give float32, or leave it out."
            )
    return "bfloat16", None


def _student_seconds(
    student: PreTrainedModel, batch: dict[str, Tensor], precision: str, attention: str
) -> float:
    """Median seconds of forward and backward through the student's body."""
    if shows_attention(student):
        use_attention(student, attention)
    request = TapRequest(hidden=frozenset({student.config.num_hidden_layers}))
    device = batch["input_ids"].device

    def step() -> None:
        enabled = precision != "float32"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            taps = run_with_taps(student, batch, request)
        next(iter(taps.hidden.values())).float().pow(2).mean().backward()  # type: ignore[no-untyped-call]
        student.zero_grad(set_to_none=True)

    return _median_seconds(step, 5)


def _all_seconds(
    student: PreTrainedModel,
    batch: dict[str, Tensor],
    precisions: Sequence[str],
    forms: Sequence[str],
) -> tuple[dict[tuple[str, str], float], str | None]:
    """Seconds of all that can be, and why bfloat16 cannot."""
    seconds: dict[tuple[str, str], float] = {}
    refusal = None
    for precision in precisions:
        for form in forms:
            try:
                seconds[precision, form] = _student_seconds(student, batch, precision, form)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, ValueError) as error:
                if precision == "float32":
                    raise
                refusal = _refusal(student, error)
    return seconds, refusal


def choose(
    file: Path,
    student: PreTrainedModel,
    rows: TrainingRows,
    *,
    precision: str = "auto",
    teacher_precision: str = "auto",
    attention: str = "auto",
    batch_size: int = 32,
    teachers: Sequence[PreTrainedModel] = (),
) -> Choices:
    """Read the run's choices from ``file``, or measure on a typical batch and keep them there.

    Args:
        file: where the run keeps its choices.
        student: measured on its own device; its weights, mode and random states stay as they are.
        rows: what it will be trained on.
        precision, teacher_precision, attention: ``auto``, or what the user wants.
        teachers: that have to compute in the precision chosen for them; tried, left as they are.

    Raises:
        TinybertError: bfloat16 is wanted, and the student or a teacher cannot compute in it.
    """
    if file.is_file():
        return Choices(**json.loads(file.read_text()))
    device = next(student.parameters()).device
    fast, why = fast_bfloat16(device)
    reasons = [why]
    teacher_precision, other = _teachers_precision(teacher_precision, fast, teachers, device)
    reasons += [other] if other else []
    precisions = [precision] if precision != "auto" else ["float32", "bfloat16"][: 1 + fast]
    forms = [attention] if attention != "auto" else ["direct", "fused"]
    if not shows_attention(student):
        forms = [OWN_ATTENTION]
        reasons.append(f"{student.config.model_type} computes attention in its own way")
    if len(precisions) * len(forms) > 1 or "bfloat16" in precisions:
        lengths = rows.lengths
        typical = lengths.argsort()[len(lengths) // 2 :][: min(batch_size, 32)]
        batch = {k: v.to(device) for k, v in rows.batch(typical).items()}
        was_training = student.training
        student.train(False)  # no dropout: the random state must not move
        seconds, refusal = _all_seconds(student, batch, precisions, forms)
        student.train(was_training)
        if not seconds:
            raise TinybertError(
                f"--precision {precision}: {refusal}: give float32, or leave it out."
            )
        if refusal:
            reasons.append(f"the student's {refusal}")
        precision, attention = min(seconds, key=lambda pair: seconds[pair])
        shape = f"{len(typical)}x{batch['input_ids'].shape[1]}"
        listed = ", ".join(f"{p} {a} {1000 * s:.0f} ms" for (p, a), s in seconds.items())
        reasons.append(f"student's forward and backward on {shape} tokens: {listed}")
    else:
        precision, attention = precisions[0], forms[0]
    choices = Choices(teacher_precision, precision, attention, "; ".join(reasons))
    write_json_whole(file, asdict(choices))
    return choices
