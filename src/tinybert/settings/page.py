"""Of ``tinybert page``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybert.settings.base import Checked, setting

__all__ = ["PageSettings"]


@dataclass
class PageSettings(Checked):
    """Make a web page on which an exported model answers as one types; no server takes part."""

    model: str | None = setting(
        None,
        "directory that `tinybert export` wrote, with an int8 model; may stand without its flag: "
        "`tinybert page exported`",
    )
    output: Path | None = setting(None, "directory to write; appears only when it is whole")
    title: str | None = setting(None, "heading of the page; default: the name of the model")
    texts: Literal["auto", "1", "2"] = setting(
        "auto",
        "texts a row, a field for each; auto: two where the model was trained on two columns or "
        "its labels are those of a task about pairs, such as entailment",
        "data",
    )
    examples: list[str] = setting(
        [],
        "rows to click; of two texts with || between them; default: a few that suit the labels",
        "data",
    )
    max_length: int | None = setting(
        None, "tokens a row, specials included; default: as in training, else 128", "data", least=4
    )
    assets: Path | None = setting(
        None,
        "node_modules folder to take onnxruntime-web and @huggingface/tokenizers from; default: "
        "the cache, filled by npm",
        "run",
    )
    overwrite: bool = setting(False, "replace the output directory", "run")
