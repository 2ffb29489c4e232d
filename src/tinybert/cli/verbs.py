"""What a verb is, and running one: flags and YAML to settings, settings to its job."""

from __future__ import annotations

import argparse
import difflib
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tinybert.cli import options
from tinybert.errors import TinybertError

if TYPE_CHECKING:
    from tinybert.progress import Reporter

__all__ = ["Verb", "run_verb"]

# What one verb calls so and another one otherwise.
_OTHER_NAME = {
    "--teacher": "--model",
    "--model": "--teacher",
    "--data": "--corpus",
    "--corpus": "--data",
}


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        name: as typed.
        summary: one sentence for the list of verbs and the top of ``--help``.
        settings: its settings dataclass (see :mod:`tinybert.cli.options`); torch-free.
        run: takes the settings and a reporter; imports the job itself, as that is slow.
        examples: lines for the end of ``--help``.
        positional: the setting that a word without a flag fills, if there is one; a list takes
            several words.
    """

    name: str
    summary: str
    settings: type
    run: Callable[[Any, Reporter], object]
    examples: str = ""
    positional: str = ""


class _Parser(argparse.ArgumentParser):
    """Short errors: one sentence and where help is, not the usage of forty flags."""

    def error(self, message: str) -> NoReturn:
        raise TinybertError(f"{message} (see {self.prog} --help)")


def run_verb(verb: Verb, argv: Sequence[str]) -> object:
    """Run ``verb`` with the flags ``argv``; ``--help`` and ``--print-config`` print instead."""
    parser = _parser(verb)
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_unknown_argument(parser, unknown[0]))
    values: dict[str, Any] = {}
    if given.config_file is not None:
        values |= options.read_yaml(given.config_file, verb.settings)
    values |= options.flag_values(given, verb.settings)
    if given.print_config:
        try:
            values = options.settings_dict(options.build_settings(verb.settings, values))
        except TinybertError:
            # A template may lack what is needed; any other fault is the user's to know.
            if not _lacks_needed(verb.settings, values):
                raise
        sys.stdout.write(options.settings_yaml(verb.settings, values))
        return None
    settings = options.build_settings(verb.settings, values)

    from tinybert.progress import Reporter  # rich is slow to import and help needs none of it

    return verb.run(settings, Reporter(quiet=given.quiet))


def _parser(verb: Verb) -> argparse.ArgumentParser:
    word = f" {verb.positional.upper()}" if verb.positional else ""
    parser = _Parser(
        prog=f"tinybert {verb.name}",
        usage=f"tinybert {verb.name}{word} [flags]",
        description=verb.summary,
        epilog=f"Examples:\n{verb.examples.rstrip()}" if verb.examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    options.add_settings(parser, verb.settings)
    if verb.positional:  # its flag stands in the help
        kind = typing.get_type_hints(verb.settings)[verb.positional]
        several: dict[str, Any] = {"nargs": "?"}
        if typing.get_origin(kind) is list:
            several = {"nargs": "*", "action": "extend"}
        parser.add_argument(
            verb.positional, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **several
        )
    common = parser.add_argument_group("Every verb")
    common.add_argument("--help", "-h", action="help", help="Show this and exit.")
    common.add_argument(
        "--config",
        dest="config_file",
        metavar="FILE.yaml",
        type=Path,
        help="Read settings from a YAML file; flags go before it.",
    )
    common.add_argument(
        "--print-config",
        action="store_true",
        help="Print all settings as YAML that --config reads, and exit.",
    )
    common.add_argument("--quiet", action="store_true", help="Only results, no talk or progress.")
    common.add_argument(
        "--traceback", action="store_true", help="Show the whole traceback of an unexpected error."
    )
    return parser


def _unknown_argument(parser: argparse.ArgumentParser, word: str) -> str:
    if not word.startswith("-"):
        return (
            f"'{word}' stands alone: every setting is a flag, as in --name value, and a value with "
            "spaces goes in quotes"
        )
    known = [name for action in parser._actions for name in action.option_strings]
    asked = word.split("=")[0]
    near = [_OTHER_NAME[asked]] if _OTHER_NAME.get(asked) in known else []
    if asked.startswith("--"):  # --epochs, where a verb has several kinds of them
        near += [name for name in known if name.endswith(asked[1:])]
    near = near or difflib.get_close_matches(asked, known, n=1)
    return f"unknown flag {word}" + (f": did you mean {' or '.join(near)}?" if near else "")


def _lacks_needed(settings_class: type, values: dict[str, Any]) -> bool:
    return bool(options.missing_settings(settings_class, values))
