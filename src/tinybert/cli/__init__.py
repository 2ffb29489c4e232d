"""The command line: finds the verb, runs it, and turns errors into one sentence and an exit code.

Exit codes: 0 done, 1 an error of tinybert itself, 2 bad input or a machine that cannot do what was
asked, 130 stopped by the user. Verbs are imported only when they run: help takes no torch.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from tinybert.errors import TinybertError

__all__ = ["VERBS", "entry", "leave", "main"]

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("tinybert.cli.demo", "Distil a real teacher end to end, offline, in minutes."),
    "corpus build": ("tinybert.cli.corpus_build", "Text to tokens, once: a corpus for `general`."),
    "corpus show": ("tinybert.cli.corpus_show", "What is in a corpus; whether it is whole."),
    "general": ("tinybert.cli.general", "Raw text to a general student."),
    "embedder": (
        "tinybert.cli.embedder",
        "A sentence encoder and raw text to a small sentence encoder.",
    ),
    "augment": ("tinybert.cli.augment", "Training rows to copies with words replaced."),
    "mlm": ("tinybert.cli.mlm", "An encoder and raw text to a masked language model."),
    "finetune": ("tinybert.cli.finetune", "A model and a labelled task to a fine-tuned model."),
    "distill": (
        "tinybert.cli.distill",
        "A teacher, fine-tuned first if need be, and a task to a student.",
    ),
    "multitask": (
        "tinybert.cli.multitask",
        "Several tasks' teachers to one student, a head for each task.",
    ),
    "glue": ("tinybert.cli.glue", "GLUE tasks, several seeds, one table."),
    "reproduce": (
        "tinybert.cli.reproduce",
        "The paper's systems and ablations, several seeds, one table.",
    ),
    "evaluate": ("tinybert.cli.evaluate", "Score a model on a task; its size."),
    "report": ("tinybert.cli.report", "A finished run as one page of HTML."),
    "predict": ("tinybert.cli.predict", "A model's answers to rows, or to GLUE's test sets."),
    "export": ("tinybert.cli.export", "A model to ONNX, int8 and OpenVINO, checked."),
    "page": ("tinybert.cli.page", "An exported model as a web page that answers as one types."),
    "trim": ("tinybert.cli.trim", "A model's vocabulary to what your text needs."),
    "bench": (
        "tinybert.cli.bench",
        "Models side by side: latency, throughput, memory, size; PyTorch and exported.",
    ),
    "convert": ("tinybert.cli.convert", "A checkpoint of the authors' code to a usable model."),
    "systems": ("tinybert.cli.systems", "The systems of the paper's table."),
    "systems show": ("tinybert.cli.systems_show", "How one of them is made, with all numbers."),
    "profile": ("tinybert.cli.profile", "Their parameters, FLOPs and speed beside the paper's."),
}
"""Verb → (module that holds its ``VERB``, what it does)."""

# What the system says of a place that the user chose badly.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    show_traceback = "--traceback" in arguments
    _accept_any_encoding()
    try:
        _run(arguments)
        sys.stdout.flush()
        return 0
    except SystemExit as leave:  # --help
        return leave.code if isinstance(leave.code, int) else 0
    except KeyboardInterrupt:
        return _stopped(arguments)
    except BrokenPipeError:  # the reader, say head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the one place that answers for all of them
        return _failed(error, show_traceback)


def entry() -> None:
    """What the installed command and ``python -m tinybert`` call."""
    leave(main())


def leave(code: int = 0) -> None:
    """End this process with ``code``; one of several ends without Python's own tear-down.

    Threads of a process group that meet a dying interpreter abort the process now and then, and
    the launcher then takes a finished run for a failed one.
    """
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        sys.exit(code)
    if code == 0:  # a process that failed waits for nobody
        distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str]) -> None:
    while arguments and arguments[0] == "--traceback":
        arguments.pop(0)
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        sys.stdout.write(_help())
        return
    name = arguments[0]
    if name == "--version":
        from tinybert import __version__

        sys.stdout.write(f"tinybert {__version__}\n")
        return
    name, rest = _verb(arguments)
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"give one of {', '.join(VERBS)}"
        kind = "flag" if name.startswith("-") else "verb"
        raise TinybertError(f"unknown {kind} '{name}': {hint} (see tinybert --help)")
    _quiet_libraries()
    module: Any = importlib.import_module(VERBS[name][0])

    from tinybert.cli.verbs import run_verb

    run_verb(module.VERB, rest)


def _verb(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb, of one word or two, and what follows it.

    Raises:
        TinybertError: the second word of two is missing or unknown.
    """
    first, *rest = arguments
    seconds = [verb.split()[1] for verb in VERBS if verb.startswith(f"{first} ")]
    if not seconds:
        return first, rest
    if rest and rest[0] in seconds:
        return f"{first} {rest[0]}", rest[1:]
    if first in VERBS and (not rest or rest[0].startswith("-")):
        return first, rest
    known = [verb for verb in VERBS if verb.split()[0] == first]
    verbs = " or ".join(f"`tinybert {verb}`" for verb in known)
    raise TinybertError(f"{first} what? Say {verbs} (each has --help).")


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [
        "usage: tinybert VERB [flags]",
        "",
        "Distil Transformer encoders into students several times smaller and faster.",
        "",
        "Verbs:",
        *(f"  {name.ljust(width)}  {summary}" for name, (_, summary) in VERBS.items()),
        "",
        "Flags of tinybert itself:",
        "  --help     Show this and exit; tinybert VERB --help shows the flags of a verb.",
        "  --version  Show the version and exit.",
        "",
        "Start with:",
        "  tinybert demo",
    ]
    return "\n".join(lines) + "\n"


def _stopped(arguments: list[str]) -> int:
    hint = ""
    verb = next((v for v in VERBS if arguments[: len(v.split())] == v.split()), "")
    if _has_resume(verb):
        hint = ": the run goes on from its last checkpoint with the same command and --resume"
    sys.stderr.write(f"\ntinybert: stopped{hint}\n")
    return 130


def _has_resume(verb: str) -> bool:
    module: Any = sys.modules.get(VERBS[verb][0]) if verb in VERBS else None
    settings = getattr(getattr(module, "VERB", None), "settings", None)
    return "resume" in getattr(settings, "__dataclass_fields__", {})


def _failed(error: Exception, show_traceback: bool) -> int:
    from tinybert.outputs import is_out_of_space

    if show_traceback:
        traceback.print_exception(error)
    if not isinstance(error, TinybertError) and is_out_of_space(error):
        error = TinybertError(
            f"no space left on the disk ({error}): free some or choose an output on another disk"
        )
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename is not None:
        error = TinybertError(
            f"{error.filename} cannot be read or written ({error.strerror}): check name and "
            "rights, or choose another place"
        )
    if isinstance(error, TinybertError):
        sys.stderr.write(f"tinybert: error: {error}\n")
        return 2
    text = " ".join(str(error).split())
    sys.stderr.write(f"tinybert: unexpected {type(error).__name__}: {text}\n")
    if not show_traceback:
        sys.stderr.write("tinybert: run with --traceback for the whole\n")
    return 1


def _accept_any_encoding() -> None:
    """A terminal that cannot show λ shows a question mark, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _quiet_libraries() -> None:
    """No progress bars and no chatter of libraries; what the user has set stays."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:  # python -W ... asks for them
        for category in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category)
