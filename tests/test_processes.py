"""As many processes as there are GPUs, or as are wanted where there are none."""

from __future__ import annotations

import pytest
import torch

from tinybert.errors import TinybertError
from tinybert.processes import this_device, this_process


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(
        TinybertError, match=r"^3 processes were launched here and there is only 1 GPU: .* hide "
    ):
        this_process()
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TinybertError, match=r"^3 processes .* there are only 2 GPUs: "):
        this_device()


def test_a_process_alone_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert this_device() == torch.device("cpu")
    assert this_process().num_processes == 1
