"""Projections from the student's width to the teacher's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tinybert.errors import TinybertError
from tinybert.projections import PROJECTIONS_FILE, Projections


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_saved_projections_come_back(tmp_path: Path, shared: bool, bias: bool) -> None:
    torch.manual_seed(0)
    one = Projections(6, 10, 3, shared=shared, bias=bias)
    assert one.save(tmp_path) == tmp_path / PROJECTIONS_FILE
    two = Projections.load(tmp_path)
    assert (two.student_width, two.teacher_width, two.layers) == (6, 10, 3)
    assert (two.shared, two.bias) == (shared, bias)
    states = torch.randn(2, 5, 6)
    for m in range(4):
        assert two.weight_for(m).shape == (10, 6)
        assert torch.equal(one.project(m, states), two.project(m, states))
        assert one.project(m, states).shape == (2, 5, 10)


def test_shared_or_one_a_layer() -> None:
    shared, own = Projections(6, 10, 3), Projections(6, 10, 3, shared=False)
    assert shared.weight_for(1) is shared.weight_for(3)
    assert own.weight_for(1) is not own.weight_for(3)
    assert shared.weight_for(0) is not shared.weight_for(1)
    assert sum(p.numel() for p in shared.parameters()) == 2 * 60
    assert {"embedding.weight", "hidden.3.weight"} <= own.state_dict().keys()
    for m in (-1, 4):
        with pytest.raises(IndexError):
            own.module_for(m)


def test_set_all_starts_every_map_alike() -> None:
    projections = Projections(6, 10, 2, shared=False, bias=True)
    weight = torch.randn(10, 6)
    projections.set_all(weight)
    for m in range(3):
        assert torch.equal(projections.weight_for(m), weight)
        assert not projections.module_for(m).bias.any()


def test_a_directory_without_them_or_with_foreign_ones(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="has no projections.safetensors"):
        Projections.load(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / PROJECTIONS_FILE)
    with pytest.raises(TinybertError, match="cannot be read as projections"):
        Projections.load(tmp_path)
    (tmp_path / PROJECTIONS_FILE).write_bytes(b"nonsense")
    with pytest.raises(TinybertError, match="cannot be read as projections"):
        Projections.load(tmp_path)
