"""This process among those that were launched together, and the device that is its own."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState

from tinybert.errors import TinybertError

__all__ = ["this_device", "this_process"]


def this_process() -> PartialState:
    """The state of this process: a GPU of its own where the machine has any, else the processor.

    Raises:
        TinybertError: more processes were launched on this machine than it has GPUs.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # As accelerate counts: a process computes on the GPU of its own number.
    number = int(os.environ.get("LOCAL_RANK", "-1"))
    if gpus and number >= gpus:
        launched = max(number + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "0")))
        raise TinybertError(
            f"{launched} processes were launched here and there {'is' if gpus == 1 else 'are'} "
            f"only {gpus} GPU{'' if gpus == 1 else 's'}: launch one a GPU, or hide the GPUs with "
            "CUDA_VISIBLE_DEVICES= so that all compute on the processor."
        )
    return PartialState(cpu=not gpus)


def this_device() -> torch.device:
    """Where this process computes."""
    device: torch.device = this_process().device
    return device
