"""What holds for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Every training run collects garbage; what the imports made is never any.

    Without this a tenth of the whole suite goes into walking through the modules of torch,
    transformers and scikit-learn.
    """
    gc.collect()
    gc.freeze()
