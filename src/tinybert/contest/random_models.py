"""Models that are nothing but a shape: random weights, for time, memory and size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, BertConfig, PretrainedConfig

from tinybert.errors import TinybertError
from tinybert.students import PRESETS, parse_shape
from tinybert.systems import SYSTEMS, find_system, student_config
from tinybert.teachers import without_bars

__all__ = ["RANDOM", "random_config", "save_random"]

RANDOM = ":random"
"""How such a model's name ends."""


def random_config(name: str) -> PretrainedConfig:
    """The configuration that ``name`` (without its ending) means, with BERT's vocabulary.

    Args:
        name: a system of the paper's table (``BERT_BASE``), a preset (``tinybert-4``) or a shape
            (``12x768``, ``4x312x1200x12``; heads are 12 where they are not said).

    Raises:
        TinybertError: neither of them.

    >>> random_config("TinyBERT_4").hidden_size, random_config("6x384").intermediate_size
    (312, 1536)
    """
    if name.lower() in PRESETS or re.match(r"\d+[x×]", name):
        config = parse_shape(name, BertConfig()).config(BertConfig())
    else:
        try:
            config = student_config(find_system(name), BertConfig(), paper=True)
        except TinybertError:
            raise TinybertError(
                f"{name}{RANDOM} means no shape: put a shape such as 12x768, or a system such as "
                f"{next(iter(SYSTEMS))}, before {RANDOM}."
            ) from None
    config.num_labels = 2
    return config


def save_random(name: str, directory: Path) -> None:
    """Write a classifier of two labels with random weights, in Hugging Face's format."""
    make: Any = AutoModelForSequenceClassification.from_config
    with torch.random.fork_rng(devices=[]), without_bars():
        torch.manual_seed(0)
        make(random_config(name)).save_pretrained(directory)
