"""Unfinished work: whose it is, what it was begun with, who is at it; what must not be replaced."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinybert
from support import tiny
from support.killed import run_job
from tinybert import checkpoints
from tinybert.corpus import build_corpus, find_sources, open_corpus
from tinybert.errors import TinybertError
from tinybert.outputs import is_out_of_space, remove_directory
from tinybert.work import LOCK, bytes_in, check_apart, open_work


def opened(place: Path, begun: dict[str, Any] | None = None, **flags: bool) -> Any:
    both = {"resume": False, "overwrite": False} | flags
    return open_work(place, "begun.json", begun or {"a": 1}, "run", **both)


def test_begun_then_gone_on_with_then_replaced(tmp_path: Path) -> None:
    place = tmp_path / "out.run"
    opened(place)
    (place / "half").write_text("x")
    with pytest.raises(TinybertError, match="an unfinished run is in"):
        opened(place)
    opened(place, resume=True)
    assert (place / "half").exists()
    with pytest.raises(TinybertError, match=r"begun differently \(a, b\)"):
        opened(place, {"b": 2}, resume=True)
    # What an earlier version could not be asked for is what it did.
    opened(place, {"a": 1, "attention_transfer": "auto"}, resume=True)
    with pytest.raises(TinybertError, match=r"begun differently \(attention_transfer\)"):
        opened(place, {"a": 1, "attention_transfer": "mean"}, resume=True)
    opened(place, {"b": 2}, overwrite=True)
    assert not (place / "half").exists()
    assert json.loads((place / "begun.json").read_text()) == {"b": 2}
    assert not [p for p in tmp_path.iterdir() if p != place]


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_what_is_not_ours_stays(tmp_path: Path, flags: dict[str, bool]) -> None:
    place = tmp_path / "out.run"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(TinybertError, match="was not made by tinybert"):
        opened(place, **flags)
    assert [p.name for p in place.iterdir()] == ["notes.txt"]


def test_a_kill_while_it_is_removed_leaves_no_half(tmp_path: Path, monkeypatch: Any) -> None:
    place = tmp_path / "out.run"
    opened(place)

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr("shutil.rmtree", kill)
    with pytest.raises(Killed):
        remove_directory(place)
    assert not place.exists()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    place = tmp_path / "out.run"
    code = (
        "import sys; from pathlib import Path; from tinybert.work import open_work;"
        f"held = open_work(Path({str(place)!r}), 'begun.json', {{'a': 1}}, 'run', resume=True,"
        " overwrite=False); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    for flags in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(TinybertError, match="another process is at work"):
            opened(place, **flags)
    other.kill()
    other.communicate()
    opened(place, resume=True)


def test_what_lies_there_needs_no_space_again(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 100)
    assert bytes_in(tmp_path) == 100


@pytest.mark.parametrize("text", ["678735 requested and 499648 written",
                                  "[enforce fail] . unexpected pos 67264 vs 67156"])  # fmt: skip
def test_a_short_write_is_a_full_disk(text: str) -> None:
    assert is_out_of_space(OSError(text))
    assert not is_out_of_space(OSError("something requested"))


def test_an_output_that_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    check_apart(tmp_path / "data" / "inner" / "out", data=tmp_path / "data")
    check_apart(tmp_path / "out", data=["owner/name", None, tmp_path / "data"])
    with pytest.raises(TinybertError, match="is what --data names"):
        check_apart(tmp_path / "data", data=str(tmp_path / "data"))
    with pytest.raises(TinybertError, match="holds what --masked-lm names"):
        check_apart(tmp_path / "data", masked_lm=[tmp_path / "data" / "inner"])
    # A glob stands for its files, and for the directory that it looks into.
    (tmp_path / "data" / "inner" / "text.txt").write_text("text")
    for pattern, output in (("data/inner/*.txt", "data/inner"), ("d*/**/*.txt", "data")):
        with pytest.raises(TinybertError, match="what --vocabulary names"):
            check_apart(tmp_path / output, vocabulary=[str(tmp_path / pattern)])
    check_apart(tmp_path / "out", vocabulary=[str(tmp_path / "data" / "*" / "*.txt")])


# --- in the jobs ----------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny.saved_encoder(tmp_path / "teacher", layers=2, width=32)
    tiny.corpus_file(tmp_path / "text.txt", 40)
    tiny.corpus_file(tmp_path / "other.txt", 40, seed=5)
    return tmp_path


def general(place: Path, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"teacher": str(place / "teacher"), "corpus": [str(place / "text.txt")]}
    plain |= {"student": "1x16", "output": place / "out", "steps": 3, "batch_size": 8}
    plain |= {"precision": "float32", "attention": "direct", "max_length": 32, "held_out": 8}
    return plain | more


def test_other_text_is_another_run(place: Path) -> None:
    kill = ("tinybert.stages:Run.run", 1, False)
    assert run_job("general", general(place), kill) == -9
    for text in ("other", "text"):
        (place / "changed.txt").write_text((place / f"{text}.txt").read_text() + "more text\n")
    with pytest.raises(TinybertError, match="begun differently"):
        tinybert.general(**general(place, corpus=[str(place / "other.txt")], resume=True))
    with (place / "text.txt").open("a") as file:
        file.write("lock thread queue\n")
    with pytest.raises(TinybertError, match=r"begun differently \(text read\)"):
        tinybert.general(**general(place, resume=True))


def test_a_lost_mark_is_no_licence(place: Path) -> None:
    assert run_job("general", general(place), ("tinybert.stages:Run.run", 1, False)) == -9
    (place / "out.run" / "settings.json").unlink()
    with pytest.raises(TinybertError, match="was not made by tinybert"):
        tinybert.general(**general(place, learning_rate=0.01, resume=True))


def test_inputs_are_never_replaced(place: Path) -> None:
    teacher = place / "teacher"
    with pytest.raises(TinybertError, match="is what --teacher names"):
        tinybert.general(**general(place, output=teacher, overwrite=True))
    (place / "texts").mkdir()
    (place / "text.txt").rename(place / "texts" / "text.txt")
    with pytest.raises(TinybertError, match="is what --corpus names"):
        tinybert.corpus_build(
            corpus=str(place / "texts"),
            teacher=str(teacher),
            output=place / "texts",
            overwrite=True,
        )
    assert (place / "texts" / "text.txt").is_file()
    assert (teacher / "config.json").is_file()


def test_a_spoilt_corpus_leaves_no_run(place: Path) -> None:
    tinybert.corpus_build(
        corpus=str(place / "text.txt"), teacher=str(place / "teacher"), output=place / "corpus"
    )
    shard = place / "corpus" / "shards" / "00000.ids.npy"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = general(place, corpus=[str(place / "corpus")], max_length=None)
    with pytest.raises(TinybertError, match="was altered"):
        tinybert.general(**again)
    assert not (place / "out.run").exists()
    shard.write_bytes(whole)
    facts = json.loads((place / "corpus" / "corpus.json").read_text())
    facts["shards"][0]["blocks"] -= 1
    (place / "corpus" / "corpus.json").write_text(json.dumps(facts))
    with pytest.raises(TinybertError, match="counts shard 00000 otherwise"):
        tinybert.general(**again)


def test_shards_without_blocks_are_passed_over(tmp_path: Path) -> None:
    text = "lock\n\n" * 30 + "lock thread queue wait event\n" * 3
    (tmp_path / "text.txt").write_text(text)
    tokenizer = tiny.tokenizer()
    build_corpus(find_sources([str(tmp_path / "text.txt")]), tokenizer, tmp_path / "c", unit=40)
    rows = open_corpus(tmp_path / "c", tokenizer)
    assert any(shard.blocks == 0 for shard in rows.manifest.shards)
    assert len(rows) > 0
    assert all(len(rows.block(i)) == rows.lengths[i] for i in range(len(rows)))


def test_a_bad_file_taken_away_a_build_goes_on(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    tiny.corpus_file(texts / "a.txt", 20)
    (texts / "b.txt").write_bytes(b"lock\0thread\n")
    tokenizer, out = tiny.tokenizer(), tmp_path / "c"
    with pytest.raises(TinybertError, match="NUL"):
        build_corpus(find_sources([str(texts)]), tokenizer, out, unit=500)
    (texts / "b.txt").unlink()
    done = len([*(tmp_path / "c.build" / "shards").glob("*.json")])
    assert done > 0
    build_corpus(find_sources([str(texts)]), tokenizer, out, unit=500, resume=True)
    tiny_whole = tmp_path / "whole"
    build_corpus(find_sources([str(texts)]), tokenizer, tiny_whole, unit=500)
    for file in (tiny_whole / "shards").iterdir():
        assert (out / "shards" / file.name).read_bytes() == file.read_bytes()
    assert not (out / LOCK).exists()


def test_an_altered_checkpoint_is_told(place: Path) -> None:
    plain = general(place, steps=40, checkpoint_minutes=1e-5)
    kill = ("tinybert.checkpoints:publish", 3, True)
    assert run_job("general", plain, kill) == -9
    newest = checkpoints.newest_whole(place / "out.run" / "general.unfinished")
    assert newest is not None
    file = newest / "optimizer.pt"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + bytes(9))
    with pytest.raises(TinybertError, match=r"optimizer.pt was altered"):
        tinybert.general(**(plain | {"resume": True}))
    file.write_bytes(whole)
    tinybert.general(**(plain | {"resume": True}))


def test_a_checkpoint_of_another_run_is_told(place: Path) -> None:
    """A student of the same shape would load it without a word."""
    kill = ("tinybert.checkpoints:publish", 3, True)
    first = general(place, steps=40, checkpoint_minutes=1e-5)
    other = first | {"output": place / "other", "seed": 7}
    for asked in (first, other):
        assert run_job("general", asked, kill) == -9
    mine, theirs = (
        checkpoints.newest_whole(place / f"{name}.run" / "general.unfinished")
        for name in ("out", "other")
    )
    assert mine is not None
    assert theirs is not None
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.raises(TinybertError, match="made by another run"):
        tinybert.general(**(first | {"resume": True}))
    shutil.rmtree(mine)
    tinybert.general(**(first | {"resume": True}))


@pytest.mark.parametrize(
    "more", [{"steps": None, "epochs": 1e300}, {"steps": None, "tokens": "1e30"}]
)
def test_absurd_lengths_are_told(place: Path, more: dict[str, Any]) -> None:
    with pytest.raises(TinybertError, match="steps: ask for fewer"):
        tinybert.general(**general(place, **more))


def test_a_line_end_at_the_edge_begins_no_document(tmp_path: Path, monkeypatch: Any) -> None:
    from tinybert.corpus import text

    monkeypatch.setattr(text, "PIECE", 8)
    (tmp_path / "t.txt").write_bytes(b"abc defg\r\nabc def\r\nxyz\r\n\r\nnew\r\n")
    pieces = [*text.file_pieces(tmp_path / "t.txt", lambda _: None)]
    assert sum(piece.first for piece in pieces) == 2


def test_half_a_character_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "lock wait"}\n{"text": "wait \\ud83d"}\n')
    with pytest.raises(TinybertError, match=r"t.jsonl.* 2: after 'wait ' the text holds half"):
        build_corpus(find_sources([str(tmp_path / "t.jsonl")]), tiny.tokenizer(), tmp_path / "c")


def test_a_corpus_among_the_text_is_no_text(place: Path) -> None:
    (place / "texts").mkdir()
    (place / "text.txt").rename(place / "texts" / "text.txt")
    for name in ("one", "two"):
        tinybert.corpus_build(
            corpus=str(place / "texts"), teacher=str(place / "teacher"),
            output=place / "texts" / name, quiet=True,
        )  # fmt: skip
    one, two = (open_corpus(place / "texts" / name) for name in ("one", "two"))
    assert (np.concatenate(one.parts()) == np.concatenate(two.parts())).all()
