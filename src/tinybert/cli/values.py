"""Values of the command line and of YAML as the types that settings ask for."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

import yaml

__all__ = ["convert", "is_union"]


def convert(value: Any, kind: Any, *, text: bool = False) -> Any:
    """``value`` as the type ``kind``; ``ValueError`` says what was expected.

    ``text`` marks values of the command line, where everything is text (or a list of texts).

    >>> convert("3", int, text=True), convert("1e-4", float), convert("none", int | None, text=True)
    (3, 0.0001, None)
    >>> convert("3,6", str | list[int], text=True), convert("uniform", str | list[int], text=True)
    ([3, 6], 'uniform')
    >>> convert(["a=0.5", "b=2"], dict[str, float], text=True)
    {'a': 0.5, 'b': 2.0}
    >>> convert("many", int, text=True)
    Traceback (most recent call last):
    ValueError: expected a whole number, got 'many'
    """
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind is Any:
        return value
    if is_union(kind):
        return _convert_union(value, kind, text)
    if origin is Literal:
        for option in arguments:
            if value == option and type(value) is type(option):
                return option
            if text and isinstance(value, str) and value == str(option):
                return option
        raise _unexpected(value, kind)
    base = origin or kind
    if base in (list, tuple, Sequence):
        return _convert_list(value, kind, text)
    if base in (dict, Mapping):
        return _convert_dict(value, kind, text)
    return _convert_scalar(value, kind, text)


def is_union(kind: Any) -> bool:
    """Whether a type is a union, as ``int | None``."""
    return typing.get_origin(kind) in (Union, types.UnionType)


def _convert_union(value: Any, kind: Any, text: bool) -> Any:
    members = typing.get_args(kind)
    if type(None) in members and (
        value is None or (text and isinstance(value, str) and value.lower() == "none")
    ):
        return None
    # Text takes anything, so it is tried last.
    for member in sorted(members, key=lambda member: member in (str, Path)):
        if member is not type(None):
            try:
                return convert(value, member, text=text)
            except ValueError:
                continue
    raise _unexpected(value, kind)


def _convert_list(value: Any, kind: Any, text: bool) -> Any:
    arguments = [a for a in typing.get_args(kind) if a is not Ellipsis]
    item = arguments[0] if arguments else str
    if isinstance(value, str):
        value = [value]
    elif not isinstance(value, list | tuple):
        raise _unexpected(value, kind)
    if text and item in (int, float):
        value = [part for entry in value for part in entry.split(",") if part.strip()]
    try:
        items = [convert(entry, item, text=text) for entry in value]
    except ValueError as error:
        raise ValueError(f"expected {_describe(kind)}, got {value!r}") from error
    return tuple(items) if (typing.get_origin(kind) or kind) is tuple else items


def _convert_dict(value: Any, kind: Any, text: bool) -> Any:
    _, item = typing.get_args(kind) or (str, Any)
    if text:
        entries = [value] if isinstance(value, str) else list(value)
        if not all("=" in entry for entry in entries):
            raise _unexpected(value, kind)
        value = dict(entry.split("=", 1) for entry in entries)
        if item is Any:
            value = {key: yaml.safe_load(entry) for key, entry in value.items()}
    if not isinstance(value, Mapping):
        raise _unexpected(value, kind)
    try:
        return {str(key): convert(entry, item, text=text) for key, entry in value.items()}
    except ValueError as error:
        raise ValueError(f"expected {_describe(kind)}, got {dict(value)!r}") from error


def _convert_scalar(value: Any, kind: Any, text: bool) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if text and isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if text:
            try:
                return int(value)
            except (ValueError, TypeError):
                raise _unexpected(value, kind) from None
    elif kind is float:
        # YAML reads 1e-4 (no dot) as text.
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                raise _unexpected(value, kind) from None
    elif kind is str:
        # In YAML 0.5 and [1, 1, 0.5] are no text, but meant as such where text is asked for.
        if isinstance(value, list) and value and not any(isinstance(v, list | dict) for v in value):
            return ",".join(convert(item, str) for item in value)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
    elif kind is Path:
        if isinstance(value, str | Path) and str(value):
            return Path(value).expanduser()
    else:
        raise TypeError(f"settings of type {kind!r} are not supported")
    raise _unexpected(value, kind)


def _unexpected(value: Any, kind: Any) -> ValueError:
    hint = ""
    if kind is str and isinstance(value, bool):
        hint = " (put it in quotes)"
    return ValueError(f"expected {_describe(kind)}, got {value!r}{hint}")


def _describe(kind: Any) -> str:
    """A type in words.

    >>> _describe(int | None), _describe(list[float]), _describe(Literal["uniform", "top"])
    ('a whole number or none', 'a list of numbers', 'uniform or top')
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_union(kind):
        names = [_describe(member) for member in arguments if member is not type(None)]
        return " or ".join(names + ["none"] * (type(None) in arguments))
    if origin is Literal:
        names = [str(option) for option in arguments]
        return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    plural = {str: "texts", int: "whole numbers", float: "numbers", Path: "paths", bool: "yes/no"}
    base = origin or kind
    if base in (list, tuple, Sequence):
        return f"a list of {plural.get(arguments[0] if arguments else str, 'values')}"
    if base in (dict, Mapping):
        item = arguments[1] if arguments else Any
        return f"names with {plural.get(item, 'values')} (name=value)"
    singular = {str: "text", int: "a whole number", float: "a number", Path: "a path"}
    return singular.get(kind, "true or false" if kind is bool else str(kind))
