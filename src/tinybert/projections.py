"""Learned linear maps from the student's width to the teacher's (TinyBERT, section 3.1)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tinybert.errors import TinybertError

__all__ = ["PROJECTIONS_FILE", "Projections"]

PROJECTIONS_FILE = "projections.safetensors"


class Projections(nn.Module):
    """W_e for the embedding output, W_h for hidden states: ``student_width → teacher_width``.

    Args:
        student_width: d', hidden size of the student.
        teacher_width: d, hidden size of the teacher.
        layers: number of student layers M.
        shared: one W_h for all layers (the paper's formula) or one per layer (the original
            code's later checkpoints, ``fit_denses``).
        bias: add a bias (the original code does; the paper's formula has none).

    Tensors are named after the student layer they serve: ``embedding.weight``, ``hidden.weight``
    (shared) or ``hidden.3.weight``. Weights have ``nn.Linear`` layout: (teacher_width,
    student_width).
    """

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        layers: int,
        shared: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.student_width, self.teacher_width, self.layers = student_width, teacher_width, layers
        self.shared, self.bias = shared, bias

        def linear() -> nn.Linear:
            return nn.Linear(student_width, teacher_width, bias=bias)

        self.embedding = linear()
        self.hidden: nn.Module = (
            linear() if shared else nn.ModuleDict({str(m): linear() for m in range(1, layers + 1)})
        )

    def module_for(self, m: int) -> nn.Linear:
        """The map used for student layer ``m`` (0: embedding output)."""
        if not 0 <= m <= self.layers:
            raise IndexError(f"student layer {m} of {self.layers}")
        if m == 0:
            return self.embedding
        module = self.hidden if self.shared else self.hidden[str(m)]  # type: ignore[index]
        assert isinstance(module, nn.Linear)
        return module

    def weight_for(self, m: int) -> nn.Parameter:
        """Weight for student layer ``m``: (teacher_width, student_width)."""
        weight = self.module_for(m).weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def project(self, m: int, states: Tensor) -> Tensor:
        """``states`` (…, student_width) of student layer ``m`` in the teacher's space."""
        projected: Tensor = self.module_for(m)(states)
        return projected

    @torch.no_grad()
    def set_all(self, weight: Tensor) -> None:
        """Start every map at ``weight`` (teacher_width, student_width), biases at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.zero_()

    def save(self, directory: str | Path) -> Path:
        """Write ``projections.safetensors`` into ``directory``; returns the file's path."""
        path = Path(directory) / PROJECTIONS_FILE
        shape = {
            "student_width": self.student_width,
            "teacher_width": self.teacher_width,
            "layers": self.layers,
            "shared": self.shared,
            "bias": self.bias,
        }
        tensors = {name: t.detach().contiguous() for name, t in self.state_dict().items()}
        save_file(tensors, path, metadata={"tinybert": json.dumps(shape)})
        return path

    @classmethod
    def load(cls, directory: str | Path) -> Projections:
        """Read what :meth:`save` wrote.

        Raises:
            TinybertError: the file is missing or was not written by tinybert.
        """
        path = Path(directory) / PROJECTIONS_FILE
        if not path.is_file():
            raise TinybertError(
                f"{directory} has no {PROJECTIONS_FILE}: it is no student of a distillation stage."
            )
        try:
            with safe_open(path, framework="pt") as file:
                shape = json.loads((file.metadata() or {})["tinybert"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            raise TinybertError(
                f"{path} cannot be read as projections ({error}): make the student again."
            ) from error
        projections = cls(**shape)
        projections.load_state_dict(tensors)
        return projections
