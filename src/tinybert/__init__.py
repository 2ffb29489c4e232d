"""Distil Transformer encoders into students several times smaller and faster (TinyBERT).

>>> import tinybert
>>> results = tinybert.distill(teacher="teacher", data="train.csv",
...                            output="student")  # doctest: +SKIP
>>> results["retention"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinybert.errors import TinybertError

if TYPE_CHECKING:
    from tinybert.api import (
        augment,
        bench,
        convert,
        corpus_build,
        corpus_show,
        distill,
        embedder,
        evaluate,
        export_model,
        finetune,
        general,
        glue,
        list_systems,
        mlm,
        multitask,
        page,
        predict,
        profile,
        report,
        reproduce,
        show_system,
        trim,
    )

__all__ = [
    "TinybertError",
    "__version__",
    "augment",
    "bench",
    "convert",
    "corpus_build",
    "corpus_show",
    "distill",
    "embedder",
    "evaluate",
    "export_model",
    "finetune",
    "general",
    "glue",
    "list_systems",
    "mlm",
    "multitask",
    "page",
    "predict",
    "profile",
    "report",
    "reproduce",
    "show_system",
    "trim",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The verbs come with torch and transformers, so they are imported when first used."""
    if name in __all__:
        from tinybert import api

        return getattr(api, name)
    raise AttributeError(f"module 'tinybert' has no attribute {name!r}")
