"""What holds for all tests."""

from __future__ import annotations

import gc
import os

import pytest

# Equalities to the bit hold on a processor, and two processes want no two GPUs there. Before torch
# is imported, and for the processes that tests start.
if os.environ.get("TINYBERT_TESTS_ON_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


# Modules go to processes whole: the longest first, or one process works on alone at the end.
LONGEST = ("test_howto.py", "test_reproduce.py", "test_resume.py", "test_encoders.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of the rest stays as it is; see PYTEST_ARGS in the Makefile."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Every training run collects garbage; what the imports made is never any.

    Without this a tenth of the whole suite goes into walking through the modules of torch,
    transformers and scikit-learn.
    """
    gc.collect()
    gc.freeze()
