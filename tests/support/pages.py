"""Pages of HTML as a strict reader sees them: balanced tags, words, tables, what they load."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "hr", "link"}
LOADING = {"src", "srcset", "href", "data", "poster", "action", "formaction", "xlink:href"}


@dataclass
class Seen:
    """What a page holds.

    Attributes:
        tags: (name, attributes) in their order.
        words: all text outside of style, pieces in their order.
        style: the text of style sheets.
        tables: of each its caption and its rows of cells.
    """

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    style: str = ""
    tables: list[tuple[str, list[list[str]]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def loaded(self) -> list[str]:
        """Every address that the page would fetch or lead to."""
        return [value for _, has in self.tags for name, value in has.items() if name in LOADING]

    def table(self, caption: str) -> list[list[str]]:
        return next(rows for told, rows in self.tables if told.startswith(caption))

    def having(self, tag: str, css: str) -> list[dict[str, str]]:
        """Attributes of the tags of a class."""
        return [
            has for name, has in self.tags if name == tag and css in has.get("class", "").split()
        ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen, self.open = Seen(), list[str]()
        self.cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        self.seen.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.seen.tables.append(("", []))
        elif tag == "tr":
            self.seen.tables[-1][1].append([])
        elif tag in ("td", "th", "caption"):
            self.cell = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert self.open.pop() == tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        if tag in ("td", "th", "caption") and self.cell is not None:
            words = " ".join("".join(self.cell).split())
            rows = self.seen.tables[-1][1]
            if tag == "caption":
                self.seen.tables[-1] = (words, rows)
            else:
                rows[-1].append(words)
            self.cell = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.seen.style += data
            return
        self.seen.words.append(data)
        if self.cell is not None:
            self.cell.append(data)


def read(page: str) -> Seen:
    """Read a page; fails on tags that are not balanced."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open, f"never closed: {reader.open}"
    return reader.seen


def check_alone(seen: Seen) -> None:
    """The page loads nothing, runs nothing, and every picture and table is told in words."""
    for address in seen.loaded:
        assert address.startswith(("#", "data:image/png;base64,")), address
    names = {name for name, _ in seen.tags}
    assert not names & {"script", "iframe", "link", "object", "embed", "base", "form"}
    assert not [has for _, has in seen.tags if any(name.startswith("on") for name in has)]
    assert "@import" not in seen.style
    assert "url(" not in seen.style
    policy = next(has for _, has in seen.tags if "http-equiv" in has)
    assert policy["content"].startswith("default-src 'none'")
    assert all(has.get("alt") for name, has in seen.tags if name == "img")
    assert all(has.get("aria-label") for _, has in seen.tags if has.get("role") == "img")
    assert all(caption for caption, _ in seen.tables)
    ids = [has["id"] for _, has in seen.tags if "id" in has]
    assert len(set(ids)) == len(ids)
    for _, has in seen.tags:
        for name in ("for", "aria-labelledby"):
            assert name not in has or has[name] in ids, has
    anchors = [address[1:] for address in seen.loaded if address.startswith("#")]
    assert set(anchors) <= set(ids)
