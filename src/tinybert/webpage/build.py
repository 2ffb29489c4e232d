"""The page's directory: our files, the model, and JavaScript of others with its licences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tinybert.outputs import whole_directory
from tinybert.webpage.facts import facts
from tinybert.webpage.model import CONFIG_FILE, MODEL_FILE, WebModel, json_object
from tinybert.webpage.third_party import packages

__all__ = ["PageText", "write_page"]

_SITE = ("app.js", "view.js", "worker.js", "tokenizer.js", "style.css")
_MODEL = {"model.onnx": MODEL_FILE, "tokenizer.json": "tokenizer.json"}
_ENGINE = "vendor/onnxruntime/ort-wasm.wasm"


@dataclass(frozen=True)
class PageText:
    """What is said on the page.

    Attributes:
        title: its heading.
        fields: labels of the one text field, or of the two.
        examples: rows to click, of as many texts as there are fields.
        max_length: tokens a row, specials included.
    """

    title: str
    fields: tuple[str, ...]
    examples: Sequence[tuple[str, ...]]
    max_length: int


def write_page(
    output: Path,
    model: WebModel,
    text: PageText,
    third_party: Mapping[str, Path],
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the page, whole or not at all.

    Args:
        output: the directory.
        model: what answers.
        text: what is said.
        third_party: path under ``vendor/`` → file, of :func:`third_party_files`.
        overwrite: replace a directory that is there.

    Returns:
        File in the page → its bytes.

    Raises:
        TinybertError: the directory exists, or the disk is full or forbidden.
    """
    with whole_directory(output, overwrite) as folder:
        for name in _SITE:
            (folder / name).write_text(_own(name), encoding="utf-8")
        for name, source in _MODEL.items():
            _copy(model.directory / source, folder / "model" / name)
        # An empty one serves where the file is absent.
        config = json_object(model.directory / CONFIG_FILE)
        _write_json(folder / "model" / CONFIG_FILE, config)
        for name, file in third_party.items():
            _copy(file, folder / "vendor" / name)
        _write_licences(folder / "vendor")
        told = _told(folder, model, text)
        _write_json(folder / "page.json", told)
        (folder / "index.html").write_text(_index(told), encoding="utf-8")
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _told(folder: Path, model: WebModel, text: PageText) -> dict[str, Any]:
    """What the page's scripts read."""
    loaded = [f"model/{name}" for name in (*_MODEL, CONFIG_FILE)] + [_ENGINE]
    sizes = {name: (folder / name).stat().st_size for name in loaded}
    return {
        "title": text.title,
        "kind": model.kind,
        "labels": list(model.labels),
        "fields": list(text.fields),
        "examples": [list(row) for row in text.examples],
        "max_length": text.max_length,
        "facts": [list(fact) for fact in facts(model, sizes["model/model.onnx"])],
        "bytes": sizes,
    }


def _index(told: Mapping[str, Any]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made: str = environment.from_string(_own("index.html.jinja")).render(**told)
    return made.rstrip() + "\n"


def _own(name: str) -> str:
    return resources.files("tinybert.webpage").joinpath("site", name).read_text("utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)  # the rights of a file in the cache are not the page's


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_licences(vendor: Path) -> None:
    """Licences that the npm packages do not hold themselves, and a list of what is here."""
    licence = resources.files("tinybert.webpage").joinpath("onnxruntime.LICENSE")
    (vendor / "onnxruntime" / "LICENSE").write_text(licence.read_text("utf-8"), encoding="utf-8")
    installed = util.find_spec("onnxruntime")  # the same project's notices, where they are at hand
    for place in (installed.submodule_search_locations or []) if installed else []:
        notices = Path(place) / "ThirdPartyNotices.txt"
        if notices.is_file():
            _copy(notices, vendor / "onnxruntime" / notices.name)
    lines = [f"{p.name} {p.version}, licence {p.licence}, {p.source}" for p in packages()]
    (vendor / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
