"""What the documents say exists: commands, flags, links, targets, Python names, settings, floors.

``python tests/test_docs.py`` writes docs/reference/settings.md anew.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import tinybert
from tinybert import cli, settings
from tinybert.cli.options import GROUPS, flag

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
SETTINGS_PAGE = ROOT / "docs" / "reference" / "settings.md"
SHELL = {"", "sh", "bash", "shell", "console"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of the page's fenced code blocks."""
    found = re.finditer(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    return ((match[1], match[2]) for match in found)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)


def commands(page: Path) -> Iterator[list[str]]:
    """The ``tinybert …`` commands of a page's blocks and of its `code spans`, as words."""
    lines = [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose(page))]
    for language, text in blocks(page):
        if language in SHELL:
            lines += text.replace("\\\n", " ").splitlines()
    for line in lines:
        for part in re.split(r"&&|;|\|", line):
            words = part.split("#")[0].split()
            if len(words) > 1 and words[0] in ("tinybert", ".venv/bin/tinybert"):
                if words[1] == "VERB" or words[1].startswith("…"):
                    continue
                kept = shlex.split(part, comments=True)[1:]
                yield kept[: kept.index(">")] if ">" in kept else kept


COMMANDS = [(named(page), words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda v: v if isinstance(v, str) else "")
def test_commands_and_their_flags_exist(
    page: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in pairwise(words):
        if name == "--config":
            (tmp_path / value).write_text("")
    assert cli.main([*words, "--print-config"]) == 0, f"{page}: {capsys.readouterr().err}"


def test_every_verb_is_shown() -> None:
    shown = {" ".join(words[:n]) for _, words in COMMANDS for n in (1, 2)}
    assert set(cli.VERBS) <= shown | {"demo"}
    assert "make demo" in (ROOT / "README.md").read_text("utf-8")


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"{named(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{named(page)} links to {target}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for page in PAGES:
        code = "\n".join([t for k, t in blocks(page) if k in SHELL])
        code += "\n" + "\n".join(re.findall(r"`([^`]+)`", prose(page)))
        for target in re.findall(r"(?:^|[ =])make ([a-z]+)", code, re.M):
            assert target in targets, f"{named(page)}: make {target}"


def outline(page: Path) -> dict[str, list[str]]:
    """What is the same in every language: commands, code, links, headings' levels, figures."""
    text = page.read_text("utf-8")
    code = [re.sub(r" *#.*", "", block) for _, block in blocks(page)]
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "README" not in link]
    return {
        "code": code,
        "links": links,
        "headings": re.findall(r"^#+(?= )", prose(page), re.M),
        "tables": [str(line.count("|")) for line in text.splitlines() if line.startswith("|")],
        "spans": sorted(set(re.findall(r"`([^`\n]+)`", prose(page)))),
        "figures": sorted(re.findall(r"\d+(?:[.,]\d+)+", text)),
    }


def test_the_japanese_readme_says_what_the_english_one_says() -> None:
    english, japanese = (ROOT / name for name in ("README.md", "README.ja.md"))
    assert outline(japanese) == outline(english)
    for page, other in ((english, japanese), (japanese, english)):
        assert f"]({other.name})" in "".join(page.read_text("utf-8").splitlines()[:4])


PYTHON = [
    (named(page), text)
    for page in PAGES
    for language, text in blocks(page)
    if language == "python" and (") -> " not in text or "def " in text)  # signatures are no code
]


@pytest.mark.parametrize(("page", "text"), PYTHON, ids=lambda v: v if v.endswith(".md") else "")
def test_python_names_exist(page: str, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{page}: {node.module}.{alias.name}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = node.func.value, node.func.attr
            if isinstance(owner, ast.Name) and owner.id == "tinybert":
                assert name in tinybert.__all__, f"{page}: tinybert.{name}"
                fields = {f.name for f in dataclasses.fields(vars(settings)[settings_of(name)])}
                given = {k.arg for k in node.keywords} - {"quiet"}
                assert given <= fields, f"{page}: tinybert.{name}({given - fields})"


def settings_of(verb: str) -> str:
    """``corpus build`` → ``CorpusBuildSettings``."""
    words = re.split("[ _]", verb.removesuffix("_model"))  # `tinybert export` is `export_model`
    return "".join(word.capitalize() for word in words) + "Settings"


def test_the_term_shown_in_the_architecture_runs() -> None:
    text = next(t for _, t in blocks(ROOT / "docs" / "architecture.md") if "LastStateTerm" in t)
    # Dataclasses look their module up by name.
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "architecture.md", "exec"), space)
    assert space["objective"].student_taps.hidden == {4}
    assert space["objective"].teacher_taps.hidden == {12}


def test_tests_named_in_the_contract_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    code = "\n".join(p.read_text("utf-8") for p in ROOT.glob("tests/**/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in code, name
    for file in re.findall(r"`((?:\w+/)?test_\w+\.py)`", page):
        assert (ROOT / "tests" / file).is_file(), file


def test_every_field_of_results_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "results.md").read_text("utf-8")
    explained = set(re.findall(r"`(\w+)`", page))
    written = set()
    for file in (ROOT / "src" / "tinybert" / "jobs").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Dict):
                continue
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if {"versions", "flops_128"} & keys and "tinybert" not in keys:
                written |= keys
    assert len(written) > 12
    assert written <= explained, written - explained


# --- floors ---------------------------------------------------------------------------------------


def floors() -> dict[str, int]:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return {room: int(n) for n, room in re.findall(r"^\| (\d) \| `(\w+)` \|", page, re.M)}


def imported(file: Path) -> set[str]:
    """Rooms of tinybert that a module imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "tinybert":
                rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return rooms


def test_rooms_import_only_from_floors_below() -> None:
    package, floor = ROOT / "src" / "tinybert", floors()
    found = {p.stem if p.is_file() else p.name for p in package.iterdir() if p.stem[0] != "_"}
    assert set(floor) == found - {"py"}, "rooms in docs/architecture.md and in src/tinybert differ"
    for room, own in floor.items():
        for file in [package / f"{room}.py", *(package / room).rglob("*.py")]:
            if not file.exists():
                continue
            for other in imported(file) - {room, "__version__"}:
                assert floor[other] < own, f"{file.relative_to(package)} imports {other}"


# --- settings -------------------------------------------------------------------------------------

INTRODUCTION = """# Settings

Every setting has three spellings: a flag (`--learning-rate 3e-5`), a YAML key for `--config` \
(`learning_rate: 3e-5`) and a Python argument (`learning_rate=3e-5`). Flags go before YAML, YAML \
before defaults. A yes-or-no setting is `--name` or `--no-name`; several values stand behind one \
flag, separated by spaces. `tinybert VERB --help` shows the same text, `tinybert VERB \
--print-config` all values as YAML.

Every verb also has `--config FILE.yaml`, `--print-config`, `--quiet`, `--traceback` and `--help`. \
Exit codes: 0 done, 1 an error of tinybert itself, 2 bad input, 130 stopped by the user.

Student shapes: `4x312` is layers × width, with the teacher's heads and a feed-forward network in \
the teacher's ratio (at width 312 under such a teacher as BERT, TinyBERT_4's own 1200); \
`4x312x1200x12` says all four; `half` and `third` are of the teacher's depth at its width; names \
are {presets}. `--attention-transfer` says what becomes of the attention loss with other heads.

This page is made from `settings/` by `python tests/test_docs.py`; a test compares the two.
"""


def shown_type(kind: Any) -> str:
    parts = [part for part in get_args(kind) if part is not type(None)] if get_args(kind) else []
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is list:
        return {str: "texts", int: "whole numbers"}[parts[0]]
    if type(None) in get_args(kind):
        return shown_type(parts[0])
    names = {str: "text", Path: "path", int: "whole number", float: "number", bool: "yes or no"}
    return names[kind]


def table(cls: type, names: list[str]) -> str:
    hints, by_name = get_type_hints(cls), {f.name: f for f in dataclasses.fields(cls)}
    lines = ["| flag | takes | default | what |", "| --- | --- | --- | --- |"]
    ordered = sorted(names, key=lambda n: [*GROUPS].index(by_name[n].metadata["group"]))
    for name in ordered:
        entry = by_name[name]
        made = entry.default_factory
        default = entry.default if made is dataclasses.MISSING else made()
        if default is None or default == []:
            shown = "–"
        elif isinstance(default, bool):
            shown = "yes" if default else "no"
        else:
            shown = f"`{default}`"
        help_text = entry.metadata["help"].replace("|", "\\|")
        lines.append(f"| `{flag(name)}` | {shown_type(hints[name])} | {shown} | {help_text} |")
    return "\n".join(lines)


def own(cls: type) -> list[str]:
    fields = {f.name for f in dataclasses.fields(cls)}
    return [name for name in inspect.get_annotations(cls) if name in fields]


def heading(cls: type) -> str:
    """``RunSettings`` → ``Run settings``."""
    return cls.__name__.removesuffix("Settings") + " settings"


def rendered() -> str:
    from tinybert.students import PRESETS

    parts = [INTRODUCTION.format(presets=", ".join(f"`{name}`" for name in PRESETS))]
    bases: dict[type, None] = {}  # what several verbs share
    for verb in cli.VERBS:
        cls = vars(settings)[settings_of(verb)]
        shared = [c for c in cls.__mro__[1:] if dataclasses.is_dataclass(c) and own(c)]
        bases |= dict.fromkeys(shared)
        names = [heading(c).lower() for c in shared]
        links = ", ".join(f"[{name}](#{name.replace(' ', '-')})" for name in names)
        parts += [f"## tinybert {verb}", cls.__doc__ or "", table(cls, own(cls))]
        parts += [f"And: {links}."] if links else []
    for cls in bases:
        parts += [f"## {heading(cls)}", cls.__doc__ or "", table(cls, own(cls))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def test_settings_page_is_up_to_date() -> None:
    assert SETTINGS_PAGE.read_text("utf-8") == rendered(), "run: python tests/test_docs.py"


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(rendered(), encoding="utf-8")
