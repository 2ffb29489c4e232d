"""Output directories are whole or absent, whatever goes wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybert import outputs
from tinybert.errors import TinybertError
from tinybert.outputs import (
    check_output,
    check_space,
    clear_errors,
    is_out_of_space,
    whole_directory,
    whole_file,
    write_json_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# --- check_output


def test_new_directory_is_fine_and_nothing_is_created(tmp_path: Path) -> None:
    assert check_output(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path) == []


def test_existing_directory_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="exists already.*--overwrite"):
        check_output(tmp_path)
    target = tmp_path / "student"
    target.mkdir()
    assert check_output(target, overwrite=True) == target


def test_file_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TinybertError, match="is a file"):
        check_output(tmp_path / "file", overwrite=True)
    with pytest.raises(TinybertError, match="which is a file"):
        check_output(tmp_path / "file" / "student")


def test_current_directory_and_home_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, home = tmp_path / "project" / "work", tmp_path / "home"
    work.mkdir(parents=True)
    home.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    for place in (work, work.parent, home, Path("~")):
        with pytest.raises(TinybertError, match="not replaced"):
            check_output(place, overwrite=True)


def test_mount_point_is_refused() -> None:
    with pytest.raises(TinybertError, match="choose"):
        check_output("/proc", overwrite=True)


def test_forbidden_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TinybertError, match="nothing may be written into"):
        check_output(tmp_path / "student")


# --- check_space


def test_space_is_checked_on_the_disk_of_the_nearest_parent(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(TinybertError, match=r"about 1000000\.0 TB are needed"):
        check_space(tmp_path / "not" / "yet", 1e18)


# --- whole_directory


def test_directory_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "student"
    with whole_directory(target) as partial:
        assert partial.parent == target.parent
        assert not target.exists()
        (partial / "deep").mkdir()
        (partial / "deep" / "weights").write_bytes(b"w")
    assert (target / "deep" / "weights").read_bytes() == b"w"
    assert names(target.parent) == ["student"]


def test_directory_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with whole_directory(tmp_path / "student"):
        pass
    assert (tmp_path / "student").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_failure_leaves_nothing_not_even_parents(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_directory(tmp_path / "a" / "b" / "student") as partial:
            (partial / "weights").write_bytes(b"w")
            raise KeyError("broken")

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == []


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        with whole_directory(tmp_path / "student"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert names(tmp_path) == []


def test_overwrite_replaces_at_the_end_and_keeps_the_old_one_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "student"
    with whole_directory(target) as partial:
        (partial / "old").write_text("1")

    def fail() -> None:
        with whole_directory(target, overwrite=True):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert names(target) == ["old"]
    with whole_directory(target, overwrite=True) as partial:
        (partial / "new").write_text("2")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["student"]


def test_old_directory_comes_back_if_the_last_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "student"
    with whole_directory(target) as partial:
        (partial / "old").write_text("1")
    rename = Path.rename

    def fails_for_the_new_one(self: Path, to: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.EIO, "I/O error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)

    def replace() -> None:
        with whole_directory(target, overwrite=True) as partial:
            (partial / "new").write_text("2")

    with pytest.raises(OSError, match="I/O error"):
        replace()
    assert names(tmp_path) == ["student"]
    assert names(target) == ["old"]


def test_result_is_kept_if_another_program_took_the_name(tmp_path: Path) -> None:
    target = tmp_path / "student"

    def race() -> None:
        with whole_directory(target) as partial:
            (partial / "mine").write_text("1")
            target.mkdir()
            (target / "theirs").write_text("2")

    with pytest.raises(TinybertError, match="is kept in"):
        race()
    assert names(target) == ["theirs"]
    (kept,) = tmp_path.glob("student-*")
    assert names(kept) == ["mine"]


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "big-disk" / "student")
    with whole_directory(tmp_path / "link") as partial:
        (partial / "weights").write_text("w")
    assert names(tmp_path / "big-disk" / "student") == ["weights"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("moment", ["while writing", "while flushing"])
def test_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def write() -> None:
        with whole_directory(tmp_path / "student") as partial:
            (partial / "weights").write_bytes(b"w")
            if moment == "while writing":
                full_disk()

    if moment == "while flushing":
        monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(TinybertError, match="no space left on the disk.*another disk"):
        write()
    assert names(tmp_path) == []


def test_flush_that_the_disk_does_not_know_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    with whole_directory(tmp_path / "student") as partial:
        (partial / "weights").write_text("w")
    assert names(tmp_path / "student") == ["weights"]


KILLED = """
import sys, time
from tinybert.outputs import whole_directory
with whole_directory(sys.argv[1], overwrite=True) as partial:
    (partial / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_killed_process_leaves_no_half_directory(tmp_path: Path) -> None:
    target = tmp_path / "student"
    for before in ([], ["whole"]):  # with and without an older result under the name
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert (names(target) if target.exists() else []) == before
        assert len(list(tmp_path.glob(".student.partial-*"))) == 1
        with whole_directory(target, overwrite=True) as partial:
            (partial / "whole").write_text("whole")
        assert names(tmp_path) == ["student"]  # the killed run's remains are gone


REPLACING = """
import os, signal, sys
from pathlib import Path
from tinybert.outputs import whole_directory
rename = Path.rename
def killed(self, to):
    if "{moment}" == "old discarded" and ".old-" in self.name:
        os.kill(os.getpid(), signal.SIGKILL)
    result = rename(self, to)
    if "{moment}" == "old set aside" and ".old-" in Path(to).name:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
Path.rename = killed
with whole_directory(sys.argv[1], overwrite=True) as partial:
    (partial / "new").write_text("new")
"""


@pytest.mark.parametrize(
    ("moment", "left", "found"),
    [("old set aside", [".student.old-", ".student.partial-"], "old"),
     ("old discarded", [".student.old-", "student"], "new")],
)  # fmt: skip
def test_killed_while_replacing_there_is_always_a_whole_result(
    tmp_path: Path, moment: str, left: list[str], found: str
) -> None:
    target = tmp_path / "student"
    with whole_directory(target) as partial:
        (partial / "old").write_text("old")
    code = REPLACING.format(moment=moment)
    assert subprocess.run([sys.executable, "-c", code, str(target)]).returncode == -signal.SIGKILL
    for name, start in zip(names(tmp_path), left, strict=True):
        assert name.startswith(start)
    with pytest.raises(TinybertError, match="exists already"):
        check_output(target)
    assert names(target) == [found]
    with whole_directory(target, overwrite=True) as partial:
        assert names(target) == [found]
        (partial / "third").write_text("3")
    assert names(tmp_path) == ["student"]
    assert names(target) == ["third"]


def test_result_set_aside_by_a_run_still_alive_is_left_alone(tmp_path: Path) -> None:
    alive = tmp_path / f".student.old-{outputs._host()}-{os.getpid()}-abc123"
    alive.mkdir()
    assert check_output(tmp_path / "student") == tmp_path / "student"
    with whole_directory(tmp_path / "student"):
        pass
    assert alive.exists()


def test_remains_of_a_run_still_alive_or_elsewhere_are_left_alone(tmp_path: Path) -> None:
    alive = tmp_path / f".student.partial-{outputs._host()}-{os.getpid()}-abc123"
    elsewhere = tmp_path / ".student.partial-another_machine-1-abc123"
    alive.mkdir()
    elsewhere.mkdir()
    with whole_directory(tmp_path / "student"):
        pass
    assert alive.exists()
    assert elsewhere.exists()


# --- errors


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EACCES, "permission denied at .*here"),
        (errno.EROFS, "read-only disk"),
    ],
)
def test_disk_errors_become_sentences(code: int, words: str) -> None:
    with pytest.raises(TinybertError, match=words), clear_errors("here"):
        raise OSError(code, os.strerror(code), "here")


def test_other_errors_pass() -> None:
    with pytest.raises(FileNotFoundError), clear_errors("here"):
        raise FileNotFoundError(errno.ENOENT, "No such file")


def test_full_disk_is_seen_behind_another_error() -> None:
    def write() -> None:
        try:
            full_disk()
        except OSError as error:
            raise RuntimeError("writer failed") from error

    with pytest.raises(RuntimeError) as caught:
        write()
    assert is_out_of_space(caught.value)
    assert not is_out_of_space(ValueError("shape"))


# --- write_json_whole


def test_json_has_null_for_what_json_lacks(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Row:
        place: Path
        score: float

    value = {
        "nan": float("nan"),
        "deep": [np.float32("inf"), np.arange(2), Row(Path("a"), 0.5)],
        "seeds": {3},
        1: None,
    }
    write_json_whole(tmp_path / "results.json", value)
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "nan": None,
        "deep": [None, [0, 1], {"place": "a", "score": 0.5}],
        "seeds": [3],
        "1": None,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
    max_leaves=8,
)  # fmt: skip


@given(json_values)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-trip-{os.getpid()}.json"
    write_json_whole(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_json_keeps_the_old_file_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_json_whole(path, {"run": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(TinybertError, match="no space left"):
        write_json_whole(path, {"run": 2})
    assert json.loads(path.read_text()) == {"run": 1}
    assert names(tmp_path) == ["results.json"]


def test_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    stale = tmp_path / f".best.safetensors.partial-{outputs._host()}-{2**22 + 1}-abc123"
    stale.write_bytes(b"of a killed run")
    with whole_file(path) as partial:
        partial.write_bytes(b"1")
        assert not path.exists()

    def fail() -> None:
        with whole_file(path) as partial:
            partial.write_bytes(b"half")
            raise KeyError("broken")

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"1"
    assert names(tmp_path) == ["best.safetensors"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_device_is_recognised() -> None:
    def write() -> None:
        with clear_errors("/dev/full"), open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(TinybertError, match="no space left"):
        write()


def test_old_directory_that_cannot_be_removed_does_not_hurt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "student"
    target.mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with whole_directory(target, overwrite=True) as partial:
        (partial / "new").write_text("2")
    assert names(target) == ["new"]
