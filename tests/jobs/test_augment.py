"""Augmentation as a job: the same rows however it is cut, stopped or shared; learning from it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tinybert
from support import tiny, warm
from support.killed import run_job
from support.mistakes import sentence, tree, working_directory
from support.vocabularies import word_pieces
from tinybert.augmentation import build
from tinybert.augmentation.shards import augmented_texts, read_manifest
from tinybert.augmentation.tokens import open_tokens, write_tokens
from tinybert.batching import tokenize
from tinybert.errors import TinybertError
from tinybert.jobs.rows import task_texts
from tinybert.progress import Reporter
from tinybert.settings import AugmentSettings, DistillSettings


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("augment")
    tiny.masked_lm(width=32, initializer_range=0.2).save_pretrained(where / "masked-lm")
    tiny.tokenizer().save_pretrained(where / "masked-lm")
    tiny.saved_encoder(where / "encoder", layers=2, width=32)
    tiny.task_file(where / "train.csv", 90)
    tiny.task_file(where / "other.csv", 90, seed=9)
    texts, _ = tiny.sentences(80, 3)
    lines = [f"{a},{b},{len(a) % 5 / 2}" for a, b in zip(texts[:40], texts[40:], strict=True)]
    (where / "pairs.csv").write_text("\n".join(["one,two,score", *lines]) + "\n")
    (where / "vectors.txt").write_text(
        "".join(f"{w} {i + 1} {i * i % 7 + 1}\n" for i, w in enumerate(tiny.WORDS))
    )
    (where / "no-vectors.txt").write_text("these are words\nand nothing else\n")
    (where / "stop.txt").write_text("\n")
    return where


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinybert.augmentation.sentences.UNIT", 16)
    monkeypatch.setattr(build, "UNIT", 16)


def settings(place: Path, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "data": str(place / "train.csv"),
        "seed": 3,
        "guess_precision": "float32",
    }
    plain |= {"masked_lm": str(place / "masked-lm"), "max_length": 32, "copies": 6}
    return plain | more


def augment(place: Path, output: Path, **more: Any) -> dict[str, Any]:
    return tinybert.augment(output=output, quiet=True, **settings(place, **more))


def rows(directory: Path) -> list[dict[str, Any]]:
    return pq.read_table(directory).to_pylist()  # type: ignore[no-any-return]


def test_rows_copies_and_counts(place: Path, tmp_path: Path) -> None:
    told = augment(place, tmp_path / "out", shard_rows=20)
    found = rows(tmp_path / "out")
    train = task_texts(AugmentSettings(**settings(place)), Reporter(quiet=True))
    originals = [row for row in found if row["copy"] == 0]
    assert [row["text"] for row in originals] == [t for (t,) in train.train.texts]
    names = train.task.label_names
    assert train.train.labels is not None
    assert [row["label"] for row in originals] == [names[i] for i in train.train.labels]
    assert told["rows"] == len(originals)
    assert told["copies"] == len(found) - len(originals)
    assert told["copies"] + told["duplicates"] == 6 * len(originals)
    assert 0.3 < told["share_changed"] < 0.5
    for row in found:
        assert bool(row["changed"]) == (row["copy"] > 0)
        for change in row["changed"]:
            assert change["word"] != change["to"]
            assert change["column"] == "text"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "_augmentation.json", *(f"part-{i:05d}.parquet" for i in range(5))
    }  # fmt: skip
    assert told["models"]["guess_precision"] == "float32"


@pytest.mark.parametrize("mode", ["paper", "reference"])
def test_the_same_rows_however_they_are_cut(place: Path, tmp_path: Path, mode: str) -> None:
    data: dict[str, Any] = {"data": str(place / "pairs.csv"), "text": "one,two"}
    data |= {"task": "regression"}
    augment(place, tmp_path / "one", **data, mode=mode, shard_rows=7, threads=1)
    augment(place, tmp_path / "two", **data, mode=mode, shard_rows=1000, threads=3)
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert one == two
    assert isinstance(one[0]["score"], float)
    both = [r for r in one if {c["column"] for c in r["changed"]} == {"one", "two"}]
    assert bool(both) == (mode == "paper")
    augment(place, tmp_path / "three", **data, mode=mode, seed=4)
    assert rows(tmp_path / "three") != one


@pytest.mark.parametrize("shard_rows", [20, 1000])  # each process has some, or one has them all
def test_two_processes_write_the_same_bytes(place: Path, tmp_path: Path, shard_rows: int) -> None:
    augment(place, tmp_path / "alone", shard_rows=shard_rows)
    flags = ["--shard-rows", str(shard_rows)]
    for name, value in settings(place).items():
        flags += [f"--{name.replace('_', '-')}", str(value)]
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tinybert"]
    done = subprocess.run(
        [warm.python(), "-m", *launch, "augment", *flags, "--output", str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert said.count("written to") == 1, said
    for file in sorted((tmp_path / "alone").glob("*.parquet")):
        assert (tmp_path / "two" / file.name).read_bytes() == file.read_bytes()


KILLS = [
    ("tinybert.augmentation.build:write_unit", 1, False),
    ("tinybert.augmentation.build:write_unit", 1, True),
    ("tinybert.augmentation.build:_Build.find_neighbours", 1, False),
    ("tinybert.augmentation.build:write_json_whole", 1, True),
    ("tinybert.augmentation.shards:ShardWriter.write", 1, False),
    ("tinybert.augmentation.shards:ShardWriter.write", 1, True),
    ("tinybert.augmentation.shards:ShardWriter.write", 3, True),
    ("tinybert.augmentation.build:_publish", 1, False),
    ("tinybert.augmentation.shards:Manifest.write", 1, True),
    ("tinybert.augmentation.build:move_into_place", 1, False),
]


def test_killed_ten_times_the_rows_are_the_same(place: Path, tmp_path: Path) -> None:
    plain = settings(place, shard_rows=20, output=tmp_path / "killed", resume=True)
    for kill in KILLS:
        assert run_job("augment", plain, kill) == -9, kill
        assert not (tmp_path / "killed").exists()
    assert run_job("augment", plain) == 0
    augment(place, tmp_path / "whole", shard_rows=20)
    files = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == files
    for name in files:
        whole, killed = ((tmp_path / d / name).read_bytes() for d in ("whole", "killed"))
        assert whole == killed
    assert not list(tmp_path.glob("*.augment"))


def test_words_of_several_pieces_come_from_vectors(tmp_path: Path, capsys: Any) -> None:
    tokenizer = word_pieces()
    tiny.masked_lm(vocab_size=len(tokenizer)).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    lines = [f"playing,{'xy'[i % 2]}" if i % 3 else f"a playing,{'xy'[i % 2]}" for i in range(60)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    (tmp_path / "v.txt").write_text("playing 1 0\nrunning 1 0.1\njumping 1 0.2\n!! 1 0.01\n")
    plain: dict[str, Any] = {"data": str(tmp_path / "train.csv"), "masked_lm": str(tmp_path / "lm")}
    plain |= {"dev": str(tmp_path / "dev.csv"), "guess_precision": "float32"}
    (tmp_path / "dev.csv").write_text("text,label\na,x\n!,y\n")
    told = tinybert.augment(output=tmp_path / "with", vectors=str(tmp_path / "v.txt"), **plain)
    new = {c["to"] for r in rows(tmp_path / "with") for c in r["changed"] if c["word"] == "playing"}
    assert new == {"running", "jumping"}  # no punctuation
    assert told["models"]["vectors_bytes"] == (tmp_path / "v.txt").stat().st_size
    capsys.readouterr()
    told = tinybert.augment(output=tmp_path / "without", **plain)
    assert "1 words of several pieces stay as they are" in capsys.readouterr().err
    assert told["unchanged_rows"] > 0
    assert all(c["word"] == "a" for r in rows(tmp_path / "without") for c in r["changed"])


def test_nothing_is_written_to_show_or_to_plan(place: Path, tmp_path: Path, capsys: Any) -> None:
    before = tree(place)
    for mode in ("paper", "reference"):
        shown = tinybert.augment(show=2, mode=mode, **settings(place))["shown"]
        said = capsys.readouterr().err
        assert len(shown) == 2
        for row in shown:
            assert row["texts"][0] in said
            assert row["copies"]
    vectors = {"vectors": str(place / "vectors.txt")}
    tinybert.augment(show=1, **settings(place, **vectors))
    plan = tinybert.augment(dry_run=True, output=tmp_path / "out", **settings(place))
    assert plan["rows"] == 81
    assert plan["copies"] == 6 * 81
    assert plan["bytes"] > 0
    assert "guessing all" in capsys.readouterr().out
    assert tree(place) == before
    assert not any(tmp_path.iterdir())


def test_empty_and_one_word_texts_are_kept(place: Path, tmp_path: Path) -> None:
    lines = [
        "text,label",
        *(f"{t},{'xy'[i % 2]}" for i, t in enumerate(["lock", "?!", "zzz"] * 20)),
    ]
    (tmp_path / "few.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "dev.csv").write_text("text,label\nwait,x\nopen,y\n")
    files = {"data": str(tmp_path / "few.csv"), "dev": str(tmp_path / "dev.csv")}
    augment(place, tmp_path / "out", **files)
    found = rows(tmp_path / "out")
    originals = [r["text"] for r in found if r["copy"] == 0]
    assert set(originals) >= {"lock", "?!"}
    assert not [r for r in found if r["copy"] and r["text"] == "?!"]


# --- learning from it -----------------------------------------------------------------------------


def test_tokens_of_copies_lie_in_a_file(place: Path, tmp_path: Path) -> None:
    pairs: dict[str, Any] = {"data": str(place / "pairs.csv"), "text": "one,two"}
    augment(place, tmp_path / "out", **pairs, shard_rows=9)
    manifest = read_manifest(tmp_path / "out")
    data = task_texts(AugmentSettings(**settings(place, **pairs)), Reporter(quiet=True))
    train = tokenize(tiny.tokenizer(), data.train.texts, 32, data.train.labels)
    (tmp_path / "tokens").mkdir()
    write_tokens(tmp_path / "out", manifest, tiny.tokenizer(), 32, tmp_path / "tokens")
    found = open_tokens(tmp_path / "tokens", train)
    texts = [(r["one"], r["two"]) for r in rows(tmp_path / "out")]
    whole = tokenize(tiny.tokenizer(), texts, 32)
    assert isinstance(found.ids, np.memmap)
    assert (found.ids == whole.ids).all()
    assert (found.offsets == whole.offsets).all()
    assert whole.type_ids is not None
    assert (found.type_ids == whole.type_ids).all()
    assert found.labels is not None
    assert train.labels is not None
    of = np.concatenate([n for n, _ in augmented_texts(tmp_path / "out", manifest)])
    assert (found.labels == train.labels[of]).all()
    with pytest.raises(TinybertError, match="of other training rows"):
        open_tokens(tmp_path / "tokens", train.take(range(5)))


def distill(place: Path, output: Path, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"teacher": str(place / "encoder"), "data": str(place / "train.csv")}
    plain |= {"student": "1x16", "seed": 3, "output": output} | tiny.QUICK
    return tinybert.distill(**(plain | more))


def test_both_stages_learn_from_the_copies(place: Path, tmp_path: Path) -> None:
    augment(place, tmp_path / "copies")
    results = distill(place, tmp_path / "student", augment=tmp_path / "copies")
    total = read_manifest(tmp_path / "copies").counts.total
    assert results["augmented_rows"] == total
    assert results["rows"]["train"] == 81
    steps = -(-total // 32)
    assert [(s["name"], s["rows"], s["steps"]) for s in results["stages"]] == [
        ("intermediate", total, steps), ("prediction", total, steps)
    ]  # fmt: skip
    teacher = json.loads((tmp_path / "student-teacher" / "results.json").read_text())
    assert teacher["stages"][0]["rows"] == 81  # fine-tuned on the originals
    assert distill(place, tmp_path / "plain")["augmented_rows"] is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"seed": 4}, "copies of other rows than these training rows"),
        ({"data": "other.csv"}, "copies of other rows than these training rows"),
        ({"augment": "nowhere"}, "nowhere is no augmentation"),
    ],
)
def test_copies_of_other_rows_are_refused(
    place: Path, tmp_path: Path, more: dict[str, Any], told: str
) -> None:
    augment(place, tmp_path / "copies")
    if "data" in more:
        more = more | {"data": str(place / more["data"])}
    with pytest.raises(TinybertError, match=told):
        distill(place, tmp_path / "student", **({"augment": tmp_path / "copies"} | more))
    assert not (tmp_path / "student").exists()
    assert not (tmp_path / "student.run").exists()


def test_a_model_that_knows_no_bfloat16_guesses_in_float32(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = "tinybert.jobs.augment"
    monkeypatch.setattr(f"{job}.fast_bfloat16", lambda _: (True, "bfloat16 is fast"))
    monkeypatch.setattr(f"{job}.refusal_of_bfloat16", lambda *_: "it cannot")
    plan = augment(place, tmp_path / "out", dry_run=True, guess_precision="auto")
    assert plan["precision"] == "float32"
    with pytest.raises(TinybertError, match=r"^--guess-precision bfloat16: it cannot: give float"):
        augment(place, tmp_path / "out", guess_precision="bfloat16")
    assert not list(tmp_path.iterdir())


# --- bad input ------------------------------------------------------------------------------------

WORDS = ["augment", "--data", "train.csv", "--masked-lm", "masked-lm", "--output", "out"]
BAD: dict[str, tuple[list[str], str]] = {
    "no data": (["augment", "--masked-lm", "masked-lm", "--output", "out"], "--data"),
    "no model": (["augment", "--data", "train.csv", "--output", "out"], "--masked-lm"),
    "no output": (WORDS[:-2], "--output"),
    "no head": ([*WORDS[:4], "encoder", *WORDS[5:]], "tinybert mlm"),
    "no such model": ([*WORDS[:4], "./gone", *WORDS[5:]], "no model directory"),
    "no such vectors": ([*WORDS, "--vectors", "gone.txt"], "no file of word vectors"),
    "no vectors": ([*WORDS, "--vectors", "masked-lm/model.safetensors"], "no file of word vectors"),
    "text, no vectors": ([*WORDS, "--vectors", "no-vectors.txt"], "no file of word vectors"),
    "no stops": ([*WORDS, "--stop-words", "keep", "--stop-list", "stop.txt"], "no stop words"),
    "no stop list": ([*WORDS, "--stop-words", "keep", "--stop-list", "gone"], "cannot be read"),
    "probability": ([*WORDS, "--replace-probability", "1.5"], "--replace-probability"),
    "mode": ([*WORDS, "--mode", "papr"], "mode"),
    "copies": ([*WORDS, "--copies", "0"], "--copies"),
    "candidates": ([*WORDS, "--candidates", "0"], "--candidates"),
    "a column that is not there": ([*WORDS, "--text", "body"], "body"),
    "output exists": ([*WORDS[:-1], "masked-lm"], "exists already"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD)
def test_mistakes_are_one_sentence(
    place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any, mistake: str
) -> None:
    words, told = BAD[mistake]
    with working_directory(place, tmp_path, monkeypatch):
        before = tree(tmp_path)
        assert told in sentence(capsys, words)
        left = {n: s for n, s in tree(tmp_path).items() if "out.augment" not in n}
        assert left == before
        assert not (tmp_path / "out").exists()


def test_an_unfinished_augmentation_is_gone_on_with_or_replaced(
    place: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise TinybertError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(build._Build, "sample", stop)
        with pytest.raises(TinybertError, match="stopped"):
            augment(place, tmp_path / "out")
    with pytest.raises(TinybertError, match="unfinished augmentation"):
        augment(place, tmp_path / "out")
    with pytest.raises(TinybertError, match=r"begun differently \(recipe\)"):
        augment(place, tmp_path / "out", resume=True, copies=2)
    with monkeypatch.context() as patch:
        patch.setattr("tinybert.jobs.augment._Words.guesser", stop)  # nothing is guessed again
        augment(place, tmp_path / "out", resume=True)
    augment(place, tmp_path / "whole")
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    augment(place, tmp_path / "out", copies=2, overwrite=True)
    assert max(r["copy"] for r in rows(tmp_path / "out")) <= 2


def test_other_letters_are_other_rows(place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Guesses are kept by exact text: the same words in capitals are others."""

    def stop(*_: Any, **__: Any) -> None:
        raise TinybertError("stopped")

    data = tmp_path / "train.csv"
    data.write_text((place / "train.csv").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(build._Build, "sample", stop)
        with pytest.raises(TinybertError, match="stopped"):
            augment(place, tmp_path / "out", data=str(data))
    data.write_text(data.read_text().replace("lock", "LOCK"))
    with pytest.raises(TinybertError, match=r"begun differently \(rows\)"):
        augment(place, tmp_path / "out", data=str(data), resume=True)


def test_long_texts_of_long_characters_are_read_in_both_modes(place: Path, tmp_path: Path) -> None:
    texts = ["\U0001f600" * 200, "é" * 127, "lock " * 100, "wait"]
    lines = [f"{texts[i % 4]} {tiny.WORDS[i % 20]},{'xy'[i % 2]}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    for mode in ("paper", "reference"):
        told = augment(place, tmp_path / mode, data=str(tmp_path / "train.csv"), mode=mode)
        assert told["copies"] > 0


def test_a_full_disk_keeps_what_is_finished(place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    real = build.ShardWriter.write
    calls = 0

    def full(self: Any, path: Path, written: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        real(self, path, written)

    with monkeypatch.context() as patch:
        patch.setattr(build.ShardWriter, "write", full)
        with pytest.raises(TinybertError, match=r"no space left .* --resume"):
            augment(place, tmp_path / "out", shard_rows=20)
    assert not (tmp_path / "out").exists()
    augment(place, tmp_path / "out", shard_rows=20, resume=True)
    augment(place, tmp_path / "whole", shard_rows=20)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


@pytest.mark.parametrize("spoil", ["missing", "cut", "manifest", "version"])
def test_spoilt_copies_are_told(place: Path, tmp_path: Path, spoil: str) -> None:
    augment(place, tmp_path / "copies")
    part, file = tmp_path / "copies" / "part-00000.parquet", tmp_path / "copies/_augmentation.json"
    if spoil == "missing":
        part.unlink()
    elif spoil == "cut":
        part.write_bytes(part.read_bytes()[:-100])
    elif spoil == "manifest":
        file.write_text("{")
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"tinybert_augmentation": 9}))
    with pytest.raises(TinybertError, match="augment the rows again"):
        distill(place, tmp_path / "student", augment=tmp_path / "copies")


def test_recipes_of_both_modes() -> None:
    from tinybert.augmentation.recipe import recipe_of

    plain = DistillSettings()
    choices = AugmentSettings()
    paper = recipe_of(choices, "paper", "cola", 64, 1)
    reference = recipe_of(choices, "reference", "cola", 64, 1)
    assert (paper.copies, paper.replace, paper.stop_words) == (20, "words", "replace")
    assert (reference.copies, reference.replace, reference.stop_words) == (30, "a-z", "keep")
    assert (paper.vector_lines, reference.vector_lines) == (400_000, 100_000)
    assert recipe_of(choices, "reference", "mnli", 64, 1).copies == 10
    assert recipe_of(AugmentSettings(copies=3), "reference", "mnli", 64, 1).copies == 3
    assert plain.augment is None
    with pytest.raises(TinybertError, match="choose paper or reference"):
        recipe_of(choices, "other", "cola", 64, 1)
