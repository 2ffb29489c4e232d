"""Flags, YAML and help follow from the settings class."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tinybert import settings as real_settings
from tinybert.cli.options import (
    add_settings,
    build_settings,
    flag_values,
    read_yaml,
    settings_dict,
    settings_yaml,
)
from tinybert.cli.values import convert
from tinybert.errors import TinybertError
from tinybert.settings import setting


def needed(help: str) -> Any:
    return field(metadata={"help": help})


@dataclass(kw_only=True)
class Example:
    teacher: str = needed("Directory of the teacher.")
    output: Path | None = setting(None, "Directory to write.")
    learning_rate: float = setting(1e-4, "Peak rate, at 10 % of the steps.", "training")
    epochs: int = setting(3, "Passes.", "training")
    steps: int | None = setting(None, "Instead of epochs.", "training")
    shuffle: bool = setting(True, "Mix the rows.", "training")
    start: Literal["pca", "random"] = setting("pca", "Start.", "Own group")
    layer_mapping: str | list[int] = setting("uniform", "g(m).", "Own group")
    corpus: list[str] = setting([], "Text files.")
    seeds: list[int] = setting([1, 2], "Seeds.", "run")
    weights: dict[str, float] = setting({"attention": 1.0}, "Weights.", "losses")
    shape: tuple[int, ...] = setting((4, 312), "Shape.")
    derived: int = field(default=0, init=False)


def flags(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_settings(parser, Example)
    return flag_values(parser.parse_args(words), Example)


def from_yaml(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, Example)


def test_flags_of_every_type() -> None:
    assert flags() == {}
    words = (
        "--teacher t --output o --learning-rate 1e-3 --epochs 5 --steps none --no-shuffle "
        "--start random --layer-mapping 3,6 --corpus a,b.txt b.txt --corpus c --seeds 1,2 3 "
        "--weights attention=0.1 hidden=2 --shape 4 192"
    )
    assert flags(*words.split()) == {
        "teacher": "t",
        "output": Path("o"),
        "learning_rate": 1e-3,
        "epochs": 5,
        "steps": None,
        "shuffle": False,
        "start": "random",
        "layer_mapping": [3, 6],
        "corpus": ["a,b.txt", "b.txt", "c"],
        "seeds": [1, 2, 3],
        "weights": {"attention": 0.1, "hidden": 2.0},
        "shape": (4, 192),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs many", "--epochs: expected a whole number, got 'many'"),
        ("--epochs 1.5", "--epochs: expected a whole number, got '1.5'"),
        ("--steps x", "--steps: expected a whole number or none, got 'x'"),
        ("--learning-rate fast", "--learning-rate: expected a number, got 'fast'"),
        ("--start rndom", r"--start: expected pca or random.*did you mean 'random'\?"),
        ("--seeds 1 x", "--seeds: expected a list of whole numbers"),
        ("--weights attention", r"--weights: expected names with numbers \(name=value\)"),
        ("--weights attention=x", "--weights: expected names with numbers"),
    ],
)
def test_wrong_flag_is_one_sentence(words: str, message: str) -> None:
    with pytest.raises(TinybertError, match=message) as caught:
        flags(*words.split())
    assert "\n" not in str(caught.value)


def test_yaml_of_every_type(tmp_path: Path) -> None:
    text = (
        "teacher: t\noutput: o\nlearning-rate: 1e-3\nepochs: 5.0\nsteps: null\nshuffle: false\n"
        "layer_mapping: [3, 6]\ncorpus: one.txt\nweights: {hidden: 2}\nshape: [4, 192]\n"
    )
    assert from_yaml(tmp_path, text) == {
        "teacher": "t",
        "output": Path("o"),
        "learning_rate": 1e-3,
        "epochs": 5,
        "steps": None,
        "shuffle": False,
        "layer_mapping": [3, 6],
        "corpus": ["one.txt"],
        "weights": {"hidden": 2.0},
        "shape": (4, 192),
    }
    assert from_yaml(tmp_path, "# nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", r"unknown setting 'learning_rat'.*did you mean 'learning_rate'\?"),
        ("zzz: 1", "known are teacher"),
        ("epochs: many", "setting 'epochs' in .*expected a whole number, got 'many'"),
        ("epochs: true", "expected a whole number, got True"),
        ("teacher: yes", "expected text, got True .put it in quotes"),
        ("shuffle: 1", "expected true or false, got 1"),
        ("corpus: {a: 1}", "expected a list of texts"),
        ("seeds: 3.5", "expected a list of whole numbers"),
        ("weights: [1]", "expected names with numbers"),
        ("weights: {a: x}", "expected names with numbers"),
        ("epochs: [", "no valid YAML in line"),
        ("epochs: 1\nepochs: 2", "no valid YAML in line 2: 'epochs' stands there twice"),
        ("- a", "lines of the form"),
        ("a: \x00", "no valid YAML"),
    ],
)
def test_wrong_yaml_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TinybertError, match=message):
        from_yaml(tmp_path, text)


def test_wrong_yaml_file(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="does not exist"):
        read_yaml(tmp_path / "no.yaml", Example)
    with pytest.raises(TinybertError, match="is a directory"):
        read_yaml(tmp_path, Example)
    (tmp_path / "latin.yaml").write_bytes(b"teacher: caf\xe9")
    with pytest.raises(TinybertError, match="is not UTF-8"):
        read_yaml(tmp_path / "latin.yaml", Example)


def test_numbers_and_lists_serve_as_text() -> None:
    assert convert(0.5, str) == "0.5"
    assert convert([1, 0.5], str) == "1,0.5"
    assert convert("x", Any) == "x"
    assert convert("yes", bool | int, text=True) is True
    with pytest.raises(ValueError, match="expected text"):
        convert([], str)
    with pytest.raises(ValueError, match="expected a path"):
        convert("", Path)
    with pytest.raises(TypeError, match="not supported"):
        convert("x", complex)


def test_needed_setting_is_named() -> None:
    with pytest.raises(TinybertError, match="--teacher is needed"):
        build_settings(Example, {})
    assert build_settings(Example, {"teacher": "t"}).weights == {"attention": 1.0}


def test_template_shows_what_is_needed_and_reads_back(tmp_path: Path) -> None:
    text = settings_yaml(Example, {})
    assert "teacher:  # needed\n" in text
    assert "# --- Training ---\n# Peak rate, at 10 % of the steps.\nlearning_rate: 0.0001\n" in text
    values = from_yaml(tmp_path, text)
    assert "teacher" not in values
    assert values["layer_mapping"] == "uniform"


settings_values = st.fixed_dictionaries(
    {
        "teacher": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
        "output": st.none() | st.sampled_from([Path("a"), Path("b c/d")]),
        "learning_rate": st.floats(allow_nan=False),
        "epochs": st.integers(),
        "steps": st.none() | st.integers(),
        "shuffle": st.booleans(),
        "start": st.sampled_from(["pca", "random"]),
        "layer_mapping": st.sampled_from(["uniform", "1e5", "null", "true"])
        | st.lists(st.integers(), min_size=1),
        "corpus": st.lists(st.text("a: #'\"-", min_size=1)),
        "seeds": st.lists(st.integers()),
        "weights": st.dictionaries(st.text("abc", min_size=1), st.floats(allow_nan=False)),
        "shape": st.lists(st.integers()).map(tuple),
    }
)


@given(settings_values)
def test_printed_settings_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.yaml"
    path.write_text(settings_yaml(Example, settings_dict(Example(**values))), encoding="utf-8")
    assert build_settings(Example, read_yaml(path, Example)) == Example(**values)


def test_help_shows_groups_types_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    parser = argparse.ArgumentParser()
    add_settings(parser, Example)
    text = parser.format_help()
    for line in (
        "What goes in and out:",
        "Own group:",
        "Directory of the teacher. (needed)",
        "Peak rate, at 10 % of the steps. (default: 0.0001)",
        "--shuffle, --no-shuffle",
        "Mix the rows. (default: yes)",
        "--start {pca,random}",
        "--seeds N [N ...]",
        "Seeds. (default: 1 2)",
        "--weights NAME=VALUE [NAME=VALUE ...]",
        "(default: attention=1.0)",
        "Instead of epochs.\n",
    ):
        assert line in text, line
    assert "derived" not in text
    assert text.index("What goes in") < text.index("Training") < text.index("Own group")


@pytest.mark.parametrize(
    "name", [n for n in real_settings.__all__ if n.endswith("Settings")]
)  # fmt: skip
def test_real_settings_have_help_and_read_back(tmp_path: Path, name: str) -> None:
    settings_class = getattr(real_settings, name)
    parser = argparse.ArgumentParser()
    add_settings(parser, settings_class)
    for action in parser._actions:
        assert action.help, action.dest
    path = tmp_path / "settings.yaml"
    path.write_text(settings_yaml(settings_class, {}), encoding="utf-8")
    again = build_settings(settings_class, read_yaml(path, settings_class))
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert settings_dict(again) == settings_dict(settings_class())
    # A default of None is written as it is, and may come to what is usual.
    assert {name for name, value in written.items() if value != settings_dict(again)[name]} <= {
        "max_length"
    }
