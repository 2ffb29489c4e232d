"""Flags, YAML and help of a verb, generated from its typed settings dataclass.

A settings class is a dataclass whose fields carry ``help`` and ``group`` in their metadata (see
:mod:`tinybert.settings`). ``learning_rate`` is then ``--learning-rate`` on the command line and
``learning_rate`` in YAML; its type, default and help are said once. A field without a default has
to be given. Imports nothing heavy.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from tinybert.cli.values import convert, is_union
from tinybert.errors import TinybertError

__all__ = [
    "add_settings",
    "build_settings",
    "flag",
    "flag_values",
    "missing_settings",
    "read_yaml",
    "settings_dict",
    "settings_yaml",
    "suggest",
]

GROUPS = {
    "main": "What goes in and out",
    "what": "What is run",
    "scale": "At which scale",
    "data": "Task data",
    "student": "Student",
    "size": "Size by need, instead of a shape",
    "training": "Training",
    "losses": "Losses",
    "augmentation": "Augmentation",
    "int8": "Int8",
    "forms": "Forms",
    "speed": "Speed and memory",
    "questions": "Answers in passages",
    "hub": "Hugging Face Hub",
    "run": "Run",
}
"""Headings of the groups, in the order of help and YAML; other groups stand behind them."""


def flag(name: str) -> str:
    """``learning_rate`` → ``--learning-rate``."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(frozen=True)
class _Option:
    name: str
    kind: Any
    default: Any
    help: str
    group: str
    choices: tuple[Any, ...]

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


def _options(settings_class: type) -> list[_Option]:
    hints = typing.get_type_hints(settings_class)
    options = []
    for entry in dataclasses.fields(settings_class):
        if not entry.init:
            continue
        default = entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        options.append(
            _Option(
                name=entry.name,
                kind=hints[entry.name],
                default=default,
                help=entry.metadata.get("help", ""),
                group=entry.metadata.get("group", "main"),
                choices=_literal_choices(hints[entry.name]),
            )
        )
    order = [*GROUPS, *dict.fromkeys(o.group for o in options if o.group not in GROUPS)]
    return sorted(options, key=lambda option: order.index(option.group))


def _literal_choices(kind: Any) -> tuple[Any, ...]:
    members = typing.get_args(kind) if is_union(kind) else (kind,)
    found = [m for m in members if typing.get_origin(m) is Literal]
    plain = [m for m in members if m is not type(None) and m not in found]
    return typing.get_args(found[0]) if len(found) == 1 and not plain else ()


def _without_none(kind: Any) -> Any:
    """The type without ``None`` where one member is left, else as it was."""
    if is_union(kind):
        members = [m for m in typing.get_args(kind) if m is not type(None)]
        return members[0] if len(members) == 1 else kind
    return kind


def _heading(group: str) -> str:
    return GROUPS.get(group, group)


def _metavar(option: _Option) -> str:
    if option.choices:
        return "{" + ",".join(str(choice) for choice in option.choices) + "}"
    kind = _without_none(option.kind)
    base = typing.get_origin(kind) or kind
    if base in (dict, Mapping):
        return "NAME=VALUE"
    if base in (list, tuple, Sequence):
        kind = (typing.get_args(kind) or (str,))[0]
    return {int: "N", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _shown_default(option: _Option) -> str:
    if option.required:
        return "needed"
    default = option.default
    if default is None or default in ([], {}, ()):
        return ""  # the help text says what then happens
    if isinstance(default, bool):
        return f"default: {'yes' if default else 'no'}"
    if isinstance(default, Mapping):
        default = " ".join(f"{key}={value}" for key, value in default.items())
    elif isinstance(default, list | tuple):
        default = " ".join(str(item) for item in default)
    return f"default: {default}"


def add_settings(parser: argparse.ArgumentParser, settings_class: type) -> None:
    """Add a flag for each field of ``settings_class``, under the headings of their groups."""
    groups: dict[str, Any] = {}
    for option in _options(settings_class):
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(_heading(option.group))
        default = _shown_default(option)
        text = option.help + (f" ({default})" if default else "")
        extra: dict[str, Any] = {}
        kind = _without_none(option.kind)
        if kind is bool:
            extra = {"action": argparse.BooleanOptionalAction}
        else:
            extra = {"metavar": _metavar(option)}
            base = typing.get_origin(kind) or kind
            if base in (list, tuple, dict, Sequence, Mapping):
                extra |= {"nargs": "+", "action": "extend"}
        groups[option.group].add_argument(
            flag(option.name),
            dest=option.name,
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
            **extra,
        )


def flag_values(namespace: argparse.Namespace, settings_class: type) -> dict[str, Any]:
    """The values given by flags, converted; ``TinybertError`` names the flag that is wrong."""
    values = {}
    for option in _options(settings_class):
        if hasattr(namespace, option.name):
            raw = getattr(namespace, option.name)
            values[option.name] = _checked(option, raw, flag(option.name), text=True)
    return values


def read_yaml(path: str | Path, settings_class: type) -> dict[str, Any]:
    """The values of a YAML file; ``TinybertError`` says what is wrong with it and where."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise TinybertError(f"settings file {path} does not exist: give a YAML file") from None
    except IsADirectoryError:
        raise TinybertError(f"settings file {path} is a directory: give a YAML file") from None
    except UnicodeDecodeError:
        raise TinybertError(f"settings file {path} is not UTF-8: save it as UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}" if mark else ""
        raise TinybertError(
            f"settings file {path} is no valid YAML{place}: {error.problem}"
        ) from None
    except yaml.YAMLError as error:
        raise TinybertError(f"settings file {path} is no valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise TinybertError(f"settings file {path} must hold lines of the form 'name: value'")
    return checked_values(content, settings_class, f" in {path}")


def checked_values(
    content: Mapping[str, Any], settings_class: type, place: str = ""
) -> dict[str, Any]:
    """Values by setting name, each of its setting's type; ``TinybertError`` says what is not.

    >>> from tinybert.settings import DistillSettings
    >>> checked_values({"output": "student"}, DistillSettings)
    {'output': PosixPath('student')}
    """
    options = {option.name: option for option in _options(settings_class)}
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in options:
            raise TinybertError(f"unknown setting '{key}'{place}: {suggest(name, list(options))}")
        if options[name].required and value is None:
            continue  # a template that was not filled in: said to be needed later
        values[name] = _checked(options[name], value, f"setting '{key}'{place}", text=False)
    return values


def missing_settings(settings_class: type, values: Mapping[str, Any]) -> list[str]:
    """Names of the settings that have no default and no value."""
    return [o.name for o in _options(settings_class) if o.required and o.name not in values]


def build_settings(settings_class: type, values: Mapping[str, Any]) -> Any:
    """An instance of ``settings_class``; ``TinybertError`` names what is still needed."""
    missing = missing_settings(settings_class, values)
    if missing:
        names = ", ".join(map(flag, missing))
        verb = "is" if len(missing) == 1 else "are"
        raise TinybertError(f"{names} {verb} needed: give it as a flag or in --config FILE.yaml")
    return settings_class(**values)


def settings_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON and YAML types, as ``--config`` reads them again."""
    return {
        entry.name: _plain(getattr(settings, entry.name))
        for entry in dataclasses.fields(settings)
        if entry.init
    }


def settings_yaml(settings_class: type, values: Mapping[str, Any]) -> str:
    """All settings as commented YAML that ``--config`` reads again.

    Those still needed stand there with an empty value, so that it serves as a template too.
    """
    lines: list[str] = []
    group = None
    for option in _options(settings_class):
        if option.group != group:
            group = option.group
            lines += ["", f"# --- {_heading(group)} ---"]
        lines.append("# " + " ".join(option.help.split()))
        value = values.get(option.name, option.default)
        if value is dataclasses.MISSING:
            lines.append(f"{option.name}:  # needed")
        else:
            dumped = yaml.safe_dump(
                {option.name: _plain(value)}, sort_keys=False, allow_unicode=True, width=10_000
            )
            lines.append(dumped.rstrip("\n"))
    return "\n".join(lines).lstrip("\n") + "\n"


def suggest(name: str, known: Sequence[str]) -> str:
    """'did you mean …?', or all that is known.

    >>> suggest("learning_rat", ["learning_rate", "epochs"])
    "did you mean 'learning_rate'?"
    >>> suggest("qqq", ["learning_rate", "epochs"])
    'known are learning_rate, epochs'
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else "known are " + ", ".join(known)


def _checked(option: _Option, raw: Any, place: str, *, text: bool) -> Any:
    if raw is None and option.default is None:  # as --print-config writes it
        return None
    try:
        return convert(raw, option.kind, text=text)
    except ValueError as error:
        hint = ""
        if option.choices and isinstance(raw, str):
            near = difflib.get_close_matches(raw, [str(c) for c in option.choices], n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise TinybertError(f"{place}: {error}{hint}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key_node.value}' stands there twice",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)
