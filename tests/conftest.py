"""What holds for all tests."""

from __future__ import annotations

import gc
import os

# Equalities to the bit hold on a processor, and two processes want no two GPUs there. Before torch
# is imported, and for the processes that tests start.
if os.environ.get("TINYBERT_TESTS_ON_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_finish() -> None:
    """Every training run collects garbage; what the imports made is never any.

    Without this a tenth of the whole suite goes into walking through the modules of torch,
    transformers and scikit-learn.
    """
    gc.collect()
    gc.freeze()
