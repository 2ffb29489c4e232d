"""The page's directory: whole, self-contained, and safe with whatever a model is called."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from support import web
from tinybert.errors import TinybertError
from tinybert.webpage import PageText, read_web_model, third_party, write_page

TEXT = PageText("Topics", ("Text",), [("lock the file",), ("a & b <i>",)], 32)
OURS = ("index.html", "app.js", "view.js", "worker.js", "tokenizer.js", "style.css")


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    made = web.fake_packages(tmp_path)
    monkeypatch.setattr(third_party, "packages", lambda: made)
    return {
        to: tmp_path / "node_modules" / package.name / path
        for package in made
        for path, (to, _) in package.files.items()
    }


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return web.fake_export(tmp_path / "exported")


@pytest.fixture
def page(exported: Path, vendor: dict[str, Path], tmp_path: Path) -> Path:
    write_page(tmp_path / "page", read_web_model(exported), TEXT, vendor)
    return tmp_path / "page"


class Reader(HTMLParser):
    """Addresses, labels, ids and the words of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.policy = ""
        self.inline = 0
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        self.addresses += [have[name] for name in ("src", "href") if name in have]
        self.ids += [have["id"]] if "id" in have else []
        for name in ("for", "aria-labelledby", "aria-describedby"):
            self.named += have.get(name, "").split()
        if have.get("http-equiv") == "Content-Security-Policy":
            self.policy = have["content"]
        self.inline += ("style" in have) + any(name.startswith("on") for name in have)
        self.inline += (tag == "script" and "src" not in have) + (tag == "style")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole(page: Path, exported: Path) -> None:
    told = web.told(page)
    for name, size in told["bytes"].items():
        assert (page / name).stat().st_size == size
    assert (page / "model" / "model.onnx").read_bytes() == (
        exported / "onnx" / "model_quantized.onnx"
    ).read_bytes()
    assert told["max_length"] == 32
    assert told["examples"] == [["lock the file"], ["a & b <i>"]]
    for name in OURS:
        assert (page / name).stat().st_size > 500


def test_every_file_that_is_named_is_there(page: Path) -> None:
    found = Reader((page / "index.html").read_text("utf-8"))
    local = [address for address in found.addresses if not address.startswith("data:")]
    assert {"app.js", "style.css"} <= {*local}
    for script in page.glob("*.js"):
        local += re.findall(r'(?:from|import) "\./([^"]+)"', script.read_text("utf-8"))
        local += re.findall(r'new URL\("([^"]+)"', script.read_text("utf-8"))
    for address in local:
        assert (page / address).is_file(), address


def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    """No address of another host, no inline script or style, and a policy that forbids both."""
    for name in OURS:
        text = (page / name).read_text("utf-8")
        text = text.replace("http://localhost:8000", "").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn", text), name
    found = Reader((page / "index.html").read_text("utf-8"))
    assert found.inline == 0
    assert "default-src 'none'" in found.policy
    assert not re.search(r"https?:|\*|unsafe-inline|'unsafe-eval'", found.policy)


def test_fields_have_labels_and_references_lead_somewhere(page: Path) -> None:
    found = Reader((page / "index.html").read_text("utf-8"))
    assert len({*found.ids}) == len(found.ids)
    assert "text-0" in found.named
    assert {*found.named} <= {*found.ids}
    scripts = "".join((page / name).read_text("utf-8") for name in ("app.js", "view.js"))
    asked = {*re.findall(r'(?:at|getElementById)\("([\w-]+)"\)', scripts)}
    assert asked <= {*found.ids}


def test_two_fields_for_pairs(exported: Path, vendor: dict[str, Path], tmp_path: Path) -> None:
    text = PageText("Pairs", ("Question", "Answer"), [("one", "other")], 32)
    write_page(tmp_path / "pairs", read_web_model(exported), text, vendor)
    found = Reader((tmp_path / "pairs" / "index.html").read_text("utf-8"))
    assert {"text-0", "text-1"} <= {*found.ids}
    assert {"Question", "Answer"} <= {*found.words}


def test_names_are_no_markup(exported: Path, vendor: dict[str, Path], tmp_path: Path) -> None:
    title = '<script>alert(1)</script> & "quotes" \''
    text = PageText(title, ("Text",), [("<b>bold</b>",)], 32)
    write_page(tmp_path / "page", read_web_model(exported), text, vendor)
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    found = Reader(html)
    assert found.inline == 0
    assert title in "".join(found.words)
    assert web.told(tmp_path / "page")["title"] == title


def test_licences_lie_beside_what_they_are_of(page: Path) -> None:
    assert "Copyright (c) Microsoft" in (page / "vendor/onnxruntime/LICENSE").read_text("utf-8")
    assert (page / "vendor/tokenizers/LICENSE").is_file()
    listed = (page / "vendor/README.txt").read_text("utf-8")
    for package in third_party.packages():
        assert f"{package.name} {package.version}, licence {package.licence}" in listed


def test_a_model_without_a_tokenizer_configuration(
    exported: Path, vendor: dict[str, Path], tmp_path: Path
) -> None:
    (exported / "tokenizer_config.json").unlink()
    write_page(tmp_path / "page", read_web_model(exported), TEXT, vendor)
    assert json.loads((tmp_path / "page/model/tokenizer_config.json").read_text()) == {}


def test_what_is_there_stays(page: Path, exported: Path, vendor: dict[str, Path]) -> None:
    with pytest.raises(TinybertError, match="exists already"):
        write_page(page, read_web_model(exported), TEXT, vendor)
    (page / "old").touch()
    write_page(page, read_web_model(exported), TEXT, vendor, overwrite=True)
    assert not (page / "old").exists()


def test_a_page_that_cannot_be_finished_is_not_begun(
    exported: Path, vendor: dict[str, Path], tmp_path: Path
) -> None:
    vendor["onnxruntime/ort.js"].unlink()
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "page", read_web_model(exported), TEXT, vendor)
    assert not [path for path in tmp_path.iterdir() if "page" in path.name]
