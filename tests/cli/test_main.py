"""The command line: verbs, exit codes, and errors that are one sentence."""

from __future__ import annotations

import errno
import importlib
import os
import shlex
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tinybert.cli
from tinybert import TinybertError, __version__
from tinybert.cli import VERBS, main
from tinybert.cli.verbs import Verb, _parser


@dataclass(kw_only=True)
class FakeSettings:
    teacher: str = field(metadata={"help": "The teacher."})
    epochs: int = field(default=3, metadata={"help": "Passes."})
    resume: bool = field(default=False, metadata={"help": "Go on."})

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise TinybertError("--epochs must not be negative: give 1 or more")


class Fake:
    """A verb whose job is what the test says."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.quiet: bool | None = None
        self.job: Callable[[], None] = lambda: None

    def run(self, settings: FakeSettings, reporter: Any) -> None:
        self.seen.append(settings)
        self.quiet = reporter.quiet
        self.job()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    module = types.ModuleType("fake_verb")
    vars(module)["VERB"] = Verb("fake", "Does nothing.", FakeSettings, fake.run, "  tinybert fake")
    monkeypatch.setitem(sys.modules, "fake_verb", module)
    monkeypatch.setitem(VERBS, "fake", ("fake_verb", "Does nothing."))
    monkeypatch.setattr(tinybert.cli, "_quiet_libraries", lambda: None)
    return fake


def raising(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert all(verb in out for verb in VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tinybert {__version__}\n"


def test_settings_reach_the_job(fake: Fake) -> None:
    assert main(["fake", "--teacher", "t", "--epochs", "5", "--quiet"]) == 0
    assert fake.seen == [FakeSettings(teacher="t", epochs=5)]
    assert fake.quiet is True


def test_flags_go_before_the_file(fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("teacher: a\nepochs: 7\n")
    assert main(["fake", "--config", str(path), "--teacher", "b"]) == 0
    assert fake.seen == [FakeSettings(teacher="b", epochs=7)]


def test_printed_settings_run_again(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fake", "--teacher", "t", "--epochs", "5", "--print-config"]) == 0
    assert fake.seen == []
    path = tmp_path / "run.yaml"
    path.write_text(capsys.readouterr().out)
    assert main(["fake", "--config", str(path)]) == 0
    assert fake.seen == [FakeSettings(teacher="t", epochs=5)]


def test_template_without_what_is_needed(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fake", "--print-config"]) == 0
    assert "teacher:  # needed" in capsys.readouterr().out
    assert main(["fake", "--teacher", "t", "--epochs", "-1", "--print-config"]) == 2
    assert fake.seen == []


def test_help_of_a_verb(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fake", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Does nothing." in out
    assert "Examples:\n  tinybert fake" in out
    assert "--print-config" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fak"], "unknown verb 'fak': did you mean 'fake'? (see tinybert --help)"),
        (["qqq"], "unknown verb 'qqq': give one of demo,"),
        (["--verbose"], "unknown flag '--verbose'"),
        (["fake"], "--teacher is needed: give it as a flag or in --config FILE.yaml"),
        (["fake", "--teachr", "t"], "unknown flag --teachr: did you mean --teacher?"),
        (["fake", "--qqqq"], "unknown flag --qqqq (see tinybert fake --help)"),
        (["fake", "t"], "'t' stands alone"),
        (["fake", "--teacher"], "argument --teacher: expected one argument"),
        (["fake", "--teacher", "t", "--epochs", "x"], "--epochs: expected a whole number"),
        (["fake", "--teacher", "t", "--epochs", "-1"], "--epochs must not be negative"),
        (["fake", "--config", "/no/such.yaml"], "settings file /no/such.yaml does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    fake: Fake, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tinybert: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert fake.seen == []


def test_error_of_the_job(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.job = raising(TinybertError("teacher has no heads: choose another"))
    assert main(["fake", "--teacher", "t"]) == 2
    assert capsys.readouterr().err == "tinybert: error: teacher has no heads: choose another\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk(fake: Fake, capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    fake.job = raising(error)
    assert main(["fake", "--teacher", "t"]) == 2
    assert "no space left on the disk" in capsys.readouterr().err


def test_unexpected_error(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.job = raising(ValueError("two\nlines"))
    assert main(["fake", "--teacher", "t"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "tinybert: unexpected ValueError: two lines",
        "tinybert: run with --traceback for the whole",
    ]
    for words in (
        ["--traceback", "fake", "--teacher", "t"],
        ["fake", "--teacher=t", "--traceback"],
    ):
        assert main(words) == 1
        err = capsys.readouterr().err
        assert "Traceback (most recent call last)" in err
        assert "run with --traceback" not in err


def test_interrupt_names_resume(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.job = raising(KeyboardInterrupt())
    assert main(["fake", "--teacher", "t"]) == 130
    assert "--resume" in capsys.readouterr().err


def test_interrupt_before_a_verb_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tinybert.cli, "_run", lambda _: raising(KeyboardInterrupt())())
    assert main(["evaluate-nothing"]) == 130
    assert capsys.readouterr().err == "\ntinybert: stopped\n"


def test_reader_that_goes_away() -> None:
    code = "from tinybert.cli import main; import sys; sys.exit(main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == b""


def test_terminal_without_unicode() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinybert", "distill", "--help"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"--attention-weight" in done.stdout


def test_help_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys\nfrom tinybert.cli import main\n"
        f"for verb in {list(VERBS)}:\n    assert main([verb, '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_libraries_are_quiet_but_what_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"TRANSFORMERS_VERBOSITY": "info", "HF_HUB_OFFLINE": "1"})
    tinybert.cli._quiet_libraries()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_it_does_and_its_examples_are_right(name: str) -> None:
    verb = importlib.import_module(VERBS[name][0]).VERB
    assert verb.name == name
    assert verb.summary.endswith(".")
    parser = _parser(verb)
    commands = [
        part.split(">")[0]
        for line in verb.examples.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
    ]
    assert commands
    for command in commands:
        words = shlex.split(command)
        verb_words = name.split()
        assert words[: 1 + len(verb_words)] == ["tinybert", *verb_words]
        _, unknown = parser.parse_known_args(words[1 + len(verb_words) :])
        assert unknown == []
